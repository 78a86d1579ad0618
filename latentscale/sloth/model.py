"""SlothModel: latent skills with fixed family intercepts and a Huber loss (Maia Polo et al. 2024); BenchmarkLaws."""

import warnings
from functools import cached_property
from typing import Any

import numpy as np

from ..checks import check_whole
from ..components.curve import check_room
from ..components.free_curves import FreeCurves
from ..components.scaling import build_design, within_family_constants
from ..covariates import family_means
from ..errors import DataError, IdentificationError
from ..models.latent_skill_options import TRANSLOG
from ..models.options import checked_options, keep_options
from ..models.rows import PanelModel, Rows
from ..numerics.linalg import null_space
from ..panel import BenchmarkPanel, require_panel
from ..tables import counted
from .fit import fit_sloth
from .options import COMPUTE, LAW_OPTIONS, SLOTH_OPTIONS
from .results import SlothResults


class HuberModel(PanelModel):
    """The common base of SlothModel and BenchmarkLaws: scores, covariates, families, links and asymptotes."""

    per_benchmark = False
    n_skills: int
    skills: tuple[str, ...]

    def __init__(self, panel: BenchmarkPanel, options: dict[str, Any]) -> None:
        require_panel(panel, self)
        self.panel = panel
        keep_options(self, options)
        scores = panel.scores
        has_score = scores.notna().any(axis=1).to_numpy()
        if not has_score.any():
            raise DataError("No LLM has a score.")
        self.design = build_design(self.scaling, panel.table, has_score)
        keep, names = self.design.keep, np.asarray(panel.llms)
        self.rows = Rows(keep, tuple(names[has_score & ~keep]), tuple(names[~has_score]))
        self.y = scores.to_numpy(dtype=float)[keep]
        self.y.flags.writeable = False
        self.families, self.family_codes = np.unique(panel.families[keep].to_numpy(), return_inverse=True)
        check_room(self.asymptotes, panel.chance, panel.benchmarks)
        self.response = FreeCurves(self.link, self.asymptotes, panel.chance.to_numpy(dtype=float))
        self._check_scores()
        self._check_families()

    @property
    def n_llms(self) -> int:
        """Number of LLMs in the loss."""
        return len(self.y)

    @property
    def nobs(self) -> int:
        """Number of observed scores in the loss."""
        return int(np.count_nonzero(~np.isnan(self.y)))

    @cached_property
    def thin_families(self) -> tuple[str, ...]:
        """Names of families that have intercepts of their own, but scores on fewer benchmarks than there are skills."""
        if not self.family_intercepts:
            return ()
        seen = np.zeros((self.n_families, len(self.benchmarks)), dtype=bool)
        np.logical_or.at(seen, self.family_codes, ~np.isnan(self.y))
        return tuple(map(str, self.families[seen.sum(axis=1) < self.n_skills]))

    @cached_property
    def positive(self) -> np.ndarray | None:
        """Whether each term's slopes may not be negative (p,); None if all may. Slopes of products always may."""
        products = self.design.interactions
        return np.array([term not in products for term in self.terms]) if self.positive_slopes else None

    def _check_scores(self) -> None:
        """Raise a `DataError` if a benchmark has no score."""
        seen = np.count_nonzero(~np.isnan(self.y), axis=0)
        empty = [name for name, count in zip(self.benchmarks, seen, strict=True) if count == 0]
        if empty:
            raise DataError(
                f"The benchmarks {empty} have no score among the {self.n_llms} LLMs with covariates; leave them out."
            )

    def _check_families(self) -> None:
        """Raise an `IdentificationError` if slopes cannot be told from family intercepts."""
        if not self.family_intercepts:
            return
        flat = within_family_constants(self.design.x, self.terms, self.family_codes)
        advice = "leave it out of the scaling, or share the intercepts (family_intercepts=False)."
        if flat:
            raise IdentificationError(
                f"Within every family all LLMs have the same {', '.join(map(repr, flat))}, so that its slope cannot be "
                f"told from the family intercepts: {advice}"
            )
        self._check_within(np.arange(self.n_llms), "")

    def _check_within(self, rows: np.ndarray, where: str) -> None:
        """Raise an `IdentificationError` unless covariates minus their family means have full rank over these LLMs."""
        x, codes = self.design.x[rows], self.family_codes[rows]
        _, codes = np.unique(codes, return_inverse=True)
        within = x - family_means(x, codes)
        spread = np.sqrt(np.mean(within**2, axis=0))
        scale = np.where(spread > 1e-10 * np.maximum(np.abs(x).max(axis=0), 1.0), spread, np.inf)
        flat = null_space(within / scale, 1e-9) if len(within) >= x.shape[1] else np.ones((x.shape[1], 1))
        if not flat.shape[1]:
            return
        weight = np.abs(flat).max(axis=1)
        involved = [term for term, size in zip(self.terms, weight, strict=True) if size > 1e-6]
        raise IdentificationError(
            f"Within families the terms {involved} do not vary apart from each other{where}, so that their slopes "
            "cannot be told from each other or from the family intercepts: leave one out of the scaling, or share the "
            "intercepts (family_intercepts=False)."
        )


