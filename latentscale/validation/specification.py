"""Estimators for cross-validation: a model class with its options."""

import copy
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pandas as pd

from ..errors import DataError
from ..immutable import Immutable
from ..model import LatentSkillModel
from ..panel import BenchmarkPanel


class Specification(Immutable):
    """A model class with its options, which can be fitted to one panel after another.

    Parameters
    ----------
    model_class : type
        A class such as ``ls.LatentSkillModel``, which is called with a panel and options and makes an object with a
        method ``fit``.
    fit : dict, optional
        Options of that method.
    name : str, optional
        Name of the method in tables; by default it is made of the class and its options.
    **options
        Options of the model class.

    Raises
    ------
    DataError
        If ``model_class`` is not a class or ``fit`` is not a dict.

    Examples
    --------
    >>> import latentscale as ls
    >>> laws = Specification(ls.ComponentLaws, n_components=2)
    >>> laws
    Specification(ComponentLaws, n_components=2)
    >>> laws.fit(ls.BenchmarkPanel(ls.load_leaderboard()))
    <ComponentLawsResults: PC1 77.3%, PC2 10.1% of the variance; 77 LLMs>
    """

    __slots__ = ("_fit_options", "_model_class", "_name", "_options")

    _model_class: type
    _fit_options: dict[str, Any]
    _name: str | None
    _options: dict[str, Any]

    def __init__(
        self, model_class: type, fit: dict[str, Any] | None = None, name: str | None = None, **options: Any
    ) -> None:
        if not isinstance(model_class, type):
            raise DataError(f"model_class is a class such as ls.LatentSkillModel, not {model_class!r}.")
        if fit is not None and not isinstance(fit, dict):
            raise DataError(f"fit is a dict of options of the model's fit, not {fit!r}.")
        values = (model_class, copy.deepcopy(fit or {}), None if name is None else str(name), copy.deepcopy(options))
        for slot, value in zip(("_model_class", "_fit_options", "_name", "_options"), values, strict=True):
            object.__setattr__(self, slot, value)

    def __reduce__(self) -> tuple[Callable[..., "Specification"], tuple[Any, ...]]:
        return _rebuilt, (self._model_class, self._fit_options, self._name, self._options)

    @property
    def model_class(self) -> type:
        """The class of models."""
        return self._model_class

    @property
    def options(self) -> MappingProxyType[str, Any]:
        """Options of the model class, read-only."""
        return MappingProxyType(copy.deepcopy(self._options))

    @property
    def fit_options(self) -> MappingProxyType[str, Any]:
        """Options of the model's fit, read-only."""
        return MappingProxyType(copy.deepcopy(self._fit_options))

    @property
    def name(self) -> str:
        """The name in tables."""
        return self._words() if self._name is None else self._name

    def _words(self) -> str:
        """Return the class, the options of its fit and its own options as text."""
        items = [self._model_class.__name__]
        if self._fit_options:
            items.append(f"fit={self._fit_options!r}")
        return ", ".join([*items, *(f"{key}={value!r}" for key, value in self._options.items())])

    def __repr__(self) -> str:
        name = "" if self._name is None else f", name={self._name!r}"
        return f"Specification({self._words()}{name})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Specification):
            return NotImplemented
        return _state(self) == _state(other)

    def __hash__(self) -> int:
        return hash((self._model_class, self._name, tuple(self._options), tuple(self._fit_options)))

    def build(self, panel: BenchmarkPanel) -> Any:
        """Return the model of a panel, without fitting it."""
        return self._model_class(panel, **copy.deepcopy(self._options))

    @property
    def can_start(self) -> bool:
        """Whether fits can start from given parameters."""
        return issubclass(self._model_class, LatentSkillModel)

    def fit(self, panel: BenchmarkPanel, start_params: pd.Series | None = None) -> Any:
        """Fit the model to a panel.

        Parameters
        ----------
        panel : BenchmarkPanel
        start_params : Series, optional
            Parameters from which alone the fit starts, if they are the parameters of the panel's model; otherwise they
            are ignored. Only for models that ``can_start``.

        Returns
        -------
        object
            The results of the model's ``fit``.

        Raises
        ------
        DataError, IdentificationError
            If the model class or its fit raises one.
        """
        model, options = self.build(panel), copy.deepcopy(self._fit_options)
        if start_params is not None and list(start_params.index) == list(model.param_names):
            options |= {"starts": 0, "start_params": start_params}
        return model.fit(**options)


def _state(one: Specification) -> tuple[Any, ...]:
    """Return what makes two specifications equal."""
    return one._model_class, one._fit_options, one._name, one._options


def _rebuilt(
    model_class: type, fit_options: dict[str, Any], name: str | None, options: dict[str, Any]
) -> Specification:
    return Specification(model_class, fit_options, name, **options)
