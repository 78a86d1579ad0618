"""LatentSkillModel: beta responses driven by latent skills with family random effects (Cai et al. 2025)."""

import copy
import warnings
from functools import cached_property

import numpy as np
import pandas as pd

from ..components.cells import Cells
from ..components.identification import Pattern, identification_form, unrotated
from ..components.penalty import (
    DEFAULT_LINK_SD,
    DEFAULT_SD,
    Penalty,
    PrecisionPenalty,
    ShapePenalty,
    Shrinkage,
    SpreadPenalty,
)
from ..components.response import LINK, simulate_scores
from ..components.scaling import within_family_constants
from ..errors import DataError
from ..panel import BenchmarkPanel
from ..parameters.recoding import Recoding
from ..parameters.space import ParameterSpace
from ..parameters.structure import Layout
from ..parameters.table import ParameterTable
from .options import check_family_terms, check_options, read_random_terms, skill_design
from .rows import PanelModel, Rows

TRANSLOG = "log(params_b) * log(tokens_t)"


class LatentSkillModel(PanelModel):
    """Marginal maximum likelihood of a beta-response latent-skill model with family random effects.

    For LLM i of family l and benchmark j::

        Y_ij ~ Beta(mu_ij phi_j, (1 - mu_ij) phi_j),  mu_ij = c_j + (d_j - c_j) F(lambda_j' theta_i + b_j),
        theta_i = alpha_l + B' x_i,  alpha_l ~ N(0, Sigma),

    with F logistic, or under ``link="monotone"`` an increasing function of each benchmark's own. With
    ``random_slopes`` the slopes B of the named terms vary between families, independently, with standard deviations
    tau: theta_i = alpha_l + (B + Delta_l)' x_i, where Delta_l counts from the mean of x over the LLMs, so that alpha_l
    is a family's efficiency there. With ``family_covariates`` z_l a family's efficiency has the mean Gamma' z_l:
    alpha_l ~ N(Gamma' z_l, Sigma). With ``llm_effects`` LLMs of one family differ by more than their covariates::

        theta_i = alpha_l + B' x_i + kappa e_i,  e_i ~ N(0, Sigma) independently over LLMs,

    which leaves the axes of the skills as free as they were and adds one parameter, kappa >= 0. Missing scores are left
    out of the likelihood. Main effects of logged size and tokens are slopes at one billion parameters and one trillion
    tokens.

    Parameters
    ----------
    panel : BenchmarkPanel
        LLMs lacking a covariate of ``scaling``, or every score, are dropped; the summary counts them.
    scaling : str
        Formula of the covariates x in the panel's columns; the default is the translog production function.
    skills : Anchored, Echelon, Confirmatory, dict or int
        Form of identification. A dict is ``Anchored``; a number K is ``Echelon`` with pivots chosen from the
        scores' correlations.
    asymptotes : {"chance", "lower", "both"}
        ``"chance"``: c_j the guessing level and d_j = 1. ``"lower"``: c_j estimated. ``"both"``: c_j and d_j
        estimated. Estimated asymptotes are weakly penalised: logit c_j about logit max(chance, .005), logit d_j
        about 3.5.
    asymptote_sd : float
        Standard deviation of those penalties on the logit scale.
    link : {"logistic", "monotone"}
        ``"monotone"``: F_j(eta) = expit(g_j(eta)) with g_j an increasing spline of bounded slope that is straight
        beyond eta = -5.25 and 5.25 (``latentscale.numerics.monotone``), six coordinates a benchmark, all zero for the
        logistic link.
    link_sd : float
        Standard deviation of the normal penalty on those coordinates.
    shrink_effects, shrink_slopes : float, optional
        Standard deviations e and f of normal penalties that shrink loadings and slopes towards zero, in place of a
        choice of the number of skills (``latentscale.components.penalty``). Around 0.5 and 1 a fit with as many
        skills as benchmarks predicts well; standard errors are then those of a penalised fit, which is biased
        towards zero.
    outliers : float
        Share of scores, in [0, 0.5), whose precision is a tenth of their benchmark's: the law of a score is a mixture
        of the two beta laws of mean mu, and single odd scores move the fit less. 0.1 makes for robust predictions.
    random_slopes : str, sequence of str or True, optional
        Terms of ``scaling`` whose slopes vary between families, for instance ``"log(params_b)"``; True for all
        that vary within families.
    llm_effects : bool
        Whether kappa, called ``llm_sd``, is estimated: residual skills of LLMs, in units of the standard deviations of
        family efficiency. Such models are fitted by ``integration="laplace"``. Without them two LLMs of a family are
        told apart by their covariates and the noise of single scores alone, and predictions come out too sure.
        Precisions are weakly penalised with them (``latentscale.components.penalty``): a skill that one benchmark alone
        stands for could otherwise explain its scores to the last digit, and the precision would run to infinity.
    family_covariates : str, optional
        Formula of columns that are constant within families, such as ``"instruct"``: z. Their slopes Gamma are named
        and reported with those of ``scaling``, which could name them too; here it is checked that they are constant
        within families. Families that were not seen are predicted from their z.
    avoid_zero_sd : bool
        Whether standard deviations of random slopes and of residual skills are kept off zero by a penalty, log tau
        less a small rate times tau, which moves an estimate by less than its standard error (Chung et al. 2013). For
        prediction: an estimate of zero, which maximum likelihood often gives, says for certain that families do not
        differ.

    Raises
    ------
    DataError
        If the table cannot be used for this model; the message names rows and columns.
    IdentificationError
        If there are more skills than benchmarks, a skill that no benchmark loads on, a term of ``scaling`` that is
        constant or collinear with others over the LLMs, or a random slope on a term that does not vary within
        families. All else is for ``identification`` to report and for ``fit`` to refuse.

    Examples
    --------
    >>> import latentscale as ls
    >>> model = ls.LatentSkillModel(ls.BenchmarkPanel(ls.load_leaderboard()), skills=ls.Echelon(["bbh", "ifeval"]))
    >>> model
    <LatentSkillModel: 184 LLMs, 65 families, 12 benchmarks, 2 skills, 53 parameters>
    """

    def __init__(
        self, panel, scaling=TRANSLOG, skills=4, asymptotes="chance", asymptote_sd=DEFAULT_SD, random_slopes=None,
        link="logistic", link_sd=DEFAULT_LINK_SD, shrink_effects=None, shrink_slopes=None, outliers=0.0,
        llm_effects=False, family_covariates=None, avoid_zero_sd=False,
    ):  # fmt: skip
        if not isinstance(panel, BenchmarkPanel):
            raise DataError(f"LatentSkillModel takes a BenchmarkPanel, not {type(panel).__name__}.")
        shrunk = {"shrink_effects": shrink_effects, "shrink_slopes": shrink_slopes}
        positive = {"asymptote_sd": asymptote_sd, "link_sd": link_sd}
        switches = {"llm_effects": llm_effects, "avoid_zero_sd": avoid_zero_sd}
        check_options(asymptotes, link, positive, shrunk, outliers, switches)
        self.shrink_effects, self.shrink_slopes, self.outliers = shrink_effects, shrink_slopes, float(outliers)
        self.panel, self.scaling, self.asymptotes, self.link = panel, scaling, asymptotes, link
        self.asymptote_sd, self.link_sd = float(asymptote_sd), float(link_sd)
        self.llm_effects, self.family_covariates = bool(llm_effects), family_covariates
        self.avoid_zero_sd = bool(avoid_zero_sd)
        has_score = panel.scores.notna().any(axis=1).to_numpy()
        if not has_score.any():
            raise DataError("No LLM has a score.")
        self.form = identification_form(skills, panel.benchmarks, panel.scores)
        self.pattern = self.form.resolve(panel.benchmarks)
        self.design, self.family_terms = skill_design(scaling, family_covariates, panel.table, has_score)
        keep = self.design.keep
        names = np.asarray(panel.llms)
        self.rows = Rows(keep, tuple(names[has_score & ~keep]), tuple(names[~has_score]))
        self.prepared = panel.prepare(keep)
        labels = panel.families[keep].to_numpy()
        self.families, self.family_codes = np.unique(labels, return_inverse=True)
        self.between_only = tuple(within_family_constants(self.design.x, self.terms, self.family_codes))
        if self.family_terms:
            check_family_terms(self.design, self.family_terms, self.families, self.family_codes)
        self._check_scores()
        self.random_terms = read_random_terms(random_slopes, self.terms, self.between_only)
        self.table = self._parameter_table(self.pattern, self.random_terms)

    def __repr__(self):
        return (
            f"<LatentSkillModel: {self.n_llms} LLMs, {self.n_families} families, {len(self.benchmarks)} benchmarks, "
            f"{self.pattern.n_skills} skills, {self.table.size} parameters>"
        )

    # --- what the model is -------------------------------------------------------------------------------

    @property
    def skills(self):
        """Skill names, tuple (K,)."""
        return self.pattern.skills

    @property
    def n_llms(self):
        """LLMs in the likelihood."""
        return int(self.rows.keep.sum())

    @property
    def nobs(self):
        """Observed scores in the likelihood."""
        return int(self.prepared.n_observed.sum())

    @property
    def param_names(self):
        """Names of the free parameters, in the order of a parameter vector."""
        return list(self.table.names)

    # --- derivatives on the natural scale ------------------------------------------------------------------

    def loglike(self, params, integration="quadrature", **options):
        """Marginal log-likelihood, without the penalty on asymptotes.

        Parameters
        ----------
        params : Series, dict or array
            By name, or a vector in the order of ``param_names``; natural scale.
        integration : {"quadrature", "laplace", "monte_carlo"}
            Only ``"laplace"`` for models with ``llm_effects``.
        **options
            ``points`` (nodes a dimension), ``draws`` (a scrambling, a power of two), ``t_df``, ``seed``.

        Returns
        -------
        float

        Raises
        ------
        DataError
            If the parameters do not match ``param_names`` or are outside the parameter space.
        """
        from ..estimation.natural import natural_loglike

        return natural_loglike(self, self.table.read(params), integration, options)

    def score(self, params, integration="quadrature", **options):
        """Gradient of ``loglike``, exact for every rule: Series (P,)."""
        from ..estimation.natural import natural_score

        value = natural_score(self, self.table.read(params), integration, options)
        return pd.Series(value, index=self.param_names, name="score")

    def hessian(self, params, integration="quadrature", **options):
        """Second derivatives of the log-likelihood: DataFrame (P, P).

        Louis's identity on the nodes adapted at ``params`` and then frozen; for Laplace, fourth-order
        differences of its exact score.
        """
        from ..estimation.natural import natural_hessian

        value = natural_hessian(self, self.table.read(params), integration, options)
        return pd.DataFrame(value, index=self.param_names, columns=self.param_names)

    def simulate(self, params, seed=0):
        """A new score table from the model, with the same design and missing cells.

        Parameters
        ----------
        params : Series, dict or array
        seed : int

        Returns
        -------
        DataFrame
            Columns of the panel's table, for the LLMs in the likelihood. Under ``boundary="censor"`` scores
            within half a rounding unit of 0 or 1 are recorded as 0 or 1.
        """
        structure = self.table.structure(self.table.read(params))
        rng = np.random.default_rng(seed)
        effects = rng.multivariate_normal(
            np.zeros(self.pattern.n_skills), structure.skill_cov, size=self.n_families, method="cholesky"
        )
        skill = effects[self.family_codes] + self.design.x @ structure.slopes
        for number in range(len(self.random_terms)):
            slopes = structure.slope_sd[number] * rng.standard_normal(effects.shape)
            skill += self.random_design[:, number, None] * slopes[self.family_codes]
        if self.llm_effects:
            own = rng.standard_normal(skill.shape) @ np.linalg.cholesky(structure.skill_cov).T
            skill += structure.kappa * own
        eta = skill @ structure.loadings.T + structure.intercepts
        y = simulate_scores(
            rng, eta, np.broadcast_to(structure.precision, eta.shape), structure.lower, structure.upper, structure.link,
            structure.outliers,
        )
        if self.panel.boundary == "censor":
            edge = self.prepared.edge
            y = np.where(y <= edge, 0.0, np.where(y >= 1.0 - edge, 1.0, y))
        y[self.prepared.state < 0] = np.nan
        out = self.panel.to_frame()[self.rows.keep].reset_index(drop=True)
        out[list(self.benchmarks)] = y
        return out

    def identification(self, points=3, seed=0):
        """Check whether the parameters are determined by the law of the data; the values of the scores play no part.

        Parameters
        ----------
        points : int
            Random parameter points at which the rank of the information is computed.
        seed : int
            Of the points and of the scores simulated there.

        Returns
        -------
        latentscale.inference.identification.IdentificationReport
            Prints one line a check; ``identified``, ``problems``, ``restrictions``, ``flat_directions``.

        Examples
        --------
        >>> import latentscale as ls
        >>> panel = ls.BenchmarkPanel(ls.load_leaderboard())
        >>> report = ls.LatentSkillModel(panel, skills=ls.Echelon(["bbh", "ifeval"])).identification()
        >>> report.identified, report.restrictions
        (True, 'just-identified')
        """
        from ..inference.identification import identification_report

        return identification_report(self, points, seed)

    def fit(self, *, allow_unidentified=False, **options):
        """Maximise the likelihood; ``latentscale.estimation.fit.fit_latent_skill`` lists all options.

        Parameters
        ----------
        allow_unidentified : bool
            Fit a model that the checks of ``identification`` (at one random point, for every form alike; a tenth of a
            second) say is not identified. Standard errors do not exist where the log-likelihood has a flat direction.
        integration : {"monte_carlo", "quadrature", "laplace"}
            Only ``"laplace"`` for models with ``llm_effects``.
        starts : int
            Starts of the search, 10 by default: one from the data, the others at random.
        seed : int
        n_jobs : int, optional
            Starts climbed in parallel, and threads that large tables are spread over; numbers do not depend on it. By
            default one, or what a surrounding ``ls.parallel`` says.
        progress : bool
            Report each start and each round on the standard error stream.
        cov_type : {"observed", "cluster", "opg", "bootstrap", "none"}
            Covariance of the estimates; ``get_robust`` has them with options.
        constraints : str, list of str or array
            Linear restrictions on the natural parameters, such as ``"slope[log(params_b),math] = 0"``.
        start_params : Series, dict or array
            One more start, put first; with it ``starts`` may be 0.
        driver : {"direct", "em", "stochastic"}
            Direct maximisation, Monte Carlo EM, or for very large tables a search on minibatches of families.
        information : bool
            False: no observed information, for fits that only predict (Laplace, ``cov_type="none"``).

        Returns
        -------
        LatentSkillResults

        Raises
        ------
        DataError
            For options that make no sense.
        IdentificationError
            If the model is not identified; the message names the flat directions and what to do.
        latentscale.estimation.fit.FitInterrupted
            On Ctrl-C, with the best parameters so far.

        Warns
        -----
        ConvergenceWarning
            If the optimum was not reached, or the information is not positive definite.
        BoundaryWarning
            If an estimate lies on the edge of its space.
        """
        from ..estimation.fit import fit_latent_skill
        from ..inference.identification import require_identified
        from ..inference.unidentified import fit_unidentified
        from ..results.latent_skill import LatentSkillResults

        if allow_unidentified:
            estimate = fit_unidentified(self, options)
        else:
            require_identified(self, options.get("constraints"))
            estimate = fit_latent_skill(self, **options)
        results = LatentSkillResults(self, estimate)
        for problem in results.problems:
            warnings.warn(problem.message, problem.category, stacklevel=2)
        return results

    def with_random_slopes(self, terms):
        """The same model of the same scores with random slopes on these terms (all that it is to have)."""
        other = copy.copy(self)
        computed = [name for name in dir(type(self)) if isinstance(getattr(type(self), name), cached_property)]
        for name in set(computed) - {"recoding"}:
            other.__dict__.pop(name, None)
        other.random_terms = read_random_terms(list(terms), self.terms, self.between_only)
        other.table = self._parameter_table(self.pattern, other.random_terms)
        return other

    # --- what estimation works on ----------------------------------------------------------------------------

    @cached_property
    def recoding(self):
        """Between users' covariates and the whitened ones of the optimisers."""
        return Recoding.whitening(self.design.x)

    @cached_property
    def user_cells(self):
        """Cells with users' covariates."""
        prepared = self.prepared
        return Cells.from_tables(
            prepared.y, prepared.state, prepared.edge, self.family_codes, self.design.x, self.random_design
        )

    @cached_property
    def random_design(self):
        """Covariates of the random slopes about their means over the LLMs, (n, r)."""
        return self.random_covariates(self.design.x)

    def random_covariates(self, x):
        """Those of LLMs with covariates x, (m, r)."""
        where = [self.terms.index(term) for term in self.random_terms]
        return x[:, where] - self.design.x[:, where].mean(axis=0)

    @cached_property
    def internal_cells(self):
        """Cells with whitened covariates."""
        return self.user_cells.with_design(self.recoding.design(self.design.x))

    @cached_property
    def chance(self):
        """Guessing levels, array (J,)."""
        return self.panel.chance.to_numpy(dtype=float)

    @cached_property
    def penalty(self):
        return self.penalty_on(self.table)

    def penalty_on(self, table):
        """The penalty on the free asymptotes of a parameter table of this model."""
        return self._penalty(table, np.eye(len(self.terms)))

    @cached_property
    def space(self):
        return ParameterSpace(self.table)

    @property
    def objective(self):
        """The penalised log-likelihood in the optimiser's coordinates."""
        from ..estimation.objective import Objective

        return Objective(self.space, self.internal_cells, self.penalty)

    @cached_property
    def search_form(self):
        """Pattern and parameter space of the search over starts, in which slopes do not vary between families.

        For just-identified models that is the form without coordinates.
        """
        pattern = unrotated(self.skills, len(self.benchmarks)) if self.pattern.reachable else self.pattern
        return pattern, ParameterSpace(self._parameter_table(pattern))

    @cached_property
    def natural_penalty(self):
        """The penalties as a function of the natural s, with slopes of the user's covariates."""
        return self._penalty(self.table, np.atleast_2d(np.cov(self.design.x.T, bias=True)))

    def _penalty(self, table, design_cov):
        parts = [ShapePenalty.for_table(table, self.chance, self.asymptote_sd, self.link_sd)]
        if self.llm_effects:
            parts.append(PrecisionPenalty(table.layout.index("precision")))
        if self.avoid_zero_sd:
            parts.append(self._spread_penalty(table.layout))
        if self.shrink_effects is not None or self.shrink_slopes is not None:
            parts.append(Shrinkage(table.layout, design_cov, self.shrink_effects, self.shrink_slopes))
        return Penalty(tuple(parts))

    def _spread_penalty(self, layout):
        slopes, own = layout.index("slope_sd"), layout.index("llm_sd")
        rates = np.zeros((0, 1)) if not len(slopes) else self.random_design.std(axis=0)[:, None]
        rate = np.append(np.broadcast_to(rates, slopes.shape).ravel(), np.ones(len(own)))
        return SpreadPenalty(np.append(slopes.ravel(), own), rate)

    def _parameter_table(self, pattern: Pattern, random_terms=()):
        n_link = len(LINK) if self.link == "monotone" else 0
        sizes = len(self.benchmarks), pattern.n_skills, len(self.terms), len(random_terms)
        layout = Layout(*sizes, n_link, self.llm_effects)
        fixed = np.full(layout.size, np.nan)
        fixed[layout.slices["loadings"]] = pattern.fixed.ravel()
        fixed[layout.slices["skill_cov"]] = pattern.fixed_covariance()
        fixed[layout.slices["outliers"]] = self.outliers
        if self.asymptotes != "both":
            fixed[layout.slices["upper"]] = 1.0
        if self.asymptotes == "chance":
            fixed[layout.slices["lower"]] = self.panel.chance.to_numpy(dtype=float)
        return ParameterTable(
            self.benchmarks, pattern.skills, self.terms, fixed, random_terms, n_link, self.llm_effects
        )

    # --- checks ----------------------------------------------------------------------------------------------

    def _check_scores(self):
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
