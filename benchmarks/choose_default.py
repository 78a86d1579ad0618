"""Which specification of LatentSkillModel predicts best, chosen without the LLMs that it is judged by.

    python benchmarks/choose_default.py SCORES --protocol protocol.json [--jobs 2] [--out FILE]

The protocol's test families are dealt into three outer folds, a base family with its variants always into one. For each
outer fold the LLMs that the fold's families would be judged by are taken away in every cell; among the families that
are left, those with more than n_train LLMs are dealt into inner folds and each is predicted from its n_train smallest
LLMs and all other families. The choice of an outer fold is the candidate with the least error, averaged over families
and then over the six cells. One row a candidate, cell and outer fold is written; rows that are there are not computed
again.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from common import machine
from joblib import Parallel, delayed

import latentscale as ls
from latentscale.validation import protocol as experiment
from latentscale.validation.folds import leave_out

OUTER, INNER = 3, 3
FIT = {"integration": "laplace", "starts": 1, "cov_type": "none", "information": False, "tolerance": 0.1}
SHRUNK = {"skills": 6, "asymptotes": "both", "shrink_effects": 0.5, "shrink_slopes": 0.5}
INSTRUCT = "log(params_b) * log(tokens_t) + instruct"
MORE = {**SHRUNK, "shrink_slopes": 0.25, "link": "monotone", "scaling": INSTRUCT}
CANDIDATES = {
    "3 skills": {"skills": 3, "asymptotes": "both"},
    "shrunk": SHRUNK,
    "shrunk, link": {**SHRUNK, "link": "monotone"},
    "shrunk, link, outliers": {**SHRUNK, "link": "monotone", "outliers": 0.1},
    "shrunk, link, instruct": {**SHRUNK, "link": "monotone", "scaling": INSTRUCT},
    "slopes shrunk more, link": {**SHRUNK, "shrink_slopes": 0.25, "link": "monotone"},
    "slopes shrunk more, link, instruct": MORE,
    "slopes shrunk most, link, instruct": {**MORE, "shrink_slopes": 0.125},
    "all shrunk more, link, instruct": {**MORE, "shrink_effects": 0.3},
    "slopes shrunk more, freer link, instruct": {**MORE, "link_sd": 1.0},
}
COLUMNS = ["candidate", "benchmarks", "n_train", "outer", "families", "mae"]


def outer_folds(protocol, table, seed=0):
    """Family -> outer fold, for the test families of all cells."""
    families = {name for groups in protocol.groups.values() for group in groups for name in group}
    base = table.drop_duplicates("family").set_index("family")["base_family"]
    bases = np.random.default_rng(seed).permutation(sorted({base[family] for family in families}))
    fold = {name: number % OUTER for number, name in enumerate(bases)}
    return {family: fold[base[family]] for family in families}


def inner_task(name, panel, splits):
    """Mean absolute error (percentage points) of each family of the splits, by one fit for all of them."""
    test = [llm for split in splits for llm in split.test]
    train = panel.subset(~panel.llms.isin(test))
    held = panel.subset(test)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # candidates are judged by what they predict
        try:
            fit = ls.LatentSkillModel(train, **CANDIDATES[name]).fit(**FIT)
        except ls.DataError:  # no fit, and so no candidate: the table shows it as missing
            return pd.Series(np.nan, index=sorted(set(held.families)))
    error = 100.0 * (fit.predict(held.to_frame()) - held.scores).abs()
    return error.mean(axis=1).groupby(held.families).mean()


def tasks(table, protocol):
    """(cell, outer fold, panel, inner folds of splits), one after the other."""
    fold = outer_folds(protocol, table)
    for (name, n_train), groups in protocol.groups.items():
        chance = {benchmark: protocol.chance[benchmark] for benchmark in protocol.sets[name]}
        panel = ls.BenchmarkPanel(table, list(protocol.sets[name]), chance=chance)
        panel, splits = leave_out(panel, groups, n_train)
        for outer in range(OUTER):
            judged = [llm for split in splits for llm in split.test if fold[panel.families[llm]] == outer]
            left = panel.subset(~panel.llms.isin(judged))
            left, inner = leave_out(left, None, n_train, small_families="train")
            order = np.random.default_rng(outer).permutation(len(inner))
            yield name, n_train, outer, left, [[inner[i] for i in order[k::INNER]] for k in range(INNER)]


def main():
    """Compute what is missing, write it, and print the choices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path)
    parser.add_argument("--protocol", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    asked = parser.parse_args()
    table, protocol = pd.read_csv(asked.scores), experiment.read_protocol(asked.protocol)
    done = pd.read_csv(asked.out) if asked.out.exists() else pd.DataFrame(columns=COLUMNS)
    known = set(done[COLUMNS[:4]].itertuples(index=False, name=None))
    rows = done.to_numpy(dtype=object).tolist()
    for cell, n_train, outer, panel, folds in tasks(table, protocol):
        wanted = [name for name in CANDIDATES if (name, cell, n_train, outer) not in known]
        work = [delayed(inner_task)(name, panel, splits) for name in wanted for splits in folds]
        found = Parallel(n_jobs=asked.jobs)(work)
        for number, name in enumerate(wanted):
            errors = pd.concat(found[number * INNER : (number + 1) * INNER])
            rows.append([name, cell, n_train, outer, len(errors), round(float(errors.mean(skipna=False)), 4)])
        pd.DataFrame(rows, columns=COLUMNS).to_csv(asked.out, index=False)
        print(f"{cell}, n_train {n_train}, outer fold {outer}: done", flush=True)
    result = pd.DataFrame(rows, columns=COLUMNS)
    result["mae"] = result["mae"].astype(float)
    cells = result.pivot(index="candidate", columns=["outer", "benchmarks", "n_train"], values="mae")
    by_fold = cells.loc[list(CANDIDATES)].T.groupby(level="outer").mean().T.where(cells.notna().all(axis=1), axis=0)
    print(by_fold.round(3).to_string())
    print("chosen:", by_fold.idxmin().to_dict())
    print(machine())


if __name__ == "__main__":
    main()
