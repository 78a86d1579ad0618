"""Multi-start search by Laplace's approximation.

A just-identified form restricts nothing but coordinates, and coordinates matter to an optimiser: under
anchors the surface has walls where two anchors come close to measuring one skill. The search therefore runs
in the unrotated form (all loadings free, Sigma = I) whenever the user's form can be reached from it, and the
ends of its paths are rotated into the user's form without loss.
"""


from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..components.identification import Pattern
from ..likelihood.objective import Objective
from ..parameters.structure import Structure
from ..workers import run
from .ascent import REFUSED, LaplaceDescent, complete_metric, scaled_ascent
from .starts import data_start, random_start

SAME_OPTIMUM = 0.1  # log-likelihood units within which two starts count as having reached the same value


@dataclass(frozen=True)
class Start:
    """Where one start ended.

    Attributes
    ----------
    number : int
    kind : str
        ``"data"``, ``"random"`` or ``"given"``.
    value : float
        Penalised Laplace log-likelihood at the end; -inf if the start failed.
    gradient : float
        Largest absolute entry of its gradient in u.
    evaluations : int
    u : array (P,)
        End point, in the space of the search.
    """

    number: int
    kind: str
    value: float
    gradient: float
    evaluations: int
    u: np.ndarray


def climb(
    objective: Objective, number: int, kind: str, structure: Structure, max_iterations: int, gtol: float = 5e-3
) -> Start:
    """Quasi-Newton ascent from one starting Structure, its metric renewed once on the way.

    It ends some hundredths of a log-likelihood unit from its optimum, near enough to tell optima apart.
    """
    descent = LaplaceDescent(objective)
    u = objective.space.free_vector(structure)
    for iterations, goal in ((min(30, max_iterations), 20.0 * gtol), (max_iterations - 30, gtol)):
        if iterations > 0:
            u, _ = scaled_ascent(descent, u, complete_metric(objective, u), goal, iterations, objective.space)
    minus_value, minus_gradient = descent(u)
    value = -minus_value if minus_value < REFUSED else -np.inf
    return Start(number, kind, value, float(np.abs(minus_gradient).max()), descent.evaluations, u)


def starting_structures(
    objective: Objective,
    pattern: Pattern,
    chance: np.ndarray,
    family_of_llm: np.ndarray,
    starts: int,
    seed: int,
    scales: dict[str, np.ndarray] | None = None,
) -> Iterator[tuple[str, Structure]]:
    """(kind, Structure) of each start: the first from the data, the others at random, start r from child r.

    ``scales`` holds starting standard deviations of random effects, by block.
    """
    cells, k, layout = objective.cells, pattern.n_skills, objective.space.layout
    children = np.random.SeedSequence(seed).spawn(max(starts, 1))

    def start(structure: Structure) -> Structure:
        return pattern.rotate_from(structure).with_scales(**(scales or {}))

    yield "data", start(data_start(cells, chance, k, family_of_llm, layout.n_link))
    for child in children[1:]:
        yield "random", start(random_start(np.random.default_rng(child), cells, chance, k, layout.n_link))


def search(
    objective: Objective,
    structures: Iterable[tuple[str, Structure]],
    n_jobs: int | None = None,
    max_iterations: int = 1000,
    report: Callable[[Start], None] | None = None,
    climber: Callable[..., Start] = climb,
) -> list[Start]:
    """Climb from every start; Starts in their order, the same whatever ``n_jobs`` is.

    Parameters
    ----------
    structures : iterable of (str, Structure)
    n_jobs : int, optional
        As ``workers.run`` takes it.
    report : callable, optional
        Called with each finished Start.
    climber : callable
        What climbs from a start: ``climb``, or another of its arguments.
    """
    tasks = ((number, kind, structure, max_iterations) for number, (kind, structure) in enumerate(structures))
    ends = []
    for start in run(climber, tasks, (objective,), n_jobs):
        ends.append(start)
        if report is not None:
            report(start)
    return ends


def best_distinct(ends: Sequence[Start], count: int, tolerance: float = SAME_OPTIMUM) -> list[Start]:
    """The best starts, one for each distinct value, at most ``count``."""
    chosen: list[Start] = []
    for start in sorted(ends, key=lambda end: (-end.value, end.number)):
        if np.isfinite(start.value) and all(abs(start.value - other.value) > tolerance for other in chosen):
            chosen.append(start)
    return chosen[:count]
