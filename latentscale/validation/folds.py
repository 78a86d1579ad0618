"""Splits that leave families out: the LLMs on which a model is trained, and those that it predicts.

The protocol is that of the Sloth paper (Maia Polo et al. 2024). LLMs without all scores or covariates are dropped, then
families with fewer than n_train + 1 LLMs. Each group of test families makes one split. The training LLMs are the
n_train smallest of each of its families and all LLMs of all other families; the remaining LLMs are predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..checks import check_one_of, check_whole, did_you_mean
from ..errors import DataError
from ..panel import BenchmarkPanel
from ..tables import require_columns, some, to_floats

Groups = Sequence[str | Sequence[str]]
"""Groups of test families, each a name or several names."""

JOINER = " + "  # between the names of families in the label of a group


@dataclass(frozen=True)
class Split:
    """One split of a panel.

    Attributes
    ----------
    group : str
        The names of the test families, joined by " + ".
    families : tuple of str
        The test families.
    train, test : tuple of str
        Names of the LLMs for training and of those to be predicted, in the panel's order.
    """

    group: str
    families: tuple[str, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]


def leave_out(
    panel: BenchmarkPanel,
    groups: Groups | None = None,
    n_train: int = 1,
    size: str = "params_b",
    covariates: str | Sequence[str] = ("params_b", "tokens_t"),
    complete: bool = True,
    small_families: str = "drop",
) -> tuple[BenchmarkPanel, list[Split]]:
    """Return the LLMs that take part in cross-validation, and the splits.

    Parameters
    ----------
    panel : BenchmarkPanel
    groups : sequence of groups, optional
        Groups of test families, each a sequence of names or one name. By default each family with more than n_train
        LLMs is a group, in alphabetical order.
    n_train : int
        Number of LLMs of each test family that are used for training, the smallest ones; among LLMs of equal size the
        first in the panel. With 0 whole families are predicted.
    size : str
        Column with the sizes of LLMs.
    covariates : sequence of str
        Columns in which an LLM must have a value to take part.
    complete : bool
        Whether an LLM must have all scores to take part, or only one.
    small_families : {"drop", "train"}
        What to do with families that have fewer than n_train + 1 of these LLMs and cannot be test families: drop them,
        as the paper does, or use them for training.

    Returns
    -------
    panel : BenchmarkPanel
        The LLMs that take part.
    splits : list of Split

    Raises
    ------
    DataError
        If a group is empty or given twice; if it names a family twice, an unknown family, or one without an LLM for
        training or for prediction; if no LLM is left for training; or if a column is absent or an option unknown.

    Examples
    --------
    >>> from latentscale import BenchmarkPanel, load_leaderboard
    >>> panel, splits = leave_out(BenchmarkPanel(load_leaderboard()), ["olmo", ["yi-1.5", "yi-1.5-chat"]])
    >>> panel.n_llms
    72
    >>> splits[1].group, splits[1].test
    ('yi-1.5 + yi-1.5-chat', ('yi-1.5-34b', 'yi-1.5-34b-chat', 'yi-1.5-9b', 'yi-1.5-9b-chat'))
    """
    check_whole("n_train", n_train, 0)
    check_one_of("small_families", small_families, ("drop", "train"))
    keep = _usable(panel, covariates, complete)
    names = panel.families
    counts = names[keep].value_counts().reindex(sorted(set(names)), fill_value=0)
    if not (counts > n_train).any():
        raise DataError(
            f"No family has more than {n_train} LLMs with {'all' if complete else 'any of'} the {panel.n_benchmarks} "
            "scores and the covariates: lower n_train, use fewer benchmarks, or fill in scores."
        )
    if groups is None:
        groups = [[name] for name in counts.index[counts > n_train]]
    read = _read_groups(groups, counts, n_train)
    if small_families == "drop":
        keep &= names.map(counts).to_numpy() > n_train
    panel = panel.subset(keep)
    rank = _ranks(panel, size)
    llms, families = panel.llms.to_numpy(), panel.families.to_numpy()
    splits = []
    for group in read:
        test = np.isin(families, group) & (rank >= n_train)
        if test.all():
            raise DataError(f"Without {JOINER.join(group)} no LLM is left to train on.")
        splits.append(Split(JOINER.join(group), group, tuple(llms[~test]), tuple(llms[test])))
    return panel, splits


def _usable(panel: BenchmarkPanel, covariates: str | Sequence[str], complete: bool) -> np.ndarray:
    """Return whether each LLM has the required scores and covariates, a boolean array."""
    covariates = [covariates] if isinstance(covariates, str) else list(covariates)
    require_columns(panel.table, covariates, "covariate")
    known = panel.scores.notna().to_numpy()
    scored = known.all(axis=1) if complete else known.any(axis=1)
    return scored & panel.table[covariates].notna().to_numpy().all(axis=1)


def _ranks(panel: BenchmarkPanel, size: str) -> np.ndarray:
    """Return the rank of each LLM in its family by size, from 0; LLMs of equal size have the panel's order."""
    require_columns(panel.table, [size], "size column")
    sizes, wrong = to_floats(panel.table[size])
    bad = panel.llms[np.isnan(sizes) | wrong]
    if len(bad):
        raise DataError(f"LLMs whose {size!r} is no number cannot be ordered by it: {some(bad)}. Mend or drop them.")
    order = np.argsort(sizes, kind="stable")
    ordered = panel.families.iloc[order]
    ranks = np.empty(len(sizes), dtype=int)
    ranks[order] = ordered.groupby(ordered.to_numpy()).cumcount().to_numpy()
    return ranks


def _read_groups(groups: str | Groups, counts: pd.Series, n_train: int) -> list[tuple[str, ...]]:
    """Check groups, and return them as tuples of family names; ``counts`` are the usable LLMs of each family."""
    groups = [groups] if isinstance(groups, str) else list(groups)
    if not groups:
        raise DataError("groups is empty; give lists of families, or None for every family by itself.")
    read = [(group,) if isinstance(group, str) else tuple(str(name) for name in group) for group in groups]
    for number, group in enumerate(read, 1):
        if not group:
            raise DataError(f"Group {number} of {len(read)} is empty; give it a family or take it out.")
        twice = sorted({name for name in group if group.count(name) > 1})
        if twice:
            raise DataError(f"Group {number} ({JOINER.join(group)}) names {some(twice)} twice.")
    repeated = sorted({JOINER.join(group) for group in read if sum(set(group) == set(other) for other in read) > 1})
    if repeated:
        raise DataError(f"These groups are given more than once: {some(repeated)}.")
    names = list(dict.fromkeys(name for group in read for name in group))
    unknown = [name for name in names if name not in counts.index]
    if unknown:
        hint = did_you_mean(unknown[0], counts.index)
        raise DataError(f"groups names families that the panel does not have: {some(unknown)}{hint}.")
    few = {name: int(counts[name]) for name in names if counts[name] <= n_train}
    if few:
        raise DataError(
            f"A test family needs more than n_train = {n_train} LLMs with scores and covariates, to train on and to "
            f"predict; too few have {some(f'{name} ({count})' for name, count in few.items())}. Lower n_train or take "
            "them out of groups."
        )
    return read
