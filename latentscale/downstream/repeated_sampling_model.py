"""RepeatedSamplingModel: successes in repeated tries at single items, regressed on the skills of a fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..checks import check_switch, check_whole
from ..errors import DataError
from ..parameters import kinds
from ..parameters.named import Parameters
from ..tables import counted, read_names, read_table, require_columns, some, to_floats
from .model import read_fit, read_skills
from .repeated_sampling_results import fit_repeated_sampling

if TYPE_CHECKING:
    from narwhals.typing import IntoFrame

    from ..results.latent_skill import LatentSkillResults
    from .repeated_sampling_results import RepeatedSamplingResults


class RepeatedSamplingModel:
    """Binomial item response theory on the skills of a fit.

    For LLM i, item q and n_iq tries::

        S_iq ~ Binomial(n_iq, p_iq),  logit p_iq = gamma' theta_i + eps_i + b_q,
        b_q ~ N(b0, sd_item^2),  eps_i ~ N(0, sd_llm^2).

    gamma, b0 and the standard deviations maximise the marginal likelihood of the successes, in which b_q, eps_i and the
    skills theta_i are integrated out, the skills over their law given the benchmark scores
    (``latentscale.downstream.repeated_sampling_law`` says how). All items have the same discrimination.

    Parameters
    ----------
    fit : LatentSkillResults
    table : table
        One row per LLM and item. LLMs must be in the fit's likelihood. Not every LLM needs to have tried every item.
    llm : str, optional
        Column of LLM names; by default it is called as in the fit's panel.
    item, successes : str
        Columns of item names and of numbers of successes.
    tries : str or int
        Column of numbers of tries, or one number for all rows.
    skills : sequence of str, optional
        Skills with free loadings, by default all. With few LLMs in the table name one or two.
    residual : bool
        Whether LLMs have effects eps_i beyond their skills. Without them intervals are too short wherever the skills
        do not explain all differences between LLMs.

    Raises
    ------
    DataError
        If columns or names are missing, an LLM is unknown to the fit, a pair of LLM and item has two rows, numbers are
        not whole, successes exceed tries, or the table has too few LLMs or items for the parameters.

    Examples
    --------
    >>> import latentscale as ls
    >>> panel = ls.BenchmarkPanel(ls.load_leaderboard())
    >>> fit = ls.LatentSkillModel(panel, skills=1).fit(integration="laplace", starts=1)
    >>> table = pd.DataFrame({"model": np.repeat(fit.model.llms[:6], 3), "item": ["a", "b", "c"] * 6})
    >>> RepeatedSamplingModel(fit, table.assign(successes=range(18), tries=20))
    <RepeatedSamplingModel: 6 LLMs, 3 items, 360 tries, 1 skill>
    """

    def __init__(
        self,
        fit: LatentSkillResults,
        table: IntoFrame,
        llm: str | None = None,
        item: str = "item",
        successes: str = "successes",
        tries: str | int = "tries",
        skills: str | Sequence[str] | None = None,
        residual: bool = True,
    ) -> None:
        self.parent = read_fit(fit)
        self.skills, self.residual = read_skills(skills, fit.model.skills), check_switch("residual", residual)
        llm = fit.model.panel.llm if llm is None else llm
        counts = read_table(table)
        columns = [llm, item, successes] + ([tries] if isinstance(tries, str) else [])
        require_columns(counts, columns, "column")
        names: np.ndarray = np.array(read_names(counts[llm], "LLM name"), dtype=object)
        items: np.ndarray = np.array(read_names(counts[item], "item name"), dtype=object)
        where = pd.Index([f"{name} on {item_name}" for name, item_name in zip(names, items, strict=True)])
        count = _read_whole(counts[successes], successes, where)
        total = _read_whole(counts[tries], tries, where) if isinstance(tries, str) else _constant(tries, len(counts))
        _check_counts(count, total, where)
        self._check_llms(names)
        self.rows = np.flatnonzero(fit.model.llms.isin(names))
        self.llms = fit.model.llms[self.rows]
        self.items = pd.Index(dict.fromkeys(items), name="item")
        self.successes, self.tries = np.zeros((2, len(self.llms), len(self.items)), dtype=np.int64)
        cell = self.llms.get_indexer(names), self.items.get_indexer(items)
        self.successes[cell], self.tries[cell] = count, total
        for array in (self.successes, self.tries):
            array.flags.writeable = False
        self._check_size()

    def __repr__(self) -> str:
        return (
            f"<RepeatedSamplingModel: {len(self.llms)} LLMs, {len(self.items)} items, {self.tries.sum()} tries, "
            f"{counted(len(self.skills), 'skill')}>"
        )

    @property
    def parameters(self) -> Parameters:
        """Names, kinds and labels of the parameters, Parameters of length P."""
        loadings = [(kinds.TRIES_LOADING, (skill,)) for skill in self.skills]
        spreads = [kinds.ITEM_SD, kinds.TRIES_LLM_SD] if self.residual else [kinds.ITEM_SD]
        return Parameters.of([*loadings, *((kind, ()) for kind in (kinds.TRIES_INTERCEPT, *spreads))])

    @property
    def param_names(self) -> list[str]:
        """Names of the parameters."""
        return list(self.parameters.names)

    def fit(
        self, size: int = 4000, seed: int = 0, uncertainty: str | Sequence[str] = ("parameters", "family")
    ) -> RepeatedSamplingResults:
        """Maximise the marginal likelihood.

        Parameters
        ----------
        size : int
            Number of draws of the skills, from which their means and covariance are computed.
        seed : int
        uncertainty : sequence of {"parameters", "family"}
            Sources of the skills' uncertainty to include: the fit's estimates, and family effects given these.

        Returns
        -------
        RepeatedSamplingResults

        Warns
        -----
        BoundaryWarning
            If sd_llm is estimated at zero.
        ConvergenceWarning
            If the optimum was not reached, or the information is not positive definite.
        """
        return fit_repeated_sampling(self, size, seed, uncertainty)

    def _check_llms(self, names: np.ndarray) -> None:
        model = self.parent.model
        unknown = [name for name in dict.fromkeys(names) if name not in model.llms]
        if not unknown:
            return
        dropped = [name for name in unknown if name in model.panel.llms]
        why = f" ({some(dropped)} in its panel, but dropped for a missing covariate or score)" if dropped else ""
        raise DataError(
            f"{len(unknown)} LLMs of the table are not in the fit's likelihood: {some(unknown)}{why}. Their skills are "
            "unknown: add them to the panel, or drop their rows."
        )

    def _check_size(self) -> None:
        size = len(self.param_names)
        if len(self.llms) < size or len(self.items) < 2:
            raise DataError(
                f"{len(self.llms)} LLMs and {len(self.items)} items are too few for {size} parameters (it takes that "
                "many LLMs, and two items): name fewer skills (skills=[...]), set residual=False, or add LLMs."
            )
        # without both successes and failures the likelihood has no maximum
        share = self.successes.sum() / self.tries.sum()
        if share in (0.0, 1.0):
            raise DataError(f"{'All' if share else 'None'} of the {self.tries.sum()} tries succeeded: nothing to fit.")


def _read_whole(column: pd.Series, name: str, where: pd.Index) -> np.ndarray:
    """Return a column of whole numbers of at least 0 as an array, or raise a DataError that names the rows."""
    values, unreadable = to_floats(column)
    bad = unreadable | ~np.isfinite(values) | (values != np.floor(values)) | (values < 0)
    if bad.any():
        shown = (f"{where[i]}: {column.iloc[i]!r}" for i in np.flatnonzero(bad))
        raise DataError(f"{name} must be whole numbers of at least 0: {some(shown, total=int(bad.sum()))}.")
    return values.astype(np.int64)


def _constant(tries: int, rows: int) -> np.ndarray:
    return np.full(rows, check_whole("tries (unless it is the name of a column)", tries, 1))


def _check_counts(count: np.ndarray, total: np.ndarray, where: pd.Index) -> None:
    if (total < 1).any():
        raise DataError(f"No tries: {some(where[total < 1])}; leave such rows out.")
    if (count > total).any():
        over = [f"{where[i]} ({count[i]} of {total[i]})" for i in np.flatnonzero(count > total)]
        raise DataError(f"More successes than tries: {some(over)}.")
    twice = where[where.duplicated()].unique()
    if len(twice):
        raise DataError(f"More than one row: {some(twice)}; add the successes and tries of each LLM and item up.")
