"""Diagnosis of a fit: what is weak in it, what that means, and what to do, in the manner of glmmTMB's diagnose()."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..components.levels import levels_in, too_many_for_nodes
from ..covariates import share_within, told_apart
from ..errors import DataError
from ..models.latent_skill import LatentSkillLaw
from ..parameters.kinds import EDGE, LINK, LOWER, PRECISION, SLOPE, UPPER
from ..tables import counted, some
from .findings import Finding, Findings
from .fit_problems import boundary_parameters
from .goodness_of_fit import GoodnessOfFit
from .identification import (
    benchmarks_together,
    design_within_families,
    enough_families,
    flat_parameters,
    flat_words,
)
from .local_rank import local_rank, off_zero

if TYPE_CHECKING:
    from ..results.latent_skill import LatentSkillResults

# A tenth of the starts, or three, at the best value make it unlikely that a better one was missed.
_FEW_STARTS = 3
_MC_SHARE = 0.1  # a Monte Carlo error above this share of a standard error changes digits that are reported
_LLF_ERROR = 0.1  # an error of the log-likelihood above this matters for likelihood ratios
# Below this eigenvalue of the information at unit diagonal, standard errors along a direction are more than 30 times
# those with all other parameters known.
_WEAK = 1e-3
_TOGETHER = 0.95  # a correlation of two estimates above this is reported
_SHARE = 0.5  # parameters that change by more than this, in standard errors, are named in a weak direction
_PENALTY_SHARE = 0.5  # a share of the information above this that comes from a penalty is reported
_SCORES_PER_PARAMETER = 5  # fewer scores of a benchmark are reported
_HIGH_LEVERAGE = 10.0  # leverages above so many times the mean one are reported
_SMALL_SHARE = 0.1  # a share of a term's variance within families below this is reported
_ENOUGH_FAMILIES = 30
_TOLD = 3  # directions and parameters that are reported
TABLES = 139  # simulated tables; seven aspects can then be rejected at 5% after Holm's adjustment


@dataclass(frozen=True, eq=False)
class Diagnosis(Findings):
    """Findings on a fit, to print; with ``problems``, ``notes`` and ``table``.

    Attributes
    ----------
    checks : tuple of Finding
    """

    checks: tuple[Finding, ...]

    @property
    def title(self) -> str:
        """The number of problems and notes in one line."""
        counts = {"problem": len(self.problems), "note": len(self.notes)}
        words = [counted(count, word) for word, count in counts.items() if count]
        return f"Diagnosis: {', '.join(words) or 'nothing to remark'}"

    def __repr__(self) -> str:
        return f"<{self.title}>"


def diagnose(fit: "LatentSkillResults", goodness_of_fit: GoodnessOfFit | bool = True) -> Diagnosis:
    """Look for what is weak in a fit.

    Parameters
    ----------
    fit : LatentSkillResults
    goodness_of_fit : GoodnessOfFit or bool
        What ``fit.goodness_of_fit()`` found. True computes it, with ``TABLES`` simulated tables; False leaves open
        whether the model fits the data, and says so.

    Returns
    -------
    Diagnosis
        Fit or misfit, convergence, starts, integration error, observed information and its weak directions, rank of the
        information at the estimate, boundaries, asymptotes and links that rest on their penalties, shrinkage, design
        and data.

    Examples
    --------
    >>> import latentscale as ls
    >>> panel = ls.BenchmarkPanel(ls.load_leaderboard())
    >>> fit = ls.LatentSkillModel(panel, skills=1).fit(integration="laplace", starts=3)
    >>> [problem.check for problem in diagnose(fit).problems]
    ['fit to the data', 'integration']
    """
    fit = getattr(fit, "source", fit)  # a rotation leaves the law, and what is weak in it, as it was
    model = fit.model
    checks: list[Finding | None] = [_misfit(fit, goodness_of_fit), _convergence(fit), _starts(fit), _integration(fit)]
    checks += [_information(fit), *_weak(fit)]
    checks += [_rank(fit), *_boundary(fit), _asymptotes(fit), _links(fit), _shrinkage(fit)]
    checks += [_covariates(model), _within(model), _families(model)]
    checks += [_single(model), benchmarks_together(model), _few_scores(model), _restrictions(fit)]
    return Diagnosis(tuple(check for check in checks if check is not None))


def _misfit(fit: "LatentSkillResults", found: GoodnessOfFit | bool) -> Finding:
    """Say whether the data reject the model."""
    check = "fit to the data"
    if found is False:
        message = "Whether the model fits the data was not examined: fit.goodness_of_fit() does."
        return Finding(check, "note", message)
    if found is True:
        try:
            found = fit.goodness_of_fit(TABLES)
        except DataError as error:
            return Finding(check, "problem", f"Whether the model fits could not be examined. {error}")
    numbers = {"least adjusted p": float(found.table["p_holm"].min()), "tables": found.n}
    return Finding(check, "ok" if found.fits else "problem", found.sentence, (), numbers)


# --- the optimum -------------------------------------------------------------------------------------------------


def _convergence(fit: "LatentSkillResults") -> Finding:
    """Check the distance to the optimum."""
    estimate = fit.estimate
    labels, size = estimate.space(fit.model).labels, np.abs(estimate.gradient)
    numbers = {"distance": estimate.distance, "gradient": float(size.max())}
    far = f"{estimate.distance:.1e} standard errors" if np.isfinite(estimate.distance) else "unknown"
    message = f"Distance to the optimum {far}."
    if estimate.converged:  # the rest of the gradient is rounding error, or little more
        return Finding("convergence", "ok", message, (), numbers)
    worst = np.argsort(-size)[:_TOLD]
    names = tuple(labels[position] for position in worst)
    entries = ", ".join(f"{labels[position]} {estimate.gradient[position]:.1e}" for position in worst)
    if not estimate.informed:
        names, entries = (), "unknown without the observed information (information=True)"
    message = f"The optimum was not reached. {message} The largest entries of the gradient: {entries}. Estimates and "
    message += "standard errors are not yet those of the maximum. Allow more rounds (max_rounds), or go on with "
    message += "fit(start_params=fit.params)."
    return Finding("convergence", "problem", message, names, numbers)


def _starts(fit: "LatentSkillResults") -> Finding:
    """Check how many starts ended at the best value."""
    starts = fit.starts
    count, best, failed = len(starts), int(starts["reached_best"].sum()), int(starts["loglike"].isna().sum())
    numbers = {"starts": count, "at best": best, "failed": failed}
    message = f"{best} of {count} starts ended at the best value" + (f"; {failed} failed" if failed else "") + "."
    if count < _FEW_STARTS:
        message += " So few starts cannot show whether there are other optima: fit with starts=10 or more."
        return Finding("starts", "note", message, (), numbers)
    if best < _FEW_STARTS:
        outcome = "problem" if best <= 0.2 * count else "note"
        message += " A better optimum may have been missed: fit with more starts, and with another seed."
        return Finding("starts", outcome, message, (), numbers)
    return Finding("starts", "ok", message, (), numbers)


def _integration(fit: "LatentSkillResults") -> Finding:
    """Check the error of the integration rule."""
    rule = fit.estimate.rule
    share = (fit.mc_se / fit.bse).replace([np.inf, -np.inf], np.nan).dropna()
    error = fit.llf_error
    numbers = {"llf error": error, "mc_se / bse": float(share.max()) if len(share) else np.nan}
    if rule.kind == "monte_carlo":
        message = f"Monte Carlo error of the log-likelihood {error:.2g}"
        if not len(share):
            return Finding("integration", "ok", message + ".", (), numbers)
        name = share.idxmax()
        message += f", of {name} {share[name]:.2g} of its standard error, the largest share."
        if share[name] <= _MC_SHARE:
            return Finding("integration", "ok", message, (name,), numbers)
        message += " Another seed would change digits that are reported: take more draws (draws=)."
        return Finding("integration", "problem", message, (name,), numbers)
    if not np.isfinite(error):
        message = f"{rule}: no finer rule is within reach to judge it by."
        if not too_many_for_nodes(levels_in(fit.model.table.layout)):
            message += " Compare with integration='monte_carlo'."
        return Finding("integration", "note", message, (), numbers)
    message = f"A finer rule changes the log-likelihood of {rule} by {error:+.2g}."
    if abs(error) <= _LLF_ERROR:
        return Finding("integration", "ok", message, (), numbers)
    message += " Likelihood ratios inherit such errors and estimates are biased by them: "
    message += "use more nodes (points=)." if rule.kind == "quadrature" else "use integration='monte_carlo'."
    return Finding("integration", "problem", message, (), numbers)


# --- information -------------------------------------------------------------------------------------------------


def _information(fit: "LatentSkillResults") -> Finding:
    """Check that the observed information is positive definite."""
    if not fit.estimate.informed:
        message = "Not computed; fit again with information=True for standard errors and for weak directions."
        return Finding("information", "note", message)
    values = fit.observed.eigenvalues
    numbers = {"smallest eigenvalue": float(values[0]), "condition": float(np.abs(values[-1] / values[0]))}
    if fit.observed.weak:
        numbers["condition"] = np.inf
        message = (
            "The observed information is not positive definite: the log-likelihood does not fall along a direction of "
            f"{some(fit.observed.weak)}. Standard errors, Wald tests and intervals do not exist. If the local rank "
            "below is full, the maximum was not reached, or the integration is too coarse; else the model must change."
        )
        return Finding("information", "problem", message, fit.observed.weak, numbers)
    message = (
        f"Positive definite; at unit diagonal its condition number is {numbers['condition']:.3g} and its smallest "
        f"eigenvalue {values[0]:.2g}."
    )
    return Finding("information", "ok", message, (), numbers)


def _weak(fit: "LatentSkillResults") -> list[Finding]:
    """Report directions in which estimates have large standard errors, and pairs of highly correlated estimates."""
    observed = fit.observed
    if observed.weak or not fit.estimate.informed:
        return []
    information = fit.estimate.information
    scale = np.sqrt(np.diag(information))
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    variance = np.diag(observed.matrix)
    # a restriction may leave a parameter no variance
    error = np.sqrt(np.where(variance > 1e-16 * variance.max(), variance, np.inf))
    findings = []
    for value, vector in zip(values[:_TOLD], vectors.T, strict=False):
        if value >= _WEAK:
            break
        changes = observed.jacobian @ (vector / scale) / np.sqrt(value) / error
        order = [position for position in np.argsort(-np.abs(changes)) if abs(changes[position]) >= _SHARE]
        names = tuple(fit.model.param_names[position] for position in order)
        entries = [f"{fit.model.param_names[position]} {changes[position]:+.2f}" for position in order]
        message = (
            f"A weak direction (eigenvalue {value:.1e}), along which standard errors are {value**-0.5:.0f} times those "
            f"with the other parameters known; moves, in standard errors: {some(entries)}. Report these together "
            "(wald_test, delta), or fix one of them."
        )
        findings.append(Finding("weak direction", "note", message, names, {"eigenvalue": float(value)}))
    return findings + _pairs(fit, error)


def _pairs(fit: "LatentSkillResults", error: np.ndarray) -> list[Finding]:
    """Report pairs of estimates with a high correlation; ``error`` are standard errors (P,)."""
    correlation = fit.observed.matrix / np.outer(error, error)
    first, second = np.nonzero(np.triu(np.abs(correlation) > _TOGETHER, 1))
    if not len(first):
        return []
    order = np.argsort(-np.abs(correlation[first, second]))
    names = fit.model.param_names
    pairs = [f"{names[first[i]]} and {names[second[i]]} ({correlation[first[i], second[i]]:+.3f})" for i in order]
    involved = tuple(names[position] for position in np.unique([first, second]))
    message = (
        f"Estimates that can hardly be told apart, with their correlations: {some(pairs)}. Their sum or difference is "
        "better known than either: test those."
    )
    return [Finding("correlated estimates", "note", message, involved, {"pairs": len(first)})]


def _rank(fit: "LatentSkillResults") -> Finding:
    """Check the rank of the model's information at the estimate."""
    model, estimate = fit.model, fit.estimate
    space, v = estimate.space(model), estimate.coordinates
    vanished = any(parameter.kind.zero == EDGE for parameter in boundary_parameters(model, estimate.params))
    if vanished:  # at zero the score in the scale of a random effect is zero
        v = off_zero(model, space, v)
    try:
        rank = local_rank(model, v, space=space)
    except np.linalg.LinAlgError:
        message = "The covariance of family effects is singular to rounding, so there is no density: use fewer skills."
        return Finding("local rank", "problem", message)
    numbers = {"needed": rank.size, "rank": rank.rank, "above": rank.above, "below": rank.below}
    if not rank.n_flat:
        message = (
            f"At the estimate the information of the model has full rank {rank.size} (smallest singular value "
            f"{rank.above:.2g})."
        )
        return Finding("local rank", "ok", message, (), numbers)
    message = (
        f"At the estimate the information of the model has rank {rank.rank} of {rank.size} (singular values "
        f"{rank.above:.2g} and then {rank.below:.2g}), whatever the scores: {flat_words(model, rank)} "
        f"AIC and BIC count {rank.n_flat} parameters too many."
    )
    return Finding("local rank", "problem", message, flat_parameters(model, rank), numbers)


