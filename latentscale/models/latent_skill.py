"""The latent skill model: beta responses driven by latent skills with family random effects (Cai et al. 2025)."""


from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from ..checks import check_seed
from ..components.beta_law import Beta
from ..components.cells import Cells
from ..components.curve import LINK, check_room
from ..components.identification import Pattern, identification_form, unrotated
from ..components.levels import simulated_predictors
from ..components.penalty import (
    DEFAULT_LINK_SD,
    DEFAULT_SD,
    Penalty,
    PrecisionPenalty,
    ShapePenalty,
    Shrinkage,
    SpreadPenalty,
)
from ..components.random_effects import (
    RandomEffects,
    benchmark_effects,
    independent_residual_skills,
    nested_families,
    random_slopes,
    residual_skills,
)
from ..components.response import simulate_scores
from ..components.scaling import build_design, within_family_constants
from ..components.score_laws import ScoreLaw
from ..errors import DataError
from ..likelihood.natural_scale import natural_hessian, natural_loglike, natural_score
from ..likelihood.objective import Objective
from ..panel import BenchmarkPanel, require_panel
from ..parameters.kinds import GROUP_SHARE
from ..parameters.recoding import Recoding
from ..parameters.space import ParameterSpace
from ..parameters.structure import Layout
from ..parameters.table import ParameterTable
from .latent_skill_options import LATENT_SKILL_OPTIONS, TRANSLOG
from .options import checked_options, keep_options
from .rows import PanelModel, Rows
from .skill_terms import check_family_terms, read_random_terms, skill_design


