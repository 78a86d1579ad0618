"""LatentSkillModel: what users make of a panel, check for identification, and fit."""

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

    def identification(self, points: int = 3, seed: int = 0) -> IdentificationReport:
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
        return identification_report(self, points, seed)

    def fit(self, *, allow_unidentified: bool = False, **options: Any) -> LatentSkillResults:
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
        if allow_unidentified:
            estimate = fit_unidentified(self, options)
        else:
            require_identified(self, options.get("constraints"))
            estimate = fit_latent_skill(self, **options)
        results = LatentSkillResults(self, estimate)
        for problem in results.problems:
            warnings.warn(problem.message, problem.category, stacklevel=2)
        return results
