"""Weak penalty on estimated asymptotes, so that flat benchmarks stay finite.

-((logit c - logit max(chance, floor)) / sd)^2 / 2 for a free lower asymptote, and the same about
``UPPER_CENTRE`` for logit d of a free upper one.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

UPPER_CENTRE = 3.5
LOWER_FLOOR = 0.005
DEFAULT_SD = 2.0


@dataclass(frozen=True)
class AsymptotePenalty:
    """Penalty on the free asymptotes of a parameter table.

    Attributes
    ----------
    where : int array (F,)
        Positions in s of the free asymptotes.
    centre : array (F,)
        On the logit scale.
    sd : float
    """

    where: np.ndarray
    centre: np.ndarray
    sd: float

    @classmethod
    def for_table(cls, table, chance, sd=DEFAULT_SD):
        """Penalty for the free asymptotes of ``table``; ``chance`` (J,) are the guessing levels."""
        index = [table.layout.index(name) for name in ("lower", "upper")]
        centres = [starting_lower(chance), np.full(len(chance), expit(UPPER_CENTRE))]
        where, centre = np.concatenate(index), logit(np.concatenate(centres))
        free = table.free[where]
        return cls(where[free], centre[free], sd)

    def terms(self, s):
        """Value, gradient (S,) and Hessian diagonal (S,) in s."""
        gradient, curvature = np.zeros(len(s)), np.zeros(len(s))
        if len(self.where) == 0:
            return 0.0, gradient, curvature
        value = s[self.where]
        distance = (logit(value) - self.centre) / self.sd**2
        slope = 1.0 / (value * (1.0 - value))
        gradient[self.where] = -distance * slope
        curvature[self.where] = -(slope**2) / self.sd**2 - distance * (2.0 * value - 1.0) * slope**2
        return float(-0.5 * np.sum(distance**2) * self.sd**2), gradient, curvature


def starting_lower(chance):
    """Guessing levels moved off zero."""
    return np.maximum(chance, LOWER_FLOOR)
