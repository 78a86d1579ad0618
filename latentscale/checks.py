"""Checks of arguments: what a level, a whole number, a seed, a switch, a positive number or a name may be.

Every function takes an argument's name, as the user wrote it, and its value. It returns the value, as a plain Python
object where that is a number or a switch, or raises a `DataError` that says what the argument may be. They are used
wherever an argument enters the package, so that the same value is accepted or refused everywhere in the same words:
numpy's numbers are numbers, ``True`` is no number, and 2.0 is no whole number.
"""

import difflib
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from .errors import DataError

_SHOWN = 20  # known names that a message lists


# --- numbers ---------------------------------------------------------------------------------------------------------


def check_alpha(alpha: Any, name: str = "alpha") -> float:
    """Return one minus a confidence level, which lies strictly between 0 and 1.

    Examples
    --------
    >>> check_alpha(0.05)
    0.05
    >>> check_alpha(95)
    Traceback (most recent call last):
    ...
    latentscale.errors.DataError: alpha lies between 0 and 1 (0.05 for intervals of 95%), not 95.
    """
    if not (_is_number(alpha) and 0.0 < alpha < 1.0):
        raise DataError(f"{name} lies between 0 and 1 (0.05 for intervals of 95%), not {alpha!r}.")
    return float(alpha)


def check_whole(name: str, value: Any, least: int = 0, most: int | None = None) -> int:
    """Return a whole number within bounds, both included.

    Examples
    --------
    >>> check_whole("starts", np.int64(3), 1)
    3
    >>> check_whole("starts", 0, 1)
    Traceback (most recent call last):
    ...
    latentscale.errors.DataError: starts is a whole number, at least 1; got 0.
    """
    if not is_whole(value) or value < least or (most is not None and value > most):
        bounds = f", at least {least}" if most is None else f" from {least} to {most}"
        raise DataError(f"{name} is a whole number{bounds}; got {value!r}.")
    return int(value)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number by its type: an integer of Python or numpy, not a bool and not 2.0."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_seed(seed: Any) -> int:
    """Return a seed: a whole number, at least 0, as ``numpy.random.SeedSequence`` takes it."""
    return check_whole("seed", seed, 0)


def check_jobs(n_jobs: Any) -> int | None:
    """Return a number of parallel tasks: None, or a whole number other than 0; below 0 it counts from all cores."""
    if n_jobs is None:
        return None
    if not is_whole(n_jobs) or n_jobs == 0:
        raise DataError(f"n_jobs is None or a whole number other than 0 (-1 for one per core); got {n_jobs!r}.")
    return int(n_jobs)


def check_power_of_two(name: str, value: Any) -> int:
    """Return a power of two, at least 2: the sizes at which Sobol points are balanced."""
    if not is_whole(value) or value < 2 or value & (value - 1):
        raise DataError(f"{name} is a power of two, at least 2; got {value!r}.")
    return int(value)


def check_positive(name: str, value: Any) -> float:
    """Return a number above 0, infinity included."""
    if not (_is_number(value) and value > 0.0):
        raise DataError(f"{name} must be positive; got {value!r}.")
    return float(value)


def check_number(
    name: str, value: Any, meaning: str, least: float = -np.inf, most: float = np.inf, *, inner: bool = False,
    below: bool = False,
) -> float:  # fmt: skip
    """Return a finite number within bounds: both included, with ``below`` the lower one alone, with ``inner`` neither.

    Parameters
    ----------
    meaning : str
        What the number is and may be, for the message: ``{name} is {meaning}; got {value}.``

    Examples
    --------
    >>> check_number("outliers", 0.5, "a share of the scores, at least 0 and below 0.5", 0.0, 0.5, below=True)
    Traceback (most recent call last):
    ...
    latentscale.errors.DataError: outliers is a share of the scores, at least 0 and below 0.5; got 0.5.
    """
    within = _is_number(value) and -np.inf < value < np.inf and least <= value <= most
    if not within or (inner and value == least) or ((inner or below) and value == most):
        raise DataError(f"{name} is {meaning}; got {value!r}.")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


# --- switches and words ----------------------------------------------------------------------------------------------


def check_switch(name: str, value: Any) -> bool:
    """Return a switch as a bool; numbers and texts are none."""
    if not isinstance(value, bool | np.bool_):
        raise DataError(f"{name} is True or False, not {value!r}.")
    return bool(value)