# --- parameters --------------------------------------------------------------------------------------------------


def _boundary(fit: "LatentSkillResults") -> list[Finding]:
    """Check for estimates on the edge of their space."""
    edges = boundary_parameters(fit.model, fit.estimate.params)
    if not edges:
        return [Finding("boundary", "ok", "No estimate lies on the edge of its space.")]
    findings = []
    for kind in dict.fromkeys(parameter.kind for parameter in edges):
        names = tuple(parameter.name for parameter in edges if parameter.kind == kind)
        message = (
            f"{some(names)} on the edge of {'their' if len(names) > 1 else 'its'} space, where standard errors and "
            f"tests mislead: {kind.edge_advice}."
        )
        findings.append(Finding("boundary", "problem", message, names))
    return findings


def _asymptotes(fit: "LatentSkillResults") -> Finding | None:
    """Report estimated asymptotes whose variance on the logit scale is nearly that of their penalty."""
    where = np.flatnonzero(fit.parameters.are(LOWER, UPPER))
    if not len(where) or fit.observed.weak or not fit.estimate.informed:
        return None
    names = [fit.parameters.names[row] for row in where]
    value, variance = fit.estimate.params[where], np.diag(fit.observed.matrix)[where]
    # share of the penalty in the information of penalty and scores together
    share = np.minimum(variance / (value * (1.0 - value)) ** 2 / fit.model.asymptote_sd**2, 1.0)
    numbers = {"largest share": float(share.max())}
    order = [position for position in np.argsort(-share) if share[position] > _PENALTY_SHARE]
    if not order:
        message = f"Of what is known of an asymptote, at most {share.max():.0%} comes from its penalty."
        return Finding("asymptotes", "ok", message, (), numbers)
    heavy = tuple(names[position] for position in order)
    shares = some([f"{names[position]} {share[position]:.0%}" for position in order])
    message = (
        f"More comes from the penalty than from the scores (its share): {shares}. The estimate is about what was put "
        "in: try another asymptote_sd, or asymptotes='chance'."
    )
    return Finding("asymptotes", "note", message, heavy, numbers)


