"""Forms of identification: which loadings are fixed, what Sigma may be, and how to reach the form.

For an invertible A, (theta, Lambda, B, Sigma) -> (A theta, Lambda A^-1, B A', A Sigma A') leaves the law of
the scores unchanged: K^2 free dimensions, which anchors, an echelon block or a user's pattern take away.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from ..checks import is_whole
from ..errors import DataError, IdentificationError


@dataclass(frozen=True)
class Pattern:
    """An identification form, resolved against the benchmarks of a panel.

    Attributes
    ----------
    skills : tuple of str
    fixed : array (J, K)
        Fixed loadings, NaN where free.
    correlated : bool
        Whether correlations between family effects are free; else they are zero.
    free_variance : bool array (K,)
        Skills whose unit is set by a fixed non-zero loading, so that their variance is free; the others
        have variance one.
    positive : tuple of tuples of int
        For each skill, the benchmarks whose loadings' sum is made positive by reflecting the skill; empty
        where a fixed non-zero loading settles the sign.
    kind : str
        ``"anchored"``, ``"echelon"``, ``"confirmatory"`` or ``"unrotated"``.
    """

    skills: tuple
    fixed: np.ndarray
    correlated: bool
    free_variance: np.ndarray
    positive: tuple
    kind: str

    @property
    def n_skills(self):
        return len(self.skills)

    @property
    def n_excess(self):
        """Restrictions on (Lambda, Sigma) beyond the K^2 that fix the form; negative means too few."""
        k = self.n_skills
        loadings = int(np.sum(~np.isnan(self.fixed)))
        covariances = 0 if self.correlated else k * (k - 1) // 2
        return loadings + covariances + int(np.sum(~self.free_variance)) - k * k

    @property
    def reachable(self):
        """Whether every law of the unrestricted model has this form (generically): then no fit is lost by it.

        Columns of Lambda A^-1 can then be solved for one at a time, or the pivot block be made triangular.
        """
        if self.kind in ("unrotated", "echelon"):
            return True
        per_column = np.sum(~np.isnan(self.fixed), axis=0) + ~self.free_variance
        return bool(self.correlated and np.all(per_column == self.n_skills))

    @property
    def anchors(self):
        """(benchmark, skill), as positions, of the loadings that settle the sign of their skill alone."""
        return tuple((rows[0], skill) for skill, rows in enumerate(self.positive) if len(rows) == 1)

    def reflect(self, structure):
        """The same law with each skill's sign as the form wants it."""
        signs = np.ones(self.n_skills)
        for skill, items in enumerate(self.positive):
            if items and structure.loadings[list(items), skill].sum() < 0.0:
                signs[skill] = -1.0
        return structure.transformed(np.diag(signs))

    def rotate_from(self, structure):
        """An unrotated Structure in this form: exactly where ``reachable``, else as near as columns allow.

        Column k of A^-1 is the vector w with Lambda w equal to the fixed loadings of skill k (least squares),
        or, if all of those are zero, the direction that Lambda's fixed rows shrink most.
        """
        k = self.n_skills
        if self.kind == "unrotated":
            return structure
        if self.kind == "echelon":
            pivots = [items[0] for items in self.positive]
            orthogonal = np.linalg.qr(structure.loadings[pivots].T)[0]
            return self._impose(self.reflect(structure.transformed(orthogonal)))
        inverse = np.empty((k, k))
        for column in range(k):
            rows = np.flatnonzero(~np.isnan(self.fixed[:, column]))
            values = self.fixed[rows, column]
            block = structure.loadings[rows]
            if np.any(values != 0.0):
                inverse[:, column] = np.linalg.lstsq(block, values, rcond=None)[0]
            elif len(rows):
                inverse[:, column] = np.linalg.svd(block)[2][-1]
            else:
                inverse[:, column] = np.eye(k)[column]
        if np.linalg.cond(inverse) > 1e8:
            raise IdentificationError(
                f"The fixed loadings leave the skills {list(self.skills)} without {k} different directions: "
                "two of them have the same pattern, or an anchor does not load on its skill."
            )
        turned = structure.transformed(inverse)
        sd = np.where(self.free_variance, 1.0, np.sqrt(np.diag(turned.skill_cov)))
        return self._impose(self.reflect(turned.transformed(np.diag(sd))))

    def _impose(self, structure):
        """Fixed loadings and the restrictions on Sigma exactly."""
        loadings = np.where(np.isnan(self.fixed), structure.loadings, self.fixed)
        cov = structure.skill_cov
        if not self.correlated:
            cov = np.diag(np.where(self.free_variance, np.diag(cov), 1.0))
        return replace(structure, loadings=loadings, skill_cov=cov)

    def fixed_covariance(self):
        """Lower triangle of Sigma, NaN where free."""
        k = self.n_skills
        cov = np.full((k, k), np.nan if self.correlated else 0.0)
        cov[np.diag_indices(k)] = np.where(self.free_variance, np.nan, 1.0)
        return cov[np.tril_indices(k)]


