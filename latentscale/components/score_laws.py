"""Laws of a score: the distribution of one score given the value of its benchmark's curve and its precision.

A law is a small frozen object. The score Y of an LLM on a benchmark has a distribution with the *location* mu in
(0, 1), which is the value of the benchmark's curve (``components.curve``), and, where the law has one, the precision
phi > 0 of the benchmark. Everything that depends on this distribution is asked of the object; the rest of the package
does not know which law it is. To add a law, write one subclass of ``ScoreLaw`` and name an instance as a model's
``score_law``:

    class LogitNormalModel(latentscale.LatentSkillModel):
        score_law = LogitNormal()

``docs/tutorial/add_a_law.md`` does that in one file. A law must have ``name``, ``terms``, ``mean``, ``variance``,
``log_tails`` and ``draw``; one that keeps other functions of the scores (``data``) also ``scores``, and one that allows
censored scores (``boundaries``) also ``tail_terms``. The rest has defaults that it may improve upon.
"""


from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..errors import DataError
from .curve import NOT_COMPUTED, rough_predictor

_BISECTIONS = 50  # of [0, 1], which give quantiles to 1e-15


Values = Any
"""A number or an array of numbers."""


class LawTerms(NamedTuple):
    """The log-density f of one score and its derivatives in the location m and the precision p, arrays of one shape.

    ``mmp`` is d3 f / dm2 dp. ``expected_mm`` is the expectation of ``mm`` over the law, at most 0: minus the Fisher
    information in the location; ``expected_mmm`` and ``expected_mmp`` are its derivatives in location and precision.
    For a censored score f is the logarithm of the probability of its tail, and the expected values are ``mm`` and its
    derivatives themselves. Derivatives beyond the order that was asked for are None.
    """

    f: np.ndarray
    m: np.ndarray = NOT_COMPUTED
    p: np.ndarray = NOT_COMPUTED
    mm: np.ndarray = NOT_COMPUTED
    mp: np.ndarray = NOT_COMPUTED
    pp: np.ndarray = NOT_COMPUTED
    mmm: np.ndarray = NOT_COMPUTED
    mmp: np.ndarray = NOT_COMPUTED
    expected_mm: np.ndarray = NOT_COMPUTED
    expected_mmm: np.ndarray = NOT_COMPUTED
    expected_mmp: np.ndarray = NOT_COMPUTED