def check_one_of(name: str, value: Any, options: Sequence[str]) -> str:
    """Return one of several words.

    Examples
    --------
    >>> check_one_of("link", "monoton", ("logistic", "monotone"))
    Traceback (most recent call last):
    ...
    latentscale.errors.DataError: link is one of logistic, monotone, not 'monoton' (did you mean 'monotone'?).
    """
    if not (isinstance(value, str) and value in options):
        raise DataError(f"{name} is one of {', '.join(options)}, not {value!r}{did_you_mean(value, options)}.")
    return value


def check_several_of(name: str, wanted: Any, options: Sequence[str], *, empty: bool = False) -> tuple[str, ...]:
    """Return one or more of several words, as a tuple in the order given, each once; ``empty`` also allows none."""
    chosen = [wanted] if isinstance(wanted, str) else _listed(name, wanted)
    unknown = [word for word in chosen if not (isinstance(word, str) and word in options)]
    if unknown or not (chosen or empty):
        what = f"not {unknown[0]!r}{did_you_mean(unknown[0], options)}" if unknown else "and none is named"
        raise DataError(f"{name} is one or more of {', '.join(options)}, {what}.")
    return tuple(dict.fromkeys(chosen))


def check_name(name: str, wanted: Any, known: Iterable[str], what: str) -> str:
    """Return one known name; ``what`` says of what, in the plural, as for `check_names`."""
    known = list(known)
    if not (isinstance(wanted, str) and wanted in known):
        hint = did_you_mean(wanted, known)
        raise DataError(f"{name} is one of the {what}, not {wanted!r}{hint}. {_there_are(known)}")
    return wanted


def check_names(name: str, wanted: Any, known: Iterable[str], what: str, *, empty: bool = False) -> list[str]:
    """Return names chosen from known ones, each once; all known ones for None.

    Parameters
    ----------
    name : str
        Of the argument.
    wanted : str, sequence of str or None
    known : iterable of str
    what : str
        Of what these are names, in the plural, such as ``"benchmarks of the fit"``.
    empty : bool
        Whether none may be named.

    Examples
    --------
    >>> check_names("skills", "maths", ["math", "coding"], "skills of the fit")
    Traceback (most recent call last):
    ...
    latentscale.errors.DataError: skills takes skills of the fit, each once; unknown: 'maths' (did you mean 'math'?). \
There are math, coding.
    """
    known = list(known)
    if wanted is None:
        return known
    chosen = [wanted] if isinstance(wanted, str) else _listed(name, wanted)
    unknown = [one for one in chosen if one not in known]
    twice = list(dict.fromkeys(one for one in chosen if chosen.count(one) > 1))
    if unknown:
        wrong = f"unknown: {_quoted(unknown)}{did_you_mean(unknown[0], known)}"
    elif twice:
        wrong = f"more than once: {_quoted(twice)}"
    elif not (chosen or empty):
        wrong = "none is named"
    else:
        return chosen
    raise DataError(f"{name} takes {what}, each once; {wrong}. {_there_are(known)}")


def _there_are(known: Sequence[Any]) -> str:
    rest = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"There are {', '.join(map(str, known[:_SHOWN]))}{rest}." if known else "There are none."


def did_you_mean(name: Any, known: Iterable[Any], fold: Callable[[str], str] = str.casefold) -> str:
    """Return ``" (did you mean 'MMLU'?)"`` with the known name that is closest but for case, empty if none is close.

    ``fold`` is applied to all names before they are compared.
    """
    close = near_names(name, known, 1, fold)
    return f" (did you mean {close[0]!r}?)" if close else ""


def near_names(name: Any, known: Iterable[Any], count: int, fold: Callable[[str], str] = str.casefold) -> list[str]:
    """Return at most ``count`` known names that are spelt much like a name once ``fold`` was applied, nearest first."""
    folded = {fold(str(one)): str(one) for one in known}
    return [folded[close] for close in difflib.get_close_matches(fold(str(name)), folded, n=count)]


def _listed(name: str, wanted: Any) -> list[Any]:
    if isinstance(wanted, bytes) or not np.iterable(wanted):
        raise DataError(f"{name} takes a name or a sequence of names, not {wanted!r}.")
    return list(wanted)


def _quoted(names: Sequence[Any]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(repr(str(one)) for one in names[:5]) + more
