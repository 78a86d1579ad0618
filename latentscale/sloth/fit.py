"""The fit of Sloth: a search from several starts with a small ridge, then minimisation without ridge.

Without ridge the loss need not have a minimum: scores at or beyond an asymptote may draw expected scores towards it for
ever. The ridge is then kept.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ..estimation.progress import Progress
from ..models.options import checked_options, recorded_options
from ..workers import run
from .newton import SMALLEST_DAMPING, End, descend, minimise
from .objective import SlothObjective
from .options import LINK_SD, SLOTH_FIT_OPTIONS
from .problems import Piece, law_pieces, model_piece, penalised
from .starts import start_kinds, starting_law, starting_vector

if TYPE_CHECKING:
    from .model import HuberModel

Cells = tuple[tuple[int, ...], ...]
"""Cells of a problem, each as a row and a benchmark."""

RIDGE = 1e-3  # default weight; it corresponds to normal laws of standard deviation (SCORE_SCALE / RIDGE)^(1/2) = 4.5
SAME_MINIMUM = 1e-6  # losses that differ by less than this, relatively, belong to one minimum
_POLISHED, _WORTH_POLISHING = 3, 1.01  # ends that are minimised without ridge: at most 3, within 1% of the best loss
_SATURATED = 7.0  # beyond this logit an expected score is within a thousandth of its range of an asymptote
_GONE = 36.0  # beyond this logit it equals the asymptote in double precision, and the loss does not change any more
_TRIED, _MOVED = 40, 0.3  # steps without ridge, and logits by which a saturated cell moves if it tends to infinity


@dataclass(frozen=True, eq=False)
class SlothEstimate:
    """The estimates of a fit in the user's covariates, before skills are standardised.

    Attributes
    ----------
    effects : array (L, K) or None
        Family intercepts a; None if they are shared. NaN for a law's family without scores.
    slopes : array (p, K)
    loadings : array (J, K)
    intercepts : array (J,)
    phi : array (J, q)
        Link coordinates and logit asymptotes, see ``components.free_curves.FreeCurves``.
    loss, penalised : float
        Mean Huber loss without and with penalties.
    gradient : float
        Largest absolute derivative of the penalised loss at the estimate, in whitened covariates.
    converged : bool
    runaway : tuple of (family, benchmark)
        Cells whose expected scores tend to an asymptote if there is no ridge.
    ridge : float
        Weight of the ridge.
    automatic : bool
        Whether the ridge was added because the loss has no minimum.
    starts : DataFrame
        One row for each start.
    pieces : tuple of Piece
        The problems that were solved: one, or one for each benchmark.
    options : dict
        Options of the fit.
    iterations : int
        Number of Hessians computed.
    seconds : float
    """

    effects: np.ndarray | None
    slopes: np.ndarray
    loadings: np.ndarray
    intercepts: np.ndarray
    phi: np.ndarray
    loss: float
    penalised: float
    gradient: float
    converged: bool
    runaway: tuple[tuple[str, str], ...]
    ridge: float
    automatic: bool
    starts: pd.DataFrame
    pieces: tuple[Piece, ...]
    options: dict[str, Any]
    iterations: int
    seconds: float = field(default=np.nan, compare=False)


def fit_sloth(
    model: "HuberModel",
    delta: float = 0.01,
    starts: int = 10,
    seed: int = 0,
    n_jobs: int | None = None,
    progress: bool = False,
    cov_type: str = "cluster",
    ridge: float | None = None,
    link_sd: float = LINK_SD,
) -> SlothEstimate:
    """Minimise the mean Huber loss of a SlothModel or BenchmarkLaws.

    Parameters
    ----------
    model : SlothModel or BenchmarkLaws
    delta : float
        Residual in (0, 1) beyond which the loss is linear.
    starts : int
        Number of starts. The first is computed from the data, the others alternately from randomly weighted data and at
        random. Laws of single benchmarks always have only the first.
    seed : int
        Seed of the starts; the numbers do not depend on ``n_jobs``.
    n_jobs : int, optional
        Number of starts that run in parallel; by default one, or as a surrounding ``ls.parallel`` says.
    progress : bool
        Whether to report progress on the standard error stream.
    cov_type : {"cluster", "llm", "none"}
        The covariance that the results compute.
    ridge : float, optional
        Weight of the ridge on intercepts, slopes (of whitened covariates) and loadings: the objective is the mean loss
        + ridge / (2 n) times their sum of squares, where n is the number of scores. By default 0 if the loss has a
        minimum, else ``RIDGE``.
    link_sd : float
        Standard deviation of the law to which the spline's coordinates are shrunk, with the penalty
        ``SCORE_SCALE`` / (2 n link_sd^2) times their sum of squares.

    Returns
    -------
    SlothEstimate

    Raises
    ------
    DataError
        If an option cannot be used.
    """
    options = recorded_options(SLOTH_FIT_OPTIONS, checked_options(SLOTH_FIT_OPTIONS, locals()))
    began, shown = time.perf_counter(), Progress(progress, starts)
    with threadpool_limits(1):  # matrices are so small that several threads would be slower
        if model.per_benchmark:
            solved = [_solve_law(piece, delta, ridge, link_sd) for piece in law_pieces(model)]
        else:
            solved = [_solve(model_piece(model), delta, starts, seed, n_jobs, ridge, link_sd, shown)]
    return _assembled(model, solved, options, time.perf_counter() - began)




# --- search --------------------------------------------------------------------------------------------------------


class Solution(NamedTuple):
    """The solution of a problem.

    Attributes
    ----------
    piece : Piece
        The problem with its estimate.
    end : End
    runaway : tuple of (row, benchmark)
        Cells whose expected scores tend to an asymptote if there is no ridge.
    ridge : float
        Weight of the ridge.
    starts : DataFrame
    iterations : int
        Number of Hessians computed for all starts.
    """

    piece: Piece
    end: End
    runaway: Cells
    ridge: float
    starts: pd.DataFrame
    iterations: int


def _from_start(objective: SlothObjective, delta: float, kind: str, child: np.random.SeedSequence) -> End:
    """Minimise from one start of a kind, with the random numbers of a seed."""
    return minimise(objective, starting_vector(objective, kind, np.random.default_rng(child)), delta)


def _solve(
    piece: Piece,
    delta: float,
    starts: int,
    seed: int,
    n_jobs: int | None,
    ridge: float | None,
    link_sd: float,
    shown: Progress,
) -> Solution:
    """Solve the problem of a SlothModel."""
    weight = RIDGE if ridge is None or ridge == 0.0 else ridge
    search = penalised(piece.objective, weight, link_sd)
    children = np.random.SeedSequence(seed).spawn(starts)
    kinds = start_kinds(starts)
    ends = list(run(_from_start, zip(kinds, children, strict=True), (search, delta), n_jobs))
    best = min(end.value for end in ends)
    table = pd.DataFrame(
        {
            "kind": kinds,
            "penalised": [end.value for end in ends],
            "gradient": [end.gradient for end in ends],
            "iterations": [end.iterations for end in ends],
            "reached_best": [end.value <= best * (1.0 + SAME_MINIMUM) for end in ends],
        }
    ).rename_axis("start")
    shown.stage(f"{int(table['reached_best'].sum())} of {starts} starts at the best value {best:.6f}")
    chosen = _distinct(ends)
    used = sum(end.iterations for end in ends)
    if ridge is not None and ridge > 0.0:
        solved = replace(piece, objective=search, vector=chosen[0].vector)
        return Solution(solved, chosen[0], (), ridge, table, used)
    return _without_ridge(piece, search, chosen, delta, ridge, link_sd, table, used)


def _distinct(ends: Iterable[End]) -> list[End]:
    """Return the best ends with different values, best first."""
    chosen: list[End] = []
    for end in sorted(ends, key=lambda end: end.value):
        if not chosen or end.value > chosen[-1].value * (1.0 + SAME_MINIMUM):
            chosen.append(end)
    return [end for end in chosen if end.value <= chosen[0].value * _WORTH_POLISHING][:_POLISHED]


def _without_ridge(
    piece: Piece,
    search: SlothObjective,
    chosen: list[End],
    delta: float,
    ridge: float | None,
    link_sd: float,
    table: pd.DataFrame,
    used: int,
) -> Solution:
    """Minimise without ridge from ends of the search with ridge.

    If that has no minimum and the user gave no ridge, the solution is that with the ridge.
    """
    no_ridge = penalised(piece.objective, 0.0, link_sd)
    polished = [_polish(no_ridge, end.vector, delta, forced=ridge == 0.0) for end in chosen]
    best = min(range(len(chosen)), key=lambda number: polished[number][0].value)
    end, runaway = polished[best]
    used += sum(one.iterations for one, _ in polished)
    if len(runaway) and ridge is None:
        solved = replace(piece, objective=search, vector=chosen[0].vector)
        return Solution(solved, chosen[0], runaway, RIDGE, table, used)
    return Solution(replace(piece, objective=no_ridge, vector=end.vector), end, runaway, 0.0, table, used)


def _polish(objective: SlothObjective, vector: np.ndarray, delta: float, forced: bool) -> tuple[End, Cells]:
    """Minimise without ridge from an end of the search, and return the cells that tend to an asymptote.

    Unless it is ``forced``, the minimisation stops as soon as there are such cells.
    """
    first, damping = descend(objective, vector, delta, 1e-9, _TRIED, 1e-4)
    if first.converged:
        return first, _undecided(objective, first.vector, delta)
    further, damping = descend(objective, first.vector, delta, 1e-9, _TRIED, damping)
    runaway = () if further.converged else _running(objective, first.vector, further.vector)
    if further.converged:
        runaway = _undecided(objective, further.vector, delta)
    if further.converged or (len(runaway) and not forced):
        return replace(further, iterations=first.iterations + further.iterations), runaway
    last, _ = descend(objective, further.vector, delta, 1e-9, 300, damping)
    used = first.iterations + further.iterations + last.iterations
    if last.converged:
        return replace(last, iterations=used), _undecided(objective, last.vector, delta)
    return replace(last, iterations=used), _running(objective, further.vector, last.vector) or runaway


def _running(objective: SlothObjective, before: np.ndarray, after: np.ndarray) -> Cells:
    """Return the observed cells near an asymptote whose logits moved further towards it between two vectors."""
    old, new = (objective.response.predictor(*objective.predictor(vector)) for vector in (before, after))
    out = (np.abs(old) > _SATURATED) & (np.abs(new) > np.abs(old) + _MOVED) & (objective.weight > 0.0)
    return tuple(map(tuple, np.argwhere(out)))


def _undecided(objective: SlothObjective, vector: np.ndarray, delta: float) -> Cells:
    """Return the cells that the next Newton step would move further towards an asymptote.

    At a minimum that step is zero. If the loss falls like an exponential of eta the step is one logit, and half a logit
    if it falls like the square of an exponential, however small the decrease of the loss has become. Cells that are so
    near to an asymptote that the loss does not change any more are returned too.
    """
    at = np.abs(objective.response.predictor(*objective.predictor(vector)))
    gone = (at > _GONE) & (objective.weight > 0.0)
    if gone.any():
        return tuple(map(tuple, np.argwhere(gone)))
    if not ((at > _SATURATED) & (objective.weight > 0.0)).any():
        return ()
    step = objective.blocks(vector, delta).step(SMALLEST_DAMPING, objective.held)
    return () if step is None else _running(objective, vector, vector + step)


def _solve_law(piece: Piece, delta: float, ridge: float | None, link_sd: float) -> Solution:
    """Solve the problem of one benchmark's law."""
    weight = RIDGE if ridge is None or ridge == 0.0 else ridge
    search = penalised(piece.objective, weight, link_sd)
    end = minimise(search, starting_law(search), delta)
    table = pd.DataFrame(
        {"kind": ["data"], "penalised": [end.value], "gradient": [end.gradient], "iterations": [end.iterations]}
    ).assign(reached_best=True)
    if ridge is not None and ridge > 0.0:
        solved = replace(piece, objective=search, vector=end.vector)
        return Solution(solved, end, (), ridge, table, end.iterations)
    return _without_ridge(piece, search, [end], delta, ridge, link_sd, table, end.iterations)


