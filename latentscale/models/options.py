"""Options of models and of fits, each described in one place.

A model class has a tuple ``OPTIONS`` of ``Option``, and every way of fitting has one. The signature of the constructor,
or of the function that fits, repeats their names and defaults for the reader; ``tests/models/test_options.py`` asserts
that the two agree. All else is made from the tuple: checks of what is given, saved fits and their reading, the call in
a report, the keys of files that long runs go on from, the command line with its help, and the words of summaries,
reports and comparisons. A new option is one more entry, beside what the model does with it.
"""


from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..checks import (
    check_jobs,
    check_number,
    check_one_of,
    check_positive,
    check_power_of_two,
    check_switch,
    check_whole,
)
from ..errors import DataError

# --- what values an option may have ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Domain:
    """Values that an option may have. This one is of values that are checked where they are read.

    Attributes
    ----------
    optional : bool
        Whether None is one of them.
    plain : type
        Of a value that stands in a text, as on the command line.
    """

    optional: bool = False
    plain: ClassVar[type] = str

    def check(self, name: str, value: Any) -> Any:
        """Return a value as it is kept, or raise a DataError if it is not one of these."""
        return None if value is None and self.optional else self._checked(name, value)

    def _checked(self, name: str, value: Any) -> Any:
        return value

    def saved(self, kept: Any) -> Any:
        """Return what a model keeps in a form that JSON can hold."""
        return kept

    def given(self, saved: Any) -> Any:
        """Return what was saved in a form that the constructor takes."""
        return saved

    def source(self, kept: Any) -> str:
        """Return what a model keeps as Python source for the constructor."""
        return repr(self.given(self.saved(kept)))


@dataclass(frozen=True)
class OneOf(Domain):
    """One of several words."""

    words: tuple[str, ...]

    def _checked(self, name: str, value: Any) -> str:
        return check_one_of(name, value, self.words)


@dataclass(frozen=True)
class Switch(Domain):
    """True or False."""

    plain = bool

    def _checked(self, name: str, value: Any) -> bool:
        return check_switch(name, value)


@dataclass(frozen=True)
class Whole(Domain):
    """A whole number of at least ``least``."""

    plain = int
    least: int = 0

    def _checked(self, name: str, value: Any) -> int:
        return check_whole(name, value, self.least)


@dataclass(frozen=True)
class Jobs(Domain):
    """A number of parallel tasks."""

    plain = int

    def _checked(self, name: str, value: Any) -> int | None:
        return check_jobs(value)


@dataclass(frozen=True)
class PowerOfTwo(Domain):
    """A power of two, at least 2."""

    plain = int

    def _checked(self, name: str, value: Any) -> int:
        return check_power_of_two(name, value)


@dataclass(frozen=True)
class Positive(Domain):
    """A number above 0."""

    plain = float

    def _checked(self, name: str, value: Any) -> float:
        return check_positive(name, value)


@dataclass(frozen=True)
class Number(Domain):
    """A number within bounds; see ``checks.check_number``, whose message says that the option is ``meaning``."""

    plain = float
    meaning: str
    least: float = -np.inf
    most: float = np.inf
    inner: bool = False
    below: bool = False

    def _checked(self, name: str, value: Any) -> float:
        return check_number(name, value, self.meaning, self.least, self.most, inner=self.inner, below=self.below)


@dataclass(frozen=True)
class Text(Domain):
    """A text, such as a formula, which is checked where it is read."""


# --- options ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Words:
    """What is said of an option.

    All but ``label`` and ``frees_less`` are texts, which are said where the option is active and not at its default and
    may name attributes of the model (``"{model.link} link"``), or functions that return a text for every model, empty
    where there is nothing to say.

    Attributes
    ----------
    label : str
    row
        The option's row in the head of a summary, labelled ``label``.
    note
        Numbered sentence beneath a summary.
    sentence
        Sentence in a report's description of the model.
    penalty
        Sentence among the remarks with which a report begins, if the option penalises parameters.
    penalised
        What it penalises, in a few words.
    frees_less : bool
        Whether the penalty is so strong that criteria which count parameters whole are too large.
    short
        Description that tells a fit from others in a table, such as ``"monotone link"``.
    """

    label: str = ""
    row: str | Callable[[Any], str] = ""
    note: str | Callable[[Any], str] = ""
    sentence: str | Callable[[Any], str] = ""
    penalty: str | Callable[[Any], str] = ""
    penalised: str | Callable[[Any], str] = ""
    frees_less: bool = False
    short: str | Callable[[Any], str] = ""


@dataclass(frozen=True)
class Command:
    """How an option is asked for on the command line.

    Attributes
    ----------
    help : str
    flag : str
        Its name there without the dashes, where that is another.
    default : object
        Its default there, where that is another.
    shown : str
        The default in words, where the value says little.
    least : int, optional
        Smallest value there, of a number.
    """

    help: str
    flag: str = ""
    default: Any = None
    shown: str = ""
    least: int | None = None


