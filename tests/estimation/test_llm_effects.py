"""Residual skills of LLMs: the two-level Laplace engine, judged by a dense one, by differences and by autograd."""

from dataclasses import replace

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
import small_laws
from numpy.testing import assert_allclose, assert_array_equal

from latentscale.components.cells import Cells
from latentscale.components.levels import effect_loadings
from latentscale.components.linear_predictor import fixed_part, layout_of
from latentscale.components.response import cell_parameters, cell_terms
from latentscale.likelihood.laplace import laplace, laplace_by_family
from latentscale.likelihood.modes import posterior_modes
from latentscale.likelihood.nested_curvature import NestedCurvature
from latentscale.likelihood.objective import Objective
from latentscale.numerics.differences import jacobian
from latentscale.parameters.kinds import LLM_SD
from latentscale.parameters.structure import ScaleBlock

CASES = {
    "two skills": (2, 0, False),
    "one skill, one random slope": (1, 1, False),
    "two skills, one random slope, links and outliers": pytest.param((2, 1, True), marks=pytest.mark.slow),
}
FAMILY = np.array([0, 0, 0, 1, 2, 2, 2, 2, 3, 3, 1, 0])  # of unequal sizes, and rows not sorted by family


def _make(k, r, bent, seed=0, precision=(10.0, 40.0)):
    """(structure, cells) with scores simulated with residual skills of LLMs; one LLM has no score."""
    rng = np.random.default_rng(10 * k + r + 100 * seed)
    x = rng.standard_normal((len(FAMILY), 2))
    structure = small_laws.random_structure(rng, (2, 4, k, r), bent, 1.3, precision, llm_sd=0.5)
    law, y, state, random = small_laws.draw(rng, structure, FAMILY, x, 0.15 * bent)
    state[4] = -1
    return structure, Cells.from_tables(law, y, state, np.full(4, 0.005), FAMILY, x, random)


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def case(request):
    return _make(*request.param)


def _dense(structure, cells):
    """The same law with a random slope on a dummy of each LLM's place in its family; Sigma must be I."""
    place = np.zeros(len(cells.design), dtype=int)
    for family in range(cells.n_families):
        rows = cells.llm_rows[cells.units("llm").family == family]
        place[rows] = np.arange(len(rows))
    dummies = np.eye(np.bincount(cells.units("llm").family).max())[place]
    k = len(structure.skill_cov)
    on_dummies = np.full((dummies.shape[1], k), structure.scales["llm_sd"])
    slope_sd = np.vstack([structure.scales["slope_sd"], on_dummies])
    values = {name: getattr(cells, name) for name in cells.__dataclass_fields__}
    padded = Cells(**{**values, "random": np.hstack([cells.random, dummies])})
    return replace(structure, scales={"slope_sd": slope_sd}), padded


def _shapes(structure):
    return "cd123456" if structure.link.shape[1] else "cd"


def _reader(structure):
    """s -> Structure with the layout of another."""
    return layout_of(structure).unflatten


def _differences(function, s):
    return jacobian(lambda point: np.atleast_1d(function(point)), s, 1e-3 * np.maximum(0.1, np.abs(s)))


