"""Fits compared in one table: log-likelihoods, information criteria, and what speaks against comparing them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import DataError
from ..models.options import said_of

if TYPE_CHECKING:
    from ..likelihood.rules import Rule

_COLUMNS = (
    "skills", "identification", "scaling", "asymptotes", "integration", "parameters", "llf", "llf_error", "aic",
    "aicc", "bic", "delta_aic", "aic_weight", "delta_bic", "converged", "starts_at_best",
)  # fmt: skip
_IMMATERIAL = 0.01  # differences of AIC that are too small to matter
_SHOWN = 3  # names that a message lists


def compare(fits: Sequence[Any] | Mapping[str, Any], names: str | Sequence[str] | None = None) -> pd.DataFrame:
    """Compare fits to the same data by information criteria.

    AIC = -2 llf + 2 P, its small-sample form AICc = AIC + 2 P (P + 1) / (L - P - 1), and BIC = -2 llf + P log L, for P
    free parameters and L families, which are the independent units. Akaike weights are exp(-delta AIC / 2), scaled to
    sum to one. ``compare_coefficients`` puts the estimates side by side.

    Parameters
    ----------
    fits : list or tuple of results, or dict from names to results
        Results of any model. Entries that they do not have are NaN: for fits without a log-likelihood, all criteria.
    names : list of str, optional
        Row labels; by default a short description of each model, made unique.

    Returns
    -------
    DataFrame
        A row per fit, in the order given, with columns skills (their number), identification, scaling, asymptotes,
        integration (the rule, with its number of nodes per dimension or of draws per scrambling), parameters, llf,
        llf_error (Monte Carlo standard error, or the change of llf under a finer rule), aic, aicc (NaN where
        L - P - 1 <= 0), bic, delta_aic, aic_weight, delta_bic, converged and starts_at_best (such as ``"8 of 10"``).
        ``.attrs["notes"]`` is a list of sentences that say what speaks against taking the criteria at face value.

    Raises
    ------
    DataError
        If there are no fits, if there are not as many names as fits, or if the log-likelihoods are of different data:
        other LLMs, benchmarks, families or scores.

    Examples
    --------
    >>> import latentscale as ls
    >>> panel = ls.BenchmarkPanel(ls.load_leaderboard())
    >>> fits = [ls.LatentSkillModel(panel, skills=k).fit(integration="laplace", starts=1) for k in (1, 2)]
    >>> table = compare(fits)
    >>> table[["parameters", "delta_aic", "converged"]].round(1)
                       parameters  delta_aic  converged
    1 skill, echelon           39      492.1       True
    2 skills, echelon          53        0.0       True
    >>> table.attrs["notes"]
    []
    """
    fits, names = read_fits(fits, names)
    rows = [comparison_row(fit) for fit in fits]
    labels = short_names(rows) if names is None else names
    with_llf = [number for number, row in enumerate(rows) if np.isfinite(row["llf"])]
    for number in with_llf[1:]:
        _check_same_data(fits[with_llf[0]], fits[number], labels[with_llf[0]], labels[number])
    table = pd.DataFrame(rows, index=labels)
    table["delta_aic"] = table["aic"] - table["aic"].min()
    table["delta_bic"] = table["bic"] - table["bic"].min()
    relative = np.exp(-0.5 * table["delta_aic"])
    table["aic_weight"] = relative / relative.sum()
    table = table[list(_COLUMNS)]
    table.attrs["notes"] = _notes(table, fits)
    return table


# --- reading fits --------------------------------------------------------------------------------------------------


def read_fits(
    fits: Sequence[Any] | Mapping[str, Any], names: str | Sequence[str] | None
) -> tuple[list[Any], list[str] | None]:
    if isinstance(fits, Mapping):
        if names is not None:
            raise DataError("Give names either as the keys of the fits or as names=, not both.")
        fits, names = list(fits.values()), list(fits)
    elif hasattr(fits, "model"):
        raise DataError("compare takes a list of fits: compare([fit_a, fit_b]).")
    fits = list(fits)
    if not fits:
        raise DataError("There are no fits to compare.")
    strangers = [type(fit).__name__ for fit in fits if not hasattr(fit, "model")]
    if strangers:
        raise DataError(f"compare takes results of model.fit(...), not {', '.join(strangers)}.")
    if names is not None:
        names = [names] if isinstance(names, str) else [str(name) for name in names]
        if len(names) != len(fits):
            raise DataError(f"{len(fits)} fits need as many names; got {len(names)}.")
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise DataError(f"Names of fits must differ; {repeated} are used more than once.")
    return fits, names


def _number(fit: Any, name: str) -> float:
    """Return an attribute of a fit as a float, NaN if it has none."""
    value = getattr(fit, name, None)
    return np.nan if value is None else float(value)


def comparison_row(fit: Any) -> dict[str, Any]:
    """Return the entries of a fit's row, NaN where the fit does not have them, and the words that may describe it."""
    model = fit.model
    skills = getattr(model, "skills", None)
    parameters = getattr(fit, "df_model", None)
    rule = getattr(getattr(fit, "estimate", None), "rule", None)
    starts = getattr(fit, "starts", None)
    at_best: str | float = np.nan
    if isinstance(starts, pd.DataFrame) and "reached_best" in starts:
        at_best = f"{int(starts['reached_best'].sum())} of {len(starts)}"
    aic = _number(fit, "aic")
    restriction = getattr(getattr(fit, "estimate", None), "restriction", None)
    return {
        "options": {one.name: one.said(model, "short") for one in getattr(model, "OPTIONS", ()) if one.words.short},
        "restrictions": "" if restriction is None else "; ".join(restriction.labels),
        "skills": getattr(model, "n_skills", np.nan) if skills is None else len(skills),
        "identification": getattr(getattr(model, "pattern", None), "kind", np.nan),
        "scaling": getattr(model, "scaling", np.nan),
        "asymptotes": getattr(model, "asymptotes", np.nan),
        "law": f"{model.score_law.name} law" if hasattr(model, "score_law") else "",
        "integration": np.nan if rule is None else _rule_name(rule),
        "parameters": np.nan if parameters is None else int(parameters),
        "llf": _number(fit, "llf"),
        "llf_error": _number(fit, "llf_error"),
        "aic": aic,
        "aicc": aic + _small_sample(parameters, getattr(fit, "n_families", None)),
        "bic": _number(fit, "bic"),
        "converged": getattr(fit, "converged", np.nan),
        "starts_at_best": at_best,
    }


