"""Options of commands that are made from the descriptions of the options of models and fits."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Annotated, Any

import typer

from ..estimation.fit_options import FIT_OPTIONS
from ..models.latent_skill_options import Skills
from ..models.options import Command, OneOf, Option
from .options import read_skills


def takes(**described: Iterable[Option]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command the described options which the command line has.

    Each keyword names a parameter of the function. The command has the options in its place, and the function gets what
    was written as a dict by the options' names, which ``read_values`` reads.
    """
    places = {place: [one for one in options if one.command is not None] for place, options in described.items()}

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(**values: Any) -> None:
            for place, options in places.items():
                values[place] = {one.name: values.pop(_flag_name(one)) for one in options}
            function(**values)

        signature = inspect.signature(function)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            options = places.get(parameter.name)
            parameters += [parameter] if options is None else [_parameter(one) for one in options]
        # typer reads both of these
        vars(command)["__signature__"] = signature.replace(parameters=parameters)
        command.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": None}
        return command

    return decorate


def read_values(options: Iterable[Option], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was written on the command line as constructors take it."""
    by_name = {one.name: one for one in options}
    return {name: _read(by_name[name], value) for name, value in values.items()}


def flag(option: Option) -> Any:
    """Return what typer is told of an option."""
    about = _about(option)
    switch = [f"--{_flag_name(option)}/--no-{_flag_name(option)}"] if option.domain.plain is bool else []
    return typer.Option(*switch, help=about.help, show_default=about.shown or True, min=about.least)


def named(options: Iterable[Option], *names: str) -> list[Option]:
    """Return some of several options by name, in the order of the names."""
    by_name = {one.name: one for one in options}
    return [by_name[name] for name in names]


def _about(option: Option) -> Command:
    if option.command is None:
        raise ValueError(f"the command line does not have {option.name}")
    return option.command


def _flag_name(option: Option) -> str:
    return _about(option).flag or option.name


SEED, PROGRESS = (flag(one) for one in named(FIT_OPTIONS, "seed", "progress"))
"""Of commands that fit nothing, too."""


def _parameter(option: Option) -> inspect.Parameter:
    """An option as a parameter of a command, whose annotation typer reads."""
    words = option.domain.words if isinstance(option.domain, OneOf) else ()
    plain: Any = Enum(option.name.title(), {word: word for word in words}) if words else option.domain.plain
    default = _about(option).default
    default = option.default if default is None else default
    if default is not None:
        default = plain(default)
    kind = plain | None if option.domain.optional else plain
    annotation = Annotated[kind, flag(option)]  # type: ignore[valid-type]  # typer reads it, mypy need not
    return inspect.Parameter(_flag_name(option), inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _read(option: Option, value: Any) -> Any:
    """A value from the command line as the constructor takes it."""
    if isinstance(option.domain, Skills):
        return read_skills(value)
    return value.value if isinstance(value, Enum) else value
