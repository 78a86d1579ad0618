"""A Sphinx extension that writes formulas as MathML, which browsers draw without scripts and without a network."""

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx


def mathml(tex: str, block: bool) -> str:
    """Return the MathML of a formula in TeX, its apostrophes turned into primes."""
    return tex2mathml(tex, as_block=block).replace("<mo>'</mo>", '<mo lspace="0" rspace="0">\u2032</mo>')


def visit_math(translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    translator.body.append(mathml(node.astext(), block=False))
    raise nodes.SkipNode


def visit_math_block(translator, node: nodes.math_block) -> None:
    """Write a formula that stands alone, in a box that scrolls where the page is narrow."""
    translator.body.append(f'<div class="formula">{mathml(node.astext(), block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict:
    """Make the renderer known to Sphinx as ``mathml``."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
