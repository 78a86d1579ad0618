"""Write small saved fits of one format, and beside them the numbers that they must give when they are loaded.

    python tests/reference/save_fits.py FOLDER FORMAT COMMIT

runs with the package that is imported: for an older format with that of an older commit, put first on PYTHONPATH
(``git archive COMMIT | tar x -C elsewhere``). FORMAT is a key of ``CASES``; ``4b`` is format 4 with options that came
after it. The script writes ``FOLDER/format_<FORMAT>_<case>.lscale`` and puts their numbers into
``FOLDER/numbers.json``. Only what the package had at all these commits is used.
"""

import json
import os
import sys
import warnings
from pathlib import Path

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})  # before numpy is loaded

import pandas as pd

import latentscale as ls

BENCHMARKS = ["mmlu", "hellaswag", "gsm8k", "bbh", "ifeval"]
COLUMNS = ["model", "family", "params_b", "tokens_t", "instruct", *BENCHMARKS]
MAIN = "log(params_b) + log(tokens_t)"
LAPLACE = {"integration": "laplace", "starts": 1}
SKILLS = {"skills": 1, "scaling": MAIN}
TWO = {"skills": {"following": "ifeval", "reasoning": "bbh"}, "scaling": MAIN}

CONFIRMATORY = ls.Confirmatory(
    pd.DataFrame({"one": [None, None, 0.0, 0.5, None], "two": [0.0, 0.0, None, None, None]}, BENCHMARKS, dtype=float)
)

# format: {case: (boundary, class, options of the model, options of the fit)}
CASES = {
    "2": {
        "echelon": ("squeeze", "LatentSkillModel", {**TWO, "skills": ls.Echelon(["bbh", "ifeval"])}, LAPLACE),
        "random_slopes": ("squeeze", "LatentSkillModel", {**SKILLS, "random_slopes": "log(params_b)"}, LAPLACE),
        "lower": ("censor", "LatentSkillModel", {**SKILLS, "asymptotes": "lower"}, {"starts": 1, "draws": 64}),
        "constraints": (
            "squeeze", "LatentSkillModel", SKILLS,
            {"integration": "quadrature", "starts": 1, "constraints": "slope[log(tokens_t),skill1] = 0.3"},
        ),
    },
    "3": {
        "monotone": ("squeeze", "LatentSkillModel", {**SKILLS, "link": "monotone"}, LAPLACE),
        "shrunk": (
            "squeeze", "LatentSkillModel", {**TWO, "shrink_effects": 0.5, "shrink_slopes": 1.0, "outliers": 0.1},
            {**LAPLACE, "cov_type": "none"},
        ),
    },
    "4": {
        "anchored": ("squeeze", "LatentSkillModel", TWO, {**LAPLACE, "cov_type": "cluster"}),
        "llm_effects": ("squeeze", "LatentSkillModel", {**TWO, "llm_effects": True}, LAPLACE),
        "all_effects": (
            "squeeze", "LatentSkillModel",
            {
                **SKILLS, "llm_effects": True, "random_slopes": "log(params_b)", "family_covariates": "instruct",
                "link": "monotone", "asymptotes": "both",
            },
            {**LAPLACE, "cov_type": "none"},
        ),
        "sloth": ("squeeze", "SlothModel", {"n_skills": 2, "scaling": MAIN}, {"starts": 1}),
        "monotone_sloth": (
            "squeeze", "SlothModel",
            {"n_skills": 1, "scaling": MAIN, "link": "monotone", "asymptotes": "both", "family_intercepts": False},
            {"starts": 1, "cov_type": "llm"},
        ),
        "laws": ("squeeze", "BenchmarkLaws", {"asymptotes": "lower"}, {"cov_type": "none"}),
    },
    "4b": {
        "avoid_zero_sd": (
            "squeeze", "LatentSkillModel", {**SKILLS, "random_slopes": "log(params_b)", "avoid_zero_sd": True}, LAPLACE,
        ),
        "confirmatory": ("squeeze", "LatentSkillModel", {**TWO, "skills": CONFIRMATORY}, LAPLACE),
    },
}  # fmt: skip


def table():
    """The larger families of the leaderboard, with the columns that the cases need."""
    rows = ls.load_leaderboard()
    rows = rows[rows["params_b"].notna() & rows["tokens_t"].notna() & rows[BENCHMARKS].notna().any(axis=1)]
    rows = rows[rows.groupby("family")["model"].transform("size") >= 4]
    return rows[COLUMNS].reset_index(drop=True)


def new_llms():
    """LLMs to be predicted: two of a known family, one of an unseen one."""
    names = ["new one", "new two", "new three"]
    family, sizes, tokens = ["qwen2", "qwen2", "unseen"], [3.0, 30.0, 10.0], [5.0, 7.0, 2.0]
    columns = {"model": names, "family": family, "params_b": sizes, "tokens_t": tokens, "instruct": [0, 0, 1]}
    return pd.DataFrame(columns)


def numbers(fit):
    """What a loaded fit must give: lists of numbers by name."""
    scalars = {"llf": fit.llf} if hasattr(fit, "llf") else {"loss": fit.loss}
    errors = {} if fit.cov_type == "none" else {"bse": fit.bse.tolist()}
    new = new_llms() if hasattr(fit, "llf") else new_llms()[:2]  # Sloth does not predict unseen families
    return {
        **{name: float(value) for name, value in scalars.items()},
        "names": list(fit.params.index),
        "params": fit.params.tolist(),
        **errors,
        "predicted": fit.predict().to_numpy()[::5].ravel().tolist(),
        "predicted new": fit.predict(new).to_numpy().ravel().tolist(),
    }


def _lines(content):
    """JSON with one line a file."""
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(content[name])}" for name in sorted(content)) + "\n}\n"


def main():
    """Write the files of one format."""
    folder, number, commit = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    stored = folder / "numbers.json"
    content = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
    for case, (boundary, cls, options, fit_options) in CASES[number].items():
        panel = ls.BenchmarkPanel(table(), benchmarks=BENCHMARKS, boundary=boundary)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few LLMs: boundaries and weak starts are no matter here
            fit = getattr(ls, cls)(panel, **options).fit(**fit_options)
        name = f"format_{number}_{case}.lscale"
        fit.save(folder / name)
        content[name] = {"commit": commit, **numbers(fit)}
        print(name, (folder / name).stat().st_size, "bytes,", len(fit.params), "parameters")
    stored.write_text(_lines(content), encoding="utf-8")


if __name__ == "__main__":
    main()
