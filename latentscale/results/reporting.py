"""The HTML report of a fit, as a method of its results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..report.html import write_report
from .estimates import Estimates

if TYPE_CHECKING:
    from os import PathLike
    from pathlib import Path

    from ..inference.goodness_of_fit import GoodnessOfFit


class Reports(Estimates):
    """The report of ``LatentSkillResults``."""

    def report(
        self,
        path: str | PathLike[str],
        title: str | None = None,
        question: str | None = None,
        alpha: float = 0.05,
        size: int = 1000,
        seed: int = 0,
        goodness_of_fit: GoodnessOfFit | None = None,
    ) -> Path:
        """Write one self-contained HTML file that presents this fit to a reader.

        It contains the question, the data and what was left out of them, the model in words and formulas, the summary,
        estimates, tests of slopes, identification and diagnosis, pictures, families, predictions, and how to repeat the
        fit. The file loads nothing from outside, and names in the data cannot become markup. The same fit gives the
        same file.

        Parameters
        ----------
        path : str or Path
            The file, which is replaced if it exists. It is only written if the whole report could be made.
        title, question : str, optional
            Heading of the report, and the question that the analysis answers; by default derived from the model.
        alpha : float
            One minus the level of all intervals, in (0, 1).
        size : int
            Number of draws for the prediction intervals, at least 100.
        seed : int
            Seed of these draws.
        goodness_of_fit : GoodnessOfFit, optional
            What ``fit.goodness_of_fit()`` found; by default it is computed from 139 simulated tables.

        Returns
        -------
        Path

        Raises
        ------
        DataError
            If ``alpha`` or ``size`` is out of range.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> import latentscale as ls
        >>> panel = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=["mmlu", "arc", "bbh"])
        >>> fit = ls.LatentSkillModel(panel, "log(params_b)", skills=1).fit(integration="laplace", starts=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = fit.report(pathlib.Path(folder) / "report.html").read_text(encoding="utf-8")
        >>> page.startswith("<!doctype html>")
        True
        """
        return write_report(self._results, path, title, question, alpha, size, seed, goodness_of_fit)