@pytest.mark.parametrize("expected", [False, True], ids=["observed curvature", "expected curvature"])
class TestLaplace:
    def test_value_and_score_are_those_of_dense_dummies(self, case, expected):
        structure, cells = case
        structure = replace(structure, skill_cov=np.eye(len(structure.skill_cov)))
        dense, padded = _dense(structure, cells)
        shapes = _shapes(structure)
        value, score, modes = laplace(structure, cells, None, shapes, expected=expected)
        wanted, dense_score, dense_modes = laplace(dense, padded, None, shapes, expected=expected)
        assert np.isfinite(wanted)
        # dummies that a small family lacks are effects with the law of their prior, which count for nothing
        assert_allclose(value, wanted, rtol=1e-10)
        d = modes.alpha.shape[1]
        assert_allclose(modes.alpha, dense_modes.alpha[:, :d], rtol=1e-6, atol=1e-8)
        layout, dense_layout = layout_of(structure), layout_of(dense)
        for name in layout.slices:
            if name not in ("skill_cov", "slope_sd", "llm_sd"):
                found, wanted = score[layout.slices[name]], dense_score[dense_layout.slices[name]]
                assert_allclose(found, wanted, rtol=1e-7, atol=1e-8)
        in_tau = dense_score[dense_layout.index("slope_sd")]
        r = len(structure.scales["slope_sd"])
        assert_allclose(score[layout.index("slope_sd")], in_tau[:r], rtol=1e-7, atol=1e-8)
        assert_allclose(score[layout.slices["llm_sd"]], in_tau[r:].sum(), rtol=1e-7, atol=1e-8)

    def test_score_is_that_of_differences(self, case, expected):
        structure, cells = case
        s = layout_of(structure).flatten(structure)
        wanted = _differences(lambda point: laplace(_reader(structure)(point), cells, expected=expected)[0], s)[0]
        found = laplace(structure, cells, None, _shapes(structure), expected=expected)[1]
        assert np.abs(found[layout_of(structure).slices["llm_sd"]]) > 0.1
        assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)

    def test_families_add_up(self, case, expected):
        structure, cells = case
        values, scores, _ = laplace_by_family(structure, cells, None, _shapes(structure), expected=expected)
        total, score, _ = laplace(structure, cells, None, _shapes(structure), expected=expected)
        assert values.shape == (4,)
        assert_allclose(values.sum(), total, rtol=1e-12)
        assert_allclose(scores.sum(axis=0), score, rtol=1e-9, atol=1e-9)

    def test_sign_does_not_matter_and_zero_is_no_residual(self, case, expected):
        structure, cells = case
        value, score, _ = laplace(structure, cells, expected=expected)
        turned = laplace(structure.with_scales(llm_sd=-structure.scales["llm_sd"]), cells, expected=expected)
        assert_allclose(turned[0], value, rtol=1e-12)
        assert_allclose(turned[1][-1], -score[-1], rtol=1e-9)
        none = replace(structure, scales={"slope_sd": structure.scales["slope_sd"]})
        without = laplace(none, cells, expected=expected)
        at_zero = laplace(structure.with_scales(llm_sd=np.zeros(1)), cells, expected=expected)
        assert at_zero[0] == without[0]
        assert_array_equal(at_zero[1], np.append(without[1], 0.0))
        near_zero = laplace(structure.with_scales(llm_sd=np.array([1e-5])), cells, expected=expected)
        # the law is even in kappa, so that the difference is of the order of 1e-10 times a second derivative
        assert_allclose(near_zero[0], without[0], rtol=0, atol=1e-7)
        assert_allclose(near_zero[1][:-1], without[1], rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_score_against_autograd(reference, make_problem):
    """The second implementation, families' effects and LLMs' in one dense vector."""
    problem = make_problem(2, n_families=3)
    tables, space = problem.tables, problem.space
    s = space.structural(problem.points[0])
    structure = space.layout.unflatten(s).with_scales(llm_sd=np.array([0.4]))
    value, score, modes = laplace(structure, problem.cells, shapes="cd")
    n, (j, k) = len(tables.family), structure.loadings.shape
    llms = np.zeros((n, k))
    llms[problem.cells.llm_rows] = modes.effects[1]
    mode = np.vstack([modes.alpha, llms]).ravel()
    of_family = 1.0 * (tables.family[:, None] == np.arange(3))
    first = autograd.elementwise_grad(lambda eta, point: reference.cell_log_likelihood(eta, point, tables))
    second = autograd.elementwise_grad(first)

    def by_autograd(extended):
        point, kappa = extended[:-1], extended[-1]
        loadings, intercepts, slopes, cov, *_ = reference.split(point, tables)
        spread = anp.concatenate([of_family, kappa * np.eye(n)], axis=1)
        w = anp.einsum("nm,jk->njmk", spread, loadings).reshape((n, j, len(mode)))
        prior = anp.kron(np.eye(3 + n), anp.linalg.inv(cov))
        base = anp.dot(anp.dot(tables.x, slopes), loadings.T) + intercepts

        def eta(effects):
            return (base + anp.dot(w, effects))[:, None, :]

        def curvature(effects):
            return prior - anp.einsum("nj,nja,njb->ab", second(eta(effects), point)[:, 0], w, w)

        gradient = anp.einsum("nj,nja->a", first(eta(mode), point)[:, 0], w) - anp.dot(prior, mode)
        effects = mode + anp.linalg.solve(curvature(mode), gradient)
        h = anp.sum(reference.cell_log_likelihood(eta(effects), point, tables))
        log_determinant = anp.linalg.slogdet(curvature(effects))[1] - anp.linalg.slogdet(prior)[1]
        return h - 0.5 * (anp.dot(effects, anp.dot(prior, effects)) + log_determinant)

    extended = np.append(s, 0.4)
    assert_allclose(value, by_autograd(extended), rtol=1e-10)
    wanted = autograd.grad(by_autograd)(extended)
    assert_allclose(score, wanted, rtol=1e-7, atol=1e-8 * np.abs(wanted).max())


def test_curvature_of_two_levels_is_that_of_one_dense_matrix():
    rng = np.random.default_rng(4)
    _, cells = _make(2, 1, False)
    d, k, n = 4, 2, len(cells.llm_rows)
    units = [cells.units("family"), cells.units("llm")]
    half = rng.standard_normal((n, d + k, d + k))
    blocks = half @ np.swapaxes(half, 1, 2)
    family_prior, llm_prior = np.diag([1.0, 2.0, 0.5, 1.5]), np.array([[1.0, 0.2], [0.2, 2.0]])
    found = NestedCurvature.eliminated(units, blocks, [family_prior, llm_prior])
    right = rng.standard_normal((cells.n_families, d)), rng.standard_normal((n, k))
    solved, inverse = found.solve(right), found.inverse_blocks()
    assert found.defined().all()
    for family in range(cells.n_families):
        members = np.flatnonzero(units[1].family == family)
        size = d + k * len(members)
        dense = np.zeros((size, size))
        dense[:d, :d] = family_prior + blocks[members, :d, :d].sum(axis=0)
        for place, llm in enumerate(members):
            own = slice(d + k * place, d + k * (place + 1))
            dense[own, own] = blocks[llm, d:, d:] + llm_prior
            dense[own, :d], dense[:d, own] = blocks[llm, d:, :d], blocks[llm, :d, d:]
        assert_allclose(found.log_determinant()[family], np.linalg.slogdet(dense)[1], rtol=1e-12)
        wanted = np.linalg.solve(dense, np.concatenate([right[0][family], right[1][members].ravel()]))
        assert_allclose(solved[0][family], wanted[:d], rtol=1e-9, atol=1e-12)
        assert_allclose(solved[1][members].ravel(), wanted[d:], rtol=1e-9, atol=1e-12)
        whole = np.linalg.inv(dense)
        for place, llm in enumerate(members):
            here = np.concatenate([np.arange(d), d + k * place + np.arange(k)])
            assert_allclose(inverse[llm], whole[np.ix_(here, here)], rtol=1e-9, atol=1e-12)


def test_a_family_of_which_one_llm_has_no_maximum_of_its_own_is_not_defined():
    _, cells = _make(2, 0, False)
    n, units = len(cells.llm_rows), [cells.units("family"), cells.units("llm")]
    blocks = np.tile(np.eye(4), (n, 1, 1))
    blocks[0, 2:, 2:] = -2.0 * np.eye(2)  # with the prior: C_0 = -I
    found = NestedCurvature.eliminated(units, blocks, [np.eye(2), np.eye(2)])
    assert found.defined().tolist() == [False, True, True, True]


def test_modes_from_anywhere_are_the_same_and_are_maxima():
    structure, cells = _make(2, 1, False, seed=3)
    modes = posterior_modes(structure, cells)
    assert modes.effects[1].shape == (len(cells.llm_rows), 2) == (11, 2)
    rng = np.random.default_rng(0)
    elsewhere = replace(modes, effects=tuple(rng.standard_normal(effects.shape) for effects in modes.effects))
    for start in (modes, elsewhere, modes.alpha):
        again = posterior_modes(structure, cells, start)
        assert_allclose(again.alpha, modes.alpha, rtol=0, atol=1e-7)
        assert_allclose(again.effects[1], modes.effects[1], rtol=0, atol=1e-7)
        assert_allclose(again.curvature, modes.curvature, rtol=1e-6)
    assert np.abs(elsewhere.alpha - modes.alpha).max() > 0.1


def test_modes_are_found_where_precisions_leave_few_digits():
    """With a precision of ten millions log-likelihoods are known to a hundred-millionth."""
    structure, cells = _make(2, 0, False)
    sharp = replace(structure, precision=np.where(np.arange(4) == 1, 1e7, structure.precision))
    modes = posterior_modes(sharp, cells)
    assert modes.decrement.max() < 1e-10
    assert modes.exact.all()


def test_complete_data_metric_holds_the_effects_at_their_modes(make_problem):
    """Its entries are second differences of the log-likelihood of the scores given all effects."""
    problem = make_problem(2, n_families=4)
    table = problem.space.table
    table = replace(table, fixed=np.append(table.fixed, np.nan), scales=(ScaleBlock(LLM_SD),))
    space = type(problem.space)(table)
    structure = problem.space.structure(problem.points[0]).with_scales(llm_sd=np.array([0.4]))
    u = space.free_vector(structure)
    objective = Objective(space, problem.cells, problem.objective.penalty)
    modes = posterior_modes(structure, problem.cells)
    hessian = objective.complete(u, modes)

    def given(point):
        at, cells = space.structure(point), problem.cells
        eta = fixed_part(at, cells)[1] + np.sum(effect_loadings(at, cells) * modes.by_cell(cells), axis=1)
        h = cell_terms(eta[:, None], cell_parameters(at, cells), cells, slice(None), 0)["f"].sum()
        square = np.sum(np.linalg.solve(at.skill_cov, modes.alpha.T).T * modes.alpha)
        log_density = -0.5 * (square + cells.n_families * np.linalg.slogdet(at.skill_cov)[1])
        return h + log_density + objective.penalty.terms(space.structural(point))[0]

    labels = [space.labels.index(name) for name in ("llm_sd", "loading[d,s1]", "slope[x,s0]", "corr[s0,s1]")]
    step = 1e-3
    for a in labels[:2]:
        for b in labels[:3]:
            e, f = step * np.eye(len(u))[a], step * np.eye(len(u))[b]
            mixed = given(u + e + f) - given(u + e - f) - given(u - e + f) + given(u - e - f)
            assert_allclose(hessian[a, b], mixed / (4.0 * step**2), rtol=1e-4, atol=1e-3)
