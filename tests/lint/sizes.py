"""Check the house rules that ruff cannot: sizes of modules and functions, the order of the rooms, no import circles.

Run from anywhere: ``python tests/lint/sizes.py [package folder]``. Prints each offender and exits with 1 if there is
one. A module may import only from its own room and the rooms above it in `ROOMS`, and no chain of imports may lead back
to where it began. Imports inside functions count like all others, and outside of the command line they are allowed only
for the optional or slow libraries in `HEAVY`. Imports under ``if TYPE_CHECKING`` do not count, as they never run.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MODULE_LINES = 500
FUNCTION_LINES = 60
PACKAGE = "latentscale"
ROOMS = (
    {"numerics"},
    {"tables", "known_benchmarks", "covariates"},
    {"boundary"},
    {"panel"},
    {"datasets"},
    {"plots"},
    {"parameters"},
    {"components"},
    {"likelihood"},
    {"models"},
    {"estimation"},
    {"inference"},
    {"prediction"},
    {"planning"},
    {"report"},
    {"results"},
    {"sloth", "downstream"},
    {"model"},
    {"loading"},
    {"validation"},
    {"cli", "__main__", "testing"},
)
EVERYWHERE = {"errors", "checks", "_version", "immutable", "workers", "checkpoint"}
# Libraries that are slow to import, or that users need not have: these may be imported where they are used.
HEAVY = {"matplotlib", "jinja2", "distributed", "dask", "numba", "arviz", "hypothesis", "polars", "PIL"}
# A module that imports such a library when it is imported itself.
HEAVY_MODULES = {("latentscale", "numerics", "compiled_beta")}
LAZY_ROOMS = {"cli", "testing"}  # a command imports what it needs when it is called
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def size_problems(text: str, tree: ast.Module) -> Iterator[str]:
    """Yield the module and the functions that are too long, docstrings of functions not counted."""
    lines = len(text.splitlines())
    if lines > MODULE_LINES:
        yield f"1: module has {lines} lines (limit {MODULE_LINES})"
    for function in (node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)):
        lines = function.end_lineno - function.lineno + 1
        if ast.get_docstring(function, clean=False) is not None:
            docstring = function.body[0]
            lines -= docstring.end_lineno - docstring.lineno + 1
        if lines > FUNCTION_LINES:
            yield f"{function.lineno}: function {function.name} has {lines} lines (limit {FUNCTION_LINES})"


def imports(node: ast.AST, inside: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Yield every import that may run, and whether it stands inside a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, inside
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        else:
            yield from imports(child, inside or isinstance(child, (*FUNCTIONS, ast.Lambda)))


def imported_modules(statement: ast.Import | ast.ImportFrom, module: tuple[str, ...], is_package: bool):
    """Yield the dotted names, as tuples, of what an import statement may bring in."""
    if isinstance(statement, ast.Import):
        yield from (tuple(alias.name.split(".")) for alias in statement.names)
        return
    base = tuple(statement.module.split(".")) if statement.module else ()
    if statement.level:
        base = module[: len(module) + is_package - statement.level] + base
    yield from ((*base, alias.name) for alias in statement.names)


def rank(room: str) -> int | None:
    """Return the position of a room in `ROOMS`, or None for a name that is no room."""
    return next((i for i, names in enumerate(ROOMS) if room in names), None)


def room_problems(tree: ast.Module, module: tuple[str, ...], is_package: bool) -> Iterator[str]:
    """Yield the imports that lead down the list of rooms; the package's __init__ stands below them all."""
    if len(module) == 1 or module[1] in EVERYWHERE:
        own = len(ROOMS) if len(module) == 1 else -1
    elif (own := rank(module[1])) is None:
        yield f"1: '{module[1]}' is not in the table of rooms (tests/lint/sizes.py)"
        return
    for statement, inside in imports(tree):
        for name in imported_modules(statement, module, is_package):
            if inside and module[1] not in LAZY_ROOMS and name[0] not in HEAVY and name[:3] not in HEAVY_MODULES:
                yield f"{statement.lineno}: import of {'.'.join(name)} inside a function"
            if name[0] != PACKAGE or (len(name) > 1 and name[1] in EVERYWHERE):
                continue
            # A name that is no room comes out of the package's __init__, which imports every room.
            target = rank(name[1]) if len(name) > 1 else None
            if (len(ROOMS) - 1 if target is None else target) > own:
                yield f"{statement.lineno}: room '{'.'.join(module[1:2])}' may not import {'.'.join(name)}"


def circles(trees: dict[tuple[str, ...], tuple[ast.Module, bool]]) -> Iterator[list[tuple[str, ...]]]:
    """Yield the modules of each chain of imports that leads back to where it began (Tarjan's components)."""
    edges = {module: set() for module in trees}
    for module, (tree, is_package) in trees.items():
        for statement, _ in imports(tree):
            for name in imported_modules(statement, module, is_package):
                target = name if name in trees else name[:-1]
                if target in trees and target != module:
                    edges[module].add(target)
    order, low, stack, found = {}, {}, [], []

    def visit(module):
        order[module] = low[module] = len(order)
        stack.append(module)
        for target in edges[module]:
            if target not in order:
                visit(target)
            if target in stack:
                low[module] = min(low[module], low[target])
        if low[module] == order[module]:
            place = stack.index(module)
            found.append(stack[place:])
            del stack[place:]

    for module in trees:
        if module not in order:
            visit(module)
    yield from (sorted(group) for group in found if len(group) > 1)


def problems(package: Path) -> list[str]:
    """Return every offence in a package folder as ``path:line: what is wrong``."""
    found, trees = [], {}
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text, filename=str(path))
        relative = path.relative_to(package)
        is_package = path.name == "__init__.py"
        parts = relative.parent.parts if is_package else relative.with_suffix("").parts
        module = (PACKAGE, *parts)
        trees[module] = tree, is_package
        for problem in (*size_problems(text, tree), *room_problems(tree, module, is_package)):
            found.append(f"{package.name}/{relative.as_posix()}:{problem}")
    found += ["imports lead in a circle: " + ", ".join(".".join(name) for name in group) for group in circles(trees)]
    return found


def main(arguments: list[str]) -> int:
    """Print the offenders of a package folder (default: this repository's) and return the exit code."""
    package = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[2] / PACKAGE
    found = problems(package)
    print("\n".join(found) if found else "sizes and rooms: no offenders")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
