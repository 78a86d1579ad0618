"""Estimators for cross-validation: a model class with its options."""

import copy
from types import MappingProxyType

from ..errors import DataError
from ..immutable import Immutable
from ..model import LatentSkillModel


class Specification(Immutable):
    """A model class with its options, to be fitted to one panel after another.

    Parameters
    ----------
    model_class : type
        Such as ``ls.LatentSkillModel``: called with a panel and options, it makes an object with ``fit``.
    fit : dict, optional
        Options of that ``fit``.
    name : str, optional
        How tables call it; by default the class and its options.
    **options
        Options of the model class.

    Raises
    ------
    DataError
        If ``model_class`` is no class or ``fit`` no dict.

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

    def __init__(self, model_class, fit=None, name=None, **options):
        if not isinstance(model_class, type):
            raise DataError(f"model_class is a class such as ls.LatentSkillModel, not {model_class!r}.")
        if fit is not None and not isinstance(fit, dict):
            raise DataError(f"fit is a dict of options of the model's fit, not {fit!r}.")
        values = (model_class, copy.deepcopy(fit or {}), None if name is None else str(name), copy.deepcopy(options))
        for slot, value in zip(("_model_class", "_fit_options", "_name", "_options"), values, strict=True):
            object.__setattr__(self, slot, value)

    def __reduce__(self):
        return _rebuilt, (self._model_class, self._fit_options, self._name, self._options)

    @property
    def model_class(self):
        """The class of models."""
        return self._model_class

    @property
    def options(self):
        """Options of the model class, read-only."""
        return MappingProxyType(copy.deepcopy(self._options))

    @property
    def fit_options(self):
        """Options of the model's fit, read-only."""
        return MappingProxyType(copy.deepcopy(self._fit_options))

    @property
    def name(self):
        """How tables call it."""
        return self._words() if self._name is None else self._name

    def _words(self):
        """The class, the options of its fit and its own, as they were given."""
        parts = [self._model_class.__name__]
        if self._fit_options:
            parts.append(f"fit={self._fit_options!r}")
        return ", ".join([*parts, *(f"{key}={value!r}" for key, value in self._options.items())])

    def __repr__(self):
        name = "" if self._name is None else f", name={self._name!r}"
        return f"Specification({self._words()}{name})"

    def __eq__(self, other):
        if not isinstance(other, Specification):
            return NotImplemented
        return _state(self) == _state(other)

    def __hash__(self):
        return hash((self._model_class, self._name, tuple(self._options), tuple(self._fit_options)))

    def build(self, panel):
        """The model of a panel, not fitted."""
        return self._model_class(panel, **copy.deepcopy(self._options))

    @property
    def can_start(self):
        """Whether its fits can start from parameters that are given."""
        return issubclass(self._model_class, LatentSkillModel)

    def fit(self, panel, start_params=None):
        """The results of the fit to a panel.

        Parameters
        ----------
        panel : BenchmarkPanel
        start_params : Series, optional
            Where the fit starts, and nowhere else, if these are the parameters of the panel's model; otherwise it
            starts as without them. Models that ``can_start`` only.

        Raises
        ------
        DataError, IdentificationError
            Whatever the model class and its fit say.
        """
        model, options = self.build(panel), copy.deepcopy(self._fit_options)
        if start_params is not None and list(start_params.index) == list(model.param_names):
            options |= {"starts": 0, "start_params": start_params}
        return model.fit(**options)


def _state(one):
    return one._model_class, one._fit_options, one._name, one._options


def _rebuilt(model_class, fit_options, name, options):
    return Specification(model_class, fit_options, name, **options)
