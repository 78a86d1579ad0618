"""Leave-family-out, the choice of the number of skills, and the package's specifications."""

import latentscale as ls

from .shared import keep_summary, panel, without_seconds

FAMILIES = ("qwen2", "opt", "yi", "llama-2")


def record(keep):
    """Keep small runs of all three."""
    left_out(keep.within("leave_family_out"))
    selection(keep.within("select_skills"))
    specifications(keep.within("specifications"))


def left_out(keep):
    """Families left out, by methods with and without intervals."""
    quick = {"integration": "laplace", "starts": 1}
    methods = {
        "sloth": ls.Specification(ls.SlothModel, n_skills=2, fit={"starts": 1}),
        "learned": ls.Specification(ls.SlothModel, n_skills=2, link="monotone", fit={"starts": 1, "cov_type": "none"}),
        "laws": ls.Specification(ls.BenchmarkLaws, fit={"cov_type": "none"}),
        "pca": ls.Specification(ls.ComponentLaws, n_components=2),
        "skills": ls.Specification(ls.LatentSkillModel, skills=ls.Echelon(["bbh", "ifeval"]), fit=quick),
        "default": ls.default_specification(),
    }
    for n_train in (0, 1):
        chosen = methods if n_train else {name: methods[name] for name in ("skills",)}
        groups = [[family] for family in FAMILIES[: 2 + n_train]]
        cv, here = ls.leave_family_out(chosen, panel(), groups, n_train=n_train), keep.within(f"n_train={n_train}")
        here("mae", cv.mae())
        here("mae pooled", cv.mae(pooled=True))
        here("mae by benchmark", cv.mae(by="benchmark"))
        here("coverage", cv.coverage())
        here("calibration", cv.calibration(), scale=1.0)
        here.long("errors", cv.errors)
        here("fits", without_seconds(cv.fits))
        here("text", str(cv).split("seconds")[0] if "seconds" in str(cv) else str(cv))
        if n_train:
            here("compare", cv.compare("sloth"))


def selection(keep):
    """How many skills."""
    small = ls.BenchmarkPanel(ls.load_leaderboard(), benchmarks=list(ls.BENCHMARKS[:6]))
    chosen = ls.select_skills(small, (1, 2), folds=3, starts=1)
    keep("table", chosen.table)
    keep("recommended", chosen.recommended)
    keep.long("errors", chosen.errors)
    keep("text", str(chosen))


def specifications(keep):
    """Fits of the specifications that predict."""
    table = ls.load_leaderboard()
    new = table[table["params_b"].notna() & table["tokens_t"].notna() & table["family"].isin(["qwen2", "opt"])]
    for name, specification in (("default", ls.default_specification()), ("calibrated", ls.calibrated_specification())):
        fit, here = specification.fit(panel()), keep.within(name)
        here.vector("params", fit.params)
        here("llf", fit.llf)
        here("llf_penalised", fit.llf_penalised)
        here.long("predict", fit.predict())
        here.long("intervals", fit.get_prediction(new, size=60, seed=1).summary_frame())
        keep_summary(here, fit.summary(), ("text",))
