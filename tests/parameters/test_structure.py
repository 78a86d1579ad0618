"""Structure and Layout: one order of the parameters, and changes of coordinates that keep the law."""


import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from latentscale.parameters.structure import Layout, Structure


@pytest.fixture
def structure():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((3, 3))
    return Structure(
        rng.standard_normal((4, 3)), rng.standard_normal(4), rng.standard_normal((2, 3)), root @ root.T,
        np.exp(rng.standard_normal(4)), np.full(4, 0.1), np.linspace(0.8, 1.0, 4),
    )  # fmt: skip


def test_flatten_and_back(structure):
    layout = Layout(4, 3, 2)
    s = layout.flatten(structure)
    assert s.shape == (layout.size,) == (4 * 3 + 4 + 2 * 3 + 6 + 4 * 3,)
    again = layout.unflatten(s)
    for name in structure.__dataclass_fields__:
        assert_array_equal(getattr(again, name), getattr(structure, name))


def test_index_finds_each_entry(structure):
    layout = Layout(4, 3, 2)
    s = layout.flatten(structure)
    for name in ("loadings", "intercepts", "slopes", "precision", "lower", "upper"):
        assert_array_equal(s[layout.index(name)], getattr(structure, name))
    assert_array_equal(s[layout.index("skill_cov")], structure.skill_cov[layout.triangle])


def test_transformed_keeps_the_law(structure):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((5, 2))
    turned = structure.transformed(rng.standard_normal((3, 3)))
    # rounding times the condition number of a random 3 x 3 matrix
    for law in (
        lambda v: x @ v.slopes @ v.loadings.T,
        lambda v: v.loadings @ v.skill_cov @ v.loadings.T,
    ):
        assert_allclose(law(turned), law(structure), rtol=1e-10, atol=1e-12)
    assert np.abs(turned.loadings - structure.loadings).max() > 0.1
    assert_array_equal(turned.intercepts, structure.intercepts)


class TestResidualSkills:
    """kappa has a place in s only where LLMs have residual skills."""

    def test_none(self, structure):
        assert structure.scales == {}
        assert "llm_sd" not in Layout(4, 3, 2).slices

    def test_flatten_and_back(self, structure):
        layout = Layout(4, 3, 2, scales=(("llm_sd", (1,)),))
        s = layout.flatten(structure.with_scales(llm_sd=0.3))
        assert len(s) == layout.size == Layout(4, 3, 2).size + 1
        assert s[layout.index("llm_sd")] == 0.3
        assert layout.unflatten(s).scales["llm_sd"] == 0.3

    def test_a_law_without_them_is_one_where_they_vanish(self, structure):
        layout = Layout(4, 3, 2, scales=(("llm_sd", (1,)),))
        again = layout.unflatten(layout.flatten(structure))
        assert_array_equal(again.scales["llm_sd"], [0.0])

    def test_they_turn_with_the_skills(self, structure):
        """kappa^2 Sigma is carried as Sigma is, whatever the change of coordinates."""
        with_residuals = structure.with_scales(llm_sd=0.3)
        turned = with_residuals.transformed(np.random.default_rng(2).standard_normal((3, 3)))
        law = [v.scales["llm_sd"] ** 2 * v.loadings @ v.skill_cov @ v.loadings.T for v in (with_residuals, turned)]
        assert_allclose(law[1], law[0], rtol=1e-10, atol=1e-12)
