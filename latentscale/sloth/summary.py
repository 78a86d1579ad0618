"""The summary of a Sloth fit, a statsmodels Summary in blocks."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from statsmodels.iolib.table import SimpleTable

from ..parameters.kinds import CORRELATION, INTERCEPT, LOADING, LOWER, SLOPE, UPPER
from ..results.summary_tables import (
    MATRIX,
    SkillSummary,
    coefficient_tables,
    format_number,
    numbered_notes,
    paired_table,
)
from .problems import SCORE_SCALE

if TYPE_CHECKING:
    from .results import SlothResults


def summarise_sloth(fit: "SlothResults", alpha: float = 0.05) -> SkillSummary:
    """Return the summary of a fit; see ``SlothResults.summary``."""
    summary, table = SkillSummary(), fit.parameter_table(alpha)
    summary.tables.append(_header(fit))
    laws = fit.model.per_benchmark
    if not laws:
        summary.tables.append(_loadings(fit, table))
    titles = {CORRELATION: "Correlations of skills over LLMs"}
    if laws:
        titles[SLOPE] = "Slopes of benchmarks"
    summary.tables += coefficient_tables(fit, table, alpha, titles)
    summary.tables.append(_benchmarks(fit, table))
    if fit.link_table is not None:
        summary.tables.append(_links(fit.link_table))
    summary.add_extra_txt(numbered_notes(_notes(fit)))
    return summary


def _header(fit: "SlothResults") -> SimpleTable:
    """Return the block that describes model and fit."""
    model, estimate, starts = fit.model, fit.estimate, fit.starts
    name = "laws of single benchmarks" if model.per_benchmark else f"Sloth, K = {model.n_skills}"
    rotation = fit.report.rotation
    left = [
        ("Model:", name),
        ("Rotation:", "none" if rotation is None else f"{rotation.method}{'' if rotation.oblique else ', orthogonal'}"),
        ("Scaling:", model.scaling),
        ("Intercepts:", "by family" if model.family_intercepts else "shared"),
        ("Link:", model.link),
        ("Asymptotes:", model.asymptotes),
        ("LLMs:", f"{fit.n_llms}"),
        ("Families:", f"{fit.n_families}"),
    ]
    right = [
        ("Mean Huber loss:", f"{fit.loss:.6f}"),
        ("Penalised:", f"{fit.loss_penalised:.6f}"),
        ("delta:", f"{estimate.options['delta']:g}"),
        ("Parameters:", f"{fit.df_model}"),
        ("Scores:", f"{fit.nobs}"),
        ("Starts at best:", f"{int(starts['reached_best'].sum())} of {len(starts)}"),
        ("Converged:", "yes" if fit.converged else "NO"),
        ("Largest derivative:", f"{estimate.gradient:.1e}"),
    ]
    return paired_table(left, right, "Huber-loss scaling model")


def _loadings(fit: "SlothResults", table: pd.DataFrame) -> SimpleTable:
    """Return the block of loadings, benchmarks by skills, with standard errors below."""
    rows, stubs = [], []
    for benchmark in fit.model.benchmarks:
        loadings = table.loc[[LOADING.name_of(benchmark, skill) for skill in fit.model.skills]]
        rows.append([format_number(value) for value in loadings["estimate"]])
        rows.append([f"({format_number(value)})" if np.isfinite(value) else "( )" for value in loadings["std_err"]])
        stubs += [benchmark, ""]
    return SimpleTable(rows, list(fit.model.skills), stubs, title="Loadings (standard errors)", txt_fmt=MATRIX)


def _benchmarks(fit: "SlothResults", table: pd.DataFrame) -> SimpleTable:
    """Return the block of benchmarks, with number of scores, mean absolute residual, intercept and asymptotes."""
    model, ends, residuals = fit.model, fit.asymptotes, fit.residuals()
    header = ["scores", "mean |residual|", "intercept", "s.e.", "lower", "s.e.", "upper", "s.e."]
    rows = []
    for benchmark in model.benchmarks:
        row = [str(int(residuals[benchmark].count())), format_number(residuals[benchmark].abs().mean())]
        lower, upper = ends.loc[benchmark, ["lower", "upper"]]
        values = {INTERCEPT: fit.intercepts[benchmark], LOWER: lower, UPPER: upper}
        for kind, value in values.items():
            name = kind.name_of(benchmark)
            if name in table.index:
                row += [format_number(value, 3), f"({format_number(table.loc[name, 'std_err'], 3)})"]
            else:
                row += ["", "by family"] if kind == INTERCEPT else [f"{value:g}", "(fixed)"]
        rows.append(row)
    return SimpleTable(rows, header, list(model.benchmarks), title="Benchmarks", txt_fmt=MATRIX)


def _links(frame: pd.DataFrame) -> SimpleTable:
    """Return the block of the slopes of monotone links, from ``SlothResults.link_table``."""
    rows = [[format_number(value, 3) for value in row] for row in frame.to_numpy()]
    header = [f"{centre:g}" for centre in frame.columns]
    title = "Slopes of links about eta ="
    return SimpleTable(rows, header, list(frame.index), title=title, txt_fmt=MATRIX)


def _notes(fit: "SlothResults") -> list[str]:
    """Return the notes below the blocks, the problems of the fit first."""
    model, rows, estimate = fit.model, fit.model.rows, fit.estimate
    notes = [f"WARNING: {problem.message}" for problem in fit.problems]
    dropped = len(rows.no_covariate) + len(rows.no_score)
    notes.append(
        f"Dropped {dropped} of {len(rows.keep)} LLMs: {len(rows.no_covariate)} without a covariate, "
        f"{len(rows.no_score)} without a score. Scores are used as they are."
    )
    if fit.cov_type != "none":
        own = "; those of family intercepts take LLMs as independent" if model.family_intercepts else ""
        notes.append(f"Standard errors: {fit.covariance.description}{own}; residuals are taken to be centred.")
    if not model.per_benchmark:
        notes.append(
            "Over the LLMs skills have mean 0, variance 1, and a positive correlation with the scaling's first term."
        )
    if fit.ridge > 0.0:
        notes.append(
            f"Ridge: {fit.ridge:g} / (2 n) times the sum of squares of intercepts, loadings and slopes of "
            f"{'scaled' if model.positive_slopes else 'whitened'} covariates, n the number of scores."
        )
    if model.link == "monotone":
        notes.append(
            f"Links are shrunk to the logistic one: {SCORE_SCALE:g} / (2 n {estimate.options['link_sd']:g}^2) times "
            "the sum of squares of their log-slope coordinates. A link is steeper than logistic where its slope is "
            "above 1, and straight on the logit scale beyond the ends of the table."
        )
    if model.asymptotes != "chance":
        notes.append(
            f"Estimated asymptotes are weakly penalised: {SCORE_SCALE:g} / (2 n 2^2) times squared distances of logits "
            "from max(chance, .005), and of upper ones from 3.5."
        )
    if model.positive_slopes:
        notes.append("Slopes of main effects are kept from being negative; standard errors hold those at zero there.")
    return notes
