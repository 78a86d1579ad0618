"""Checks whether the law of the data determines a model's parameters: counting, ranks, families, local rank.

They depend on the form, the design, the families and on which cells are observed, but not on the values of the scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..checks import check_seed, check_whole
from ..covariates import family_means
from ..errors import IdentificationError
from ..models.latent_skill import LatentSkillLaw
from ..numerics.linalg import null_space
from ..parameters.kinds import CORRELATION, COVARIANCE, SLOPE, VARIANCE
from ..parameters.restrictions import read_restriction
from ..tables import some
from .findings import Finding, Findings
from .local_rank import LocalRank, local_rank, mixed_skills, random_point

# Below this singular value standard errors along a direction are more than a hundred times those with all other
# parameters known.
WEAK = 1e-2
_TOLD = 3  # flat directions that a message describes
_HEAVY = 0.1  # entries above this share of a direction's largest standardised entry are named in words


@dataclass(frozen=True, eq=False)
class IdentificationReport(Findings):
    """Identification of a model, check by check.

    Attributes
    ----------
    checks : tuple of Finding
    excess : int
        Testable degrees of freedom: restrictions on loadings and covariances beyond those that fix the axes and the
        units of the skills.
    flat_directions : tuple of Series
        For each direction along which the law of the scores does not change, how much natural parameters change
        together, at the first random point; the largest entry comes first. At other points the entries differ, but not
        the number of directions.
    ranks : tuple of LocalRank
        One per random point.
    """

    checks: tuple[Finding, ...]
    excess: int
    flat_directions: tuple[pd.Series, ...]
    ranks: tuple[LocalRank, ...]

    @property
    def identified(self) -> bool:
        """Whether no check found a problem."""
        return not self.problems

    @property
    def restrictions(self) -> str:
        """``"just-identified"``, ``"over-identified (df)"`` or ``"under-identified"``."""
        if self.flat_directions:
            return "under-identified"
        return "just-identified" if self.excess == 0 else f"over-identified ({self.excess})"

    @property
    def title(self) -> str:
        """The outcome in one line."""
        return f"Identification: {'identified' if self.identified else 'NOT identified'}, {self.restrictions}"

    def __repr__(self) -> str:
        return f"<IdentificationReport: {len(self.problems)} problems, {self.restrictions}>"


def identification_report(model: LatentSkillLaw, points: int = 3, seed: int = 0) -> IdentificationReport:
    """Check whether the law of a model's data determines its parameters.

    Parameters
    ----------
    model : LatentSkillLaw
    points : int
        Random parameter points at which the rank of the information is computed, at least 1.
    seed : int
        Of the points and of the scores simulated there, at least 0.

    Returns
    -------
    IdentificationReport

    Raises
    ------
    DataError
        If ``points`` or ``seed`` is no number that can be used.

    Notes
    ----- A direction that is not flat everywhere is almost surely not flat at a random point (Rothenberg 1971), so a
    direction counts as flat only if it is at every point. Local identification does not exclude reflections and
    permutations of the skills.
    """
    check_whole("points", points, 1)
    check_seed(seed)
    ranks = []
    for child in np.random.SeedSequence(seed).spawn(points):
        rng = np.random.default_rng(child)
        ranks.append(local_rank(model, random_point(model, rng), rng))
    best = max(ranks, key=lambda rank: rank.rank)  # the generic rank is the largest
    checks = [
        _counting(model, best), _same_pattern(model, best), _loadings(model, seed), _design(model),
        design_within_families(model), enough_families(model), benchmarks_together(model),
        _local(model, ranks, best), _weak(ranks),
    ]  # fmt: skip
    directions = tuple(named_direction(best.names, column, best.sizes) for column in best.directions.T)
    return IdentificationReport(
        tuple(check for check in checks if check is not None), restrictions_beyond(model) + best.n_rotations,
        directions, tuple(ranks),
    )  # fmt: skip


def require_identified(model: LatentSkillLaw, constraints: Any | None = None) -> None:
    """Refuse a model that is not identified at a random point.

    Parameters
    ----------
    model : LatentSkillLaw
    constraints : optional
        Linear restrictions under which the model is to be fitted. They count if they exclude the flat directions.

    Raises
    ------
    IdentificationError
        With the directions and what to do.
    """
    report = identification_report(model, points=1)
    problems = report.problems
    rank = report.ranks[0]
    if constraints is not None and rank.n_flat:
        matrix = read_restriction(constraints, model.param_names).matrix
        across = matrix @ rank.directions / np.linalg.norm(matrix / rank.sizes, axis=1)[:, None]
        if np.linalg.matrix_rank(across, tol=1e-6) == rank.n_flat:
            problems = tuple(problem for problem in problems if problem.check not in COORDINATES)
    if problems:
        words = "\n".join(f"- {problem.message}" for problem in problems)
        raise IdentificationError(
            f"The model is not identified:\n{words}\nmodel.identification() prints every check; "
            "fit(allow_unidentified=True) fits all the same, without standard errors where there are none."
        )


# --- form ----------------------------------------------------------------------------------------------------

# Checks of the axes and units of the skills, which constraints may fix too.
COORDINATES = ("counting", "patterns", "local rank")


def restrictions_beyond(model: LatentSkillLaw) -> int:
    """Return the number of restrictions beyond the K^2 that fix axes and units of the skills; negative for too few.

    Random effects that are independent across skills, such as random slopes, restrict K (K - 1) / 2 covariances for
    each term.
    """
    return model.pattern.n_excess + sum(effects.restrictions(model.pattern.n_skills) for effects in model.effects)


def _counting(model: LatentSkillLaw, rank: LocalRank) -> Finding:
    """Check that there are at least K^2 restrictions on loadings and covariances."""
    beyond, k = restrictions_beyond(model), len(model.skills)
    numbers: dict[str, float] = {"needed": k * k, "restrictions": k * k + beyond}
    given = f"{k * k + beyond} restrictions on loadings and covariances for the K^2 = {k * k} directions of the skills"
    if beyond < 0:
        message = (
            f"{given}. The loading pattern leaves {-beyond} directions of the skills {list(model.skills)} free: fix "
            "more loadings, or use Anchored or Echelon."
        )
        return Finding("counting", "problem", message, (), numbers)
    stays = "1 direction stays" if rank.n_rotations == 1 else f"{rank.n_rotations} directions stay"
    free = f", though not the right ones: {stays} free" if rank.n_rotations else ""
    testable = beyond + rank.n_rotations
    tested = f"; {testable} to spare, which can be tested" if testable else ", none to spare"
    if beyond > model.pattern.n_excess:
        words = " and ".join(effects.words for effects in model.effects if effects.restrictions(k))
        tested += f" ({words} being independent across skills gives {beyond - model.pattern.n_excess})"
    return Finding("counting", "ok", given + free + tested + ".", (), numbers)


def _same_pattern(model: LatentSkillLaw, rank: LocalRank) -> Finding:
    """Check that no two skills have the same pattern of fixed loadings."""
    fixed, skills = model.pattern.fixed, model.skills
    pairs = [
        (skills[a], skills[b])
        for a in range(len(skills))
        for b in range(a + 1, len(skills))
        if np.array_equal(fixed[:, a], fixed[:, b], equal_nan=True)
    ]
    if not pairs:
        return Finding("patterns", "ok", "No two skills have the same pattern of fixed loadings.")
    named = some([f"{a} and {b}" for a, b in pairs])
    if not rank.n_rotations:
        message = f"{named} have one pattern of fixed loadings; only their independent random slopes tell them apart."
        return Finding("patterns", "note", message)
    message = (
        f"{named} have one and the same pattern of fixed loadings, so nothing says which skill is which, and loadings "
        "on the one may be mixed into the other. Fix a loading of one of them that the other has free."
    )
    return Finding("patterns", "problem", message)


def _loadings(model: LatentSkillLaw, seed: int) -> Finding:
    """Check the rank of Lambda with its free entries at random."""
    pattern, k = model.pattern, model.pattern.n_skills
    free = np.random.default_rng(seed).uniform(0.5, 1.5, pattern.fixed.shape)
    loadings = np.where(np.isnan(pattern.fixed), free, pattern.fixed)
    loadings = loadings / np.abs(loadings).max(axis=0)
    flat = null_space(loadings, 1e-9)
    numbers = {"needed": k, "rank": k - flat.shape[1]}
    if not flat.shape[1]:
        return Finding("rank of loadings", "ok", f"The pattern allows Lambda its full rank {k}.", (), numbers)
    involved = [skill for skill, row in zip(model.skills, flat, strict=True) if np.abs(row).max() > 1e-6]
    message = (
        f"The fixed loadings keep Lambda at rank {k - flat.shape[1]} of {k}: the skills {involved} load on too few "
        "different benchmarks to be told apart. Free loadings on further benchmarks, or merge the skills."
    )
    return Finding("rank of loadings", "problem", message, (), numbers)


# --- design and families -----------------------------------------------------------------------------------------


def _design(model: LatentSkillLaw) -> Finding:
    """Report the condition number of the design."""
    x = model.design.x
    if not model.terms:
        return Finding("rank of design", "ok", "There are no covariates.", (), {"needed": 0, "rank": 0})
    spread = (x - x.mean(axis=0)) / x.std(axis=0)
    singular = np.linalg.svd(spread, compute_uv=False)
    numbers = {"needed": x.shape[1], "rank": int(np.sum(singular > 1e-9 * singular[0]))}
    numbers["condition"] = float(singular[0] / singular[-1])
    message = (
        f"The {x.shape[1]} terms of {model.scaling!r} vary independently over the {len(x)} LLMs (condition number "
        f"{numbers['condition']:.3g})."
    )
    return Finding("rank of design", "ok", message, (), numbers)  # models are not made of designs without full rank


def design_within_families(model: LatentSkillLaw) -> Finding:
    """Check which slopes can be estimated from differences between families only."""
    if not model.terms:
        return Finding("design within families", "ok", "There are no covariates.", (), {"needed": 0, "rank": 0})
    x, code = model.design.x, model.family_codes
    counts = np.bincount(code)
    constant, size = list(model.between_only), x.shape[1]
    deviations = (x - family_means(x, code)) / x.std(axis=0)
    deviations[:, [model.terms.index(term) for term in constant]] = 0.0  # otherwise rounding errors would count
    flat = null_space(deviations, 1e-9)
    names = tuple(SLOPE.name_of(term, skill) for term in constant for skill in model.skills)
    numbers = {"needed": size, "rank": size - flat.shape[1]}
    several = int(np.sum(counts > 1))
    if len(constant) == size:
        message = (
            f"Within every family all LLMs have the same {', '.join(constant)}, so slopes cannot be told from family "
            "efficiencies: at least one family needs two LLMs that differ. "
            f"({several} of {model.n_families} families have more than one LLM.)"
        )
        return Finding("design within families", "problem", message, names, numbers)
    if constant:
        message = (
            f"{', '.join(constant)} is constant within every family: its slopes rest on differences between families "
            "alone, and so on their efficiencies being unrelated to it."
        )
        return Finding("design within families", "note", message, names, numbers)
    if flat.shape[1]:
        terms = [term for term, row in zip(model.terms, flat, strict=True) if np.abs(row).max() > 1e-6]
        message = (
            f"Within families {', '.join(terms)} are collinear: only differences between families tell their slopes "
            "apart, and so only if efficiencies are unrelated to them."
        )
        names = tuple(SLOPE.name_of(term, skill) for term in terms for skill in model.skills)
        return Finding("design within families", "note", message, names, numbers)
    message = f"All {size} terms vary within families, {several} of {model.n_families} of which have several LLMs."
    return Finding("design within families", "ok", message, (), numbers)


def enough_families(model: LatentSkillLaw) -> Finding:
    """Check that there are more families than skills."""
    k, count = len(model.skills), model.n_families
    numbers = {"needed": k + 1, "families": count}
    if count > k:
        return Finding("families", "ok", f"{count} families for {k} skills.", (), numbers)
    names = tuple(parameter.name for parameter in model.table.parameters.of_kind(CORRELATION, COVARIANCE, VARIANCE))
    message = (
        f"{k} skills but only {count} families with data: the covariance of family effects needs more families than "
        "skills. Use fewer skills."
    )
    return Finding("families", "problem", message, names, numbers)


def benchmarks_together(model: LatentSkillLaw) -> Finding:
    """Check for pairs of benchmarks such that no family has scores on both."""
    seen = np.zeros((model.n_families, len(model.benchmarks)))
    np.maximum.at(seen, model.family_codes, (model.prepared.state >= 0).astype(float))
    together = seen.T @ seen
    first, second = np.nonzero(np.triu(together == 0, 1))
    numbers = {"fewest": int(together.min())}
    if not len(first):
        message = f"Every pair of benchmarks was scored in the same family at least {numbers['fewest']} times."
        return Finding("benchmarks together", "ok", message, (), numbers)
    pairs = some([f"{model.benchmarks[a]} and {model.benchmarks[b]}" for a, b in zip(first, second, strict=True)])
    message = (
        f"No family has scores on both {pairs}: nothing is seen of how their family effects correlate, which then "
        "rests on the form and on other benchmarks. Score some family on both."
    )
    return Finding("benchmarks together", "note", message, (), numbers)


# --- local rank ----------------------------------------------------------------------------------------------


def _local(model: LatentSkillLaw, ranks: Sequence[LocalRank], best: LocalRank) -> Finding:
    """Check the rank of the information at random points."""
    numbers = {
        "needed": best.size, "rank": best.rank, "above": min(rank.above for rank in ranks),
        "below": max((rank.below for rank in ranks if rank.n_flat), default=np.nan),
    }  # fmt: skip
    where = f"{len(ranks)} random points" if len(ranks) > 1 else "a random point"
    if not best.n_flat:
        message = (
            f"The information has full rank {best.size} at {where} (smallest singular value {numbers['above']:.2g})."
        )
        return Finding("local rank", "ok", message, (), numbers)
    message = f"The information has rank {best.rank} of {best.size} at {where} (singular values "
    message += f"{numbers['above']:.2g} and then {numbers['below']:.2g}): {flat_words(model, best)}"
    return Finding("local rank", "problem", message, flat_parameters(model, best), numbers)


def flat_words(model: LatentSkillLaw, rank: LocalRank) -> str:
    """Return in words the flat directions of a LocalRank, and which parameters to fix."""
    count, turns = rank.n_flat, rank.n_rotations
    named = [f"({n + 1}) {_direction_words(model, rank, rank.directions[:, n])}" for n in range(min(count, _TOLD))]
    more = f"; and {count - _TOLD} more, in flat_directions" if count > _TOLD else ""
    it = "it" if count == 1 else "them"
    along = "a direction" if count == 1 else f"{count} directions"
    words = [f"the law of the scores does not change along {along}: {'; '.join(named)}{more}"]
    if count > turns:
        these = "This is no rotation" if count == 1 else f"{count - turns} of them are no rotations"
        words.append(
            f"{these} of the skills: the rank of the loadings, the design or the missing scores leave {it} free"
        )
    fixed = [rank.names[position] for position in rank.settling]
    how = "Confirmatory, or fit(constraints=...)" if rank.loadings[rank.settling].all() else "fit(constraints=...)"
    too = "; Anchored or Echelon would too" if turns else ""
    words.append(f"Fixing {some(fixed)} at zero would settle {it} ({how}){too}")
    return ". ".join(words) + "."


def _direction_words(model: LatentSkillLaw, rank: LocalRank, column: np.ndarray) -> str:
    """Return in words how a direction rotates the skills and which parameters it changes most."""
    mixed = mixed_skills(column, model, rank.structure)
    turned = " and ".join(f"a rotation of {skill!r} towards {other!r}" for skill, other in mixed)
    if len(mixed) > 2:
        turned = f"a rotation among {sorted({skill for pair in mixed for skill in pair})}"
    return (f"{turned}, which moves " if turned else "") + some(heavy_names(rank.names, column, rank.sizes))


def heavy_names(names: Sequence[str], direction: np.ndarray, sizes: np.ndarray) -> tuple[str, ...]:
    """Return the names of the parameters that a direction changes most, in standardised size."""
    size = np.abs(direction) * sizes
    order = [position for position in np.argsort(-size, kind="stable") if size[position] >= _HEAVY * size.max()]
    return tuple(names[position] for position in order)


def flat_parameters(model: LatentSkillLaw, rank: LocalRank) -> tuple[str, ...]:
    """Return the names of all parameters that some flat direction changes."""
    changed = np.any(rank.directions != 0.0, axis=1)
    return tuple(name for name, changes in zip(model.param_names, changed, strict=True) if changes)


def named_direction(names: Sequence[str], direction: np.ndarray, sizes: np.ndarray) -> pd.Series:
    """Return a direction as a Series, with the largest entries in standardised size first."""
    size = np.abs(direction) * sizes
    order = [position for position in np.argsort(-size, kind="stable") if size[position] > 0.0]
    return pd.Series(direction[order], index=[names[position] for position in order], name="weight")


def _weak(ranks: Sequence[LocalRank]) -> Finding:
    """Report the smallest singular value that is not zero, and the parameters in its direction."""
    weakest = min(ranks, key=lambda rank: rank.above)
    names = heavy_names(weakest.names, weakest.weakest, weakest.sizes)
    numbers = {"smallest": weakest.above}
    aside = "Elsewhere standard errors are" if weakest.n_flat else "Standard errors are"
    message = (
        f"{aside} at worst some {1.0 / weakest.above:.2g} times what they would be with the other parameters known, in "
        f"a direction of {some(names)}."
    )
    if weakest.above >= WEAK:
        return Finding("weak identification", "ok", message, names, numbers)
    message += " In theory it is identified, by data hardly: expect wide intervals, and look at fit.diagnose()."
    return Finding("weak identification", "note", message, names, numbers)
