"""Parameters with their names, kinds and labels, and where each stands in a vector."""


from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import DataError
from .kinds import Kind


@dataclass(frozen=True)
class Parameter:
    """A parameter.

    Attributes
    ----------
    name : str
        As users know it, such as ``loading[mmlu,math]``.
    kind : Kind
    labels : tuple
        What it belongs to, in the order of ``kind.labels``: here ``("mmlu", "math")``.
    position : int
        Its place in the vector it comes from; for parameters of a ``ParameterTable`` in the structural vector s.
    """

    name: str
    kind: Kind
    labels: tuple[Any, ...]
    position: int

    @property
    def parts(self) -> dict[str, Any]:
        """Dict from what a label is of ("benchmark", "skill", ...) to the label."""
        return dict(zip(self.kind.labels, self.labels, strict=True))

    @property
    def in_words(self) -> str:
        """The parameter without brackets, such as ``loading of mmlu on math``."""
        return self.kind.in_words(*self.labels)


class Parameters:
    """Parameters in the order of a vector, each with a name of its own.

    Parameters
    ----------
    parameters : iterable of Parameter

    Raises
    ------
    DataError
        If two of them have the same name, which commas in names of benchmarks or skills can bring about.
    """

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self._all = tuple(parameters)
        if len(self._rows) < len(self._all):
            self._refuse_collision()

    @classmethod
    def of(cls, entries: Iterable[tuple[Kind, Iterable[Any]]]) -> Parameters:
        """Parameters of (kind, labels) pairs, numbered in their order."""
        numbered = ((kind, tuple(labels), position) for position, (kind, labels) in enumerate(entries))
        return cls(Parameter(kind.name_of(*labels), kind, labels, position) for kind, labels, position in numbered)

    def _refuse_collision(self) -> None:
        first: dict[str, Parameter] = {}
        for parameter in self._all:
            other = first.setdefault(parameter.name, parameter)
            if other is not parameter:
                words = " and ".join(
                    ", ".join(f"{what.replace('_', ' ')} {label!r}" for what, label in one.parts.items())
                    for one in (other, parameter)
                )
                raise DataError(
                    f"Two parameters would both be called {parameter.name!r}: of {words}. Rename one of these, so "
                    "that names joined by commas can be told apart."
                )

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, row: int) -> Parameter:
        return self._all[row]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Their names, tuple of str."""
        return tuple(parameter.name for parameter in self._all)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {parameter.name: row for row, parameter in enumerate(self._all)}

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._all)

    def row(self, name: str) -> int:
        """Where a parameter stands among these, by its name.

        Raises
        ------
        KeyError
            If there is none of that name.
        """
        return self._rows[name]

    def get(self, name: str) -> Parameter | None:
        """The Parameter of a name, None if there is none."""
        row = self._rows.get(name)
        return None if row is None else self._all[row]

    def are(self, *kinds: Kind) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Bool array (P,): which of them are of one of these kinds."""
        return np.array([parameter.kind in kinds for parameter in self._all], dtype=bool)

    def of_kind(self, *kinds: Kind, **labels: object) -> list[Parameter]:
        """List of the parameters of these kinds that have these labels, such as ``benchmark="mmlu"``, in order."""
        return [
            parameter
            for parameter in self._all
            if parameter.kind in kinds and all(parameter.parts.get(what) == label for what, label in labels.items())
        ]

    def by_title(self, titles: dict[Kind, str] | None = None) -> dict[str, np.ndarray[Any, np.dtype[np.bool_]]]:
        """Which parameters each table of estimates holds, in their order: dict title -> bool array (P,).

        Parameters
        ----------
        titles : dict, optional
            Kind -> title, where it is not that of the kind. Kinds without a title are in no table.
        """
        own = [(titles or {}).get(parameter.kind, parameter.kind.title) for parameter in self._all]
        return {title: np.array([one == title for one in own]) for title in dict.fromkeys(own) if title}