def _links(fit: "LatentSkillResults") -> Finding | None:
    """Report benchmarks on whose link the penalty has more information than the scores."""
    model = fit.model
    link = fit.parameters.are(LINK)
    if not link.any() or fit.observed.weak or not fit.estimate.informed:
        return None
    variance = np.diag(fit.observed.matrix)[link].reshape(-1, model.table.n_link)
    share = np.minimum(variance / model.link_sd**2, 1.0).mean(axis=1)
    numbers = {"largest share": float(share.max())}
    order = [item for item in np.argsort(-share) if share[item] > _PENALTY_SHARE]
    if not order:
        message = f"Of what is known of a benchmark's link, at most {share.max():.0%} comes from its penalty."
        return Finding("links", "ok", message, (), numbers)
    names = tuple(
        parameter.name for item in order for parameter in fit.parameters.of_kind(LINK, benchmark=model.benchmarks[item])
    )
    shares = some([f"{model.benchmarks[item]} {share[item]:.0%}" for item in order])
    message = (
        f"More comes from the penalty than from the scores (its share, on average over coordinates): {shares}. Such a "
        "link is logistic where its scores do not reach: compare with link='logistic', or try another link_sd."
    )
    return Finding("links", "note", message, names, numbers)


def _shrinkage(fit: "LatentSkillResults") -> Finding | None:
    """Report that loadings or slopes are shrunk, and by how much that lowers the log-likelihood."""
    model = fit.model
    if model.shrink_effects is None and model.shrink_slopes is None:
        return None
    lost = fit.llf - fit.llf_penalised
    message = (
        f"Loadings or slopes are shrunk towards zero (all penalties together {lost:.4g} log-likelihood units): "
        "standard errors and tests are those of a penalised fit and leave its bias out. For inference fit without it."
    )
    return Finding("shrinkage", "note", message, (), {"penalty": float(lost)})


