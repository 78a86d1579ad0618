"""The summary of a latent skill fit: a statsmodels Summary in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from statsmodels.iolib.table import SimpleTable

from ..models.options import said_of
from ..parameters.kinds import INTERCEPT, LOADING, LOWER, PRECISION, UPPER
from .summary_tables import MATRIX, SkillSummary, coefficient_tables, format_number, numbered_notes, paired_table

if TYPE_CHECKING:
    import pandas as pd

    from ..inference.goodness_of_fit import GoodnessOfFit
    from ..parameters.kinds import Kind
    from .latent_skill import LatentSkillResults


def summarise(
    fit: LatentSkillResults, alpha: float = 0.05, goodness_of_fit: GoodnessOfFit | None = None
) -> SkillSummary:
    """Return the summary of a fit; see ``LatentSkillResults.summary``."""
    summary = SkillSummary()
    summary.tables.append(_header(fit, goodness_of_fit))
    table = fit.parameter_table(alpha)
    summary.tables.append(_loadings(fit, table))
    summary.tables += coefficient_tables(fit, table, alpha)
    summary.tables.append(_benchmarks(fit, table))
    if fit.model.link != "logistic":
        summary.tables.append(_links(fit))
    summary.add_extra_txt(_notes(fit, goodness_of_fit))
    return summary


def _header(fit: LatentSkillResults, goodness_of_fit: GoodnessOfFit | None) -> SimpleTable:
    model, estimate = fit.model, fit.estimate
    starts = estimate.starts
    error = f" (MC s.e. {fit.llf_se:.3f})" if np.isfinite(fit.llf_se) else ""
    if not error and np.isfinite(fit.llf_error):
        error = f" (finer rule {fit.llf_error:+.3f})"
    left = [
        ("Model:", f"latent skills, K = {len(model.skills)}"),
        ("Identification:", model.pattern.kind),
        ("Scaling:", model.scaling or "none"),
        ("Asymptotes:", model.asymptotes),
        ("Boundary scores:", model.panel.boundary),
        ("LLMs:", f"{fit.n_llms}"),
        ("Families:", f"{fit.n_families}"),
        ("Scores:", f"{fit.nobs}"),
    ]
    right = [
        ("Log-likelihood:", f"{fit.llf:.4f}{error}"),
        ("Penalised:", f"{fit.llf_penalised:.4f}"),
        ("Parameters:", f"{fit.df_model}"),
        ("AIC:", f"{fit.aic:.2f}"),
        ("BIC (n = families):", f"{fit.bic:.2f}"),
        ("Starts at best:", f"{int(starts['reached_best'].sum())} of {len(starts)}"),
        ("Converged:", "yes" if fit.converged else "NO"),
        ("Fit to the data:", _verdict(goodness_of_fit)),
        (
            "Distance to optimum:",
            f"{estimate.distance:.1e} s.e." if np.isfinite(estimate.distance) else "unknown",
        ),
    ]
    left += [(one.words.label, one.said(model, "row")) for one in model.OPTIONS if one.said(model, "row")]
    right += [("", "")] * (len(left) - len(right))
    left += [("", "")] * (len(right) - len(left))
    return paired_table(left, right, "Latent skill scaling model")


def _loadings(fit: LatentSkillResults, table: pd.DataFrame) -> SimpleTable:
    """Return the table of loadings, benchmarks by skills, with standard errors or "(fixed)" beneath."""
    model = fit.model
    free = np.isnan(model.pattern.fixed)
    rows, stubs = [], []
    for j, benchmark in enumerate(model.benchmarks):
        estimates, errors = [], []
        for k, skill in enumerate(model.skills):
            if free[j, k]:
                row = table.loc[LOADING.name_of(benchmark, skill)]
                estimates.append(format_number(row["estimate"]))
                errors.append(f"({format_number(row['std_err'])})" if np.isfinite(row["std_err"]) else "( )")
            else:
                estimates.append(f"{model.pattern.fixed[j, k]:g}")
                errors.append("(fixed)")
        rows += [estimates, errors]
        stubs += [benchmark, ""]
    return SimpleTable(rows, list(model.skills), stubs, title="Loadings (standard errors)", txt_fmt=MATRIX)


def _benchmarks(fit: LatentSkillResults, table: pd.DataFrame) -> SimpleTable:
    """Return the table of benchmarks: numbers of scores, intercept, precision and asymptotes with standard errors."""
    model, structure = fit.model, fit.structure

    def cell(kind: Kind, benchmark: str, value: float) -> list[str]:
        name = kind.name_of(benchmark)
        if name not in table.index:
            return [f"{value:g}", "(fixed)"]
        error = table.loc[name, "std_err"]
        return [format_number(value, 3), f"({format_number(error, 3)})"]

    kinds = (INTERCEPT, PRECISION, LOWER, UPPER)
    header = ["scores", "at 0 or 1"] + [text for kind in kinds for text in (kind.word, "s.e.")]
    rows = []
    for j, benchmark in enumerate(model.benchmarks):
        values = (structure.intercepts[j], structure.precision[j], structure.lower[j], structure.upper[j])
        row = [str(model.prepared.n_observed[j]), str(model.prepared.boundary_counts[benchmark])]
        for kind, value in zip(kinds, values, strict=True):
            row += cell(kind, benchmark, value)
        rows.append(row)
    return SimpleTable(rows, header, list(model.benchmarks), title="Benchmarks", txt_fmt=MATRIX)


def _links(fit: LatentSkillResults) -> SimpleTable:
    """Return the table of the links' slopes close to the centres of their splines."""
    rows = [[format_number(value, 3) for value in row] for row in fit.links.to_numpy()]
    header = [f"{centre:g}" for centre in fit.links.columns]
    title = "Links: slope of logit F about eta (logistic: 1)"
    return SimpleTable(rows, header, list(fit.links.index), title=title, txt_fmt=MATRIX)


