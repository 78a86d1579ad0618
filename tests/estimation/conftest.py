import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from latentscale.components.beta_law import Beta
from latentscale.components.cells import Cells
from latentscale.components.identification import Anchored
from latentscale.components.penalty import Penalty, ShapePenalty
from latentscale.components.response import simulate_scores
from latentscale.likelihood.objective import Objective
from latentscale.parameters.space import ParameterSpace
from latentscale.parameters.structure import Layout, Structure
from latentscale.parameters.table import ParameterTable

BENCHMARKS = tuple("abcde")


@pytest.fixture(scope="session")
def reference():
    """The second implementation, in ``autograd_reference.py``."""
    path = Path(__file__).with_name("autograd_reference.py")
    spec = importlib.util.spec_from_file_location("autograd_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_problem(reference):
    """Simulated families of three LLMs on five benchmarks; cells missing and censored, asymptotes free."""

    def make(n_skills, n_families=12):
        rng = np.random.default_rng(n_skills)
        k, j, n = n_skills, len(BENCHMARKS), 3 * n_families
        family = np.repeat(np.arange(n_families), 3)
        x = rng.standard_normal((n, 2))
        correlation = np.where(np.eye(k) == 1.0, 1.0, 0.4)
        pattern = Anchored({f"s{number}": BENCHMARKS[number] for number in range(k)}).resolve(BENCHMARKS)
        loadings = np.where(np.isnan(pattern.fixed), 0.4 + rng.uniform(0.0, 1.0, (j, k)), pattern.fixed)
        truth = Structure(
            loadings, rng.uniform(-1.0, 1.0, j), rng.uniform(0.1, 0.6, (2, k)),
            correlation, np.exp(rng.uniform(2.0, 4.0, j)), rng.uniform(0.02, 0.2, j), rng.uniform(0.9, 0.99, j),
        )  # fmt: skip
        alpha = rng.multivariate_normal(np.zeros(k), correlation, n_families)
        eta = (alpha[family] + x @ truth.slopes) @ truth.loadings.T + truth.intercepts
        y = simulate_scores(Beta(), rng, truth, eta)
        # the three lowest and the two highest scores were rounded away
        edge = np.array([0.05, 0.02, 0.05, 0.01, 0.03])
        state = np.zeros((n, j), dtype=np.int8)
        order = np.argsort(y, axis=None)
        state.flat[order[:3]], state.flat[order[-2:]] = 1, 2
        state[(rng.random((n, j)) < 0.15) & (state == 0)] = -1
        y = np.where(state == 1, edge, np.where(state == 2, 1.0 - edge, y))
        fixed = np.full(Layout(j, k, 2).size, np.nan)
        fixed[: j * k] = pattern.fixed.ravel()
        fixed[Layout(j, k, 2).slices["skill_cov"]] = pattern.fixed_covariance()
        space = ParameterSpace(ParameterTable(BENCHMARKS, pattern.skills, ("x", "z"), fixed))
        cells = Cells.from_tables(Beta(), y, state, edge, family, x)
        penalty = Penalty((ShapePenalty.for_table(space.table, np.full(j, 0.1)),))
        start = space.free_vector(truth)
        points = [start + 0.15 * rng.standard_normal(len(start)) for _ in range(2)]
        return SimpleNamespace(
            cells=cells,
            space=space,
            objective=Objective(space, cells, penalty),
            points=points,
            tables=reference.Tables(y, state, edge, family, x, k),
        )

    return make


@pytest.fixture(scope="session")
def problem(make_problem):
    """Two skills."""
    return make_problem(2)