@dataclass(frozen=True)
class ScoreLaw:
    """The base class of all laws.

    Attributes
    ----------
    name : str
        The law in a word or two, as in "a draw from a ... law".
    location_word : str
        What mu is, in a word: "mean" where it is the expected score.
    has_precision : bool
        Whether there is a precision phi to estimate. Where there is none the functions below are given phi = 1.
    boundaries : tuple of str
        The policies for scores of exactly 0 or 1 (``latentscale.boundary``) that the law allows. By default these are
        all but "censor", as a law that allows this one must have ``tail_terms``.
    expected_curvature : bool
        Whether Laplace's approximation must take the expected curvature in place of the observed one, as it should
        where log-densities are far from concave in the linear predictor.
    starting_precision : float
        The precision from which fits begin.
    precision_centre : float
        Centre of the weak penalty that may be put on the precisions (``components.penalty``).
    """

    name = ""
    location_word = "location"
    has_precision = True
    boundaries: ClassVar[tuple[str, ...]] = ("squeeze", "error")
    expected_curvature = False
    starting_precision = 20.0
    precision_centre = 200.0

    def with_outliers(self, share: float) -> ScoreLaw:
        """The law in which a share of the scores has a tenth of the precision.

        Raises
        ------
        DataError
            If the law has no such form, unless the share is 0.
        """
        if share:
            raise DataError(f"The {self.name} law of scores has no share of outliers; leave outliers at 0.")
        return self

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of a summary must know of the law beyond its name, tuple of sentences."""
        return ()

    def check_boundary(self, policy: str) -> None:
        """Refuse a policy for scores of 0 and 1 that the law does not allow.

        Raises
        ------
        DataError
        """
        if policy not in self.boundaries:
            known = " or ".join(f'boundary="{one}"' for one in self.boundaries)
            raise DataError(f"The {self.name} law of scores does not allow boundary={policy!r}: take {known}.")

    # --- functions of the scores and of the precision -------------------------------------------------------------

    def data(self, y: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the functions of scores y in (0, 1) that ``terms`` needs, computed once: arrays of the shape of y.

        For the default, log y and log(1 - y).
        """
        return np.log(y), np.log1p(-y)

    def scores(self, data: tuple[np.ndarray, ...]) -> np.ndarray:
        """Return the scores from ``data``, of which this is the inverse.

        The default takes the exponential of the first array, which is right for the default of ``data`` alone.
        """
        return np.exp(data[0])

    def at_precision(self, phi: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the functions of the precision alone that ``terms`` needs, computed once for each benchmark."""
        return ()

    # --- likelihood -----------------------------------------------------------------------------------------------

    def terms(
        self,
        mu: np.ndarray,
        nu: np.ndarray,
        phi: np.ndarray,
        at_phi: tuple[np.ndarray, ...],
        data: tuple[np.ndarray, ...],
        order: int,
    ) -> LawTerms:
        """Return the log-density of scores in (0, 1) and its derivatives.

        Parameters
        ----------
        mu, nu : arrays (C, M)
            Location, and 1 - mu without cancellation. Line searches may come to values as small as 1e-304, at which a
            log-density may be anything finite.
        phi : array (C, 1)
        at_phi, data : tuples of arrays (C, 1)
            From ``at_precision`` and ``data``.
        order : int, 0 to 3
            Highest derivative wanted. Order 1 asks for ``m`` and ``p``, order 2 also for ``mm``, ``mp``, ``pp`` and
            ``expected_mm``, order 3 also for ``mmm``, ``mmp``, ``expected_mmm`` and ``expected_mmp``.

        Returns
        -------
        LawTerms
            Derivatives in the precision are zero where the law has none.
        """
        raise NotImplementedError

    def tail_terms(
        self, mu: np.ndarray, nu: np.ndarray, phi: np.ndarray, edge: np.ndarray, upper: np.ndarray, order: int
    ) -> LawTerms:
        """Return the log-likelihood of censored scores, log P(Y <= edge), or log P(Y >= 1 - edge) where ``upper``.

        Parameters
        ----------
        mu, nu : arrays (C, M)
        phi, edge : arrays (C, 1)
            ``edge`` is half the rounding unit.
        upper : bool array (C, 1)
        order : int, 0 to 3

        Returns
        -------
        LawTerms
        """
        raise NotImplementedError

    def compiled(self, order: int, asymptotes: bool) -> tuple[Callable[..., None], tuple[str, ...]] | None:
        """Return compiled loops for the log-density under the logistic link, or None where there are none.

        Parameters
        ----------
        order : int, 0 to 3
        asymptotes : bool
            Whether derivatives in c and d are wanted.

        Returns
        -------
        (callable, tuple of str) or None
            Called with eta (M, C), with phi, the arrays of ``at_precision``, c, d and the arrays of ``data``, each
            (C,), and with an array (number of names, M, C) for the results, which
            ``components.response.cell_terms`` describes under these names.
        """
        return None

    def second_search(self) -> tuple[ScoreLaw, float] | None:
        """Return where to begin a second search for posterior modes, for laws under which there may be several.

        Returns
        -------
        (ScoreLaw, float) or None
            The second search begins at the mode under that law, with precisions multiplied by that number. None where
            one search is enough.
        """
        return None

    # --- the law itself -------------------------------------------------------------------------------------------

    def mean(self, mu: Values, phi: Values) -> Any:
        """Return the expected score at a location and a precision, arrays that broadcast."""
        raise NotImplementedError

    def variance(self, mu: Values, nu: Values, phi: Values) -> Any:
        """Return the variance of a score; ``nu`` is 1 - mu without cancellation."""
        raise NotImplementedError

    def log_tails(
        self, mu: Values, nu: Values, phi: Values, data: tuple[np.ndarray, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return log P(Y <= y) and log P(Y >= y), accurate far into either tail: arrays of the shape of mu.

        Parameters
        ----------
        mu, nu, phi : arrays of one shape
        data : tuple of arrays of that shape
            From ``data``.
        """
        raise NotImplementedError

    def draw(self, rng: np.random.Generator, mu: Values, phi: Values, choice: np.ndarray | None = None) -> np.ndarray:
        """Return scores drawn from the law, of the shape of mu; rounding may put them on 0 or 1.

        Parameters
        ----------
        rng : numpy.random.Generator
        mu, phi : arrays that broadcast to the shape of mu
        choice : array of the shape of mu, optional
            Uniform numbers by which a mixture chooses the component of each score; drawn from ``rng`` by default.
        """
        raise NotImplementedError

    def cdf(self, y: Values, mu: Values, phi: Values) -> Any:
        """Return P(Y <= y) for y in (0, 1); the arguments are arrays that broadcast."""
        mu, nu, phi, *data = np.broadcast_arrays(mu, 1.0 - mu, phi, *self.data(np.asarray(y)))
        return np.exp(self.log_tails(mu, nu, phi, tuple(data))[0])

    def quantile(self, level: Values, mu: Values, phi: Values) -> Any:
        """Return the quantile y with P(Y <= y) = level, by bisection; the arguments are arrays that broadcast."""
        shape = np.broadcast_shapes(np.shape(level), np.shape(mu), np.shape(phi))
        low, high = np.zeros(shape), np.ones(shape)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            below = self.cdf(middle, mu, phi) < level
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return 0.5 * (low + high)

    def location(self, mean: Values, phi: Values) -> Any:
        """Return the location at which the expected score is ``mean``, by bisection; arrays that broadcast."""
        shape = np.broadcast_shapes(np.shape(mean), np.shape(phi))
        low, high = np.zeros(shape), np.ones(shape)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            below = self.mean(middle, phi) < mean
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return 0.5 * (low + high)

    def log_density_table(self, y: np.ndarray, mu: np.ndarray, phi: np.ndarray) -> np.ndarray:
        """Return the log-density of every score under every pair of location and precision.

        Parameters
        ----------
        y : array (R,)
        mu, phi : arrays (S,)

        Returns
        -------
        array (R, S)
        """
        kept = tuple(values[:, None] for values in self.data(y))
        return self.terms(mu[None], 1.0 - mu[None], phi[None], self.at_precision(phi[None]), kept, 0).f

    # --- starting values ------------------------------------------------------------------------------------------

    def starting_predictor(self, y: np.ndarray, lower: Any, upper: Any) -> np.ndarray:
        """Return rough linear predictors of scores between asymptotes, from which fits begin."""
        return rough_predictor(y, lower, upper)

    def moment_precision(self, y: np.ndarray, mu: np.ndarray) -> float:
        """Return a rough precision of the scores of one benchmark (n,) about given locations (n,)."""
        return self.starting_precision