def _verdict(goodness_of_fit: GoodnessOfFit | None) -> str:
    """Return in a word or two whether the data reject the model."""
    if goodness_of_fit is None:
        return "not examined"
    return "not rejected" if goodness_of_fit.fits else "REJECTED"


def _notes(fit: LatentSkillResults, goodness_of_fit: GoodnessOfFit | None = None) -> list[str]:
    """Return the lines of the numbered notes: warnings, integration, dropped LLMs, standard errors, penalties."""
    model, rows = fit.model, fit.model.rows
    notes = [f"WARNING: {problem.message}" for problem in fit.problems]
    if goodness_of_fit is None:
        notes.append("Whether the model fits the data was not examined: fit.goodness_of_fit() does.")
    else:
        notes.append(("" if goodness_of_fit.fits else "WARNING: ") + goodness_of_fit.sentence)
    notes.append(f"Integration: {fit.estimate.rule}; seed {fit.estimate.options['seed']}.")
    dropped = len(rows.no_covariate) + len(rows.no_score)
    notes.append(
        f"Dropped {dropped} of {len(rows.keep)} LLMs: {len(rows.no_covariate)} without a covariate, "
        f"{len(rows.no_score)} without a score."
    )
    description = fit.covariance.description
    notes.append(f"Standard errors: {description}; intervals on log precision, Fisher z, logit asymptote.")
    if not fit.estimate.informed:
        notes.append("Laplace's determinant is that of the expected curvature, as in all fits with information=False.")
    notes += [*said_of(model, "note"), *model.score_law.notes]
    if fit.estimate.restriction is not None:
        notes.append(f"Restricted: {'; '.join(fit.estimate.restriction.labels)}.")
    for effects in model.effects:
        notes.append(effects.note)
    if model.between_only:
        notes.append(
            f"Constant within every family, so resting on differences between them: {list(model.between_only)}."
        )
    if np.isfinite(fit.llf_se):
        worst = (fit.mc_se / fit.bse).max()
        if np.isfinite(worst):
            notes.append(f"Monte Carlo error of an estimate is at most {worst:.3f} of its standard error.")
    return numbered_notes(notes)