class SlothModel(HuberModel):
    """Sloth: benchmark scores depend on a few skills, which grow with size and tokens from an intercept of the family.

    For LLM i of family l and benchmark j::

        mu_ij = c_j + (d_j - c_j) F_j(lambda_j' theta_i + b_j),  theta_i = a_l + B' x_i,

    with fixed effects a_l. The parameters minimise the mean Huber loss of y_ij - mu_ij over the observed scores, in
    which scores of 0 and 1 are not changed.

    Parameters
    ----------
    panel : BenchmarkPanel
        LLMs that lack a covariate of ``scaling`` or have no score are dropped; the summary gives their number.
    scaling : str
        Formula of the covariates x in the panel's columns; the default is the translog production function.
    n_skills : int
        Number K of skills, from 1 to the number of benchmarks.
    family_intercepts : bool
        Whether each family has its own intercepts a_l. If not, all families share one, which is part of the b_j.
    link : {"logistic", "monotone"}
        Whether F_j is the logistic function, or the logistic function of a monotone spline, one for each benchmark
        (``latentscale.numerics.monotone``).
    asymptotes : {"chance", "lower", "both"}
        With "chance" c_j is the guessing level and d_j = 1. With "lower" c_j is estimated, with "both" c_j and d_j are.
        Estimated asymptotes are weakly penalised, as by normal laws of logit c_j about logit max(chance, .005) and of
        logit d_j about 3.5, both with standard deviation 2, where the loss counts as minus the log-density of a Laplace
        law with mean absolute error .02.
    positive_slopes : bool
        Whether the slopes of main effects (terms that are not products) may not be negative, in the axes of the fit.

    Raises
    ------
    DataError
        If the table or an option cannot be used; the message says what to do.
    IdentificationError
        If slopes are not determined, for instance because a covariate is constant within every family.

    References
    ----------
    Maia Polo, F., Somerstep, S., Choshen, L., Sun, Y. and Yurochkin, M. (2024). Sloth: scaling laws for LLM skills to
    predict multi-benchmark performance across families. arXiv 2412.06540.

    Examples
    --------
    >>> import latentscale as ls
    >>> model = ls.SlothModel(ls.BenchmarkPanel(ls.load_leaderboard()), n_skills=2)
    >>> model
    <SlothModel: 184 LLMs, 65 families, 12 benchmarks, 2 skills, logistic link>
    >>> bool(model.fit(starts=1, cov_type="none").loss < 0.03)
    True
    """

    OPTIONS = SLOTH_OPTIONS

    def __init__(
        self, panel: BenchmarkPanel, scaling: str=TRANSLOG, n_skills: int=3, family_intercepts: bool=True, link:
        str="logistic", asymptotes: str="chance", positive_slopes: bool=False,
    ) -> None:  # fmt: skip
        super().__init__(panel, checked_options(self.OPTIONS, locals()))
        check_whole("n_skills", n_skills, 1, len(self.benchmarks))
        if self.n_llms <= self.n_skills:
            raise DataError(f"{self.n_skills} skills need more than {self.n_llms} LLMs; take fewer skills.")
        self.skills = tuple(f"skill{number + 1}" for number in range(self.n_skills))

    def __repr__(self) -> str:
        skills = counted(self.n_skills, "skill")
        shared = "" if self.family_intercepts else ", shared intercepts"
        return (
            f"<SlothModel: {self.n_llms} LLMs, {self.n_families} families, {len(self.benchmarks)} benchmarks, "
            f"{skills}, {self.link} link{shared}>"
        )

    def fit(self, **options: Any) -> SlothResults:
        """Minimise the mean Huber loss; ``latentscale.sloth.fit.fit_sloth`` lists all options.

        Parameters
        ----------
        delta : float
            Residual beyond which the loss is linear and no more quadratic; .01 by default, one percentage point.
        starts : int
            Number of starts, 10 by default: one from the data, the others from randomly weighted data or at random.
        seed : int
            Seed of the starts.
        n_jobs : int, optional
            Number of starts that run in parallel; the numbers do not depend on it. By default one, or as a surrounding
            ``ls.parallel`` says.
        progress : bool
            Whether to report progress on the standard error stream.
        cov_type : {"cluster", "llm", "none"}
            Sandwich covariance with families (the default) or LLMs as independent units, or none.
        ridge : float, optional
            Weight of a ridge on intercepts, loadings and slopes of whitened covariates. By default there is none if the
            loss has a minimum, else a small one, which the summary states and a warning explains. 0 is always no ridge.

        Returns
        -------
        SlothResults

        Raises
        ------
        DataError
            If an option cannot be used.

        Warns
        -----
        ConvergenceWarning
            If the loss has no minimum (the message names families and benchmarks), or if it was not reached.
        """
        return _fitted(self, options)


