"""Options of models and of fits, each described in one place.

A model class has a tuple ``OPTIONS`` of ``Option``, and every way of fitting has one. The signature of the constructor,
or of the function that fits, repeats their names and defaults for the reader; ``tests/models/test_options.py`` asserts
that the two agree. All else is made from the tuple: checks of what is given, saved fits and their reading, the call in
a report, the keys of files that long runs go on from, the command line with its help, and the words of summaries,
reports and comparisons. A new option is one more entry, beside what the model does with it. That of a model has
``in_files_since`` one above the present format of saved fits: earlier files, which lack it, are then read as before.
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
    """The values that an option may have. This class itself accepts all; the model checks them where it uses them.

    Attributes
    ----------
    optional : bool
        Whether None is one of the values.
    plain : type
        The type that a value is read as where it is given in a text, as on the command line.
    """

    optional: bool = False
    plain: ClassVar[type] = str

    def check(self, name: str, value: Any) -> Any:
        """Return a value in the form that a model keeps, or raise a DataError if the option may not have it."""
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
class SwitchOrWord(Domain):
    """True, False or one of several words.

    Attributes
    ----------
    words : tuple of str
    meant : str or None
        The word that True means; None if True is a value of its own.
    """

    words: tuple[str, ...]
    meant: str | None = None

    def _checked(self, name: str, value: Any) -> bool | str:
        if isinstance(value, str) and value.lower() in ("true", "false"):  # as on the command line
            value = value.lower() == "true"
        if isinstance(value, str) and value in self.words:
            return value
        if isinstance(value, (bool, np.bool_)):
            return self.meant if value and self.meant is not None else bool(value)
        words = " or ".join(repr(word) for word in self.words)
        raise DataError(f"{name} must be True, False, {words}, not {value!r}.")


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
    """What summaries, reports and comparisons say of an option.

    All attributes but ``label`` and ``frees_less`` are texts or functions. A text is said where the option is active
    and not at its default; it may name attributes of the model, as in ``"{model.link} link"``. A function takes the
    model and returns the text, empty where there is nothing to say.

    Attributes
    ----------
    label : str
    row
        The row of the option at the head of a summary, where it is labelled ``label``.
    note
        A numbered sentence beneath a summary.
    sentence
        A sentence in a report's description of the model.
    penalty
        A sentence among the remarks with which a report begins, if the option penalises parameters.
    penalised
        What the option penalises, in a few words.
    frees_less : bool
        Whether the penalty holds parameters so tightly that AIC and BIC, which count each of them as one free
        parameter, come out too large.
    short
        A description that tells a fit from others in a table, such as ``"monotone link"``.
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
        What the help says of it.
    flag : str
        Its name on the command line without the dashes, if that is not the name of the option.
    default : object
        Its default on the command line, if that is not the default of the option.
    shown : str
        The default in words for the help, where the value itself says little.
    least : int, optional
        The smallest number that the command line accepts.
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
        The values that it may have.
    default : object
    kept_as : str
        The attribute of the model that holds the option, if it is not called by its name.
    in_files_since : int
        The first format of saved fits in which every file has the option. Where an older file lacks it, the fit was
        made with the default.
    recorded : bool
        Whether the results keep this option of a fit. Options that change no number, or that are kept elsewhere, are
        not recorded.
    always_told : bool
        Whether the call in a report names the option even at its default.
    untested : str
        Why fits that differ in the option cannot be tested against each other; empty where they can.
    active : callable
        Takes the model and says whether the option changes anything in it.
    words : Words
    command : Command or None
        How it is asked for on the command line; None if it cannot be.
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
    """Return those of the checked values that results keep, by name."""
    return {option.name: values[option.name] for option in options if option.recorded}


def keep_options(model: Any, values: Mapping[str, Any]) -> None:
    """Set those options as attributes of a model under construction that it keeps as they were given."""
    vars(model).update({option.name: values[option.name] for option in model.OPTIONS if not option.kept_as})


def given_options(model: Any) -> dict[str, Any]:
    """Return the options of a model as its constructor takes them: ``type(model)(panel, **given_options(model))``."""
    return {option.name: option.domain.given(option.domain.saved(option.kept(model))) for option in model.OPTIONS}


# --- saved fits ------------------------------------------------------------------------------------------------------


def saved_options(model: Any) -> dict[str, Any]:
    """Return the options of a model in a form that JSON can hold."""
    return {option.name: option.domain.saved(option.kept(model)) for option in model.OPTIONS}


def read_options(options: Iterable[Option], saved: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Return saved options as the constructor takes them.

    Options that were introduced after the file was written are left out, so that they have their defaults.

    Parameters
    ----------
    options : iterable of Option
    saved : mapping
        What ``saved_options`` returned.
    version : int
        The format of the file.

    Raises
    ------
    DataError
        If an option is missing that every file of this format has, or one is unknown.
    """
    options = tuple(options)
    unknown = [name for name in saved if name not in {option.name for option in options}]
    if unknown:
        raise DataError(f"its model has options that this version of latentscale does not know: {', '.join(unknown)}")
    missing = [option.name for option in options if option.name not in saved and version >= option.in_files_since]
    if missing:
        raise DataError(f"its model lacks the options {', '.join(missing)}")
    return {option.name: option.domain.given(saved[option.name]) for option in options if option.name in saved}


# --- words -----------------------------------------------------------------------------------------------------------


def told_options(options: Iterable[Option], kept: Mapping[str, Any]) -> dict[str, str]:
    """Return the options that a call needs as Python source, by name.

    They are those that are always told, and those that are not at their defaults.

    Parameters
    ----------
    options : iterable of Option
    kept : mapping
        The values that are kept, by name of the option; options that it lacks are left out.
    """
    present = [option for option in options if option.recorded and option.name in kept]
    told = [option for option in present if option.always_told or option.is_changed(kept[option.name])]
    return {option.name: option.domain.source(kept[option.name]) for option in told}


def said_of(model: Any, what: str) -> list[str]:
    """Return one of the texts of ``Words`` for every option of a model that has something to say."""
    return [text for text in (option.said(model, what) for option in model.OPTIONS) if text]


def differing_options(first: Any, second: Any) -> list[Option]:
    """Return the options in which two models of one class differ, as far as they are active in either."""
    return [option for option in first.OPTIONS if _active_value(option, first) != _active_value(option, second)]


def _active_value(option: Option, model: Any) -> Any:
    """Return the value of an option as it is saved, or None where it changes nothing in the model."""
    return option.domain.saved(option.kept(model)) if option.active(model) else None
