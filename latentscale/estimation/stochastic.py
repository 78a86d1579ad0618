"""Stochastic ascent for tables so large that a pass over all of them is dear (Cai et al. 2025).

Steps by Adam from the scores of minibatches of families, each followed by the projection onto the parameter space, and
the mean of the iterates of the last epochs. What it ends at is where a deterministic driver begins, whose information
at the maximum gives the standard errors: those of the iterates themselves would tell of the algorithm as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..components.penalty import Penalty
from ..likelihood.modes import Modes
from ..likelihood.objective import Objective
from ..parameters.space import ParameterSpace
from ..parameters.structure import Structure
from .ascent import complete_metric
from .search import Start

EPOCHS = 8
_AVERAGED = 3  # epochs whose iterates are averaged
_BATCHES = 32
_FEWEST = 8  # families of a batch, at least
_RATE, _LAST_RATE = 0.3, 0.015  # steps, in standard deviations that a single family's scores would leave
_FIRST, _SECOND, _TINY = 0.9, 0.99, 1e-8  # Adam's decay of the gradient's moments


@dataclass
class Minibatch:
    """Some families: their log-likelihood without the penalty, their share of all families, and their modes, warm."""

    objective: Objective
    share: float
    modes: Modes | None = None


def minibatches_of(objective: Objective, rng: np.random.Generator) -> list[Minibatch]:
    """Families dealt at random into batches; drawn once, and visited in another order every epoch."""
    cells, nothing = objective.cells, Penalty(())
    count = int(np.clip(cells.n_families // _FEWEST, 1, _BATCHES))
    dealt = rng.permutation(np.arange(cells.n_families) % count)
    options = objective.mode_tolerance, objective.expected
    return [
        Minibatch(Objective(objective.space, cells.chosen(dealt[cells.family] == number), nothing, *options), share)
        for number, share in enumerate(np.bincount(dealt) / len(dealt))
    ]


def stochastic_climb(
    objective: Objective, number: int, kind: str, structure: Structure, max_iterations: int = EPOCHS, seed: int = 0
) -> Start:
    """Adam on minibatches of families from one starting Structure, by Laplace.

    Parameters
    ----------
    objective : Objective
    number, kind : int, str
        Of the start.
    structure : Structure
    max_iterations : int
        Epochs, in each of which every family is visited once; never more than ``EPOCHS``.
    seed : int
        Of the batches and their order.

    Returns
    -------
    Start
        At the mean of the last epochs' iterates, or at the last iterate where that is better; evaluations in passes.
    """
    space = objective.space
    if not isinstance(space, ParameterSpace):
        raise TypeError("stochastic ascent is for spaces without restrictions")
    rng, epochs = np.random.default_rng((seed, number)), min(max_iterations, EPOCHS)
    batches = minibatches_of(objective, rng)
    lowest, highest = space.limits
    u = np.clip(space.free_vector(structure), lowest, highest)
    adam = _Adam(np.sqrt(objective.cells.n_families) * complete_metric(objective, u))
    steps = epochs * len(batches)
    last = []
    for epoch in range(epochs):
        for place, batch in enumerate(rng.permutation(len(batches))):
            rate = _RATE * (_LAST_RATE / _RATE) ** ((epoch * len(batches) + place) / steps)
            gradient = _gradient(objective, u, batches[batch])
            step = adam.back(rate) if gradient is None else adam.step(gradient, rate)
            u = np.clip(u + step, lowest, highest)
            if epoch >= epochs - _AVERAGED:
                last.append(u)
    return _better(objective, number, kind, [np.mean(last, axis=0), u], epochs)


class _Adam:
    """Adam's moments of the gradient, in coordinates w of u = scale w in which all are alike."""

    def __init__(self, scale: np.ndarray) -> None:
        self.scale, self.count = scale, 0
        self.first = self.second = np.zeros(scale.shape[1])

    def step(self, gradient: np.ndarray, rate: float) -> np.ndarray:
        """The step along a gradient."""
        self.count += 1
        gradient = self.scale.T @ gradient
        self.first = _FIRST * self.first + (1.0 - _FIRST) * gradient
        self.second = _SECOND * self.second + (1.0 - _SECOND) * gradient**2
        slope, size = self.first / (1.0 - _FIRST**self.count), self.second / (1.0 - _SECOND**self.count)
        return rate * (self.scale @ (slope / (np.sqrt(size) + _TINY)))

    def back(self, rate: float) -> np.ndarray:
        """A step back, from where there is no log-likelihood."""
        return -2.0 * rate * (self.scale @ np.sign(self.first))


def _gradient(objective: Objective, u: np.ndarray, batch: Minibatch) -> np.ndarray | None:
    """Gradient in u of the penalised log-likelihood, a family on average, as a batch estimates it; or None."""
    evaluation, modes = batch.objective.laplace(u, batch.modes)
    if evaluation.gradient is None:
        batch.modes = None
        return None
    batch.modes = modes
    space = objective.space
    penalty = space.pull_back(u, objective.penalty.terms(space.structural(u))[1])
    return (evaluation.gradient / batch.share + penalty) / objective.cells.n_families


def _better(objective: Objective, number: int, kind: str, points: list[np.ndarray], epochs: int) -> Start:
    """The Start at the best of some points."""
    found = [(objective.laplace(point)[0], point) for point in points]
    evaluation, u = max(found, key=lambda pair: pair[0].value)
    gradient = np.inf if evaluation.gradient is None else float(np.abs(evaluation.gradient).max())
    return Start(number, kind, evaluation.value, gradient, epochs + len(points), u)
