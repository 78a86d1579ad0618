"""Parameters of a fit in long tables and in pictures of them, as methods of its results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..checks import check_name, check_names
from ..errors import DataError
from ..parameters.kinds import LOADING, SLOPE
from ..plots.characteristic_curves import PREDICTOR, plot_curve, plot_curves
from ..plots.families import plot_family_effects, plot_family_posterior, plot_instruct
from ..plots.forests import plot_slopes
from ..plots.loadings import plot_correlations, plot_loadings
from ..plots.starts import plot_starts
from .estimates import Estimates
from .parameter_tables import (
    correlation_table,
    curve_points,
    curve_table,
    entry_table,
    family_effect_table,
    instruct_table,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes


class ParameterPlots(Estimates):
    """Methods of ``LatentSkillResults`` for tables of parameters, and plots that draw nothing but these tables."""

    # --- tables ----------------------------------------------------------------------------------------------------

    def loading_table(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return the loadings with intervals, a row per benchmark and skill.

        Parameters
        ----------
        alpha : float
            One minus the level of the intervals.

        Returns
        -------
        DataFrame
            benchmark, skill, estimate, std_err, ci_lower, ci_upper, p_value, fixed (whether the model fixes the
            loading). Fixed loadings have no standard error, interval and p-value (NaN).
        """
        return entry_table(self._results, LOADING, self.loadings, ("benchmark", "skill"), alpha)

    def slope_table(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return the slopes with intervals: term, skill, and the other columns of ``loading_table``."""
        return entry_table(self._results, SLOPE, self.slopes, ("term", "skill"), alpha)

    def correlation_table(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return the correlations of family effects with intervals, a row per pair of skills.

        Parameters
        ----------
        alpha : float
            One minus the level of the intervals, which are computed on Fisher's z.

        Returns
        -------
        DataFrame
            first, second, estimate, std_err, ci_lower, ci_upper, fixed. A model of one skill has no rows.
        """
        return correlation_table(self._results, alpha)

    def family_effect_table(self, alpha: float = 0.05) -> pd.DataFrame:
        """Return the posterior of family effects with normal intervals, mean -/+ z sd.

        Parameters
        ----------
        alpha : float
            One minus the level of the intervals.

        Returns
        -------
        DataFrame
            family, skill, mean, sd, n_llms, ci_lower, ci_upper.
        """
        return family_effect_table(self._results, alpha)

    def instruct_table(self, base_family: str = "base_family", instruct: str = "instruct") -> pd.DataFrame:
        """Return the effects of base families beside those of their instruct variants.

        Parameters
        ----------
        base_family, instruct : str
            Columns of the panel: the name that a base family shares with its instruct variant, and whether an LLM is
            tuned on instructions (true or false).

        Returns
        -------
        DataFrame
            One row per pair and skill: base_family, skill, base and variant (names of the families), base_mean,
            base_sd, instruct_mean, instruct_sd.

        Raises
        ------
        DataError
            If a column is absent or is not one value for each family, or there is no pair.
        """
        return instruct_table(self._results, base_family, instruct)

    def characteristic_curves(self, skill: str | None = None, alpha: float = 0.05, points: int = 101) -> pd.DataFrame:
        """Return benchmark characteristic curves: expected scores along the linear predictor or along a skill.

        Parameters
        ----------
        skill : str, optional
            The skill on the horizontal axis, the other skills being held at their means over the LLMs. By default the
            axis is the linear predictor lambda_j' theta + b_j.
        alpha : float
            One minus the level of the bands.
        points : int
            Number of points of each curve, at least 2. They extend a little beyond the LLMs' posterior means.

        Returns
        -------
        DataFrame
            benchmark, at (value on the horizontal axis), eta (linear predictor), mean (expected score), mean_se,
            mean_ci_lower and mean_ci_upper (by the delta method, pointwise, at a fixed value on the axis), score_lower
            and score_upper (quantiles of the law of a score at the estimates).

        Raises
        ------
        DataError
            For an unknown skill, and for ``alpha`` and ``points`` out of range.
        """
        self._check_skill(skill)
        return curve_table(self._results, skill, alpha, points)

    def curve_points(self, skill: str | None = None) -> pd.DataFrame:
        """Return the observed scores that belong to ``characteristic_curves``.

        Parameters
        ----------
        skill : str, optional
            The skill on the horizontal axis, by default the linear predictor.

        Returns
        -------
        DataFrame
            llm, benchmark, at (the linear predictor or the skill at the posterior mean of the LLM's skills), score,
            boundary (whether the score is exactly 0 or 1).
        """
        self._check_skill(skill)
        return curve_points(self._results, skill)

    def _check_skill(self, skill: str | None) -> None:
        if skill is not None:
            check_name("skill", skill, self.model.skills, "skills of the fit")

    # --- pictures --------------------------------------------------------------------------------------------------

    def plot_loadings(self, kind: str = "heatmap", ax: Axes | None = None, alpha: float = 0.05) -> Axes:
        """Plot loadings as a heatmap with numbers or as a forest plot; see ``latentscale.plots.loadings``.

        Parameters
        ----------
        kind : {"heatmap", "forest"}
        ax : matplotlib Axes, optional
        alpha : float
            One minus the level of the intervals, and level of the tests by which numbers of the heatmap are bold.

        Returns
        -------
        matplotlib Axes
        """
        return plot_loadings(self.loading_table(alpha), kind, ax, alpha)

    def plot_slopes(self, ax: Axes | None = None, alpha: float = 0.05) -> Axes:
        """Plot slopes with intervals, skill by skill; returns the matplotlib axes."""
        return plot_slopes(self.slope_table(alpha), ax, alpha)

    def plot_correlations(self, ax: Axes | None = None, alpha: float = 0.05) -> Axes:
        """Plot correlations of family effects with intervals; returns the matplotlib axes.

        Raises
        ------
        DataError
            If there is one skill only.
        """
        return plot_correlations(self.correlation_table(alpha), ax, alpha)

    def plot_family_effects(
        self,
        skill: str | None = None,
        ax: Axes | None = None,
        alpha: float = 0.05,
        families: str | Sequence[str] | None = None,
    ) -> Axes:
        """Plot sorted family effects with posterior intervals.

        Parameters
        ----------
        skill : str, optional
            The first one by default.
        ax : matplotlib Axes, optional
        alpha : float
            One minus the level of the intervals.
        families : sequence of str or "all", optional
            By default all of them if they are at most 40, and else the 20 highest and the 20 lowest.

        Returns
        -------
        matplotlib Axes
        """
        return plot_family_effects(self.family_effect_table(alpha), skill, ax, alpha, families)

    def plot_instruct(
        self,
        skill: str | None = None,
        ax: Axes | None = None,
        base_family: str = "base_family",
        instruct: str = "instruct",
        labels: int = 8,
    ) -> Axes:
        """Plot effects of instruct families against those of their base families.

        Parameters
        ----------
        skill : str, optional
            The first one by default.
        ax : matplotlib Axes, optional
        base_family, instruct : str
            Columns of the panel, as for ``instruct_table``.
        labels : int
            Number of instruct families that are named at most: those farthest from the diagonal.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        DataError
            As for ``instruct_table``, and for an unknown skill.
        """
        return plot_instruct(self.instruct_table(base_family, instruct), skill, ax, labels)

    def plot_family_posterior(
        self,
        families: str | Sequence[str],
        skills: Sequence[str] | None = None,
        ax: Axes | None = None,
        size: int = 4000,
        seed: int = 0,
    ) -> Axes:
        """Plot joint posterior densities of families' effects on two skills.

        Parameters
        ----------
        families : str or sequence of str
            At most 8 families.
        skills : sequence of two str, optional
            The first two by default.
        ax : matplotlib Axes, optional
        size : int
            Number of draws of each family, as in ``family_posterior(family, size, seed)``.
        seed : int

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        DataError
            For unknown or too many families, and if there are not two skills.
        """
        known = list(self.model.skills)
        skills = known[:2] if skills is None else check_names("skills", skills, known, "skills of the fit")
        if len(skills) != 2 or skills[0] == skills[1]:
            raise DataError(f"A joint posterior is of two different skills; got {skills} of {', '.join(known)}.")
        posterior = self._results.family_posteriors(seed=seed)
        families = check_names("families", families, posterior.families, "families of the fit")
        draws = {family: posterior.draws(family, size) for family in families}
        means = self._results.family_effects()["mean"].unstack("skill").loc[families, skills]
        return plot_family_posterior(draws, means, ax)

    def plot_curves(
        self,
        benchmarks: str | Sequence[str] | None = None,
        ax: Any = None,
        skill: str | None = None,
        alpha: float = 0.05,
    ) -> Axes | np.ndarray:
        """Plot benchmark characteristic curves with their asymptotes and the observed scores.

        Parameters
        ----------
        benchmarks : str or sequence of str, optional
            One name gives a plot on ``ax``. Several names, by default all, give a panel for each.
        ax : matplotlib Axes, optional
            For several benchmarks a sequence of as many axes.
        skill : str, optional
            The horizontal axis; the linear predictor by default.
        alpha : float
            One minus the level of bands.

        Returns
        -------
        matplotlib Axes, or an array of them for several benchmarks

        Raises
        ------
        DataError
            For unknown names, and for a wrong number of axes.
        """
        names = check_names("benchmarks", benchmarks, self.model.benchmarks, "benchmarks of the fit")
        curves, points = self.characteristic_curves(skill, alpha), self.curve_points(skill)
        curves, points = (table[table["benchmark"].isin(names)] for table in (curves, points))
        words, dots = PREDICTOR, "LLMs"
        if skill is not None:
            several = len(self.model.skills) > 1
            words = f"{skill} (units of the skill{', other skills at their means' if several else ''})"
            dots = "LLMs, with their own other skills" if several else dots
        if isinstance(benchmarks, str):
            return plot_curve(curves, points, self.asymptotes.loc[benchmarks], ax, alpha, words, dots=dots)
        return plot_curves(curves, points, self.asymptotes, ax, alpha, words, dots)

    def plot_starts(self, ax: Axes | None = None) -> Axes:
        """Plot by how much each start of the search ended below the best one; returns the matplotlib axes."""
        return plot_starts(self.starts, ax, self.converged)
