"""Fit Sloth: starts, the search with a small ridge, and whether the loss has a minimum without it."""

import time
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ..checks import check_number, check_one_of, check_positive, check_seed, check_whole
from ..estimation.progress import Progress
from ..workers import run
from .newton import SMALLEST_DAMPING, descend, minimise
from .objective import SlothObjective
from .starts import start_kinds, starting_law, starting_vector

COV_TYPES = ("cluster", "llm", "none")
SCORE_SCALE = 0.02  # penalties take the loss for minus a Laplace log-density of this mean absolute error
RIDGE = 1e-3  # default weight: normal laws of standard deviation (SCORE_SCALE / RIDGE)^(1/2) = 4.5
LINK_SD = 1.0  # of the spline's coordinates about the logistic link
SAME_MINIMUM = 1e-6  # relative
_POLISHED, _WORTH_POLISHING = 3, 1.01
_SATURATED = 7.0  # beyond this logit an expected score is within a thousandth of its range of an asymptote
_GONE = 36.0  # beyond this one it is that asymptote, to the precision of a double, and the loss feels it no more
_TRIED, _MOVED = 40, 0.3  # steps without ridge, and by how many logits they may move a saturated cell


@dataclass(frozen=True, eq=False)
class SlothEstimate:
    """What a fit found out, in the user's covariates and before any standardisation of skills.

    Attributes
    ----------
    effects : array (L, K) or None
        Family intercepts a; None where they are shared. NaN for a law's family without scores.
    slopes : array (p, K)
    loadings : array (J, K)
    intercepts : array (J,)
    phi : array (J, q)
        Link coordinates and logit asymptotes, see ``components.free_curves.FreeCurves``.
    loss, penalised : float
        Mean Huber loss without and with penalties.
    gradient : float
        Largest derivative of the penalised loss at the end, in whitened covariates.
    converged : bool
    runaway : tuple of (family, benchmark)
        Cells whose expected score runs to an asymptote without a ridge.
    ridge : float
        Weight used; ``automatic`` says whether it was put in because the loss has no minimum.
    pieces : tuple of Piece
        The problems that were solved, for inference: one, or one a benchmark.
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
    runaway: tuple
    ridge: float
    automatic: bool
    starts: pd.DataFrame
    pieces: tuple
    options: dict
    iterations: int
    seconds: float = field(default=np.nan, compare=False)


@dataclass(frozen=True, eq=False)
class Piece:
    """A problem as the optimiser sees it, and the way back.

    Attributes
    ----------
    objective : SlothObjective
    vector : array (P,) or None
        The estimate.
    rows : int array (n,)
        The model's LLM of each row.
    items : int array (J,)
        The model's benchmarks.
    families : int array (L,)
        The model's family of each family here.
    transform : array (p, p)
        z = (x - centre) T, centre the family's mean, or that of all LLMs where intercepts are shared.
    centres : array (L or 1, p)
    """

    objective: SlothObjective
    vector: np.ndarray | None
    rows: np.ndarray
    items: np.ndarray
    families: np.ndarray
    transform: np.ndarray
    centres: np.ndarray


def fit_sloth(
    model, delta=0.01, starts=10, seed=0, n_jobs=None, progress=False, cov_type="cluster", ridge=None, link_sd=LINK_SD
):
    """Minimise the mean Huber loss of a SlothModel or BenchmarkLaws.

    Parameters
    ----------
    model : SlothModel or BenchmarkLaws
    delta : float
        Where the loss goes over into the absolute value.
    starts : int
        The first from the data, every other one from randomly weighted data, the others at random. Laws per
        benchmark always take the one from the data.
    seed : int
        Of the starts; the same numbers whatever ``n_jobs`` is.
    n_jobs : int, optional
        Starts in parallel; by default one, or what a surrounding ``ls.parallel`` says.
    progress : bool
        Report on the standard error stream.
    cov_type : {"cluster", "llm", "none"}
        Read by the results.
    ridge : float, optional
        Weight of the ridge on intercepts, slopes (of whitened covariates) and loadings: the objective is the mean loss
        + ridge / (2 n) times their sum of squares, n the number of scores. None: 0 if the loss has a minimum, else
        ``RIDGE``.
    link_sd : float
        Standard deviation by which the spline's coordinates are shrunk: penalty ``SCORE_SCALE`` / (2 n link_sd^2)
        times their sum of squares.

    Returns
    -------
    SlothEstimate

    Raises
    ------
    DataError
        For options that make no sense.
    """
    began = time.perf_counter()
    options = {"delta": delta, "starts": starts, "seed": seed, "cov_type": cov_type, "ridge": ridge, "link_sd": link_sd}
    check_options(**options)
    shown = Progress(progress, starts)
    with threadpool_limits(1):  # small matrices, on which threads cost more than they bring
        if model.per_benchmark:
            solved = [_solve_law(piece, delta, ridge, link_sd) for piece in law_pieces(model)]
        else:
            solved = [_solve(model_piece(model), delta, starts, seed, n_jobs, ridge, link_sd, shown)]
    return _assembled(model, solved, options, time.perf_counter() - began)


def check_options(delta, starts, seed, cov_type, ridge, link_sd):
    """Raise a DataError for options of ``fit_sloth`` that make no sense."""
    check_number("delta", delta, "a number between 0 and 1, as scores are", 0.0, 1.0, inner=True)
    check_whole("starts", starts, 1)
    check_seed(seed)
    check_one_of("cov_type", cov_type, COV_TYPES)
    if ridge is not None:
        check_number("ridge", ridge, "None or a number, at least 0", 0.0)
    check_positive("link_sd", link_sd)


# --- problems ------------------------------------------------------------------------------------------------------


def model_piece(model):
    """The one problem of a SlothModel."""
    return _piece(model, np.arange(model.n_llms), np.arange(len(model.benchmarks)), model.n_skills)


def law_pieces(model):
    """A problem a benchmark, over the LLMs that have its score."""
    seen = ~np.isnan(model.y)
    return [_piece(model, np.flatnonzero(seen[:, item]), np.array([item]), 1) for item in range(len(model.benchmarks))]


def _piece(model, rows, items, k):
    order = rows[np.argsort(model.family_codes[rows], kind="stable")]
    families, first = np.unique(model.family_codes[order], return_index=True)
    if not model.family_intercepts:
        families, first = families[:0], None
    x = model.design.x[order]
    centres, centred = _centred(x, first)
    transform = _coding(centred, model.positive)
    y = model.y[np.ix_(order, items)]
    seen = ~np.isnan(y)
    response = model.response.only(items)
    a, b = len(families) * k, x.shape[1] * k
    size = a + b + len(items) * (k + 1 + response.size)
    held = positive = None
    if model.per_benchmark:
        held = np.zeros(size - a, dtype=bool)
        held[b] = True
        held[b + 1] = bool(a)
    if model.positive is not None:
        positive = np.repeat(model.positive[:, None], k, axis=1)
    objective = SlothObjective(
        np.where(seen, y, 0.5), seen / seen.sum(), centred @ transform, first, k, response,
        np.zeros(size), np.zeros(size), held, positive,
    )  # fmt: skip
    return Piece(objective, None, order, items, families, transform, centres)


def _centred(x, first):
    if first is None:
        centre = x.mean(axis=0)
        return centre[None], x - centre
    counts = np.diff(np.append(first, len(x)))
    centres = np.add.reduceat(x, first) / counts[:, None]
    return centres, x - np.repeat(centres, counts, axis=0)


def _coding(centred, positive):
    """T of z = x T: whitened; only scaled where the signs of slopes are restricted, which rotation would mix."""
    if positive is not None:
        return np.diag(1.0 / np.sqrt(np.mean(centred**2, axis=0)))
    scale = np.sqrt(np.mean(centred**2, axis=0))
    _, r = np.linalg.qr(centred / scale)
    return np.linalg.inv(r) * np.sqrt(len(centred)) / scale[:, None]


def penalised(objective, ridge, link_sd=LINK_SD, asymptote_sd=2.0):
    """The objective with its penalties; see ``fit_sloth``."""
    a, b = objective.sizes
    response, k = objective.response, objective.n_skills
    n = np.count_nonzero(objective.weight)
    weight = np.full(len(objective.penalty), ridge / n)
    centre = np.zeros(len(weight))
    if response.size:
        of_rows, at = (part[a + b :].reshape(-1, objective.row_length) for part in (weight, centre))
        of_rows[:, k + 1 :] = SCORE_SCALE / (n * asymptote_sd**2)
        of_rows[:, k + 1 : k + 1 + response.n_link] = SCORE_SCALE / (n * link_sd**2)
        at[:, k + 1 :] = response.centre
    return replace(objective, penalty=weight, centre=centre)


# --- search --------------------------------------------------------------------------------------------------------


def _climb(objective, delta, kind, child):
    return minimise(objective, starting_vector(objective, kind, np.random.default_rng(child)), delta)


def _solve(piece, delta, starts, seed, n_jobs, ridge, link_sd, shown):
    """(piece with estimate, end, runaway cells, ridge, table of starts)."""
    weight = RIDGE if ridge is None or ridge == 0.0 else ridge
    search = penalised(piece.objective, weight, link_sd)
    children = np.random.SeedSequence(seed).spawn(starts)
    kinds = start_kinds(starts)
    ends = list(run(_climb, zip(kinds, children, strict=True), (search, delta), n_jobs))
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
        return replace(piece, objective=search, vector=chosen[0].vector), chosen[0], (), ridge, table, used
    return _without_ridge(piece, search, chosen, delta, ridge, link_sd, table, used)


def _distinct(ends):
    """The best ends with different values, best first."""
    chosen = []
    for end in sorted(ends, key=lambda end: end.value):
        if not chosen or end.value > chosen[-1].value * (1.0 + SAME_MINIMUM):
            chosen.append(end)
    return [end for end in chosen if end.value <= chosen[0].value * _WORTH_POLISHING][:_POLISHED]


def _without_ridge(piece, search, chosen, delta, ridge, link_sd, table, used):
    """Go on from ends of the search with no ridge; back to the ridge if that runs away and it is ours to choose."""
    bare = penalised(piece.objective, 0.0, link_sd)
    polished = [_polish(bare, end.vector, delta, forced=ridge == 0.0) for end in chosen]
    best = min(range(len(chosen)), key=lambda number: polished[number][0].value)
    end, runaway = polished[best]
    used += sum(end.iterations for end, _ in polished)
    if len(runaway) and ridge is None:
        return replace(piece, objective=search, vector=chosen[0].vector), chosen[0], runaway, RIDGE, table, used
    return replace(piece, objective=bare, vector=end.vector), end, runaway, 0.0, table, used


def _polish(bare, vector, delta, forced):
    """Minimise without ridge from an end of the search: End, and the cells that run away."""
    first, damping = descend(bare, vector, delta, 1e-9, _TRIED, 1e-4)
    if first.converged:
        return first, _undecided(bare, first.vector, delta)
    further, damping = descend(bare, first.vector, delta, 1e-9, _TRIED, damping)
    runaway = () if further.converged else _running(bare, first.vector, further.vector)
    if further.converged:
        runaway = _undecided(bare, further.vector, delta)
    if further.converged or (len(runaway) and not forced):
        return replace(further, iterations=first.iterations + further.iterations), runaway
    last, _ = descend(bare, further.vector, delta, 1e-9, 300, damping)
    used = first.iterations + further.iterations + last.iterations
    moving = _undecided(bare, last.vector, delta) if last.converged else _running(bare, further.vector, last.vector)
    return replace(last, iterations=used), moving or (() if last.converged else runaway)


def _running(objective, before, after):
    """Observed cells (row, benchmark) at an asymptote that moved further out."""
    old, new = (objective.response.predictor(*objective.predictor(vector)) for vector in (before, after))
    out = (np.abs(old) > _SATURATED) & (np.abs(new) > np.abs(old) + _MOVED) & (objective.weight > 0.0)
    return tuple(map(tuple, np.argwhere(out)))


def _undecided(objective, vector, delta):
    """Cells that a next Newton step would move further out, however little the loss would gain.

    At a minimum that step is nothing. Where the loss falls like an exponential of eta it is one logit, and half of one
    where it falls like the square of an exponential, however flat the loss has become. What has gone so far that there
    is nothing left to gain is past deciding: it has run away.
    """
    at = np.abs(objective.response.predictor(*objective.predictor(vector)))
    gone = (at > _GONE) & (objective.weight > 0.0)
    if gone.any():
        return tuple(map(tuple, np.argwhere(gone)))
    if not ((at > _SATURATED) & (objective.weight > 0.0)).any():
        return ()
    step = objective.blocks(vector, delta).step(SMALLEST_DAMPING, objective.held)
    return () if step is None else _running(objective, vector, vector + step)


def _solve_law(piece, delta, ridge, link_sd):
    weight = RIDGE if ridge is None or ridge == 0.0 else ridge
    search = penalised(piece.objective, weight, link_sd)
    end = minimise(search, starting_law(search), delta)
    table = pd.DataFrame(
        {"kind": ["data"], "penalised": [end.value], "gradient": [end.gradient], "iterations": [end.iterations]}
    ).assign(reached_best=True)
    if ridge is not None and ridge > 0.0:
        return replace(piece, objective=search, vector=end.vector), end, (), ridge, table, end.iterations
    return _without_ridge(piece, search, [end], delta, ridge, link_sd, table, end.iterations)


# --- back to the user ----------------------------------------------------------------------------------------------


def user_parts(model, pieces):
    """Family intercepts, slopes, loadings, intercepts and phi of solved problems, as in SlothEstimate."""
    laws = model.per_benchmark
    n_items, p = len(model.benchmarks), len(model.terms)
    k = n_items if laws else model.n_skills
    effects = np.full((model.n_families, k), np.nan) if model.family_intercepts else None
    slopes, loadings = np.zeros((p, k)), np.eye(n_items) if laws else np.zeros((n_items, k))
    intercepts, phi = np.zeros(n_items), np.zeros((n_items, model.response.size))
    for piece in pieces:
        a_part, b_part, rows = piece.objective.split(piece.vector)
        columns = piece.items if laws else np.arange(k)
        by_x = piece.transform @ b_part
        slopes[:, columns] = by_x
        inner = rows[:, : piece.objective.n_skills]
        intercepts[piece.items], phi[piece.items] = rows[:, -1 - phi.shape[1]], rows[:, inner.shape[1] + 1 :]
        if not laws:
            loadings = inner.copy()
        shift = piece.centres @ by_x
        if effects is None:
            intercepts[piece.items] -= inner @ shift[0]
        else:
            effects[np.ix_(piece.families, columns)] = a_part - shift
    return effects, slopes, loadings, intercepts, phi


def _assembled(model, solved, options, seconds):
    runaway = [cell for piece, _, running, *_ in solved for cell in _named(model, piece, running)]
    counts = np.array([np.count_nonzero(piece.objective.weight) for piece, *_ in solved])
    share = counts / counts.sum()
    ridges = [ridge for *_, ridge, _, _ in solved]
    return SlothEstimate(
        *user_parts(model, [piece for piece, *_ in solved]),
        float(share @ [end.loss for _, end, *_ in solved]), float(share @ [end.value for _, end, *_ in solved]),
        max(end.gradient for _, end, *_ in solved), all(end.converged for _, end, *_ in solved),
        tuple(dict.fromkeys(runaway)), max(ridges),
        options["ridge"] is None and max(ridges) > 0.0, _starts_table(model, solved),
        tuple(piece for piece, *_ in solved), options, sum(used for *_, used in solved), seconds,
    )  # fmt: skip


def _named(model, piece, cells):
    families = model.families[model.family_codes[piece.rows]]
    return [(str(families[row]), model.benchmarks[piece.items[item]]) for row, item in cells]


def _starts_table(model, solved):
    tables = [table for *_, table, _ in solved]
    if not model.per_benchmark:
        return tables[0]
    return pd.concat(tables, keys=model.benchmarks, names=["benchmark", "start"])
