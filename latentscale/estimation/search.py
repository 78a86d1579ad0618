"""Search from several starts for the highest maximum of the log-likelihood by Laplace's approximation.

A just-identified form does not restrict the law of the scores; it only chooses the axes of the skills. To an optimiser
the axes matter, though. If for instance each skill is the one that its anchor benchmark measures, the log-likelihood
falls off steeply where two anchors come close to measuring the same skill, and paths get stuck there. The search
therefore leaves all loadings free with Sigma = I whenever the user's form can be reached by rotating skills, and the
points that it finds are rotated into the user's form afterwards, which does not change the log-likelihood.
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
    """The end of the path from one starting point.

    Attributes
    ----------
    number : int
        Which of the starts it was, from 0.
    kind : str
        ``"data"``, ``"random"`` or ``"given"``.
    value : float
        Penalised Laplace log-likelihood at the end; -inf if there is none.
    gradient : float
        The largest absolute entry of its gradient in u.
    evaluations : int
        Passes over the data.
    u : array (P,)
        The end of the path, in the coordinates of the search.
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
    """Climb from one starting Structure by a quasi-Newton method whose metric is renewed once on the way.

    The climb ends when the log-likelihood is some hundredths below a maximum, near enough to tell maxima apart.
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
    """Yield kind and Structure of each starting point: the first is made from the data, the others are random.

    Start r draws from child r of the seed, so that it is the same however many starts there are. ``scales`` holds
    starting values of the standard deviations of random effects, by block.
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
    """Climb from every starting point; return the ends in the order of the starts, the same whatever ``n_jobs`` is.

    Parameters
    ----------
    objective : Objective
    structures : iterable of (str, Structure)
        Kind and Structure of each starting point.
    n_jobs : int, optional
        The number of parallel tasks, as ``workers.run`` takes it.
    max_iterations : int
        At most so many iterations from each start.
    report : callable, optional
        Called with each Start when it has ended.
    climber : callable
        The function that climbs from one start: ``climb``, or one that takes the same arguments.
    """
    tasks = ((number, kind, structure, max_iterations) for number, (kind, structure) in enumerate(structures))
    ends = []
    for start in run(climber, tasks, (objective,), n_jobs):
        ends.append(start)
        if report is not None:
            report(start)
    return ends


def best_distinct(ends: Sequence[Start], count: int, tolerance: float = SAME_OPTIMUM) -> list[Start]:
    """Return at most ``count`` starts, the best first, of which no two end within ``tolerance`` of the same value."""
    chosen: list[Start] = []
    for start in sorted(ends, key=lambda end: (-end.value, end.number)):
        if np.isfinite(start.value) and all(abs(start.value - better.value) > tolerance for better in chosen):
            chosen.append(start)
    return chosen[:count]
