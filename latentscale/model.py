"""LatentSkillModel: the model that users specify on a panel, check for identification, and fit."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from .estimation.fit import fit_latent_skill
from .inference.identification import identification_report, require_identified
from .inference.unidentified_fits import fit_unidentified
from .models.latent_skill import LatentSkillLaw
from .results.latent_skill import LatentSkillResults

if TYPE_CHECKING:
    from .inference.identification import IdentificationReport


class LatentSkillModel(LatentSkillLaw):
    """Marginal maximum likelihood of a beta-response latent-skill model with family random effects.

    For LLM i of family l and benchmark j::

        Y_ij ~ Beta(mu_ij phi_j, (1 - mu_ij) phi_j),  mu_ij = c_j + (d_j - c_j) F(lambda_j' theta_i + b_j),
        theta_i = alpha_l + B' x_i,  alpha_l ~ N(0, Sigma),

    with F logistic, or with ``link="monotone"`` an increasing function F_j of each benchmark. With ``random_slopes``
    the slopes B of the named terms vary between families, independently of each other, with standard deviations tau:
    theta_i = alpha_l + B' x_i + Delta_l' (x_i - xbar), for the mean xbar of x over the LLMs, so that alpha_l is the
    efficiency of a family at average covariates. With ``family_covariates`` z_l the efficiency of a family has the mean
    Gamma' z_l: alpha_l ~ N(Gamma' z_l, Sigma). With ``llm_effects`` LLMs of a family differ by more than their
    covariates::

        theta_i = alpha_l + B' x_i + kappa e_i,  e_i ~ N(0, Sigma) independently over LLMs,

    with one more parameter kappa >= 0. It does not restrict the choice of the axes of the skills, because e_i has the
    covariance of alpha_l. Missing scores are left out of the likelihood. Main effects of the logarithms of size and
    tokens are slopes at one billion parameters and one trillion tokens.

    Parameters
    ----------
    panel : BenchmarkPanel
        LLMs without a covariate of ``scaling``, or without any score, are dropped; the summary says how many.
    scaling : str
        Formula of the covariates x in the panel's columns; the default is the translog production function.
    skills : Anchored, Echelon, Confirmatory, dict or int
        Form of identification. A dict means ``Anchored``, a number K means ``Echelon`` with pivots chosen from the
        correlations of the scores.
    asymptotes : {"chance", "lower", "both"}
        ``"chance"``: c_j is the guessing level and d_j = 1. ``"lower"``: c_j is estimated. ``"both"``: c_j and d_j are
        estimated. Estimated asymptotes have weak normal penalties, on logit c_j about logit max(chance, .005) and on
        logit d_j about 3.5.
    asymptote_sd : float
        Standard deviation of those penalties on the logit scale.
    link : {"logistic", "monotone"}
        ``"monotone"``: F_j(eta) = expit(g_j(eta)) with an increasing spline g_j of bounded slope, which is linear for
        eta below -5.25 and above 5.25 (``latentscale.numerics.monotone``). It has six parameters per benchmark, all
        zero for the logistic link.
    link_sd : float
        Standard deviation of the normal penalty on these parameters.
    shrink_effects, shrink_slopes : float, optional
        Standard deviations of normal penalties that shrink loadings and slopes towards zero, as an alternative to
        choosing the number of skills (``latentscale.components.penalty``). With about 0.5 and 1 a fit with as many
        skills as benchmarks predicts well. Such estimates are biased towards zero, and standard errors leave that out.
    outliers : float
        Share of scores, in [0, 0.5), whose precision is a tenth of that of their benchmark. The law of a score is then
        a mixture of two beta laws with mean mu, and single outlying scores have less influence. 0.1 gives robust
        predictions.
    random_slopes : str, sequence of str or True, optional
        Terms of ``scaling`` whose slopes vary between families, such as ``"log(params_b)"``; True for all terms that
        vary within families.
    llm_effects : {False, "proportional", "diagonal"} or True
        Whether LLMs have residual skills. ``"proportional"``, or True: kappa e_i, where e_i has the covariance of
        family efficiency and kappa, called ``llm_sd``, is in units of its standard deviations. ``"diagonal"``:
        independent across skills, with the standard deviations ``llm_sd[skill]``. Without residual skills LLMs of a
        family differ only by their covariates and the noise of single scores, and prediction intervals come out too
        short. With them a skill on which a single benchmark loads may explain its scores exactly, at an infinite
        precision; the fit says so, and ``precision_sd`` is the remedy.
    family_covariates : str, optional
        Formula of the covariates z of families, such as ``"instruct"``. It is checked that they are constant within
        families. Their slopes Gamma are named and reported with those of ``scaling``. The efficiency of an unseen
        family is predicted from its z.
    avoid_zero_sd : bool
        Whether standard deviations of random slopes and of residual skills are kept off zero by a penalty, log tau
        minus a small rate times tau, which changes an estimate by less than its standard error (Chung et al. 2013).
        This is useful for predictions: with an estimate of zero, which maximum likelihood often gives, they would
        exclude differences between families.
    benchmark_effects : bool or "equal"
        Whether families have effects u_lj on single benchmarks: what a family is good or bad at beyond its skills, such
        as an answer format that it fails or a benchmark that it was trained for. They are independent normal, on the
        scale of linear predictors, with the standard deviations ``benchmark_sd[benchmark]``, or one ``benchmark_sd``
        for all benchmarks if they are ``"equal"``.
    precision_sd : float, optional
        Standard deviation of a weak normal penalty on the logarithms of the precisions, such as 1.5, about that of 200
        (``latentscale.components.penalty``). None for no penalty, that is maximum likelihood.
    precision : str, optional
        Formula of covariates w of the precisions, such as ``"log(params_b)"``: log phi_ij = log phi_j + gamma' w_i,
        where w are the covariates less their means over the LLMs, so that ``precision[benchmark]`` is that of an
        average LLM. The slopes gamma are called ``precision_slope[term]``.
    own_precision_slopes : bool
        Whether each benchmark has slopes gamma of its own, ``precision_slope[term,benchmark]``.
    nested : bool
        Whether families are nested in the panel's groups, such as base families: the efficiency of a family is then
        sqrt(rho) a_g + sqrt(1 - rho) v_l, where a_g is its group's and both have the covariance Sigma. ``group_share``
        is rho. Scores of different groups are independent, and standard errors by clusters take groups as these.

    Raises
    ------
    DataError
        If the table cannot be used for this model; the message names rows and columns.
    IdentificationError
        If there are more skills than benchmarks, a skill on which no benchmark loads, a term of ``scaling`` that is
        constant or collinear with others over the LLMs, or a random slope on a term that does not vary within
        families. Other lack of identification is reported by ``identification``, and refused by ``fit``.

    Examples
    --------
    >>> import latentscale as ls
    >>> model = ls.LatentSkillModel(ls.BenchmarkPanel(ls.load_leaderboard()), skills=ls.Echelon(["bbh", "ifeval"]))
    >>> model
    <LatentSkillModel: 184 LLMs, 65 families, 12 benchmarks, 2 skills, 53 parameters>
    """

    def identification(self, points: int = 3, seed: int = 0) -> IdentificationReport:
        """Check whether the law of the data determines the parameters; the values of the scores do not matter.

        Parameters
        ----------
        points : int
            Number of random parameter points at which the rank of the information is computed.
        seed : int
            Seed of the points, and of the scores that are simulated there.

        Returns
        -------
        latentscale.inference.identification.IdentificationReport
            It prints a line for each check, and has ``identified``, ``problems``, ``restrictions`` and
            ``flat_directions``.

        Examples
        --------
        >>> import latentscale as ls
        >>> panel = ls.BenchmarkPanel(ls.load_leaderboard())
        >>> report = ls.LatentSkillModel(panel, skills=ls.Echelon(["bbh", "ifeval"])).identification()
        >>> report.identified, report.restrictions
        (True, 'just-identified')
        """
        return identification_report(self, points, seed)

    def fit(self, *, allow_unidentified: bool = False, **options: Any) -> LatentSkillResults:
        """Maximise the likelihood; ``latentscale.estimation.fit.fit_latent_skill`` lists all options.

        Parameters
        ----------
        allow_unidentified : bool
            Whether to fit a model that is not identified, by the checks of ``identification`` at one random point.
            Standard errors do not exist where the log-likelihood is constant in some direction.
        integration : {"monte_carlo", "quadrature", "laplace"}
            How the random effects are integrated out; by default Monte Carlo, but Laplace for models
            with ``llm_effects``, which have no other, or with ``benchmark_effects``.
        starts : int
            Number of starts of the search, 10 by default: one from the data, the others at random.
        seed : int
        n_jobs : int, optional
            Number of starts that are optimised in parallel, and of threads for large tables; the results do not depend
            on it. By default one, or what a surrounding ``ls.parallel`` says.
        progress : bool
            Whether to report each start and each round on the standard error stream.
        cov_type : {"observed", "cluster", "opg", "bootstrap", "none"}
            Kind of the covariance of the estimates. ``get_robust`` has the same kinds with options.
        constraints : str, list of str or array
            Linear restrictions on the parameters, such as ``"slope[log(params_b),math] = 0"``.
        start_params : Series, dict or array
            A further start, which comes first; with it ``starts`` may be 0.
        driver : {"direct", "em", "stochastic"}
            Direct maximisation, Monte Carlo EM, or for very large tables a search on minibatches of families.
        information : bool
            Whether to compute the observed information. False is for fits that only predict, with
            ``integration="laplace"`` and ``cov_type="none"``.

        Returns
        -------
        LatentSkillResults

        Raises
        ------
        DataError
            For unknown options, or options out of range.
        IdentificationError
            If the model is not identified; the message names the parameters concerned and says what to do.
        latentscale.estimation.estimate.FitInterrupted
            On Ctrl-C; it has the best parameters so far.

        Warns
        -----
        ConvergenceWarning
            If the optimum was not reached, or the information is not positive definite.
        BoundaryWarning
            If an estimate is at the boundary of its space.
        """
        if allow_unidentified:
            estimate = fit_unidentified(self, options)
        else:
            require_identified(self, options.get("constraints"))
            estimate = fit_latent_skill(self, **options)
        results = LatentSkillResults(self, estimate)
        for problem in results.problems:
            warnings.warn(problem.message, problem.category, stacklevel=2)
        return results