def _check_counts(n_skills, benchmarks):
    if n_skills < 1:
        raise DataError("A model needs at least one skill.")
    if n_skills > len(benchmarks):
        raise IdentificationError(
            f"{n_skills} skills but only {len(benchmarks)} benchmarks: take at most as many skills as "
            "benchmarks."
        )


def _find(names, benchmarks, role):
    unknown = [name for name in names if name not in benchmarks]
    if unknown:
        raise DataError(f"Unknown {role} {unknown}; the panel's benchmarks are {list(benchmarks)}.")
    repeated = sorted({name for name in names if list(names).count(name) > 1})
    if repeated:
        raise DataError(f"Each {role} may be used once; {repeated} are used more often.")
    return [benchmarks.index(name) for name in names]


@dataclass(frozen=True)
class Anchored:
    """Each skill has an anchor benchmark, which loads on that skill alone, positively; diag Sigma = 1.

    Parameters
    ----------
    anchors : dict
        Skill name -> anchor benchmark.
    correlated : bool
        False restricts Sigma to the identity: K(K-1)/2 testable restrictions.

    Examples
    --------
    >>> Anchored({"math": "math_lvl_5", "instruction": "ifeval"})
    Anchored(anchors={'math': 'math_lvl_5', 'instruction': 'ifeval'}, correlated=True)
    """

    anchors: dict
    correlated: bool = True

    def __post_init__(self):
        if not isinstance(self.anchors, dict) or not self.anchors:
            raise DataError("Anchored takes a dict skill name -> anchor benchmark, with at least one skill.")
        object.__setattr__(self, "anchors", {str(skill): str(item) for skill, item in self.anchors.items()})

    def resolve(self, benchmarks):
        """Pattern on these benchmarks."""
        _check_counts(len(self.anchors), benchmarks)
        rows = _find(list(self.anchors.values()), benchmarks, "anchors")
        k = len(rows)
        fixed = np.full((len(benchmarks), k), np.nan)
        fixed[rows] = np.where(np.eye(k, dtype=bool), np.nan, 0.0)
        anchors = tuple((row,) for row in rows)
        return Pattern(
            tuple(self.anchors), fixed, self.correlated, np.zeros(k, dtype=bool), anchors, "anchored"
        )


@dataclass(frozen=True)
class Echelon:
    """K pivot benchmarks whose block of Lambda is lower triangular with positive diagonal; Sigma = I.

    Parameters
    ----------
    pivots : sequence of str
        Pivot benchmarks, one per skill.
    names : sequence of str, optional
        Skill names; ``skill1``, ``skill2``, ... by default.
    """

    pivots: tuple
    names: tuple = field(default=None)

    def __post_init__(self):
        if isinstance(self.pivots, str):
            raise DataError("Echelon takes a list of pivot benchmarks.")
        object.__setattr__(self, "pivots", tuple(str(pivot) for pivot in self.pivots))
        names = self.names or [f"skill{number + 1}" for number in range(len(self.pivots))]
        if len(names) != len(self.pivots) or len(set(names)) != len(names):
            raise DataError("Echelon needs one distinct name per pivot.")
        object.__setattr__(self, "names", tuple(str(name) for name in names))

    def resolve(self, benchmarks):
        """Pattern on these benchmarks."""
        _check_counts(len(self.pivots), benchmarks)
        rows = _find(self.pivots, benchmarks, "pivots")
        k = len(rows)
        fixed = np.full((len(benchmarks), k), np.nan)
        fixed[rows] = np.where(np.tri(k, dtype=bool), np.nan, 0.0)
        return Pattern(
            self.names, fixed, False, np.zeros(k, dtype=bool), tuple((row,) for row in rows), "echelon"
        )


@dataclass(frozen=True, eq=False)
class Confirmatory:
    """A user's pattern of loadings: benchmarks x skills, NaN = free, number = fixed.

    A skill with a fixed non-zero loading has a free variance (the loading sets its unit), the others have
    variance one. Benchmarks of the panel that the frame does not list load freely on every skill.

    Parameters
    ----------
    loadings : DataFrame
        Index benchmarks, columns skills.
    correlated : bool
        Whether correlations between skills are free.
    """

    loadings: pd.DataFrame
    correlated: bool = True

    def __post_init__(self):
        frame = self.loadings
        if not isinstance(frame, pd.DataFrame) or frame.shape[1] == 0:
            raise DataError("Confirmatory takes a DataFrame, benchmarks x skills, NaN where free.")
        if frame.columns.has_duplicates or frame.index.has_duplicates:
            raise DataError("Confirmatory: each benchmark and each skill may be named once.")
        try:
            frame = frame.astype(float)
        except (TypeError, ValueError) as error:
            raise DataError("Confirmatory: loadings are numbers, or NaN where free.") from error
        if np.isinf(frame.to_numpy()).any():
            raise DataError("Confirmatory: a fixed loading must be finite.")
        object.__setattr__(self, "loadings", frame.rename(index=str, columns=str))

    def resolve(self, benchmarks):
        """Pattern on these benchmarks."""
        frame = self.loadings
        _check_counts(frame.shape[1], benchmarks)
        _find(list(frame.index), benchmarks, "benchmarks in the loading pattern")
        fixed = frame.reindex(list(benchmarks)).to_numpy(dtype=float)
        empty = list(frame.columns[np.all(fixed == 0.0, axis=0)])
        if empty:
            raise IdentificationError(f"No benchmark loads on the skills {empty}.")
        marked = np.any(~np.isnan(fixed) & (fixed != 0.0), axis=0)
        everyone = tuple(range(len(benchmarks)))
        positive = tuple(() if mark else everyone for mark in marked)
        return Pattern(tuple(frame.columns), fixed, self.correlated, marked, positive, "confirmatory")


