"""Stochastic ascent for tables so large that a pass over all scores is expensive (Cai et al. 2025).

Each step uses the gradient of the log-likelihood of a minibatch, which is some of the families. The method is Adam;
after each step the parameters are projected onto the box of sensible values, and the result is the mean of the iterates
over the last epochs. A deterministic driver goes on from there to the maximum, and the information at the maximum gives
the standard errors. The scatter of the iterates would not do, as it depends on the algorithm as well as on the data.
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

EPOCHS = 8  # how often every family is visited
_AVERAGED = 3  # the last epochs, over which iterates are averaged
_BATCHES = 32  # minibatches in an epoch, unless there are few families
_FEWEST = 8  # a minibatch has at least so many families, if there are so many
# lengths of the first and last steps, in standard errors of estimates from the scores of a single family
_RATE, _LAST_RATE = 0.3, 0.015
_FIRST, _SECOND, _TINY = 0.9, 0.99, 1e-8  # Adam's decay of both moments of the gradient, and what keeps it from 0 / 0


@dataclass
class Minibatch:
    """Some of the families, on whose log-likelihood a step is based.

    Attributes
    ----------
    objective : Objective
        Their log-likelihood, without the penalties.
    share : float
        Their number divided by that of all families.
    modes : Modes or None
        The modes of their effects at the last visit, from which the next search begins.
    """

    objective: Objective
    share: float
    modes: Modes | None = None


def minibatches_of(objective: Objective, rng: np.random.Generator) -> list[Minibatch]:
    """Return the minibatches, to which the families are dealt at random once for all epochs."""
    cells, no_penalty = objective.cells, Penalty(())
    count = int(np.clip(cells.n_families // _FEWEST, 1, _BATCHES))
    dealt = rng.permutation(np.arange(cells.n_families) % count)
    options = objective.mode_tolerance, objective.expected
    return [
        Minibatch(Objective(objective.space, cells.chosen(dealt[cells.family] == number), no_penalty, *options), share)
        for number, share in enumerate(np.bincount(dealt) / len(dealt))
    ]


def stochastic_climb(
    objective: Objective, number: int, kind: str, structure: Structure, max_iterations: int = EPOCHS, seed: int = 0
) -> Start:
    """Climb the Laplace log-likelihood from one starting Structure by Adam on minibatches of families.

    Parameters
    ----------
    objective : Objective
    number : int
        Which of the starts it is.
    kind : str
        How the starting point was made, as in ``Start``.
    structure : Structure
        The starting point.
    max_iterations : int
        Number of epochs, in each of which every family is visited once; never more than ``EPOCHS``.
    seed : int
        Seed of the dealing of families to minibatches and of the order in which these are visited.

    Returns
    -------
    Start
        At the mean of the iterates of the last epochs, or at the last iterate if the log-likelihood is higher there.
        Its evaluations count passes over all families.
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
    """The moments of the gradient that Adam keeps, for coordinates w with u = scale w.

    ``scale`` (P, P) is a square root of the inverse of the information that one family has on average, so that the
    scores of one family say about equally much of all coordinates of w.
    """

    def __init__(self, scale: np.ndarray) -> None:
        self.scale, self.count = scale, 0
        self.first = self.second = np.zeros(scale.shape[1])

    def step(self, gradient: np.ndarray, rate: float) -> np.ndarray:
        """Return the step in u (P,) after another gradient in u (P,): about ``rate`` in each coordinate of w."""
        self.count += 1
        gradient = self.scale.T @ gradient
        self.first = _FIRST * self.first + (1.0 - _FIRST) * gradient
        self.second = _SECOND * self.second + (1.0 - _SECOND) * gradient**2
        slope, size = self.first / (1.0 - _FIRST**self.count), self.second / (1.0 - _SECOND**self.count)
        return rate * (self.scale @ (slope / (np.sqrt(size) + _TINY)))

    def back(self, rate: float) -> np.ndarray:
        """Return a step in u against the mean gradient, away from a point at which there is no log-likelihood."""
        return -2.0 * rate * (self.scale @ np.sign(self.first))


def _gradient(objective: Objective, u: np.ndarray, batch: Minibatch) -> np.ndarray | None:
    """Return a minibatch's estimate of the gradient in u (P,) of the penalised log-likelihood divided by L families.

    It is None where the minibatch has no Laplace approximation.
    """
    evaluation, modes = batch.objective.laplace(u, batch.modes)
    if evaluation.gradient is None:
        batch.modes = None
        return None
    batch.modes = modes
    space = objective.space
    penalty = space.pull_back(u, objective.penalty.terms(space.structural(u))[1])
    return (evaluation.gradient / batch.share + penalty) / objective.cells.n_families


def _better(objective: Objective, number: int, kind: str, points: list[np.ndarray], epochs: int) -> Start:
    """Return the Start that ends at the best of some points."""
    evaluated = [(objective.laplace(point)[0], point) for point in points]
    evaluation, u = max(evaluated, key=lambda pair: pair[0].value)
    gradient = np.inf if evaluation.gradient is None else float(np.abs(evaluation.gradient).max())
    return Start(number, kind, evaluation.value, gradient, epochs + len(points), u)
