"""Coverage of prediction intervals by simulation, of LLMs of known and unseen families and partly observed ones.

    python tests/simulation/predictive.py --replicates 60 [--jobs 2] [--llm-effects]

writes ``predictive.csv`` (or ``predictive_llm_effects.csv``) beside this file: one row per replicate, kind of LLM and
level, with the share of held-out scores inside their intervals and the mean width. Scores are simulated from the
Laplace estimate on the shipped table (four anchored skills, the same design and missing cells); replicate r from child
r of the seed. In each, eight families are left out whole (unseen), and of twelve other families the largest LLM
(known). Both kinds are predicted once more with a random half of their scores observed (partly), and judged on the
other half. Fits start from the parameters simulated from.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

import latentscale as ls

SKILLS = {"math": "math_lvl_5", "instruction": "ifeval", "commonsense": "hellaswag", "reasoning": "bbh"}
HERE = Path(__file__).resolve().parent
SEED = 20261123
LEVELS = (0.5, 0.8, 0.95)
UNSEEN, KNOWN = 8, 12
COLUMNS = ["replicate", "kind", "level", "inside", "width", "scores"]


def shipped_fit(**options):
    """The fit of the shipped table from which the study simulates."""
    model = ls.LatentSkillModel(ls.BenchmarkPanel(ls.load_leaderboard()), skills=ls.Anchored(SKILLS), **options)
    return model.fit(integration="laplace", starts=3)


def held_out(table, rng):
    """Rows (labels) of unseen LLMs and of the known families' largest ones."""
    families = rng.permutation(table["family"].unique())
    unseen = table.index[table["family"].isin(families[:UNSEEN])]
    sizes = table.groupby("family")["params_b"].size()
    wanted = [name for name in families[UNSEEN:] if sizes[name] > 1][:KNOWN]
    known = table[table["family"].isin(wanted)].groupby("family")["params_b"].idxmax()
    return unseen, pd.Index(known)


def replicate(fit, child, number, options):
    """Rows of one replicate."""
    rng = np.random.default_rng(child)
    table = fit.model.simulate(fit.params, seed=int(rng.integers(2**31)))
    unseen, known = held_out(table, rng)
    train = table.drop(unseen.append(known))
    panel = ls.BenchmarkPanel(train, list(fit.model.benchmarks), chance=fit.model.panel.chance)
    model = ls.LatentSkillModel(panel, skills=ls.Anchored(SKILLS), **options)
    new = model.fit(integration="laplace", starts=0, start_params=fit.params)
    rows = []
    for kind, where in (("unseen", unseen), ("known", known)):
        test = table.loc[where]
        blank = test.assign(**dict.fromkeys(model.benchmarks, np.nan))
        rows += _judged(new.get_prediction(blank, seed=number), test, number, kind)
        scores = test[list(model.benchmarks)]
        shown = scores.where(rng.random(scores.shape) < 0.5)
        prediction = new.get_prediction(test.assign(**shown), observed=True, seed=number)
        rows += _judged(prediction, test.assign(**scores.where(shown.isna())), number, f"{kind}, partly observed")
    return rows


def _judged(prediction, test, number, kind):
    """Share of the scores there are inside their intervals, level by level."""
    rows = []
    for level in LEVELS:
        frame = prediction.summary_frame(1.0 - level).set_index(["llm", "benchmark"])
        score = test.set_index("model")[list(prediction.draws.benchmarks)].stack().dropna()
        low, high = (frame.loc[score.index, f"obs_ci_{end}"] for end in ("lower", "upper"))
        inside = (score >= low) & (score <= high)
        rows.append((number, kind, level, inside.mean(), 100.0 * (high - low).mean(), len(score)))
    return rows


def _quiet(*arguments):
    with threadpool_limits(1), warnings.catch_warnings():
        # replicates may end without a positive definite information: those are reported as failed
        warnings.simplefilter("ignore", ls.ConvergenceWarning)
        warnings.simplefilter("ignore", ls.BoundaryWarning)
        try:
            return replicate(*arguments)
        except ls.DataError as error:
            print(f"replicate {arguments[2]}: {error}")
            return []


def main():
    """Run the study as the command line says, and print the table of README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--llm-effects", action="store_true")
    asked = parser.parse_args()
    options = {"llm_effects": True} if asked.llm_effects else {}
    fit = shipped_fit(**options)
    children = np.random.SeedSequence(SEED).spawn(asked.replicates)
    tasks = (delayed(_quiet)(fit, child, number, options) for number, child in enumerate(children))
    rows = [row for found in Parallel(n_jobs=asked.jobs)(tasks) for row in found]
    table = pd.DataFrame(rows, columns=COLUMNS)
    name = "predictive_llm_effects" if asked.llm_effects else "predictive"
    table.round(4).to_csv(HERE / f"{name}.csv", index=False)
    print(summary(table).round(3).to_string())


def summary(table):
    """Coverage by kind and level, its standard error over replicates, and mean width in points."""
    grouped = table.groupby(["kind", "level"])
    count = grouped["replicate"].nunique()
    total = grouped.apply(lambda rows: np.average(rows["inside"], weights=rows["scores"]), include_groups=False)
    spread = grouped["inside"].std() / np.sqrt(count)
    return pd.DataFrame({"coverage": total, "se": spread, "width": grouped["width"].mean(), "replicates": count})


if __name__ == "__main__":
    main()
