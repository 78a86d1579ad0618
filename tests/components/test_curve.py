"""The curve of a benchmark: derivatives against differences, one shape for all uses, and asymptotes in order."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import latentscale as ls
from latentscale.components.curve import LINK, Curve, CurveAt, between, mean_score, rough_predictor, share_of_range
from latentscale.components.free_curves import FreeCurves
from latentscale.numerics.differences import jacobian
from latentscale.sloth.newton import minimise
from latentscale.sloth.objective import SlothObjective

SHAPES = "cd" + LINK
ORDERS = [0, 1, 2, 3]


@pytest.fixture(scope="module")
def points():
    """eta (C, M), and by shape the parameters (C,), of cells away from the knots of the spline."""
    rng = np.random.default_rng(0)
    eta = np.sort(rng.uniform(-7.0, 7.0, (5, 40)), axis=1)
    to_knot = np.abs((eta + 0.75) / 1.5 - np.round((eta + 0.75) / 1.5)) * 1.5
    eta = np.where(to_knot < 0.05, eta + 0.1, eta)
    shapes = {"c": rng.uniform(0.0, 0.4, 5), "d": rng.uniform(0.6, 1.0, 5)}
    return eta, shapes | {a: 0.6 * rng.standard_normal(5) for a in LINK}


def curve_of(shapes, linked):
    link = np.column_stack([shapes[a] for a in LINK]) if linked else None
    return Curve.of(shapes["c"], shapes["d"], link)


def derivatives(eta, shapes, linked, order=3):
    at = CurveAt(eta, curve_of(shapes, linked), order, SHAPES if linked else "cd")
    return {"": at.mu, **at.derivatives()}


@pytest.mark.parametrize("linked", [False, True], ids=["logistic", "monotone"])
class TestDerivatives:
    def test_are_those_of_differences(self, points, linked):
        eta, shapes = points
        found = derivatives(eta, shapes, linked)
        assert {"e", "ee", "eee", "c", "d", "ec", "eed"} <= set(found)
        assert ("ee3" in found) == linked
        for name, values in found.items():
            if not name:
                continue
            letter, below = name[0] if name[0] in "cd" else name[-1], name
            below = name[1:] if name[0] in "cd" and len(name) > 1 else name[:-1]

            def lower(step, letter=letter, below=below):
                moved = dict(shapes)
                if letter != "e":
                    moved[letter] = shapes[letter] + step[0]
                return derivatives(eta + step[0] * (letter == "e"), moved, linked)[below].ravel()

            numeric = jacobian(lower, np.zeros(1), np.full(1, 1e-3)).reshape(eta.shape)
            # differences of fourth order at a step of 1e-3 leave 1e-12 and rounding of 1e-16 / 1e-3 of numbers below 1
            assert_allclose(values, numeric, rtol=1e-7, atol=1e-9, err_msg=name)

    def test_a_lower_order_is_part_of_a_higher_one(self, points, linked):
        whole = derivatives(*points, linked)
        for order in ORDERS:
            for name, values in derivatives(*points, linked, order).items():
                assert_allclose(values, whole[name], rtol=0, atol=0)
                assert len(name) <= max(order, 1) if order else name == ""

    def test_those_in_the_link_can_be_left_out(self, points, linked):
        eta, shapes = points
        at = CurveAt(eta, curve_of(shapes, linked), 2, SHAPES if linked else "cd")
        assert set(at.derivatives(link=False)) == {name for name in at.derivatives() if not set(name) & set(LINK)}

    def test_all_ways_to_the_mean_agree(self, points, linked):
        eta, shapes = points
        curve = curve_of(shapes, linked)
        link = np.column_stack([shapes[a] for a in LINK]) if linked else None
        mu, nu = curve.mean(eta)
        assert_allclose(mu + nu, 1.0, rtol=1e-15)
        assert_allclose(CurveAt(eta, curve, 0).mu, mu, rtol=1e-15)
        assert_allclose(mean_score(eta.T, shapes["c"], shapes["d"], link).T, mu, rtol=1e-13)
        assert_allclose(CurveAt(eta, curve, 0).nu, nu, rtol=1e-13)
        assert_allclose(curve.at(slice(1, 3)).mean(eta[1:3])[0], mu[1:3], rtol=0, atol=0)


def test_scores_and_shares_of_a_range():
    shares = np.array([0.0, 0.3, 1.0])
    assert_allclose(share_of_range(between(shares, 0.2, 0.9), 0.2, 0.9), shares, atol=1e-15)
    eta = np.array([-2.0, 0.0, 3.0])
    assert_allclose(rough_predictor(mean_score(eta, 0.2, 0.9), 0.2, 0.9), eta, rtol=1e-12, atol=1e-14)
    assert np.isfinite(rough_predictor(np.array([0.0, 1.0]), 0.2, 0.9)).all()


def falling_scores():
    """A loss whose benchmark falls by a curve that may only rise: all but the asymptotes are held."""
    z = np.linspace(-3.0, 3.0, 41)[:, None]
    y = mean_score(z, 0.7, 0.3)
    response = FreeCurves("logistic", "both", np.zeros(1))
    held = np.array([True, True, True, False, False])  # slope, loading and intercept
    objective = SlothObjective(y, np.full(y.shape, 1.0 / 41.0), z, None, 1, response, np.zeros(5), np.zeros(5), held)
    return objective, np.array([1.0, 1.0, 0.0, *(np.log(p / (1.0 - p)) for p in (0.2, 0.8))])


def test_asymptotes_do_not_cross():
    objective, start = falling_scores()
    end = minimise(objective, start, 0.05)
    low, high = (1.0 / (1.0 + np.exp(-end.vector[3:])),)[0]
    assert low < high
    assert high - low < 0.05  # a flat curve is the nearest that rises
    crossed = np.append(start[:3], np.log([0.7 / 0.3, 0.3 / 0.7]))
    assert objective.value(crossed, 0.05) < 1e-20 < end.value  # what a search that let them cross would end at
    assert objective.rising(start)
    assert not objective.rising(crossed)


@pytest.mark.parametrize("model", [ls.LatentSkillModel, ls.SlothModel])
def test_guessing_levels_that_leave_no_room_are_refused(model):
    table = ls.load_leaderboard()
    panel = ls.BenchmarkPanel(table, benchmarks=["bbh", "ifeval", "mmlu"], chance={"bbh": 0.98})
    with pytest.raises(ls.DataError, match=r"guessing levels of bbh \(0.98\) leave no room"):
        model(panel, asymptotes="both", **({"skills": 1} if model is ls.LatentSkillModel else {"n_skills": 1}))
