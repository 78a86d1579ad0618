"""Forms of identification: which loadings are fixed, which covariances Sigma may have, and how to rotate into the form.

For an invertible A, the change (theta, Lambda, B, Sigma) -> (A theta, Lambda A^-1, B A', A Sigma A') leaves the law of
the scores unchanged. These K^2 dimensions are not identified until anchors, an echelon block or a user's pattern fix
them.
"""


from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ..checks import is_whole
from ..errors import DataError, IdentificationError
from ..parameters.structure import Structure


@dataclass(frozen=True)
class Pattern:
    """An identification form, resolved against the benchmarks of a panel.

    Attributes
    ----------
    skills : tuple of str
    fixed : array (J, K)
        Fixed loadings, NaN where free.
    correlated : bool
        Whether correlations between family effects are free rather than zero.
    free_variance : bool array (K,)
        Skills whose unit is set by a fixed non-zero loading, so that their variance is free; the others
        have variance one.
    positive : tuple of tuples of int
        For each skill, the benchmarks whose loadings' sum is made positive by reflecting the skill; empty
        where a fixed non-zero loading settles the sign.
    kind : str
        ``"anchored"``, ``"echelon"``, ``"confirmatory"`` or ``"unrotated"``.
    """

    skills: tuple[str, ...]
    fixed: np.ndarray
    correlated: bool
    free_variance: np.ndarray
    positive: tuple[tuple[int, ...], ...]
    kind: str

    @property
    def n_skills(self) -> int:
        """K, the number of skills."""
        return len(self.skills)

    @property
    def n_excess(self) -> int:
        """Number of restrictions on (Lambda, Sigma) beyond the K^2 that identify them; negative if they are too few."""
        k = self.n_skills
        loadings = int(np.sum(~np.isnan(self.fixed)))
        covariances = 0 if self.correlated else k * (k - 1) // 2
        return loadings + covariances + int(np.sum(~self.free_variance)) - k * k

    @property
    def reachable(self) -> bool:
        """Whether rotation takes almost every Lambda and Sigma into this form, so that it does not restrict the model.

        That is so where the columns of Lambda A^-1 can be solved for one at a time, or the pivot block can be made
        triangular.
        """
        if self.kind in ("unrotated", "echelon"):
            return True
        per_column = np.sum(~np.isnan(self.fixed), axis=0) + ~self.free_variance
        return bool(self.correlated and np.all(per_column == self.n_skills))

    @property
    def anchors(self) -> tuple[tuple[int, int], ...]:
        """Positions (benchmark, skill) of the loadings that alone determine the sign of their skill."""
        return tuple((rows[0], skill) for skill, rows in enumerate(self.positive) if len(rows) == 1)

    def reflect(self, structure: Structure) -> Structure:
        """Return the same law with the signs of the skills that the form prescribes."""
        signs = np.ones(self.n_skills)
        for skill, items in enumerate(self.positive):
            if items and structure.loadings[list(items), skill].sum() < 0.0:
                signs[skill] = -1.0
        return structure.transformed(np.diag(signs))

    def rotate_from(self, structure: Structure) -> Structure:
        """Rotate an unrotated Structure into this form: exactly if it is ``reachable``, else by least squares.

        Column k of A^-1 is the least-squares solution w of Lambda w = the fixed loadings of skill k; if all of those
        are zero, it is the right singular vector of the fixed rows of Lambda with the smallest singular value.
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

    def _impose(self, structure: Structure) -> Structure:
        """Return the structure with the fixed loadings and the restrictions on Sigma set exactly."""
        loadings = np.where(np.isnan(self.fixed), structure.loadings, self.fixed)
        cov = structure.skill_cov
        if not self.correlated:
            cov = np.diag(np.where(self.free_variance, np.diag(cov), 1.0))
        return replace(structure, loadings=loadings, skill_cov=cov)

    def fixed_covariance(self) -> np.ndarray:
        """Return the fixed values of the lower triangle of Sigma, NaN where an entry is free."""
        k = self.n_skills
        cov = np.full((k, k), np.nan if self.correlated else 0.0)
        cov[np.diag_indices(k)] = np.where(self.free_variance, np.nan, 1.0)
        return cov[np.tril_indices(k)]


def _check_counts(n_skills: int, benchmarks: Sequence[str]) -> None:
    """Refuse no skills, and more skills than benchmarks."""
    if n_skills < 1:
        raise DataError("A model needs at least one skill.")
    if n_skills > len(benchmarks):
        raise IdentificationError(
            f"{n_skills} skills but only {len(benchmarks)} benchmarks: take at most as many skills as "
            "benchmarks."
        )


def _find(names: Sequence[str], benchmarks: Sequence[str], role: str) -> list[int]:
    """Return the positions of benchmarks; refuse unknown and repeated names."""
    unknown = [name for name in names if name not in benchmarks]
    if unknown:
        raise DataError(f"Unknown {role} {unknown}; the panel's benchmarks are {list(benchmarks)}.")
    repeated = sorted({name for name in names if list(names).count(name) > 1})
    if repeated:
        raise DataError(f"Each {role} may be used once; {repeated} are used more often.")
    return [list(benchmarks).index(name) for name in names]


@dataclass(frozen=True)
class Anchored:
    """Each skill has an anchor benchmark, which loads on that skill alone and positively; diag Sigma = 1.

    Parameters
    ----------
    anchors : dict
        From the name of each skill to its anchor benchmark.
    correlated : bool
        False restricts Sigma to the identity, which is K (K - 1) / 2 restrictions that can be tested.

    Examples
    --------
    >>> Anchored({"math": "math_lvl_5", "instruction": "ifeval"})
    Anchored(anchors={'math': 'math_lvl_5', 'instruction': 'ifeval'}, correlated=True)
    """

    anchors: dict[str, str]
    correlated: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.anchors, dict) or not self.anchors:
            raise DataError("Anchored takes a dict skill name -> anchor benchmark, with at least one skill.")
        object.__setattr__(self, "anchors", {str(skill): str(item) for skill, item in self.anchors.items()})

    def resolve(self, benchmarks: Sequence[str]) -> Pattern:
        """Return the Pattern on the benchmarks of a panel."""
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
        The pivot benchmarks, one for each skill.
    names : sequence of str, optional
        Names of the skills; ``skill1``, ``skill2``, ... by default.
    """

    pivots: Sequence[str]
    names: Sequence[str] | None = field(default=None)

    def __post_init__(self) -> None:
        if isinstance(self.pivots, str):
            raise DataError("Echelon takes a list of pivot benchmarks.")
        object.__setattr__(self, "pivots", tuple(str(pivot) for pivot in self.pivots))
        names = self.names or [f"skill{number + 1}" for number in range(len(self.pivots))]
        if len(names) != len(self.pivots) or len(set(names)) != len(names):
            raise DataError("Echelon needs one distinct name per pivot.")
        object.__setattr__(self, "names", tuple(str(name) for name in names))

    def resolve(self, benchmarks: Sequence[str]) -> Pattern:
        """Return the Pattern on the benchmarks of a panel."""
        _check_counts(len(self.pivots), benchmarks)
        rows = _find(self.pivots, benchmarks, "pivots")
        k = len(rows)
        fixed = np.full((len(benchmarks), k), np.nan)
        fixed[rows] = np.where(np.tri(k, dtype=bool), np.nan, 0.0)
        return Pattern(
            tuple(self.names or ()), fixed, False, np.zeros(k, dtype=bool), tuple((row,) for row in rows), "echelon"
        )


