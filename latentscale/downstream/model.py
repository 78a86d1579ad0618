"""DownstreamModel: a further score of LLMs, regressed on the skills of a fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..checks import check_names, check_number, check_one_of, check_switch
from ..components.curve import ASYMPTOTES
from ..errors import DataError
from ..known_benchmarks import CHANCE_LEVELS
from ..panel import BenchmarkPanel
from ..parameters import kinds
from ..parameters.named import Parameters
from ..results.latent_skill import LatentSkillResults, RotatedResults
from ..tables import read_llms, read_table, require_columns, some
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

    F logistic: the target is one more benchmark, but it has no say in what the skills are. u_l ~ N(0, s^2), with s
    called ``family_sd``, is what the target asks of a family that no benchmark does. lambda, b, phi and s maximise the
    likelihood of the target's scores given all others::

        sum_l log E[ prod_{i in l} f(y_iT | theta_i) | benchmark scores of family l ],

    at the estimates of the fit. With estimates plugged in for theta_i their errors would pass for noise of the target:
    a precision phi too small, and standard errors that leave them out. Standard errors add what the estimates of the
    fit contribute (Murphy and Topel 1985).

    Parameters
    ----------
    fit : LatentSkillResults
    target : str
        Column of the target's scores, fractions in [0, 1] with missing cells.
    data : table, optional
        One row per LLM with a column of names, called as in the fit's panel, and the target. By default the table of
        the fit's panel.
    skills : sequence of str, optional
        Skills that may load; all by default. The others have loadings of zero.
    asymptotes : {"chance", "lower", "both"}
        As in ``LatentSkillModel``; estimated ones have the same weak penalty.
    chance : float, optional
        Guessing level in [0, 1); by default that of ``latentscale.CHANCE_LEVELS``, or 0.
    boundary : {"squeeze", "censor", "error"}, optional
        What to do about scores of exactly 0 or 1; by default what the fit's panel does.
    shrink : float or None, default "fit"
        e of a penalty -lambda' Sigma lambda / (2 e^2) on the loadings, None for none; ``"fit"`` takes the
        ``shrink_effects`` of the fit's model.
    family_effect : bool
        Whether there is a u_l. Without it loadings run to where they pass what the target alone asks for off as error
        of the skills, and LLMs of other families are predicted badly. s has a weak penalty that keeps it off zero
        (``latentscale.components.penalty``).

    Raises
    ------
    DataError
        If the target is one of the fit's benchmarks, has unusable scores, or too few for the parameters; for unknown
        skills, LLMs or options; or if the fit is not one of LatentSkillModel.

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
        self.scores, self.not_fitted = self._read_scores(data)
        self.prepared = self._prepare()
        self._check_size()

    def __repr__(self) -> str:
        k = len(self.skills)
        return (
            f"<DownstreamModel: {self.target} on {k} skill{'s' * (k > 1)}, {self.nobs} LLMs in {self.n_families} "
            f"famil{'ies' if self.n_families > 1 else 'y'}>"
        )

    # --- what the model is ---------------------------------------------------------------------------------------

    @property
    def nobs(self) -> int:
        """LLMs of the fit with a score of the target."""
        return int(self.scores.notna().sum())

    @property
    def n_families(self) -> int:
        """Their families."""
        return len(np.unique(self.parent.model.family_codes[self.scores.notna().to_numpy()]))

    @property
    def parameters(self) -> Parameters:
        """The parameters with their kinds and labels, as those of a benchmark: Parameters (P,)."""
        ends = {"chance": (), "lower": (kinds.LOWER,), "both": (kinds.LOWER, kinds.UPPER)}[self.asymptotes]
        ends = (*ends, kinds.FAMILY_SD) if self.family_effect else ends
        loadings = [(kinds.LOADING, (self.target, skill)) for skill in self.skills]
        precision = (kinds.PRECISION,) if self.parent.model.score_law.has_precision else ()
        others = (kinds.INTERCEPT, *precision, *ends)
        return Parameters.of([*loadings, *((kind, (self.target,)) for kind in others)])

    @property
    def param_names(self) -> list[str]:
        """Names of the parameters, as those of a benchmark."""
        return list(self.parameters.names)

    @property
    def data(self) -> Target:
        """The target's scores as the likelihood takes them: a ``latentscale.downstream.target.Target``."""
        model = self.parent.model
        used = np.array([model.skills.index(skill) for skill in self.skills])
        y, state, edge = self.prepared.y[:, 0], self.prepared.state[:, 0], float(self.prepared.edge[0])
        rest = (self.chance, self.asymptotes, self.shrink, model.score_law, self.family_effect)
        return Target(y, state, edge, used, *rest)

    def fit(
        self, uncertainty: str | Sequence[str] = ("parameters",), integration: str | None = None
    ) -> DownstreamResults:
        """Maximise the likelihood of the target's scores given the others.

        Parameters
        ----------
        uncertainty : sequence of str
            With ``"parameters"``, the default, standard errors carry those of the fit's estimates; without it, as
            ``()``, they take the law of skills as known.
        integration : {"quadrature", "monte_carlo", "laplace"}, optional
            How skills are integrated out: by default on a grid with up to four effects a family, by Sobol draws beyond,
            and by Laplace's approximation where LLMs have residual skills.

        Returns
        -------
        DownstreamResults

        Raises
        ------
        DataError
            If the fit has no covariance of its estimates to carry, or for unknown options.

        Warns
        -----
        ConvergenceWarning
            If the optimum was not reached, or the information is not positive definite.
        """
        return fit_downstream(self, uncertainty, integration)

    # --- reading ---------------------------------------------------------------------------------------------------

    def _read_scores(self, data: IntoFrame | None) -> tuple[pd.Series, tuple[str, ...]]:
        """Scores of the fit's LLMs, Series (n,), and the names of LLMs with a score that the fit left out."""
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
        left = column.index.difference(model.llms, sort=False)
        return column.reindex(model.llms), tuple(left[column[left].notna()])

    def _prepare(self) -> PreparedScores:
        """Checked scores after the boundary policy."""
        model = self.parent.model
        table = pd.DataFrame({"llm": list(model.llms), "family": "one", self.target: self.scores.to_numpy()})
        # the column of scores may bear any name but these
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
    if not isinstance(fit, LatentSkillResults):
        raise DataError(f"The skills come from a fit of LatentSkillModel, not from {type(fit).__name__}.")
    if isinstance(fit, RotatedResults):
        raise DataError("Rotated skills have no regressions of their own: give the fit that was rotated.")
    return fit


def read_skills(skills: str | Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """Names of the skills that load, in the fit's order."""
    wanted = check_names("skills", skills, known, "skills of the fit")
    return tuple(skill for skill in known if skill in wanted)
