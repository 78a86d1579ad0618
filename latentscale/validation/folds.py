"""Splits that leave families out: which LLMs train and which are predicted.

The protocol is that of the Sloth paper (Maia Polo et al. 2024). LLMs without all scores or covariates are dropped,
then families with fewer than n_train + 1 LLMs. Each group of test families makes a split: of each of its families the
n_train smallest LLMs train, together with all LLMs of all other families, and the rest is predicted.
"""

from dataclasses import dataclass

import numpy as np

from ..checks import check_one_of, check_whole, did_you_mean
from ..errors import DataError
from ..tables import require_columns, some, to_floats

JOINER = " + "  # of family names in the label of a group


@dataclass(frozen=True)
class Split:
    """One split of a panel.

    Attributes
    ----------
    group : str
        Its test families, joined by " + ".
    families : tuple of str
        The test families.
    train, test : tuple of str
        Names of the LLMs that train and of those to be predicted, in the panel's order.
    """

    group: str
    families: tuple
    train: tuple
    test: tuple


def leave_out(
    panel, groups=None, n_train=1, size="params_b", covariates=("params_b", "tokens_t"), complete=True,
    small_families="drop",
):  # fmt: skip
    """The LLMs that take part, and the splits.

    Parameters
    ----------
    panel : BenchmarkPanel
    groups : sequence of groups, optional
        A group is a sequence of family names, or one name. By default every family with more than n_train LLMs by
        itself, in alphabetical order.
    n_train : int
        How many LLMs of each test family train, the smallest; LLMs of equal size in the panel's order. With 0 the
        whole family is predicted.
    size : str
        Column by which LLMs are small.
    covariates : sequence of str
        Columns that an LLM must not lack, to take part.
    complete : bool
        Whether it needs all scores; otherwise one will do.
    small_families : {"drop", "train"}
        Whether families with fewer than n_train + 1 of these LLMs, which cannot be test families, are dropped or
        train. The paper drops them.

    Returns
    -------
    panel : BenchmarkPanel
        The LLMs that take part.
    splits : list of Split

    Raises
    ------
    DataError
        If a group is empty, is given twice, or names a family twice, an unknown one, or one without an LLM to train
        on or to predict; if nothing is left to train on; or if a column is absent or an option unknown.

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
    groups = _read_groups(groups, counts, n_train)
    if small_families == "drop":
        keep &= names.map(counts).to_numpy() > n_train
    panel = panel.subset(keep)
    rank = _ranks(panel, size)
    llms, families = panel.llms.to_numpy(), panel.families.to_numpy()
    splits = []
    for group in groups:
        test = np.isin(families, group) & (rank >= n_train)
        if test.all():
            raise DataError(f"Without {JOINER.join(group)} no LLM is left to train on.")
        splits.append(Split(JOINER.join(group), group, tuple(llms[~test]), tuple(llms[test])))
    return panel, splits


def _usable(panel, covariates, complete):
    """Mask of the LLMs with the scores and covariates it takes."""
    covariates = [covariates] if isinstance(covariates, str) else list(covariates)
    require_columns(panel.table, covariates, "covariate")
    known = panel.scores.notna().to_numpy()
    scored = known.all(axis=1) if complete else known.any(axis=1)
    return scored & panel.table[covariates].notna().to_numpy().all(axis=1)


def _ranks(panel, size):
    """Position of each LLM in its family by size, from 0; equal sizes in the panel's order."""
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


def _read_groups(groups, counts, n_train):
    """Groups as tuples of family names, checked."""
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