# --- data --------------------------------------------------------------------------------------------------------


def _covariates(model: LatentSkillLaw) -> Finding | None:
    """Check for LLMs whose covariates are far from those of all others, or on which slopes rest more than on others."""
    if not model.terms:
        return None
    columns = sorted(str(name) for name in model.design.spec.required_variables)
    apart = told_apart(model.panel.table.loc[list(model.llms), columns], list(model.llms))
    basis, _ = np.linalg.qr(model.design.x - model.design.x.mean(axis=0))
    leverage = np.sum(basis**2, axis=1)
    usual = len(model.terms) / len(leverage)
    order = np.argsort(-leverage)[:_TOLD]
    high = [f"{model.llms[row]} {leverage[row]:.2f}" for row in order if leverage[row] > _HIGH_LEVERAGE * usual]
    numbers = {"apart": len(apart), "largest leverage": float(leverage.max()), "mean leverage": usual}
    if not (apart or high):
        message = f"No value is far from all others; the largest leverage of an LLM is {leverage.max():.2f}."
        return Finding("covariates", "ok", message, (), numbers)
    message = f"Far from the rest, is the unit right? {some(apart)}. " if apart else ""
    if high:
        message += f"Slopes rest on single LLMs more than on others, by leverage (mean {usual:.2g}): {some(high)}. "
    message += "Check these rows, and see with fit.influence('llm') what they move."
    return Finding("covariates", "problem" if apart else "note", message, (), numbers)