class LatentSkillLaw(PanelModel):
    """The latent skill model as a law of scores: its data, parameters, penalties, log-likelihood and simulation.

    ``latentscale.model.LatentSkillModel``, which users see and whose docstring has the equations and the options, adds
    the identification report and ``fit`` to it. Nothing here knows how a model is fitted, so that estimation, inference
    and results can all build on it.

    Attributes
    ----------
    panel : BenchmarkPanel
    form : Anchored, Echelon or Confirmatory
    pattern : Pattern
        What the form says of each loading and covariance, given the panel's benchmarks.
    design : Design
        The covariates x (n, p) of the n LLMs in the likelihood.
    rows : Rows
        Which LLMs of the panel enter the likelihood.
    prepared : PreparedScores
        The scores of those LLMs under the panel's boundary policy.
    families : array (L,)
        Names of the families.
    family_codes : int array (n,)
        The family of each LLM, as its position in ``families``.
    groups : array (G,)
        Names of the groups in which families are nested; the families themselves without ``nested``. Scores of
        different groups are independent.
    group_codes : int array (n,)
        The group of each LLM, as its position in ``groups``.
    precision_design : Design or None
        The covariates of the precisions.
    precision_centre : array (q,) or None
        Their means over the LLMs, which are subtracted, so that phi_j is the precision of an average LLM; copies of the
        model keep it.
    centring_design : array (m, p)
        Random slopes multiply covariates minus their means over these m LLMs. They are the LLMs in the likelihood;
        a copy of the model on resampled families keeps those of the original, so that effects mean the same in both.
    score_law : ScoreLaw
        The law of a score given its expected value: an attribute of the class, which a subclass may set to another law
        (``latentscale.components.score_laws``).
    table : ParameterTable
    """

    OPTIONS = LATENT_SKILL_OPTIONS
    # copies keep the recoding, so that a coordinate of the optimisers is the same quantity in the copy and the original
    KEPT_BY_COPIES: ClassVar[tuple[str, ...]] = ("recoding",)
    score_law: ScoreLaw = Beta()

    def __init__(
        self,
        panel: BenchmarkPanel,
        scaling: str | None = TRANSLOG,
        skills: Any = 4,
        asymptotes: str = "chance",
        asymptote_sd: float = DEFAULT_SD,
        random_slopes: str | Sequence[str] | bool | None = None,
        link: str = "logistic",
        link_sd: float = DEFAULT_LINK_SD,
        shrink_effects: float | None = None,
        shrink_slopes: float | None = None,
        outliers: float = 0.0,
        llm_effects: bool | str = False,
        family_covariates: str | None = None,
        avoid_zero_sd: bool = False,
        benchmark_effects: bool | str = False,
        precision_sd: float | None = None,
        precision: str | None = None,
        own_precision_slopes: bool = False,
        nested: bool = False,
    ) -> None:
        options = checked_options(self.OPTIONS, locals())
        require_panel(panel, self)
        self.panel = panel
        keep_options(self, options)
        self.score_law = self.score_law.with_outliers(self.outliers)
        self.score_law.check_boundary(panel.boundary)
        check_room(asymptotes, panel.chance, panel.benchmarks)
        has_score = panel.scores.notna().any(axis=1).to_numpy()
        if not has_score.any():
            raise DataError("No LLM has a score.")
        self.form = identification_form(skills, panel.benchmarks, panel.scores)
        self.pattern = self.form.resolve(panel.benchmarks)
        complete = has_score if precision is None else build_design(precision, panel.table, has_score).keep
        self.design, self.family_terms = skill_design(scaling, family_covariates, panel.table, complete)
        self.centring_design = self.design.x
        keep = self.design.keep
        self.precision_design = None if precision is None else build_design(precision, panel.table, keep)
        self.precision_centre = None if self.precision_design is None else self.precision_design.x.mean(axis=0)
        names = np.asarray(panel.llms)
        self.rows = Rows(keep, tuple(names[has_score & ~keep]), tuple(names[~has_score]))
        self.prepared = panel.prepare(keep)
        labels = panel.families[keep].to_numpy()
        self.families, self.family_codes = np.unique(labels, return_inverse=True)
        self.groups, self.group_codes = self.families, self.family_codes
        if self.nested:
            if panel.groups is None:
                raise DataError("nested=True needs the panel's groups: BenchmarkPanel(..., groups='base_family').")
            self.groups, self.group_codes = np.unique(panel.groups[keep].to_numpy(), return_inverse=True)
        self.between_only = tuple(within_family_constants(self.design.x, self.terms, self.family_codes))
        if self.family_terms:
            check_family_terms(self.design, self.family_terms, self.families, self.family_codes)
        self._check_scores()
        self.random_terms = read_random_terms(random_slopes, self.terms, self.between_only)
        self.table = self._parameter_table(self.pattern, self.effects)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}: {self.n_llms} LLMs, {self.n_families} families, {len(self.benchmarks)} "
            f"benchmarks, {self.pattern.n_skills} skills, {self.table.size} parameters>"
        )

    # --- what the model is -------------------------------------------------------------------------------

    @property
    def skills(self) -> tuple[str, ...]:
        """Names of the skills, tuple of K str."""
        return self.pattern.skills

    @property
    def n_llms(self) -> int:
        """Number n of LLMs in the likelihood."""
        return int(self.rows.keep.sum())

    @property
    def n_groups(self) -> int:
        """Number of groups of families, whose scores are independent; that of families without ``nested``."""
        return len(self.groups)

    @property
    def nobs(self) -> int:
        """Number of observed scores in the likelihood."""
        return int(self.prepared.n_observed.sum())

    @property
    def param_names(self) -> list[str]:
        """Names of the P free parameters, in the order of a parameter vector."""
        return list(self.table.names)

    # --- derivatives on the natural scale ------------------------------------------------------------------

    def loglike(self, params: Any, integration: str = "quadrature", **options: Any) -> float:
        """Return the marginal log-likelihood, without the penalties.

        Parameters
        ----------
        params : Series, dict or array
            Natural parameters, by name or as a vector (P,) in the order of ``param_names``.
        integration : {"quadrature", "laplace", "monte_carlo"}
            How families' effects are integrated out. Models with ``llm_effects`` have ``"laplace"`` only.
        **options
            Options of the rule: ``points``, the nodes in each dimension of quadrature; ``draws``, the draws of each
            scrambling of Monte Carlo (a power of two), with ``t_df`` and ``seed``.

        Returns
        -------
        float

        Raises
        ------
        DataError
            If the parameters do not match ``param_names`` or are outside the parameter space.
        """
        return natural_loglike(self, self.table.read(params), integration, options)

    def score(self, params: Any, integration: str = "quadrature", **options: Any) -> pd.Series:
        """Return the gradient of ``loglike``, exact for every rule of integration: Series (P,)."""
        value = natural_score(self, self.table.read(params), integration, options)
        return pd.Series(value, index=self.param_names, name="score")

    def hessian(self, params: Any, integration: str = "quadrature", **options: Any) -> pd.DataFrame:
        """Return the second derivatives of the log-likelihood: DataFrame (P, P).

        On nodes they come from Louis's identity, with the nodes adapted at ``params`` and then held still; for
        Laplace's approximation, from fourth-order differences of its exact gradient.
        """
        value = natural_hessian(self, self.table.read(params), integration, options)
        return pd.DataFrame(value, index=self.param_names, columns=self.param_names)

    def simulate(self, params: Any, seed: int | np.random.SeedSequence = 0) -> pd.DataFrame:
        """Return a table of scores simulated from the model, with the same covariates and the same missing cells.

        Parameters
        ----------
        params : Series, dict or array (P,)
            Natural parameters.
        seed : int or numpy.random.SeedSequence

        Returns
        -------
        DataFrame
            The panel's table for the LLMs in the likelihood, with simulated scores. Under ``boundary="censor"`` scores
            within half a rounding unit of 0 or 1 are recorded as 0 or 1.
        """
        structure = self.table.structure(self.table.read(params))
        rng = np.random.default_rng(seed if isinstance(seed, np.random.SeedSequence) else check_seed(seed))
        mean = self.design.x @ structure.slopes
        eta = simulated_predictors(rng, structure, self.family_codes, mean, self.random_design, self.group_codes)
        y = simulate_scores(self.score_law, rng, structure, eta, self.dispersion)
        out = self.panel.to_frame()[self.rows.keep].reset_index(drop=True)
        out[list(self.benchmarks)] = self.prepared.simulated(y)
        return out

    def with_random_slopes(self, terms: Iterable[str]) -> Self:
        """Return the same model of the same scores with random slopes on these terms and on no others."""
        model = self.replaced(random_terms=read_random_terms(list(terms), self.terms, self.between_only))
        return model.replaced(table=model._parameter_table(model.pattern, model.effects))

    # --- what estimation works on ----------------------------------------------------------------------------

    @cached_property
    def recoding(self) -> Recoding:
        """The change from the covariates that users write to uncorrelated ones of variance one, for the optimisers."""
        return Recoding.whitening(self.design.x)

    @cached_property
    def user_cells(self) -> Cells:
        """The observed scores as the likelihood takes them, with the covariates that users write."""
        prepared = self.prepared
        return Cells.from_tables(
            self.score_law, prepared.y, prepared.state, prepared.edge, self.group_codes, self.design.x,
            self.random_design, self.dispersion, self.family_codes if self.nested else None,
        )  # fmt: skip

    @cached_property
    def random_design(self) -> np.ndarray:
        """Covariates of the r random slopes minus their means over the LLMs, array (n, r)."""
        return self.random_covariates(self.design.x)

    def random_covariates(self, x: np.ndarray) -> np.ndarray:
        """Return the covariates of the random slopes, array (m, r), of m LLMs with covariates x (m, p)."""
        where = [self.terms.index(term) for term in self.random_terms]
        return x[:, where] - self.centring_design[:, where].mean(axis=0)

    @cached_property
    def dispersion(self) -> np.ndarray | None:
        """Covariates of the precisions minus their means over the LLMs, array (n, q); None where there are none."""
        return None if self.precision_design is None else self.precision_design.x - self.precision_centre

    def dispersion_of(self, table: pd.DataFrame) -> np.ndarray | None:
        """Return the covariates of the precisions, (m, q), of the LLMs of a further table.

        Raises
        ------
        DataError
            If columns are absent, or a covariate is missing in some rows.
        """
        if self.precision_design is None:
            return None
        w = self.precision_design.code(table)
        missing = list(table.index[np.isnan(w).any(axis=1)])
        if missing:
            raise DataError(
                f"{len(missing)} LLMs lack a covariate of precision={self.precision!r} and cannot be predicted: "
                f"{missing[:5]}. Fill in or drop those rows."
            )
        return w - self.precision_centre

    def groups_of(self, table: pd.DataFrame, codes: np.ndarray) -> np.ndarray:
        """Return the group of each LLM of a further table, as a position in ``groups``; -1 for an unseen one.

        Parameters
        ----------
        table : DataFrame (m rows)
            Unseen families have their group in the panel's column of groups; without it they are of unseen groups.
        codes : int array (m,)
            Position of each LLM's family in ``families``, -1 for an unseen one.
        """
        of_family = self.group_codes[np.unique(self.family_codes, return_index=True)[1]]
        known = {group: code for code, group in enumerate(self.groups)}
        column = self.panel.options.get("groups")
        named = [known.get(str(name), -1) for name in table[column]] if column in table.columns else [-1] * len(table)
        return np.where(codes >= 0, of_family[codes], named)

    @cached_property
    def effects(self) -> tuple[RandomEffects, ...]:
        """Random effects beside the families' effects on skills: tuple of ``components.levels.RandomEffects``."""
        k = self.pattern.n_skills
        out = [random_slopes(self.random_terms, self.random_design, k)] if self.random_terms else []
        if self.llm_effects == "proportional":
            out.append(residual_skills())
        if self.llm_effects == "diagonal":
            out.append(independent_residual_skills(k))
        if self.benchmark_effects:
            out.append(benchmark_effects(self.benchmarks, self.benchmark_effects == "equal"))
        if self.nested:
            out.append(nested_families())
        return tuple(out)

    @property
    def has_free_axes(self) -> bool:
        """Whether the form only chooses the axes of the skills.

        Then every law of the model with all loadings free can be written in this form, by rotating the skills.
        """
        return self.pattern.reachable and all(effect.rotates for effect in self.effects)

    @cached_property
    def internal_cells(self) -> Cells:
        """The observed scores as the likelihood takes them, with the covariates of the optimisers."""
        return self.user_cells.with_design(self.recoding.design(self.design.x))

    @cached_property
    def chance(self) -> np.ndarray:
        """Scores that guessing reaches on each benchmark, array (J,)."""
        return self.panel.chance.to_numpy(dtype=float)

    @cached_property
    def penalty(self) -> Penalty:
        """The penalties as a function of the structural vector s for the covariates of the optimisers."""
        return self.penalty_on(self.table)

    def penalty_on(self, table: ParameterTable) -> Penalty:
        """Return the penalties for another parameter table of this model, such as that of a search over starts."""
        return self._penalty(table, np.eye(len(self.terms)))

    @cached_property
    def space(self) -> ParameterSpace:
        """The unconstrained vectors u (P,) over which optimisers maximise."""
        return ParameterSpace(self.table)

    @property
    def objective(self) -> Objective:
        """The penalised log-likelihood as a function of the optimiser's vector u."""
        return Objective(self.space, self.internal_cells, self.penalty)

    @cached_property
    def search_form(self) -> tuple[Pattern, ParameterSpace]:
        """Pattern and parameter space of the search over starts, without the random effects that it leaves out.

        If the model's form only chooses the axes of the skills, the search leaves axes open: all loadings are free and
        the families' effects have the identity covariance.
        """
        pattern = unrotated(self.skills, len(self.benchmarks)) if self.pattern.reachable else self.pattern
        searched = [effect for effect in self.effects if effect.in_search]
        return pattern, ParameterSpace(self._parameter_table(pattern, searched))

    @cached_property
    def natural_penalty(self) -> Penalty:
        """The penalties as a function of the structural vector s for the covariates that users write."""
        return self._penalty(self.table, np.atleast_2d(np.cov(self.design.x.T, bias=True)))

    def _penalty(self, table: ParameterTable, design_cov: np.ndarray) -> Penalty:
        """Return the sum of the model's penalties; ``design_cov`` (p, p) is the covariance of the covariates."""
        penalties: list[Any] = [ShapePenalty.for_table(table, self.chance, self.asymptote_sd, self.link_sd)]
        if self.precision_sd is not None:
            where, centre = table.layout.index("precision"), self.score_law.precision_centre
            penalties.append(PrecisionPenalty(where[table.free[where]], centre, self.precision_sd))
        if self.avoid_zero_sd:
            penalties.append(self._spread_penalty(table.layout))
        if self.shrink_effects is not None or self.shrink_slopes is not None:
            penalties.append(Shrinkage(table.layout, design_cov, self.shrink_effects, self.shrink_slopes))
        return Penalty(tuple(penalties))

    def _spread_penalty(self, layout: Layout) -> SpreadPenalty:
        """Return the penalty that keeps standard deviations of random effects away from zero."""
        present = [effect for effect in self.effects if effect.block in layout.slices]
        effects = [effect for effect in present if effect.kind is not GROUP_SHARE]
        blocks = [(layout.index(effect.block), effect.spreads) for effect in effects]
        where, rates = ([pair[side].ravel() for pair in blocks] for side in (0, 1))
        return SpreadPenalty(np.concatenate([*where, np.zeros(0, dtype=int)]), np.concatenate([*rates, np.zeros(0)]))

    def _parameter_table(self, pattern: Pattern, effects: Sequence[RandomEffects]) -> ParameterTable:
        """Return the table of parameters under a pattern of loadings and with some of the random effects."""
        n_link, k = len(LINK) if self.link == "monotone" else 0, pattern.n_skills
        scales = tuple(effect.scale_block for effect in effects)
        shapes = tuple((block.name, block.shape(k)) for block in scales)
        slopes = () if self.precision_design is None else self.precision_design.terms
        own = self.own_precision_slopes
        layout = Layout(
            len(self.benchmarks), k, len(self.terms), n_link, shapes, (len(slopes), len(self.benchmarks) if own else 1)
        )
        fixed = np.full(layout.size, np.nan)
        fixed[layout.slices["loadings"]] = pattern.fixed.ravel()
        fixed[layout.slices["skill_cov"]] = pattern.fixed_covariance()
        if not self.score_law.has_precision:
            fixed[layout.slices["precision"]] = 1.0
        if self.asymptotes != "both":
            fixed[layout.slices["upper"]] = 1.0
        if self.asymptotes == "chance":
            fixed[layout.slices["lower"]] = self.panel.chance.to_numpy(dtype=float)
        return ParameterTable(self.benchmarks, pattern.skills, self.terms, fixed, n_link, scales, slopes, own)

    # --- checks ----------------------------------------------------------------------------------------------

    def _check_scores(self) -> None:
        """Refuse benchmarks without a score, or with one and the same score for all LLMs."""
        seen = self.prepared.n_observed
        empty = [name for name, count in zip(self.benchmarks, seen, strict=True) if count == 0]
        if empty:
            raise DataError(
                f"The benchmarks {empty} have no score among the {self.n_llms} LLMs with covariates; leave them out."
            )
        y = self.prepared.y
        flat = [
            name for name, col in zip(self.benchmarks, y.T, strict=True) if np.nanmax(col) == np.nanmin(col)
        ]
        if flat:
            raise DataError(
                f"The benchmarks {flat} have one and the same score for all LLMs with covariates; leave them out."
            )