@dataclass(frozen=True, eq=False)
class Confirmatory:
    """A user's pattern of loadings of benchmarks (rows) on skills (columns): NaN where free, else the fixed value.

    A skill with a fixed non-zero loading has a free variance, as that loading sets its unit; the others have
    variance one. Benchmarks of the panel that the frame does not list load freely on every skill.

    Parameters
    ----------
    loadings : DataFrame
        Its index holds benchmarks, its columns skills.
    correlated : bool
        Whether correlations between skills are free.
    """

    loadings: pd.DataFrame
    correlated: bool = True

    def __post_init__(self) -> None:
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

    def resolve(self, benchmarks: Sequence[str]) -> Pattern:
        """Return the Pattern on the benchmarks of a panel."""
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


def saved_form(form: Any) -> dict[str, Any]:
    """A form of identification in a form that JSON can hold; ``form_from`` reads it.

    Examples
    --------
    >>> saved_form(Echelon(["bbh"]))
    {'form': 'echelon', 'pivots': ['bbh'], 'names': ['skill1']}
    """
    if isinstance(form, Anchored):
        return {"form": "anchored", "anchors": dict(form.anchors), "correlated": form.correlated}
    if isinstance(form, Echelon):
        return {"form": "echelon", "pivots": list(form.pivots), "names": list(form.names or ())}
    frame = form.loadings
    loadings = [[None if np.isnan(value) else value for value in row] for row in frame.to_numpy().tolist()]
    names = {"benchmarks": list(frame.index), "skills": list(frame.columns)}
    return {"form": "confirmatory", **names, "loadings": loadings, "correlated": form.correlated}


