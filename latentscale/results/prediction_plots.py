"""Scaling curves, predictions and residuals: long tables and pictures of them, as methods of the results of a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..checks import check_alpha
from ..components.levels import levels_of
from ..errors import DataError
from ..plots import residuals as pictures
from ..plots.calibration import plot_calibration
from ..plots.prediction import plot_prediction
from ..plots.scaling_curves import plot_scaling
from ..plots.scaling_surface import plot_surface
from ..plots.style import note
from ..prediction import calibration_tables, residual_tables, scaling_curves
from .estimates import Estimates

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from narwhals.typing import IntoFrame


class PredictionPlots(Estimates):
    """Tables and plots of ``LatentSkillResults`` about scaling, predictions and residuals.

    Every plot draws a table that another of these methods returns.
    """

    def scaling_curve(
        self, target: str, x: str = "params_b", families: str | Sequence[str] | None = None,
        at: Mapping[str, Any] | None = None, points: int = 40, limits: tuple[float, float] | None = None,
        alpha: float = 0.05, size: int = 2000, seed: int = 0,
        uncertainty: str | Sequence[str] = ("parameters", "family", "score"),
        columns: tuple[str, str] = ("params_b", "tokens_t"),
    ) -> pd.DataFrame:  # fmt: skip
        """Return expected scores of a benchmark, or a skill, along a covariate, family by family.

        Each point is an imagined LLM of the family, predicted as by ``get_prediction``. The other columns of the
        scaling formula are held fixed: at the value in ``at``; else at the value that the LLMs of the family share;
        else at the family's median, or its most frequent value where a column has no numbers. An unseen family gets the
        medians of all LLMs. Along FLOPs, which are 6 times size times tokens, the tokens are held fixed where the LLMs
        of a family share them, and size changes alone. Otherwise both change at the family's median number of tokens
        per parameter, or for an unseen family at that of all LLMs. ``at`` may fix size or tokens instead.

        Parameters
        ----------
        target : str
            A skill or a benchmark; a name that is both is the skill.
        x : str
            A numeric column of the scaling, or ``"flops"``.
        families : str or sequence of str, optional
            Families of the fit, and ``"unseen family"`` for a family from their distribution. By default the five with
            most LLMs at different ``x``, and an unseen family.
        at : dict, optional
            Values of other columns, such as ``{"tokens_t": 2.0}``.
        points : int
            Number of points of the grid, which is even in logarithms where ``x`` is positive. The smallest and largest
            ``x`` of each family are added.
        limits : (float, float), optional
            Ends of the grid; by default the range of the fit's LLMs. Along FLOPs points whose size or tokens leave
            their ranges are then left out.
        alpha : float
            One minus the level of the intervals, which are pointwise.
        size, seed, uncertainty
            As for ``get_prediction``.
        columns : (str, str)
            Columns of size in billions of parameters and of tokens in trillions, from which FLOPs are computed.

        Returns
        -------
        DataFrame
            family, the covariate, inside (whether within the range of the family's LLMs), along FLOPs size and tokens,
            mean, mean_se, mean_ci_lower and mean_ci_upper (of the expected score or of the skill), obs_ci_lower and
            obs_ci_upper (of a score; NaN for skills).

        Raises
        ------
        DataError
            For unknown targets, families and columns; if the parameters have no covariance; for rotated skills, whose
            covariance is singular: ask for ``uncertainty="family"``.

        Examples
        --------
        >>> import latentscale as ls
        >>> panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=["mmlu", "arc", "bbh"])
        >>> fit = ls.LatentSkillModel(panel, "log(params_b)", skills=1).fit(integration="laplace", starts=1)
        >>> curve = fit.scaling_curve("mmlu", families="unseen family", limits=(1.0, 100.0), points=3)
        >>> curve.set_index("params_b")["mean"].round(1).to_dict()
        {1.0: 0.4, 10.0: 0.5, 100.0: 0.7}
        """
        return scaling_curves.scaling_curve(
            self._results, target, x, families, at, points, limits, alpha, size, seed, uncertainty, columns
        )

    def scaling_surface(
        self,
        target: str,
        family: str | None = None,
        at: Mapping[str, Any] | None = None,
        points: int = 31,
        alpha: float = 0.05,
        size: int = 400,
        seed: int = 0,
        columns: tuple[str, str] = ("params_b", "tokens_t"),
    ) -> pd.DataFrame:
        """Return a skill, or the expected score of a benchmark, over a grid of size and tokens.

        Parameters
        ----------
        target : str
            A skill or a benchmark.
        family : str, optional
            A family of the fit, predicted from its posterior. By default the average over families, whose intervals
            contain the uncertainty of the parameters alone.
        at : dict, optional
            Values of other columns of the scaling, held fixed as in ``scaling_curve``.
        points : int
            Number of points on each side of the grid, which is even in logarithms and extends by a quarter beyond the
            LLMs of the fit.
        alpha, size, seed, columns
            As for ``scaling_curve``.

        Returns
        -------
        DataFrame
            Size, tokens, inside (whether in the convex hull of the fit's LLMs, in logarithms), mean, mean_se,
            mean_ci_lower, mean_ci_upper. All sizes at the fewest tokens come first, and so on.

        Raises
        ------
        DataError
            As for ``scaling_curve``, and if the scaling lacks size or tokens.
        """
        return scaling_curves.scaling_surface(self._results, target, family, at, points, alpha, size, seed, columns)

    def prediction_table(
        self,
        data: IntoFrame | None = None,
        benchmark: str | Sequence[str] | None = None,
        alpha: float = 0.05,
        size: int = 2000,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Return prediction intervals beside the observed scores.

        Parameters
        ----------
        data : table, optional
            LLMs with scores; the predictions do not use these scores. By default the LLMs of the fit. Their scores were
            used to fit, so that their intervals cover more often than those of new LLMs will (``leave_family_out``
            measures by how much).
        benchmark : str or sequence of str, optional
            All by default.
        alpha, size, seed
            As for ``get_prediction``.

        Returns
        -------
        DataFrame
            One row per observed score: llm, family, benchmark, score, mean, obs_ci_lower, obs_ci_upper (fractions),
            inside (whether the score lies in its interval).
        """
        return calibration_tables.prediction_table(self._results, data, benchmark, alpha, size, seed)

    def residual_table(self, kind: str = "quantile", seed: int = 0) -> pd.DataFrame:
        """Return the residuals of the observed scores in a long table.

        Parameters
        ----------
        kind, seed
            As for ``residuals``.

        Returns
        -------
        DataFrame
            One row per observed score: llm, family, benchmark, residual, fitted (the expected score that belongs to the
            residual, see ``latentscale.prediction.residuals.fitted_scores``), and the columns of the scaling.
        """
        return residual_tables.residual_table(self._results, kind, seed)

    # --- pictures ---------------------------------------------------------------------------------------------------

    def plot_scaling(
        self,
        target: str | None = None,
        x: str = "params_b",
        families: str | Sequence[str] | None = None,
        ax: Axes | None = None,
        alpha: float = 0.05,
        **options: Any,
    ) -> Axes:
        """Plot scaling curves of a benchmark or a skill by family, with bands and the LLMs of the fit.

        Parameters
        ----------
        target : str, optional
            The first benchmark by default.
        x, families, alpha
            As for ``scaling_curve``.
        ax : matplotlib Axes, optional
        **options
            Options of ``scaling_curve``; by default ``size`` is 1,000 (4,000 where LLMs have residual skills) and
            ``points`` 30.

        Returns
        -------
        matplotlib Axes
        """
        target = self.model.benchmarks[0] if target is None else target
        columns = options.get("columns", ("params_b", "tokens_t"))
        families = scaling_curves.chosen_families(self._results, target, x, families, columns)
        sources = ("parameters", "family", *(("score",) if len(families) == 1 else ()))
        # the residual skills of imagined LLMs are drawn independently, so that smooth bands need more draws
        size = 4000 if len(levels_of(self.structure)) > 1 else 1000
        options = {"size": size, "points": 30, "uncertainty": sources, **options}
        table = self.scaling_curve(target, x, families, alpha=alpha, **options)
        unit = scaling_curves.read_target(self.model, target)[0]
        points = scaling_curves.curve_points(self._results, target, x, columns)
        ax = plot_scaling(table, points, target, "skill" if unit == "skill" else "score", ax, alpha)
        if scaling_curves.holds_others(self.model, x):
            note(ax, "curves hold other covariates")
        return ax

    def plot_surface(
        self,
        target: str | None = None,
        ax: Axes | None = None,
        family: str | None = None,
        alpha: float = 0.05,
        **options: Any,
    ) -> Axes:
        """Plot contours of a skill or a benchmark over size and tokens, with a band about each contour.

        The zero of a skill is, by convention, that of the average family at covariates of zero (in logarithms: one
        billion parameters and one trillion tokens). The band of the contour at level 0 therefore has no width there.

        Parameters
        ----------
        target : str, optional
            The first skill by default.
        ax : matplotlib Axes, optional
        family, alpha
            As for ``scaling_surface``.
        **options
            Options of ``scaling_surface``.

        Returns
        -------
        matplotlib Axes
        """
        target = self.model.skills[0] if target is None else target
        table = self.scaling_surface(target, family, alpha=alpha, **options)
        llms, corners = scaling_curves.surface_llms(self.model, list(table.columns[:2]))
        kind = scaling_curves.read_target(self.model, target)[0]
        unit = "units of skill" if kind == "skill" else "expected score (fraction)"
        words = f"{target}: {unit}, {'average over families' if family is None else family}"
        return plot_surface(table, llms, corners, words, ax, alpha)

    def plot_prediction(
        self,
        data: IntoFrame | None = None,
        benchmark: str | Sequence[str] | None = None,
        ax: Axes | None = None,
        alpha: float = 0.05,
        **options: Any,
    ) -> Axes:
        """Plot prediction intervals against observed scores; the legend says what share of the scores they contain.

        Parameters
        ----------
        data, benchmark, alpha
            As for ``prediction_table``.
        ax : matplotlib Axes, optional
        **options
            ``size`` and ``seed``.

        Returns
        -------
        matplotlib Axes
        """
        table = self.prediction_table(data, benchmark, alpha, **options)
        names = list(dict.fromkeys(table["benchmark"]))
        what = names[0] if len(names) == 1 else f"{len(names)} benchmarks"
        words = f"{what}, LLMs of the fit (their scores were seen)" if data is None else f"{what}, new table"
        return plot_prediction(table, ax, alpha, words)

    def plot_residuals(
        self,
        kind: str = "quantile",
        against: str = "fitted",
        benchmark: str | Sequence[str] | None = None,
        ax: Axes | None = None,
        alpha: float = 0.05,
        seed: int = 0,
    ) -> Axes:
        """Plot residuals against fitted scores or a covariate, normal quantiles, or group by group.

        Parameters
        ----------
        kind : {"quantile", "pearson", "response"}
            Only quantile residuals are independent and standard normal under the model.
        against : str
            ``"fitted"``, ``"qq"``, ``"benchmark"``, ``"family"`` or a column of the scaling.
        benchmark : str or sequence of str, optional
            All by default.
        ax : matplotlib Axes, optional
        alpha : float
            One minus the level of the bands, which are pointwise.
        seed : int
            Seed of the draws of quantile residuals. A pattern that another seed does not show is due to chance.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        DataError
            For an unknown kind, column or benchmark.
        """
        check_alpha(alpha)
        table = self.residual_table(kind, seed)
        table = table[table["benchmark"].isin(calibration_tables.chosen_benchmarks(self.model, benchmark))]
        how = pictures.check_against(table, against, kind)
        if how == "qq":
            return pictures.plot_normal(residual_tables.normal_order(table["residual"], alpha), kind, ax, alpha)
        if how == "groups":
            return pictures.plot_groups(table, against, kind, ax, alpha)
        logged = against != "fitted" and residual_tables.is_bent(table[against])
        smooth = residual_tables.trend(table, against, alpha, logged)
        return pictures.plot_against(table, against, smooth, kind, ax, alpha, logged)

    def plot_calibration(
        self,
        data: IntoFrame | None = None,
        kind: str = "coverage",
        benchmark: str | Sequence[str] | None = None,
        ax: Axes | None = None,
        **options: Any,
    ) -> Axes:
        """Plot coverage of central intervals against their level, or the histogram of PIT values.

        The probability integral transform (PIT) of the score of a new LLM is the predictive probability of a lower
        score. For a score of the fit it is the normal distribution function of its quantile residual, which is uniform
        under the model; this shows how well the model describes the scores that it was fitted to, not how well it
        predicts.

        Parameters
        ----------
        data : table, optional
            LLMs with scores, as for ``prediction_table``.
        kind : {"coverage", "pit"}
        benchmark : str or sequence of str, optional
        ax : matplotlib Axes, optional
        **options
            ``size`` and ``seed``.

        Returns
        -------
        matplotlib Axes
        """
        table = calibration_tables.pit_table(self._results, data, benchmark, **options)
        if table.empty:
            raise DataError("There is no observed score whose place in its law could be shown.")
        return plot_calibration(table, kind, ax)