def _rule_name(rule: Rule) -> str:
    """Return ``laplace``, ``quadrature (5)`` with its nodes per dimension, or ``monte_carlo (64)`` with its draws."""
    size = {"quadrature": "points", "monte_carlo": "draws"}.get(rule.kind)
    return rule.kind if size is None else f"{rule.kind} ({getattr(rule, size)})"


def _small_sample(parameters: int | None, families: int | None) -> float:
    """Return AICc - AIC, NaN where it is not defined."""
    if parameters is None or families is None or families - parameters - 1 <= 0:
        return np.nan
    return 2.0 * parameters * (parameters + 1) / (families - parameters - 1)


def short_names(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return short unique names: number of skills, identification, and the options that differ between the fits."""
    laws = {row["law"] for row in rows} - {""}
    said = [
        {
            "scaling": str(row["scaling"]), "asymptotes": str(row["asymptotes"]), **row["options"],
            "restrictions": row["restrictions"], "integration": str(row["integration"]).split(" ")[0],
            "law": row["law"] if len(laws) > 1 else "",
        }
        for row in rows
    ]  # fmt: skip
    keys = dict.fromkeys(key for words in said for key in words)
    differing = [key for key in keys if len({words.get(key, "") for words in said}) > 1]
    names = []
    for row, words in zip(rows, said, strict=True):
        count = row["skills"]
        name_words = [f"{count:g} skill{'' if count == 1 else 's'}"] if np.isfinite(count) else []
        texts = [row["identification"], *(words.get(key, "") for key in differing)]
        name_words += [text for text in texts if isinstance(text, str) and text not in ("", "nan")]
        names.append(", ".join(name_words) or "fit")
    seen: dict[str, int] = {}
    for position, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        if names.count(name) > 1 and seen[name] > 1:
            names[position] = f"{name} ({seen[name]})"
    return names


# --- the same data -------------------------------------------------------------------------------------------------


def _check_same_data(first: Any, second: Any, first_name: str, second_name: str) -> None:
    """Raise a DataError if two log-likelihoods are of different data; the order of rows and columns does not matter."""
    difference = _difference(first.model, second.model)
    if difference:
        raise DataError(
            f"{first_name!r} and {second_name!r} are fits to different data, so that their log-likelihoods cannot be "
            f"compared: {difference}. Fit both to one panel (panel.subset keeps the LLMs that both can use)."
        )


def _difference(a: Any, b: Any) -> str:
    """Return in words how the data of two models differ, empty if they do not."""
    for what, left, right in (
        ("benchmarks", a.benchmarks, b.benchmarks),
        ("LLMs (a covariate of the scaling may be missing for some)", a.llms, b.llms),
    ):
        words = _only(left, right)
        if words:
            return f"their {what} differ: {words}"
    family_a, family_b = _family_of(a), _family_of(b).reindex(list(a.llms))
    regrouped = [llm for llm in a.llms if family_a[llm] != family_b[llm]]
    if regrouped:
        return f"{len(regrouped)} LLMs are in other families: {_some(regrouped)}"
    if a.panel.boundary != b.panel.boundary and (_at_edge(a) or _at_edge(b)):
        return f"scores of 0 and 1 are treated by {a.panel.boundary!r} in one, {b.panel.boundary!r} in the other"
    for word, attribute in (("scores", "y"), ("censored scores", "state")):
        left, right = _scores(a, attribute), _scores(b, attribute).loc[list(a.llms), list(a.benchmarks)]
        unequal = ~((left == right) | (left.isna() & right.isna()))
        if unequal.to_numpy().any():
            cells = [(left.index[i], left.columns[j]) for i, j in np.argwhere(unequal.to_numpy())]
            return f"{len(cells)} {word} differ, such as those of {_some([f'{llm} on {item}' for llm, item in cells])}"
    return ""


def _family_of(model: Any) -> pd.Series:
    """Return the family of each LLM."""
    return pd.Series(np.asarray(model.families)[model.family_codes], index=list(model.llms))


def _scores(model: Any, attribute: str) -> pd.DataFrame:
    """Return the scores in the likelihood, or whether they are observed or censored, LLMs by benchmarks."""
    values = getattr(model.prepared, attribute)
    return pd.DataFrame(values, index=list(model.llms), columns=list(model.benchmarks))


def _at_edge(model: Any) -> bool:
    """Return whether any score is exactly 0 or 1."""
    return any(model.prepared.boundary_counts.values())


def _only(left: Iterable[str], right: Iterable[str]) -> str:
    """Return in words which names only one of two fits has, empty if both have all."""
    words = []
    for which, names, known in (("first", left, set(right)), ("second", right, set(left))):
        alone = [name for name in names if name not in known]
        if alone:
            words.append(f"{len(alone)} only in the {which} ({_some(alone)})")
    return ", ".join(words)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(str(name) for name in list(names)[:_SHOWN])
    return shown + (", ..." if len(names) > _SHOWN else "")


# --- notes ---------------------------------------------------------------------------------------------------------


def _notes(table: pd.DataFrame, fits: Sequence[Any]) -> list[str]:
    """Return sentences that say what speaks against taking the criteria at face value."""
    notes = []
    judged = table[table["llf"].notna()]
    absent = [name for name in table.index if name not in judged.index]
    if absent:
        notes.append(f"No log-likelihood, and so no criteria: {', '.join(absent)}.")
    failed = [name for name, state in judged["converged"].items() if not state]  # NaN, which is true, means unknown
    if failed:
        notes.append(f"Not converged, so that the criteria are too large: {', '.join(failed)}.")
    # numbers of nodes and draws follow from the number of skills, so that only the kinds of rules are compared
    kinds = sorted({rule.split(" ")[0] for rule in judged["integration"].dropna()})
    if len(kinds) > 1:
        notes.append(f"Different integration rules: {', '.join(kinds)}.")
    informed = {fit.estimate.informed for fit in fits if hasattr(getattr(fit, "estimate", None), "informed")}
    if len(informed) > 1:
        notes.append("Fits with information=False take Laplace's determinant of the expected curvature, others do not.")
    notes += _integration_notes(judged)
    penalised = [
        (name, fit.model)
        for name, fit in zip(table.index, fits, strict=True)
        if name in judged.index and abs(_number(fit, "llf_penalised") - _number(fit, "llf")) > 0.0
    ]
    alike: dict[str, list[str]] = {}
    for name, model in penalised:
        alike.setdefault(", ".join(said_of(model, "penalised")) or "parameters", []).append(name)
    for what, names in alike.items():
        words = what[0].upper() + what[1:]
        notes.append(f"{words} are penalised, so that llf is not quite maximal: {', '.join(names)}.")
    shrunk = [
        name
        for name, model in penalised
        if any(one.words.frees_less and one.said(model, "penalised") for one in model.OPTIONS)
    ]
    if shrunk:
        notes.append(
            "Penalties on links, loadings and slopes leave parameters less than their full freedom, so that the "
            f"criteria, which count them whole, are too large: {', '.join(shrunk)}."
        )
    return notes


def _integration_notes(judged: pd.DataFrame) -> list[str]:
    """Return notes on fits whose difference from the best one by AIC may be due to integration errors."""
    judged = judged[judged["aic"].notna()]
    notes: list[str] = []
    if len(judged) < 2:
        return notes
    unknown = list(judged.index[judged["llf_error"].isna()])
    if unknown:
        notes.append(f"The integration error of llf is unknown: {', '.join(unknown)}.")
    best = judged["aic"].idxmin()
    error = judged["llf_error"].abs().fillna(0.0)
    # errors of AIC are twice those of the log-likelihood
    reach = 2.0 * (error + error[best])
    close = (judged["delta_aic"] < 2.0 * reach) & (reach > _IMMATERIAL) & (judged.index != best)
    if close.any():
        pairs = [
            f"{name} (delta AIC {judged.loc[name, 'delta_aic']:.3g}, error up to {reach[name]:.2g})"
            for name in judged.index[close]
        ]
        notes.append(
            f"Integration errors are of the order of the differences, so that the ranking against {best} is not "
            f"settled: {'; '.join(pairs)}. Refit with more draws or points, and all by the same rule."
        )
    return notes
