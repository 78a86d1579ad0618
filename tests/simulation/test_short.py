"""A short version of the studies of size and coverage, on forty small families; the long one is ``study.py``."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import worlds

import latentscale as ls


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("study", Path(__file__).with_name("study.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model():
    loadings = [[0.9, 0.0], [0.0, 0.9], [0.6, 0.3], [0.3, 0.6]]
    table = worlds.simulated(40, 3, loadings, 0.4 * np.eye(2), intercepts=-0.5, precision=40.0, seed=21)
    panel = ls.BenchmarkPanel(table, benchmarks=list("abcd"))
    return ls.LatentSkillModel(panel, skills=ls.Anchored({"first": "a", "second": "b"}))


def _rows(study, fit, kind, replicates):
    one = {"coverage": study.coverage_replicate, "size": study.size_replicate}[kind]
    metric = study.expected_information(fit.model, fit.structure, fit.model.table, 100)
    children = np.random.SeedSequence(5).spawn(replicates)
    rows = [row for number, child in enumerate(children) for row in study._quiet(one, fit, metric, child, number)]
    return pd.DataFrame(rows, columns=study.COLUMNS[kind])


@pytest.mark.study
def test_intervals_of_slopes_cover(study, model):
    fit = model.fit(integration="laplace", starts=2)
    rows = _rows(study, fit, "coverage", 40)
    assert (rows["method"] == "failed").sum() <= 1
    slopes = rows[rows["parameter"].str.startswith("slope[")]
    covered = slopes.groupby("method")["covered"].mean().astype(float)
    # 240 intervals of six dependent slopes: a standard error of two to three percent
    assert 0.88 <= covered["wald"] <= 1.0
    assert 0.88 <= covered["profile"] <= 1.0
    assert 0.88 <= covered["sandwich, leverage"] <= 1.0
    assert covered["sandwich, none"] <= covered["sandwich, leverage"] <= covered["sandwich, jackknife"]
    table = study.coverage_table(rows)
    assert {"coverage", "replicates", "mc_se", "mean_width"} == set(table.columns)


@pytest.mark.study
def test_named_tests_reject_a_true_null_seldom(study, model):
    free = model.fit(integration="laplace", starts=2)
    texts = [text for part in study.null_hypotheses(model).values() for text in part]
    fit = model.fit(integration="laplace", starts=0, start_params=free.params, constraints=texts)
    rows = _rows(study, fit, "size", 20)
    table = study.size_table(rows)
    assert (table["replicates"] >= 19).all()
    # five or more of twenty at the 5% level have a chance of .003 for each test
    assert (table.loc[(slice(None), ["wald", "lr", "score"]), "rejected"] <= 0.25).all()
    assert (rows["p_value"].dropna() > 0.5).any()
