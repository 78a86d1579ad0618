"""Messages on the progress of a fit while it runs."""


from __future__ import annotations

import time

from rich.console import Console

from .search import Start


class Progress:
    """Prints a line for each start and each round of a fit to standard error, or nothing if ``show`` is False.

    ``starts`` is the number of starts of the search.
    """

    def __init__(self, show: bool, starts: int) -> None:
        self.show, self.starts = show, starts
        self.console = Console(stderr=True, highlight=False)
        self.began = time.perf_counter()
        self.best, self.reached, self.done = -float("inf"), 0, 0

    def _line(self, text: str) -> None:
        """Print a text after the seconds since the fit began."""
        if self.show:
            self.console.print(
                f"[{time.perf_counter() - self.began:6.1f} s] {text}", markup=False, soft_wrap=True
            )

    def start(self, start: Start, same: float) -> None:
        """Tell that a start of the search has ended; values within ``same`` count as the same maximum."""
        self.done += 1
        if start.value > self.best + same:
            self.reached = 0
        if start.value > self.best - same:
            self.reached += 1
        self.best = max(self.best, start.value)
        self._line(
            f"start {self.done}/{self.starts} ({start.kind}): Laplace log-likelihood {start.value:.3f}; "
            f"best {self.best:.3f}, reached by {self.reached}"
        )

    def stage(self, text: str) -> None:
        """Tell that a new stage of the fit begins, in the words of ``text``."""
        self._line(text)

    def round(self, number: int, loglike: float, distance: float) -> None:
        """Tell the log-likelihood in a round of a driver, and the distance to the maximum in standard errors."""
        where = (
            "curvature not positive definite"
            if distance != distance
            else f"{distance:.1e} SE from the optimum"
        )
        self._line(f"  round {number}: log-likelihood {loglike:.4f}, {where}")