class BenchmarkLaws(HuberModel):
    """A separate scaling law for each benchmark, mu_ij = c_j + (d_j - c_j) F_j(a_lj + B_j' x_i).

    This is Sloth with each benchmark as a skill of its own. Laws are fitted one by one. With the default scaling they
    are laws in FLOPs, with ``"log(params_b) * log(tokens_t)"`` laws in size and tokens.

    Parameters
    ----------
    panel : BenchmarkPanel
    scaling : str
        Formula of the covariates; by default the logarithm of training FLOPs up to a constant.
    family_intercepts : bool
        Whether there is an intercept for each family and benchmark, or one for each benchmark.
    link, asymptotes : str
        As for ``SlothModel``.

    Raises
    ------
    DataError, IdentificationError
        As for ``SlothModel``; for every benchmark, covariates must vary within the families that have its scores.

    Examples
    --------
    >>> import latentscale as ls
    >>> ls.BenchmarkLaws(ls.BenchmarkPanel(ls.load_leaderboard())).fit(ridge=1e-3).slopes.shape
    (1, 12)
    """

    OPTIONS = LAW_OPTIONS
    per_benchmark = True

    def __init__(
        self, panel: BenchmarkPanel, scaling: str=COMPUTE, family_intercepts: bool=True, link: str="logistic",
        asymptotes: str="chance", positive_slopes: bool=False,
    ) -> None:  # fmt: skip
        super().__init__(panel, checked_options(self.OPTIONS, locals()))
        self.skills = self.benchmarks
        self.n_skills = len(self.benchmarks)
        for item, benchmark in enumerate(self.benchmarks):
            self._check_law(benchmark, np.flatnonzero(~np.isnan(self.y[:, item])))

    def _check_law(self, benchmark: str, rows: np.ndarray) -> None:
        """Raise an `IdentificationError` if the LLMs with a score on a benchmark do not determine its slopes."""
        if self.family_intercepts:
            self._check_within(rows, f" among the LLMs with a score on {benchmark}")
            return
        x = self.design.x[rows]
        spread = x.std(axis=0)
        flat = len(x) <= x.shape[1] or (spread <= 1e-10 * np.abs(x).max(axis=0)).any()
        if flat or null_space((x - x.mean(axis=0)) / spread, 1e-9).shape[1]:
            raise IdentificationError(
                f"The {len(x)} LLMs with a score on {benchmark} do not determine the slopes of {list(self.terms)}: "
                "take a simpler scaling, or leave the benchmark out."
            )

    def __repr__(self) -> str:
        shared = "" if self.family_intercepts else ", shared intercepts"
        return (
            f"<BenchmarkLaws: {self.n_llms} LLMs, {self.n_families} families, {len(self.benchmarks)} benchmarks, "
            f"{self.link} link{shared}>"
        )

    def fit(self, **options: Any) -> SlothResults:
        """Minimise the mean Huber loss of every benchmark; the options are those of ``SlothModel.fit``.

        Every law has one start, from its data: ``starts``, ``seed`` and ``n_jobs`` make no difference.

        Returns
        -------
        SlothResults
        """
        return _fitted(self, options)


def _fitted(model: HuberModel, options: dict[str, Any]) -> SlothResults:
    """Fit a model, and warn of the problems of the fit."""
    results = SlothResults(model, fit_sloth(model, **options))
    for problem in results.problems:
        warnings.warn(problem.message, problem.category, stacklevel=3)
    return results