def _within(model: LatentSkillLaw) -> Finding:
    """Check which slopes rest on differences between families, wholly or mostly."""
    finding = design_within_families(model)
    if finding.outcome != "ok" or not model.terms:
        return finding
    x, code = model.design.x, model.family_codes
    shares = dict(zip(model.terms, share_within(x, code), strict=True))
    numbers = {**finding.numbers, **{f"share within families: {term}": float(one) for term, one in shares.items()}}
    small = [term for term, share in shares.items() if share < _SMALL_SHARE]
    if not small:
        return Finding(finding.check, "ok", finding.message, (), numbers)
    listed = ", ".join(f"{term} {shares[term]:.1%}" for term in small)
    message = (
        f"{finding.message} Little of the variance of some lies within families ({listed}): their slopes rest mostly "
        "on differences between families, and so on efficiencies being unrelated to them: see fit.test_mundlak()."
    )
    names = tuple(SLOPE.name_of(term, skill) for term in small for skill in model.skills)
    return Finding(finding.check, "note", message, names, numbers)


def _families(model: LatentSkillLaw) -> Finding:
    """Check that there are enough families for what is estimated of their effects."""
    finding = enough_families(model)
    count, k = model.n_families, len(model.skills)
    if finding.outcome != "ok" or count >= max(_ENOUGH_FAMILIES, 5 * k):
        return finding
    message = (
        f"{count} families for {k} skills. So few hardly determine the covariance of their effects, and standard "
        "errors and tests, which assume many families, are too optimistic: compare with bootstrap."
    )
    return Finding(finding.check, "note", message, (), finding.numbers)


def _single(model: LatentSkillLaw) -> Finding:
    """Report how many families have a single LLM."""
    alone = int(np.sum(np.bincount(model.family_codes) == 1))
    numbers = {"alone": alone, "families": model.n_families}
    message = f"{alone} of {model.n_families} families have a single LLM."
    if alone <= 0.5 * model.n_families:
        return Finding("families of one LLM", "ok", message, (), numbers)
    message += (
        " They say how efficiency and size together move scores, and nothing of slopes within families: these rest on "
        "the others. Collect more sizes of the same families."
    )
    return Finding("families of one LLM", "note", message, (), numbers)


def _few_scores(model: LatentSkillLaw) -> Finding:
    """Report benchmarks with few scores for each of their parameters."""
    parameters = (
        np.sum(np.isnan(model.pattern.fixed), axis=1) + 2 + {"chance": 0, "lower": 1, "both": 2}[model.asymptotes]
    )
    parameters += model.table.n_link
    seen = np.asarray(model.prepared.n_observed)
    few = np.flatnonzero(seen < _SCORES_PER_PARAMETER * parameters)
    numbers = {"fewest a parameter": float(np.min(seen / parameters))}
    if not len(few):
        message = f"Every benchmark has at least {numbers['fewest a parameter']:.3g} scores for each of its parameters."
        return Finding("scores per benchmark", "ok", message, (), numbers)
    described = some([f"{model.benchmarks[item]} ({seen[item]} for {parameters[item]})" for item in few])
    names = tuple(PRECISION.name_of(model.benchmarks[item]) for item in few)
    message = (
        f"Few scores for the parameters of {described}: their loadings and precisions are hardly determined, and large "
        "samples are what standard errors assume. Leave them out, or fix loadings (Confirmatory)."
    )
    return Finding("scores per benchmark", "note", message, names, numbers)


def _restrictions(fit: "LatentSkillResults") -> Finding:
    """Report how many restrictions of the form and of constraints can be tested."""
    model, restriction = fit.model, fit.estimate.restriction
    testable = model.pattern.n_excess + (0 if restriction is None else restriction.rank)
    if testable <= 0:
        message = "The form of identification restricts nothing beyond the coordinates of the skills."
        return Finding("restrictions", "ok", message, (), {"testable": 0})
    message = (
        f"Over-identified: {counted(testable, 'degree')} of freedom can be tested. Fit a "
        "just-identified form (Anchored or Echelon with as many skills, no constraints) and call its lr_test with "
        "this fit."
    )
    return Finding("restrictions", "ok", message, (), {"testable": testable})
