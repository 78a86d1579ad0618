"""RepeatedSamplingResults: what a fitted RepeatedSamplingModel reports."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..checks import check_alpha, check_one_of, check_seed, check_whole
from ..errors import BoundaryWarning, ConvergenceWarning, DataError
from ..inference.named_estimates import NamedEstimates
from ..parameters import kinds
from ..plots.repeated_sampling import plot_pass_at_k
from ..prediction.calibration import interval
from ..prediction.skill_draws import JointDraws, read_request, read_sources
from ..results.summary_tables import SkillSummary, coefficients, numbered_notes, paired_table
from .repeated_sampling_fit import curve_draws, fit_counts, item_summary, llm_summary
from .repeated_sampling_law import Counts, SkillMoments, pass_at_k

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from narwhals.typing import IntoFrame

    from ..parameters.named import Parameters
    from .repeated_sampling_fit import CountEstimate
    from .repeated_sampling_model import RepeatedSamplingModel

_FAR = 0.05  # a gradient of more than this, in standard errors, is not at an optimum
ITEMS = ("table", "new")


def fit_repeated_sampling(
    model: RepeatedSamplingModel,
    size: int = 4000,
    seed: int = 0,
    uncertainty: str | Sequence[str] = ("parameters", "family"),
) -> RepeatedSamplingResults:
    """Fit a RepeatedSamplingModel; see ``RepeatedSamplingModel.fit``."""
    options = {"size": size, "seed": seed, "sources": read_sources(uncertainty)}
    moments, _ = _moments(model, options)
    estimate = fit_counts(Counts(model.successes, model.tries), moments, model.residual)
    results = RepeatedSamplingResults(model, estimate, moments, options)
    for message, category in results.problems:
        warnings.warn(message, category, stacklevel=3)
    return results


def _moments(
    model: RepeatedSamplingModel, options: dict[str, Any], data: IntoFrame | None = None
) -> tuple[SkillMoments, tuple[np.ndarray, pd.Index]]:
    """Return the law of the skills of the table's LLMs, and of LLMs of ``data`` that are not among them.

    Returns
    -------
    moments : SkillMoments
        Of the table's LLMs, then of the others.
    places, names : int array (m,), Index (m,)
        Where among these the LLMs of ``data`` are, and their names; by default of the table's LLMs.
    """
    fitted = model.parent.model
    request = read_request(fitted)
    families = np.array(request.families, dtype=object)[model.rows]
    keys = list(zip(families, model.llms, strict=True))
    known = replace(
        request,
        llms=model.llms,
        families=tuple(families),
        x=request.x[model.rows],
        random=None if request.random is None else request.random[model.rows],
    )
    places, names = np.arange(len(keys)), model.llms
    if data is not None:
        asked = read_request(fitted, data)
        names = asked.llms
        number = {key: place for place, key in enumerate(keys)}
        asked_keys = list(zip(asked.families, asked.llms, strict=True))
        fresh = [row for row, key in enumerate(asked_keys) if key not in number]
        number |= {asked_keys[row]: len(keys) + place for place, row in enumerate(fresh)}
        places = np.array([number[key] for key in asked_keys])
        known = replace(
            known,
            llms=known.llms.append(asked.llms[fresh]),
            families=known.families + tuple(asked.families[row] for row in fresh),
            x=np.vstack([known.x, asked.x[fresh]]),
            random=None if known.random is None else np.vstack([known.random, asked.random[fresh]]),
        )
    sources = options["sources"]
    theta = JointDraws(model.parent, known, options["size"], options["seed"], sources=sources).skills(sources)
    used = [fitted.skills.index(skill) for skill in model.skills]
    return SkillMoments.from_draws(theta[:, :, used]), (places, names)


class RepeatedSamplingResults(NamedEstimates):
    """Results of a binomial model of repeated tries. Immutable; every table that a method returns is a new one.

    Attributes
    ----------
    model : RepeatedSamplingModel
    estimate : latentscale.downstream.repeated_sampling_fit.CountEstimate
    moments : SkillMoments
        Mean and covariance of the skills of the table's LLMs.
    options : dict
        size, seed, sources.
    """

    model: RepeatedSamplingModel
    estimate: CountEstimate
    moments: SkillMoments
    options: dict[str, Any]

    def __init__(
        self, model: RepeatedSamplingModel, estimate: CountEstimate, moments: SkillMoments, options: dict[str, Any]
    ) -> None:
        self.__dict__.update(model=model, estimate=estimate, moments=moments, options=dict(options))

    def __repr__(self) -> str:
        state = "" if self.converged else ", NOT CONVERGED"
        return f"<RepeatedSamplingResults: llf {self.llf:.4f}, {len(self.params)} parameters{state}>"

    # --- estimates -------------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> Parameters:
        """Names, kinds and labels of the parameters, ``latentscale.parameters.named.Parameters`` of length P."""
        return self.model.parameters

    @property
    def params(self) -> pd.Series:
        """Estimates of the loadings gamma, the intercept b0, sd_item and sd_llm, Series (P,)."""
        return pd.Series(self.estimate.vector, index=self.model.param_names, name="estimate")

    @property
    def _covariance_matrix(self) -> np.ndarray:
        return self.estimate.cov

    def cov_params(self) -> pd.DataFrame:
        """Return the inverse observed information, DataFrame (P, P); NaN for an sd_llm of zero."""
        return super().cov_params()

    @property
    def _degrees_of_freedom(self) -> np.ndarray:
        """Degrees of freedom (P,): n - K - 1 for the K loadings, a regression over n LLMs, and infinity for others."""
        spare = len(self.model.llms) - len(self.model.skills) - 1
        return np.where(self.parameters.are(kinds.TRIES_LOADING) & (spare > 0), float(spare), np.inf)

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p-values by the laws that ``conf_int`` uses, Series (P,).

        NaN for standard deviations, because zero is at the boundary of their space.
        """
        return super().pvalues.where([parameter.kind.zero_is_tested for parameter in self.parameters])

    def conf_int(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return Wald intervals, DataFrame (P, 2) with columns ``lower`` and ``upper``.

        Intervals of the K loadings use the t law with n - K - 1 degrees of freedom, because they are coefficients of a
        regression over n LLMs. Intervals of standard deviations are computed on the log scale.

        Parameters
        ----------
        alpha : float
            One minus the confidence level, in (0, 1).
        """
        return super().conf_int(alpha)

    # --- fit ---------------------------------------------------------------------------------------------------------

    @property
    def llf(self) -> float:
        """Marginal log-likelihood of the successes given the benchmark scores."""
        return self.estimate.loglike

    @property
    def converged(self) -> bool:
        """Whether the gradient vanishes and the information is positive definite."""
        return not any(category is ConvergenceWarning for _, category in self.problems)

    @property
    def problems(self) -> tuple[tuple[str, type[Warning]], ...]:
        """What speaks against trusting this fit: tuple of (message, category of warning), empty if nothing does."""
        problems: list[tuple[str, type[Warning]]] = []
        distance = self.estimate.distance
        if not np.isfinite(distance):
            words = "The information is not positive definite: there are no standard errors. Name fewer skills."
            problems.append((words, ConvergenceWarning))
        elif distance > _FAR:
            problems.append((f"The fit stopped {distance:.2g} standard errors from its optimum.", ConvergenceWarning))
        if self.estimate.at_edge:
            words = (
                "sd_llm is estimated at zero: the skills' uncertainty alone is as much as the LLMs differ from the "
                "regression. Standard errors and curves hold it there."
            )
            problems.append((words, BoundaryWarning))
        return tuple(problems)

    # --- items and LLMs --------------------------------------------------------------------------------------------

    @property
    def _counts(self) -> Counts:
        return Counts(self.model.successes, self.model.tries)

    def item_intercepts(self) -> pd.DataFrame:
        """Return the posterior of the items' intercepts b_q at the estimates, DataFrame by item.

        Columns are mean, sd, successes and tries. The larger b_q, the easier is the item; -b_q is its difficulty. The
        sd leaves out the uncertainty of the estimates.
        """
        mean, sd = item_summary(self._counts, self.moments, self.estimate)
        sums = {"successes": self.model.successes.sum(axis=0), "tries": self.model.tries.sum(axis=0)}
        return pd.DataFrame({"mean": mean, "sd": sd, **sums}, index=self.model.items)

    def llm_propensities(self) -> pd.DataFrame:
        """Return the posterior of gamma' theta_i + eps_i of the table's LLMs at the estimates, DataFrame by LLM.

        Columns are mean, sd and from_skills, which is gamma' theta_i at the mean of the skills given the benchmark
        scores alone.
        """
        mean, sd, skills = llm_summary(self._counts, self.moments, self.estimate)
        return pd.DataFrame({"mean": mean, "sd": sd, "from_skills": skills}, index=self.model.llms)

    # --- pass@k ----------------------------------------------------------------------------------------------------

    def pass_at_k(
        self,
        k: int | Sequence[int] | np.ndarray = (1, 2, 5, 10, 20, 50, 100),
        data: IntoFrame | None = None,
        items: str = "table",
        alpha: float = 0.05,
        size: int = 1000,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Return curves of pass@k, the mean over items of 1 - (1 - p)^k, with intervals.

        Parameters
        ----------
        k : int or sequence of int
            Numbers of tries, at least 1. Beyond those of the table the model extrapolates.
        data : table, optional
            LLMs with family and covariates, as for ``fit.predict``. LLMs of the table are recognised by name and
            family, and their successes count. By default the LLMs of the table.
        items : {"table", "new"}
            Whether to average over the items of the table, or over the law of items.
        alpha : float
            One minus the level of the intervals, in (0, 1).
        size : int
            Number of draws.
        seed : int

        Returns
        -------
        DataFrame
            One row per LLM and k: llm, k, mean, mean_ci_lower and mean_ci_upper (of the expected pass@k, from the
            uncertainty of estimates, skills, effects of LLMs and items), obs_ci_lower and obs_ci_upper (of an unbiased
            estimate from new tries, as many as in the table) and observed, the unbiased estimate from the table. All
            are fractions. The last three are NaN for new LLMs, for LLMs that did not try every item, for k above a
            number of tries, and for ``items="new"``.

        Raises
        ------
        DataError
            For k that are not whole numbers of at least 1, or unknown options.
        """
        numbers = _read_k(k)
        check_one_of("items", items, ITEMS)
        check_whole("size", size, 2)
        check_seed(seed)
        check_alpha(alpha)
        if not self.converged and not np.isfinite(self.estimate.distance):
            raise DataError("There are no standard errors, and so no intervals of pass@k: see fit.problems.")
        moments, (places, names) = (
            (self.moments, (np.arange(len(self.model.llms)), self.model.llms))
            if data is None
            else _moments(self.model, self.options, data)
        )
        counts = self._counts.padded(len(moments.mean) - len(self.model.llms))
        draws = curve_draws(counts, moments, self.estimate, numbers, size, seed, items == "new")
        expected, ends = draws.expected[:, places], interval(draws.expected[:, places], alpha)
        estimates = interval(draws.estimates[:, places], alpha)
        unknown = np.full((len(places), len(numbers)), np.nan)
        observed = self._observed(numbers, places) if items == "table" else unknown
        return pd.DataFrame(
            {
                "llm": np.repeat(np.asarray(names, dtype=object), len(numbers)),
                "k": np.tile(numbers, len(places)),
                "mean": expected.mean(axis=0).ravel(),
                "mean_ci_lower": ends[0].ravel(),
                "mean_ci_upper": ends[1].ravel(),
                "obs_ci_lower": estimates[0].ravel(),
                "obs_ci_upper": estimates[1].ravel(),
                "observed": observed.ravel(),
            }
        )

    def _observed(self, k: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return the unbiased estimates of LLMs by position, array (m, len(k)), NaN where there are none."""
        out = np.full((len(places), len(k)), np.nan)
        for row, place in enumerate(places):
            if place >= len(self.model.llms) or self.model.tries[place].min() < 1:
                continue
            for column, number in enumerate(k):
                if number <= self.model.tries[place].min():
                    tried = self.model.successes[place], self.model.tries[place]
                    out[row, column] = np.mean(pass_at_k(*tried, number))
        return out

    def plot(
        self,
        llms: Sequence[str] | None = None,
        data: IntoFrame | None = None,
        k: int | Sequence[int] | np.ndarray | None = None,
        ax: Axes | None = None,
        alpha: float = 0.05,
        **options: Any,
    ) -> Axes:
        """Plot curves of pass@k with bands and the observed unbiased estimates; see ``plots.repeated_sampling``.

        Parameters
        ----------
        llms : sequence of str, optional
            LLMs to plot; by default up to six, evenly spread from the best to the worst.
        data : table, optional
            New LLMs, as for ``pass_at_k``.
        k : sequence of int, optional
            By default some twenty numbers from 1 to twice the largest number of tries, even on a log scale.
        ax : matplotlib Axes, optional
        alpha : float
            One minus the level of the bands.
        **options
            Options of ``pass_at_k``.

        Returns
        -------
        matplotlib Axes
        """
        if k is None:
            k = np.unique(np.round(np.geomspace(1, 2 * self.model.tries.max(), 24)).astype(int))
        curves = self.pass_at_k(k, data, alpha=alpha, **options)
        return plot_pass_at_k(curves, llms, ax, alpha, int(self.model.tries.max()))

    # --- reports ---------------------------------------------------------------------------------------------------

    def summary(self, alpha: float = 0.05) -> SkillSummary:
        """Return a statsmodels Summary with ``as_text``, ``as_html``, ``as_latex``, ``as_csv``.

        ``alpha`` is one minus the level of its intervals.
        """
        summary, model = SkillSummary(), self.model
        left = [("LLMs:", f"{len(model.llms)}"), ("Items:", f"{len(model.items)}"), ("Tries:", f"{model.tries.sum()}")]
        right = [
            ("Log-likelihood:", f"{self.llf:.4f}"),
            ("Successes:", f"{model.successes.sum()}"),
            ("Converged:", "yes" if self.converged else "NO"),
        ]
        summary.tables.append(paired_table(left, right, "Repeated sampling: binomial model on skills"))
        summary.tables.append(coefficients(self.parameter_table(alpha), "Parameters", alpha))
        notes = [f"WARNING: {message}" for message, _ in self.problems]
        words = {"family": "the effects of families", "parameters": "the estimates of the fit"}
        sources = [words[name] for name in sorted(self.options["sources"] & set(words))]
        if sources:
            notes.append(
                "Skills are integrated out given the benchmark scores. Their uncertainty is that of "
                f"{' and of '.join(sources)}."
            )
        else:
            notes.append("Skills are taken as known.")
        notes.append(
            "Items are integrated out by quadrature, LLMs by Laplace's approximation. Standard deviations maximise the "
            f"restricted likelihood. Intervals of loadings use the t law, because they rest on {len(model.llms)} LLMs."
        )
        summary.add_extra_txt(numbered_notes(notes))
        return summary


def _read_k(k: int | Sequence[int] | np.ndarray) -> np.ndarray:
    values = np.atleast_1d(np.asarray(k))
    if values.dtype.kind not in "iu" or values.ndim != 1 or len(values) == 0 or (values < 1).any():
        raise DataError(f"k is a whole number of tries of at least 1, or several of them; got {k!r}.")
    return values.astype(np.int64)