# --- estimates in the user's covariates ----------------------------------------------------------------------------


def user_arrays(
    model: "HuberModel", pieces: Sequence[Piece]
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return family intercepts, slopes, loadings, intercepts and phi of solved problems, as in SlothEstimate."""
    laws = model.per_benchmark
    n_items, p = len(model.benchmarks), len(model.terms)
    k = n_items if laws else model.n_skills
    effects = np.full((model.n_families, k), np.nan) if model.family_intercepts else None
    slopes, loadings = np.zeros((p, k)), np.eye(n_items) if laws else np.zeros((n_items, k))
    intercepts, phi = np.zeros(n_items), np.zeros((n_items, model.response.size))
    for piece in pieces:
        family_intercepts, z_slopes, rows = piece.objective.split(piece.vector)
        columns = piece.items if laws else np.arange(k)
        by_x = piece.transform @ z_slopes
        slopes[:, columns] = by_x
        inner = rows[:, : piece.objective.n_skills]
        intercepts[piece.items], phi[piece.items] = rows[:, -1 - phi.shape[1]], rows[:, inner.shape[1] + 1 :]
        if not laws:
            loadings = inner.copy()
        shift = piece.centres @ by_x
        if effects is None:
            intercepts[piece.items] -= inner @ shift[0]
        else:
            effects[np.ix_(piece.families, columns)] = family_intercepts - shift
    return effects, slopes, loadings, intercepts, phi


def _assembled(
    model: "HuberModel", solved: Sequence[Solution], options: dict[str, Any], seconds: float
) -> SlothEstimate:
    """Return the estimate from the solutions of all problems."""
    pieces, ends = tuple(one.piece for one in solved), [one.end for one in solved]
    runaway = [cell for one in solved for cell in _named(model, one.piece, one.runaway)]
    counts = np.array([np.count_nonzero(piece.objective.weight) for piece in pieces])
    share = counts / counts.sum()
    ridge = max(one.ridge for one in solved)
    return SlothEstimate(
        *user_arrays(model, pieces),
        loss=float(share @ [end.loss for end in ends]),
        penalised=float(share @ [end.value for end in ends]),
        gradient=max(end.gradient for end in ends),
        converged=all(end.converged for end in ends),
        runaway=tuple(dict.fromkeys(runaway)),
        ridge=ridge,
        automatic=options["ridge"] is None and ridge > 0.0,
        starts=_starts_table(model, solved),
        pieces=pieces,
        options=options,
        iterations=sum(one.iterations for one in solved),
        seconds=seconds,
    )


def _named(model: "HuberModel", piece: Piece, cells: Cells) -> list[tuple[str, str]]:
    """Return the names of the family and the benchmark of each cell."""
    families = model.families[model.family_codes[piece.rows]]
    return [(str(families[row]), model.benchmarks[piece.items[item]]) for row, item in cells]


def _starts_table(model: "HuberModel", solved: Sequence[Solution]) -> pd.DataFrame:
    """Return one row for each start, indexed by benchmark and start for laws of single benchmarks."""
    tables = [one.starts for one in solved]
    if not model.per_benchmark:
        return tables[0]
    return pd.concat(tables, keys=model.benchmarks, names=["benchmark", "start"])