def saved_form(form):
    """A form of identification in a form that JSON can hold; ``form_from`` reads it.

    Examples
    --------
    >>> saved_form(Echelon(["bbh"]))
    {'form': 'echelon', 'pivots': ['bbh'], 'names': ['skill1']}
    """
    if isinstance(form, Anchored):
        return {"form": "anchored", "anchors": dict(form.anchors), "correlated": form.correlated}
    if isinstance(form, Echelon):
        return {"form": "echelon", "pivots": list(form.pivots), "names": list(form.names)}
    frame = form.loadings
    loadings = [[None if np.isnan(value) else value for value in row] for row in frame.to_numpy().tolist()]
    names = {"benchmarks": list(frame.index), "skills": list(frame.columns)}
    return {"form": "confirmatory", **names, "loadings": loadings, "correlated": form.correlated}


def form_from(saved):
    """The form of ``saved_form``."""
    if saved["form"] == "anchored":
        return Anchored(saved["anchors"], saved["correlated"])
    if saved["form"] == "echelon":
        return Echelon(saved["pivots"], saved["names"])
    frame = pd.DataFrame(saved["loadings"], index=saved["benchmarks"], columns=saved["skills"], dtype=float)
    return Confirmatory(frame, saved["correlated"])


def form_source(form):
    """Python source of a form, with latentscale as ``ls`` and pandas as ``pd``.

    Examples
    --------
    >>> form_source(Anchored({"math": "gsm8k"}, correlated=False))
    "ls.Anchored({'math': 'gsm8k'}, correlated=False)"
    """
    if isinstance(form, Echelon):
        return f"ls.Echelon({list(form.pivots)!r}, {list(form.names)!r})"
    more = "" if form.correlated else ", correlated=False"
    if isinstance(form, Anchored):
        return f"ls.Anchored({form.anchors!r}{more})"
    frame = form.loadings
    # an infinite loading is none, so that the word stands for what is missing alone
    loadings = repr(frame.to_numpy().tolist()).replace("nan", 'float("nan")')
    return f"ls.Confirmatory(pd.DataFrame({loadings}, {list(frame.index)!r}, {list(frame.columns)!r}){more})"


def unrotated(skills, n_items):
    """All loadings free and Sigma = I: the law of every just-identified form, without its coordinates."""
    k = len(skills)
    return Pattern(
        tuple(skills), np.full((n_items, k), np.nan), False, np.zeros(k, dtype=bool), ((),) * k, "unrotated"
    )


def identification_form(skills, benchmarks, scores):
    """Anchored, Echelon or Confirmatory from what a user may give as ``skills``.

    Parameters
    ----------
    skills : Anchored, Echelon, Confirmatory, dict or int
        A dict means Anchored; a number of skills means Echelon with pivots chosen from the scores.
    benchmarks : tuple of str
    scores : DataFrame
        N x J.
    """
    if is_whole(skills):
        _check_counts(int(skills), benchmarks)
        return Echelon(choose_pivots(scores, int(skills)))
    if isinstance(skills, dict):
        return Anchored(skills)
    if isinstance(skills, (Anchored, Echelon, Confirmatory)):
        return skills
    raise DataError(f"skills is a number of skills, or Anchored, Echelon or Confirmatory, not {skills!r}.")


def resolve_skills(skills, benchmarks, scores):
    """Pattern from what a user may give as ``skills``."""
    return identification_form(skills, benchmarks, scores).resolve(tuple(benchmarks))


def choose_pivots(scores, k):
    """Pivot benchmarks for an echelon form: pivoted orthogonalisation of the scores' correlations.

    The benchmark whose correlations with all others are largest comes first, then the one with most left
    over after the first is projected out, and so on.
    """
    correlation = scores.corr(min_periods=3).fillna(0.0).to_numpy().copy()
    np.fill_diagonal(correlation, 1.0)
    residual = correlation.copy()
    chosen = []
    for _ in range(k):
        size = np.sum(residual**2, axis=0)
        size[chosen] = -np.inf
        pivot = int(np.argmax(size))
        direction = residual[:, pivot] / np.linalg.norm(residual[:, pivot])
        residual = residual - np.outer(direction, direction @ residual)
        chosen.append(pivot)
    return [scores.columns[pivot] for pivot in chosen]
