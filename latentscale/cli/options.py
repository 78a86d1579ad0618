"""Options that several commands share, and the reading of their values.

Names stand between commas, and ``=`` between a name and its value. A name that holds one of these stands between double
quotes, as in CSV files, with double quotes of its own doubled: ``"s,t"="a]b,c",u=d``.
"""

import re
from enum import StrEnum
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ..components.identification import Anchored, Echelon

class Boundary(StrEnum):
    """What is done about scores of exactly 0 or 1."""

    squeeze = "squeeze"
    censor = "censor"
    error = "error"


FORCE = typer.Option("--force", help="Write into --out even if it has files; those of an earlier run go.")


_QUOTED = re.compile(r'\s*"((?:[^"]|"")*)"\s*')


def _split(text: str, ends: str) -> tuple[str, str]:
    """Return the name that a text begins with, and the rest from the first of the characters ``ends`` on."""
    quoted = _QUOTED.match(text)
    if quoted and text[quoted.end() : quoted.end() + 1] in ("", *ends):
        return quoted[1].replace('""', '"'), text[quoted.end() :]
    end = next((place for place, character in enumerate(text) if character in ends), len(text))
    return text[:end].strip(), text[end:]


def names(text: str) -> list[str]:
    """Return the names in ``a,b,c``."""
    found: list[str] = []
    while text:
        name, text = _split(text, ",")
        found += [name] if name else []
        text = text[1:]
    return found


def is_quoted(text: str) -> bool:
    """Whether a text is one name between quotes."""
    return bool(_QUOTED.fullmatch(text))


def single_name(text: str) -> str:
    """Return the only name in a text, quoted or not."""
    return _split(text, "")[0] if is_quoted(text) else text.strip()


def pairs(text: str, option: str) -> dict[str, str]:
    """Return the pairs in ``a=x,b=y`` as a dict; ``option`` is the option they belong to, for messages."""
    from ..errors import DataError

    values: dict[str, str] = {}
    while text:
        name, rest = _split(text, ",=")
        value, rest = _split(rest[1:], ",") if rest[:1] == "=" else ("", rest)
        pair, text = text[: len(text) - len(rest)].strip(), rest[1:]
        if not pair:
            continue
        if not (name and value):
            raise DataError(f"{option} takes name=value pairs such as a=x,b=y; {pair!r} is not one.")
        if name in values:
            raise DataError(f"{option} names {name!r} twice.")
        values[name] = value
    return values


def read_skills(text: str) -> "int | Anchored | Echelon":
    """Return the skills of a number, of anchors ``skill=benchmark,...``, or of ``echelon:benchmark,...``."""
    from ..components.identification import Anchored, Echelon

    text = text.strip()
    if text.lstrip("+-").isdigit():
        return int(text)
    if text.startswith("echelon:"):
        return Echelon(tuple(names(text.removeprefix("echelon:"))))
    return Anchored(pairs(text, "--skills"))


def read_chance(text: str | None) -> dict[str, float] | None:
    """Return guessing levels, the package's own with those of ``name=level,...`` in their place; None for None."""
    from ..datasets import CHANCE_LEVELS
    from ..errors import DataError

    if text is None:
        return None
    levels = dict(CHANCE_LEVELS)
    for name, value in pairs(text, "--chance").items():
        try:
            levels[name] = float(value)
        except ValueError:
            raise DataError(f"--chance: {value!r} for {name!r} is not a number.") from None
    return levels