@dataclass(frozen=True)
class Option:
    """An option of a model or of a fit.

    Attributes
    ----------
    name : str
    domain : Domain
    default : object
    kept_as : str
        Attribute of the model that holds it, where that is not its name.
    in_files_since : int
        First format of saved fits of which every file has the option; an older file that lacks it means its default.
    recorded : bool
        Of an option of a fit, whether the results keep it: not what changes no number, or is kept elsewhere.
    always_told : bool
        Whether the call in a report names it at its default, too.
    untested : str
        Why fits that differ in it cannot be tested against each other; empty where they can.
    active : callable
        Of the model, whether the option changes anything in it.
    words : Words
    command : Command or None
        None where the command line does not have it.
    """

    name: str
    domain: Domain
    default: Any
    kept_as: str = ""
    in_files_since: int = 2
    recorded: bool = True
    always_told: bool = False
    untested: str = ""
    active: Callable[[Any], bool] = lambda _model: True
    words: Words = field(default_factory=Words)
    command: Command | None = None

    def kept(self, model: Any) -> Any:
        """Return what a model keeps of the option."""
        return getattr(model, self.kept_as or self.name)

    def is_changed(self, kept: Any) -> bool:
        """Whether what is kept of the option is not its default."""
        return self.domain.given(self.domain.saved(kept)) != self.default

    def said(self, model: Any, what: str) -> str:
        """Return one of the texts of ``Words`` for a model, empty if there is nothing to say."""
        text = getattr(self.words, what)
        if callable(text):
            return text(model)
        return text.format(model=model) if text and self.active(model) and self.is_changed(self.kept(model)) else ""


def checked_options(options: Iterable[Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of options, checked; ``given`` may hold other names beside theirs, such as ``locals()``.

    Raises
    ------
    DataError
        For the first value that its option may not have.
    """
    return {option.name: option.domain.check(option.name, given[option.name]) for option in options}


def recorded_options(options: Iterable[Option], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the checked values that results keep."""
    return {one.name: values[one.name] for one in options if one.recorded}


def keep_options(model: Any, values: Mapping[str, Any]) -> None:
    """Set the attributes of a model under construction that are options as they were given."""
    vars(model).update({one.name: values[one.name] for one in model.OPTIONS if not one.kept_as})


def given_options(model: Any) -> dict[str, Any]:
    """Return the options of a model as its constructor takes them: ``type(model)(panel, **given_options(model))``."""
    return {one.name: one.domain.given(one.domain.saved(one.kept(model))) for one in model.OPTIONS}


# --- saved fits ------------------------------------------------------------------------------------------------------


def saved_options(model: Any) -> dict[str, Any]:
    """Return the options of a model in a form that JSON can hold."""
    return {one.name: one.domain.saved(one.kept(model)) for one in model.OPTIONS}


def read_options(options: Iterable[Option], saved: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Return saved options as the constructor takes them; those that came after the file have their defaults.

    Parameters
    ----------
    options : iterable of Option
    saved : mapping
        Of ``saved_options``.
    version : int
        Format of the file.

    Raises
    ------
    DataError
        If an option is missing that every file of this format has, or one is unknown.
    """
    options = tuple(options)
    unknown = [name for name in saved if name not in {one.name for one in options}]
    if unknown:
        raise DataError(f"its model has options that this version of latentscale does not know: {', '.join(unknown)}")
    missing = [one.name for one in options if one.name not in saved and version >= one.in_files_since]
    if missing:
        raise DataError(f"its model lacks the options {', '.join(missing)}")
    return {one.name: one.domain.given(saved[one.name]) for one in options if one.name in saved}


# --- words -----------------------------------------------------------------------------------------------------------


def told_options(options: Iterable[Option], kept: Mapping[str, Any]) -> dict[str, str]:
    """Return Python source of the options that a call needs: those that are always told, and those off their default.

    Parameters
    ----------
    options : iterable of Option
    kept : mapping
        What is kept of them, by name; options that it lacks are left out.
    """
    present = [one for one in options if one.recorded and one.name in kept]
    told = [one for one in present if one.always_told or one.is_changed(kept[one.name])]
    return {one.name: one.domain.source(kept[one.name]) for one in told}


def said_of(model: Any, what: str) -> list[str]:
    """Return one of the texts of ``Words`` for every option of a model that has something to say."""
    return [text for text in (option.said(model, what) for option in model.OPTIONS) if text]


def differing_options(first: Any, second: Any) -> list[Option]:
    """Return the options in which two models of one class differ, as far as they are active in either."""
    return [one for one in first.OPTIONS if _active_value(one, first) != _active_value(one, second)]


def _active_value(option: Option, model: Any) -> Any:
    return option.domain.saved(option.kept(model)) if option.active(model) else None
