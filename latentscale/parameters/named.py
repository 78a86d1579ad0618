"""Parameters with their names, kinds and labels, in the order of a vector that holds their values."""


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
    """One parameter: its name, what it is, and where its value stands in a vector.

    Attributes
    ----------
    name : str
        The name that users know, such as ``loading[mmlu,math]``.
    kind : Kind
        What it is, here a loading.
    labels : tuple
        The benchmark, skill or covariate it belongs to, in the order of ``kind.labels``: here ``("mmlu", "math")``.
    position : int
        Its place in the vector it comes from, which for parameters of a ``ParameterTable`` is the structural vector s.
    """

    name: str
    kind: Kind
    labels: tuple[Any, ...]
    position: int

    @property
    def parts(self) -> dict[str, Any]:
        """The labels by what they are labels of, such as ``{"benchmark": "mmlu", "skill": "math"}``."""
        return dict(zip(self.kind.labels, self.labels, strict=True))

    @property
    def in_words(self) -> str:
        """The parameter in words without brackets, such as ``loading of mmlu on math``."""
        return self.kind.in_words(*self.labels)


class Parameters:
    """P parameters in the order of a vector; no two of them have the same name.

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
        """Return the Parameters of pairs of a kind and its labels; their positions are 0, 1, ... in that order."""
        numbered = ((kind, tuple(labels), position) for position, (kind, labels) in enumerate(entries))
        return cls(Parameter(kind.name_of(*labels), kind, labels, position) for kind, labels, position in numbered)

    def _refuse_collision(self) -> None:
        """Raise the DataError that names the first two parameters of the same name."""
        first: dict[str, Parameter] = {}
        for parameter in self._all:
            earlier = first.setdefault(parameter.name, parameter)
            if earlier is not parameter:
                words = " and ".join(
                    ", ".join(f"{what.replace('_', ' ')} {label!r}" for what, label in clashing.parts.items())
                    for clashing in (earlier, parameter)
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
        """Names of the parameters, tuple of P str."""
        return tuple(parameter.name for parameter in self._all)

    @cached_property
    def _rows(self) -> dict[str, int]:
        """Where each parameter stands among these, by its name."""
        return {parameter.name: row for row, parameter in enumerate(self._all)}

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._all)

    def row(self, name: str) -> int:
        """Return where the parameter of a name stands among these, from 0 to P - 1.

        Raises
        ------
        KeyError
            If there is none of that name.
        """
        return self._rows[name]

    def get(self, name: str) -> Parameter | None:
        """Return the Parameter of a name, or None if there is none of that name."""
        row = self._rows.get(name)
        return None if row is None else self._all[row]

    def are(self, *kinds: Kind) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return which of the parameters are of one of these kinds, bool array (P,)."""
        return np.array([parameter.kind in kinds for parameter in self._all], dtype=bool)

    def of_kind(self, *kinds: Kind, **labels: object) -> list[Parameter]:
        """Return the list of the parameters of these kinds that have these labels, such as ``benchmark="mmlu"``."""
        return [
            parameter
            for parameter in self._all
            if parameter.kind in kinds and all(parameter.parts.get(what) == label for what, label in labels.items())
        ]

    def by_title(self, titles: dict[Kind, str] | None = None) -> dict[str, np.ndarray[Any, np.dtype[np.bool_]]]:
        """Return which parameters each table of estimates holds, dict of bool arrays (P,) by the title of the table.

        The tables come in the order of their first parameters.

        Parameters
        ----------
        titles : dict, optional
            Titles by kind, for kinds whose table is not to have the title of the kind. An empty title keeps a kind out
            of all tables.
        """
        title_of_each = [(titles or {}).get(parameter.kind, parameter.kind.title) for parameter in self._all]
        tables = [title for title in dict.fromkeys(title_of_each) if title]
        return {title: np.array([of_parameter == title for of_parameter in title_of_each]) for title in tables}