def form_from(saved: dict[str, Any]) -> Anchored | Echelon | Confirmatory:
    """The form of ``saved_form``."""
    if saved["form"] == "anchored":
        return Anchored(saved["anchors"], saved["correlated"])
    if saved["form"] == "echelon":
        return Echelon(saved["pivots"], saved["names"])
    frame = pd.DataFrame(saved["loadings"], index=saved["benchmarks"], columns=saved["skills"], dtype=float)
    return Confirmatory(frame, saved["correlated"])


def form_source(form: Any) -> str:
    """Python source of a form, with latentscale as ``ls`` and pandas as ``pd``.

    Examples
    --------
    >>> form_source(Anchored({"math": "gsm8k"}, correlated=False))
    "ls.Anchored({'math': 'gsm8k'}, correlated=False)"
    """
    if isinstance(form, Echelon):
        return f"ls.Echelon({list(form.pivots)!r}, {list(form.names or ())!r})"
    more = "" if form.correlated else ", correlated=False"
    if isinstance(form, Anchored):
        return f"ls.Anchored({form.anchors!r}{more})"
    frame = form.loadings
    # an infinite loading is none, so that the word stands for what is missing alone
    loadings = repr(frame.to_numpy().tolist()).replace("nan", 'float("nan")')
    return f"ls.Confirmatory(pd.DataFrame({loadings}, {list(frame.index)!r}, {list(frame.columns)!r}){more})"


def unrotated(skills: Sequence[str], n_items: int) -> Pattern:
    """Return the pattern with all loadings free and Sigma = I, of which every just-identified form is a rotation."""
    k = len(skills)
    return Pattern(
        tuple(skills), np.full((n_items, k), np.nan), False, np.zeros(k, dtype=bool), ((),) * k, "unrotated"
    )


def identification_form(
    skills: Any, benchmarks: Sequence[str], scores: pd.DataFrame
) -> Anchored | Echelon | Confirmatory:
    """Return the form of identification that a user asks for.

    Parameters
    ----------
    skills : Anchored, Echelon, Confirmatory, dict or int
        A dict means Anchored; a number of skills means Echelon with pivots chosen from the scores.
    benchmarks : tuple of str
    scores : DataFrame
        Of shape (N, J).
    """
    if is_whole(skills):
        _check_counts(int(skills), benchmarks)
        return Echelon(tuple(choose_pivots(scores, int(skills))))
    if isinstance(skills, dict):
        return Anchored(skills)
    if isinstance(skills, (Anchored, Echelon, Confirmatory)):
        return skills
    raise DataError(f"skills is a number of skills, or Anchored, Echelon or Confirmatory, not {skills!r}.")


def resolve_skills(skills: Any, benchmarks: Sequence[str], scores: pd.DataFrame) -> Pattern:
    """Return the Pattern on these benchmarks of the form that a user asks for; see ``identification_form``."""
    return identification_form(skills, benchmarks, scores).resolve(tuple(benchmarks))


def choose_pivots(scores: pd.DataFrame, k: int) -> list[str]:
    """Choose pivot benchmarks for an echelon form by pivoted orthogonalisation of the correlations of the scores.

    First comes the benchmark with the largest sum of squared correlations with all others, then the one with the
    largest sum after the first has been projected out, and so on.
    """
    correlation = scores.corr(min_periods=3).fillna(0.0).to_numpy().copy()
    np.fill_diagonal(correlation, 1.0)
    residual = correlation.copy()
    chosen: list[int] = []
    for _ in range(k):
        size = np.sum(residual**2, axis=0)
        size[chosen] = -np.inf
        pivot = int(np.argmax(size))
        direction = residual[:, pivot] / np.linalg.norm(residual[:, pivot])
        residual = residual - np.outer(direction, direction @ residual)
        chosen.append(pivot)
    return [scores.columns[pivot] for pivot in chosen]
