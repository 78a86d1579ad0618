"""Laws of a score: what the package asks of the law of one score given its curve's value and its precision.

A law is a small frozen object. Y, the score of an LLM on a benchmark, has a law with the *location* mu in (0, 1), which
is the value of the benchmark's curve (``components.curve``), and, where the law has one, the benchmark's precision
phi > 0. Everything that depends on the law of a score is asked of this object; the rest of the package does not know
which law it is. To add a law, write one subclass of ``ScoreLaw`` and name an instance as a model's ``score_law``:

    class LogitNormalModel(latentscale.LatentSkillModel):
        score_law = LogitNormal()

``docs/tutorial/add_a_law.md`` does that in one file. A law must have ``name``, ``terms``, ``mean``, ``variance``,
``log_tails`` and ``draw``; the rest has defaults that it may improve upon.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..boundary import BOUNDARIES
from ..errors import DataError
from .curve import rough_predictor

_BISECTIONS = 50  # halvings of [0, 1]: quantiles to 1e-15


class LawTerms(NamedTuple):
    """The log-density f of one score and its derivatives in the location m and the precision p, arrays of one shape.

    ``mmp`` is d3 f / dm2 dp. ``expected_mm`` is the expectation of ``mm`` over the law, at most 0: minus the Fisher
    information in the location; ``expected_mmm`` and ``expected_mmp`` are its derivatives in location and precision.
    For a censored score f is the logarithm of the probability of its tail, and the expected values are ``mm`` and its
    derivatives themselves. What is beyond the order asked for is None.
    """

    f: np.ndarray
    m: np.ndarray = None
    p: np.ndarray = None
    mm: np.ndarray = None
    mp: np.ndarray = None
    pp: np.ndarray = None
    mmm: np.ndarray = None
    mmp: np.ndarray = None
    expected_mm: np.ndarray = None
    expected_mmm: np.ndarray = None
    expected_mmp: np.ndarray = None


@dataclass(frozen=True)
class ScoreLaw:
    """Base of all laws.

    Attributes
    ----------
    name : str
        The law in a word or two, as in "a draw from a ... law".
    location_word : str
        What mu is, in a word: "mean" where it is the expected score.
    has_precision : bool
        Whether there is a precision phi to estimate. Where there is none the functions below are given ones.
    boundaries : tuple of str
        The policies for scores of exactly 0 or 1 (``latentscale.boundary``) that the law allows. A law that allows
        "censor" must have ``tail_terms``.
    expected_curvature : bool
        Whether Laplace's approximation must take the expected curvature in place of the observed one, as it should
        where log-densities are far from concave in the linear predictor.
    starting_precision : float
        Where fits begin.
    precision_centre, precision_sd : float
        Centre of the weak penalty on the precisions, and its standard deviation on the log scale
        (``components.penalty``).
    """

    name = ""
    location_word = "location"
    has_precision = True
    boundaries = BOUNDARIES
    expected_curvature = False
    starting_precision = 20.0
    precision_centre = 200.0
    precision_sd = 1.5

    def with_outliers(self, share):
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
    def notes(self):
        """What a reader of a summary must know of the law beyond its name, tuple of sentences."""
        return ()

    def check_boundary(self, policy):
        """Refuse a policy for scores of 0 and 1 that the law does not allow.

        Raises
        ------
        DataError
        """
        if policy not in self.boundaries:
            known = " or ".join(f'boundary="{one}"' for one in self.boundaries)
            raise DataError(f"The {self.name} law of scores does not allow boundary={policy!r}: take {known}.")

    # --- what is kept of scores -----------------------------------------------------------------------------------

    def data(self, y):
        """What the likelihood needs of scores y, strictly inside (0, 1): a tuple of arrays of y's shape."""
        return np.log(y), np.log1p(-y)

    def scores(self, data):
        """The scores themselves, from what is kept of them."""
        return np.exp(data[0])

    def at_precision(self, phi):
        """Functions of the precision alone that ``terms`` needs, computed once for each benchmark: tuple of arrays."""
        return ()

    # --- likelihood -----------------------------------------------------------------------------------------------

    def terms(self, mu, nu, phi, at_phi, data, order):
        """Log-density of scores inside (0, 1) and its derivatives.

        Parameters
        ----------
        mu, nu : arrays (C, M)
            Location, and 1 - mu without cancellation. Line searches may come to values as small as 1e-304, at which a
            log-density may be anything finite.
        phi : array (C, 1)
        at_phi, data : tuples of arrays (C, 1)
            From ``at_precision`` and ``data``.
        order : int, 0 to 3
            Highest derivative wanted; the third ones are ``mmm`` and ``mmp``.

        Returns
        -------
        LawTerms
            Zeros for derivatives in a precision that there is not.
        """
        raise NotImplementedError

    def tail_terms(self, mu, nu, phi, edge, upper, order):
        """What a censored score contributes: log P(Y <= edge), or log P(Y >= 1 - edge) where ``upper``.

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

    def compiled(self, order, asymptotes):
        """Compiled loops for the log-density under the logistic link, or None where there are none.

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

    def second_search(self):
        """Where a search for posterior modes is to be made a second time, as there may be several modes; else None.

        Returns
        -------
        (ScoreLaw, float) or None
            The second search begins at the mode under that law, with precisions multiplied by that number.
        """
        return None

    # --- the law itself -------------------------------------------------------------------------------------------

    def mean(self, mu, phi):
        """Expected score at a location and a precision, arrays that broadcast."""
        raise NotImplementedError

    def variance(self, mu, nu, phi):
        """Variance of a score; ``nu`` is 1 - mu without cancellation."""
        raise NotImplementedError

    def log_tails(self, mu, nu, phi, data):
        """log P(Y <= y) and log P(Y >= y), accurate far into either tail: arrays of the shape of mu.

        Parameters
        ----------
        mu, nu, phi : arrays of one shape
        data : tuple of arrays of that shape
            From ``data``.
        """
        raise NotImplementedError

    def draw(self, rng, mu, phi, choice=None):
        """Scores drawn from the law, of the shape of mu; rounding may put them on 0 or 1.

        Parameters
        ----------
        rng : numpy.random.Generator
        mu, phi : arrays that broadcast to the shape of mu
        choice : array of the shape of mu, optional
            Uniform numbers by which a law that is a mixture chooses its parts; it draws its own if there are none.
        """
        raise NotImplementedError

    def cdf(self, y, mu, phi):
        """P(Y <= y), arrays that broadcast; y strictly inside (0, 1)."""
        arrays = np.broadcast_arrays(mu, 1.0 - mu, phi, *self.data(np.asarray(y)))
        return np.exp(self.log_tails(*arrays[:3], tuple(arrays[3:]))[0])

    def quantile(self, level, mu, phi):
        """The score that a share ``level`` of scores lies below, by halving [0, 1]; arrays that broadcast."""
        shape = np.broadcast_shapes(np.shape(level), np.shape(mu), np.shape(phi))
        low, high = np.zeros(shape), np.ones(shape)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            below = self.cdf(middle, mu, phi) < level
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return 0.5 * (low + high)

    def location(self, mean, phi):
        """The location at which the expected score is ``mean``, by halving [0, 1]; arrays that broadcast."""
        shape = np.broadcast_shapes(np.shape(mean), np.shape(phi))
        low, high = np.zeros(shape), np.ones(shape)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            below = self.mean(middle, phi) < mean
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return 0.5 * (low + high)

    def log_density_table(self, y, mu, phi):
        """Log-density of every score under every pair of location and precision.

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

    def starting_predictor(self, y, lower, upper):
        """Rough linear predictors of scores between asymptotes, from which fits begin."""
        return rough_predictor(y, lower, upper)

    def moment_precision(self, y, mu):
        """A rough precision of the scores of one benchmark (n,) about given locations (n,), a positive number."""
        return self.starting_precision
