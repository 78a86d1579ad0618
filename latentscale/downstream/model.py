"""DownstreamModel: a further score of LLMs, regressed on the skills of a fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..checks import check_names, check_number, check_one_of, check_switch
from ..components.curve import ASYMPTOTES, check_room
from ..errors import DataError
from ..known_benchmarks import CHANCE_LEVELS
from ..panel import BenchmarkPanel
from ..parameters import kinds
from ..parameters.named import Parameters
from ..results.latent_skill import LatentSkillResults, RotatedResults
from ..tables import counted, read_llms, read_table, require_columns, some
from .results import fit_downstream
from .target import Target

if TYPE_CHECKING:
    from narwhals.typing import IntoFrame

    from ..boundary import PreparedScores
    from .results import DownstreamResults


class DownstreamModel:
    """Beta regression of a further score on the skills of a fit, with the skills' uncertainty integrated out.

    For LLM i of family l with a score of the target T::

        Y_iT ~ Beta(mu_i phi, (1 - mu_i) phi),  mu_i = c + (d - c) F(lambda' theta_i + b + u_l),

    with F logistic. The target is modelled like one more benchmark, but it has no influence on the skills. The family
    effect u_l ~ N(0, s^2), with s called ``family_sd``, is ability on the target that none of the benchmarks measures.
    lambda, b, phi and s maximise the likelihood of the target's scores given the benchmark scores::

        sum_l log E[ prod_{i in l} f(y_iT | theta_i) | benchmark scores of family l ],

    at the estimates of the fit. If estimates of theta_i were plugged in, their errors would be taken for noise of the
    target: the precision phi would be too small, and so would standard errors. Standard errors also contain the
    uncertainty of the parameters of the fit (Murphy and Topel 1985).

    Parameters
    ----------
    fit : LatentSkillResults
    target : str
        Column of the target's scores, fractions in [0, 1] with missing cells.
    data : table, optional
        One row per LLM, with the target and a column of LLM names that is called as in the fit's panel. By default the
        table of the fit's panel.
    skills : sequence of str, optional
        Skills with free loadings, by default all. The loadings on the others are zero.
    asymptotes : {"chance", "lower", "both"}
        As in ``LatentSkillModel``, with the same weak penalty on estimated asymptotes.
    chance : float, optional
        Guessing level in [0, 1); by default that of ``latentscale.CHANCE_LEVELS``, or 0.
    boundary : {"squeeze", "censor", "error"}, optional
        What to do about scores of exactly 0 or 1; by default what the fit's panel does.
    shrink : float or None, default "fit"
        Standard deviation e of the penalty -lambda' Sigma lambda / (2 e^2) on the loadings; None for no penalty;
        ``"fit"`` for the ``shrink_effects`` of the fit's model.
    family_effect : bool
        Whether families have effects u_l. Without them the loadings become so large that the error of the skills
        accounts for what families share on the target, and LLMs of other families are predicted badly. A weak penalty
        keeps s off zero (``latentscale.components.penalty``).

    Raises
    ------
    DataError
        If the target is one of the fit's benchmarks, if its scores are unusable or too few for the parameters; for
        unknown skills, LLMs or options; or if ``fit`` is not a fit of LatentSkillModel.

    Examples
    --------
    >>> import latentscale as ls
    >>> panel = ls.BenchmarkPanel(ls.load_leaderboard())
    >>> fit = ls.LatentSkillModel(panel, skills=1).fit(integration="laplace", starts=1)
    >>> DownstreamModel(fit, "humaneval")
    <DownstreamModel: humaneval on 1 skill, 83 LLMs in 25 families>
    """

    def __init__(
        self, fit: LatentSkillResults, target: str, data: IntoFrame | None = None,
        skills: str | Sequence[str] | None = None, asymptotes: str = "chance", chance: float | None = None,
        boundary: str | None = None, shrink: float | str | None = "fit", family_effect: bool = True,
    ) -> None:  # fmt: skip
        self.parent, self.target = read_fit(fit), str(target)
        model = fit.model
        if self.target in model.benchmarks:
            raise DataError(f"{target!r} is one of the benchmarks of the fit: leave it out there, or choose another.")
        check_one_of("asymptotes", asymptotes, ASYMPTOTES)
        chance = CHANCE_LEVELS.get(self.target, 0.0) if chance is None else chance
        chance = check_number("chance", chance, "a fraction in [0, 1)", 0.0, 1.0, below=True)
        shrink = model.shrink_effects if isinstance(shrink, str) and shrink == "fit" else shrink
        if shrink is not None:
            shrink = check_number("shrink", shrink, "a positive number, None or 'fit'", 0.0, inner=True)
        self.skills = read_skills(skills, model.skills)
        self.family_effect = check_switch("family_effect", family_effect)
        self.asymptotes, self.chance, self.shrink = asymptotes, chance, shrink
        self.boundary = model.panel.boundary if boundary is None else boundary
        model.score_law.check_boundary(self.boundary)
        check_room(asymptotes, [self.chance], [self.target])
        self.scores, self.not_fitted = self._read_scores(data)
        self.prepared = self._prepare()
        self._check_size()

    def __repr__(self) -> str:
        skills, families = counted(len(self.skills), "skill"), counted(self.n_families, "family")
        return f"<DownstreamModel: {self.target} on {skills}, {self.nobs} LLMs in {families}>"

    # --- what the model is ---------------------------------------------------------------------------------------

    @property
    def nobs(self) -> int:
        """Number of LLMs of the fit with a score of the target."""
        return int(self.scores.notna().sum())

    @property
    def n_families(self) -> int:
        """Number of families with a score of the target."""
        return len(np.unique(self.parent.model.family_codes[self.scores.notna().to_numpy()]))

    @property
    def parameters(self) -> Parameters:
        """Names, kinds and labels of the parameters, which are those of a benchmark: Parameters of length P."""
        ends = {"chance": (), "lower": (kinds.LOWER,), "both": (kinds.LOWER, kinds.UPPER)}[self.asymptotes]
        ends = (*ends, kinds.FAMILY_SD) if self.family_effect else ends
        loadings = [(kinds.LOADING, (self.target, skill)) for skill in self.skills]
        precision = (kinds.PRECISION,) if self.parent.model.score_law.has_precision else ()
        others = (kinds.INTERCEPT, *precision, *ends)
        return Parameters.of([*loadings, *((kind, (self.target,)) for kind in others)])

    @property
    def param_names(self) -> list[str]:
        """Names of the parameters."""
        return list(self.parameters.names)

    @property
    def data(self) -> Target:
        """The target's scores as they enter the likelihood: a ``latentscale.downstream.target.Target``."""
        model = self.parent.model
        used = np.array([model.skills.index(skill) for skill in self.skills])
        y, state, edge = self.prepared.y[:, 0], self.prepared.state[:, 0], float(self.prepared.edge[0])
        rest = (self.chance, self.asymptotes, self.shrink, model.score_law, self.family_effect)
        return Target(y, state, edge, used, *rest)

    def fit(
        self, uncertainty: str | Sequence[str] = ("parameters",), integration: str | None = None
    ) -> DownstreamResults:
        """Maximise the likelihood of the target's scores given the benchmark scores.

        Parameters
        ----------
        uncertainty : sequence of str
            With ``"parameters"``, the default, standard errors contain the uncertainty of the fit's estimates. With
            ``()`` these are taken as known.
        integration : {"quadrature", "monte_carlo", "laplace"}, optional
            How the skills are integrated out. By default by quadrature with up to four effects per family, by Sobol
            draws with more, and by Laplace's approximation where LLMs have residual skills.

        Returns
        -------
        DownstreamResults

        Raises
        ------
        DataError
            If the fit has no covariance of its estimates, or for unknown options.

        Warns
        -----
        ConvergenceWarning
            If the optimum was not reached, or the information is not positive definite.
        """
        return fit_downstream(self, uncertainty, integration)

    # --- reading ---------------------------------------------------------------------------------------------------

    def _read_scores(self, data: IntoFrame | None) -> tuple[pd.Series, tuple[str, ...]]:
        """Return the target's scores of the fit's LLMs, Series (n,), and the names of LLMs that it left out."""
        model, name = self.parent.model, self.parent.model.panel.llm
        if data is None:
            table = model.panel.table
            require_columns(table, [self.target], "target")
            column = table[self.target]
        else:
            table = read_table(data)
            require_columns(table, [name, self.target], "column")
            column = table[self.target].set_axis(pd.Index(read_llms(table[name]), name=name))
            unknown = [llm for llm in column.index if llm not in model.panel.llms]
            if unknown:
                raise DataError(
                    f"{len(unknown)} LLMs with the target are not in the fit's panel: {some(unknown)}. The regression "
                    "needs LLMs whose skills the fit knows: add them to the panel, or drop these rows."
                )
        left_out = column.index.difference(model.llms, sort=False)
        return column.reindex(model.llms), tuple(left_out[column[left_out].notna()])

    def _prepare(self) -> PreparedScores:
        """Return the checked scores after the policy for scores of 0 and 1."""
        model = self.parent.model
        table = pd.DataFrame({"llm": list(model.llms), "family": "one", self.target: self.scores.to_numpy()})
        # the column of scores may have any other name
        if self.target in ("llm", "family"):
            raise DataError(f"The target cannot be called {self.target!r}; rename the column.")
        panel = BenchmarkPanel(table, [self.target], "family", "llm", {self.target: self.chance}, self.boundary)
        return panel.prepare(np.ones(len(table), dtype=bool))

    def _check_size(self) -> None:
        size = len(self.param_names)
        if self.nobs <= size + 1 or self.n_families < 2:
            raise DataError(
                f"{self.target} is known for {self.nobs} of the fit's LLMs, in {self.n_families} families: too few for "
                f"{size} parameters. Name fewer skills (skills=[...]), or add scores."
            )


def read_fit(fit: Any) -> LatentSkillResults:
    """Return a fit of a LatentSkillModel that was not rotated, or raise a DataError."""
    if not isinstance(fit, LatentSkillResults):
        raise DataError(f"The skills come from a fit of LatentSkillModel, not from {type(fit).__name__}.")
    if isinstance(fit, RotatedResults):
        raise DataError("Rotated skills have no regressions of their own: give the fit that was rotated.")
    return fit


def read_skills(skills: str | Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the skills with free loadings, in the order of the fit; all by default."""
    wanted = check_names("skills", skills, known, "skills of the fit")
    return tuple(skill for skill in known if skill in wanted)
