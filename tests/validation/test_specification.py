"""A Specification is its options, and nothing changes them."""

import pickle

import pytest

import latentscale as ls
from latentscale.validation.component_laws import ComponentLaws


def test_it_says_what_it_is():
    plain = ls.Specification(ComponentLaws, n_components=2)
    assert repr(plain) == "Specification(ComponentLaws, n_components=2)"
    assert plain.name == "ComponentLaws, n_components=2"
    named = ls.Specification(ls.LatentSkillModel, fit={"starts": 1}, name="ours", skills=1)
    assert named.name == "ours"
    assert repr(named) == "Specification(LatentSkillModel, fit={'starts': 1}, skills=1, name='ours')"


def test_it_does_not_change(leaderboard):
    fit, chance = {"starts": 1}, ["bbh"]
    one = ls.Specification(ls.LatentSkillModel, fit=fit, skills=chance)
    fit["starts"] = 7
    chance.append("gpqa")
    assert one.fit_options == {"starts": 1}
    one.options["skills"].append("gpqa")
    assert one.options == {"skills": ["bbh"]}
    with pytest.raises(AttributeError):
        one.name = "other"
    with pytest.raises(TypeError):
        one.options["skills"] = 3


def test_pickling_and_equality():
    one = ls.Specification(ComponentLaws, name="laws", n_components=2)
    assert pickle.loads(pickle.dumps(one)) == one
    assert one != ls.Specification(ComponentLaws, name="laws", n_components=3)
    assert one != "laws"
    assert len({one, pickle.loads(pickle.dumps(one))}) == 1


def test_it_builds_and_fits(leaderboard):
    one = ls.Specification(ComponentLaws, n_components=3)
    assert one.build(leaderboard).n_components == 3
    assert list(one.fit(leaderboard).components.columns) == ["PC1", "PC2", "PC3"]


def test_bad_requests():
    with pytest.raises(ls.DataError, match="is a class"):
        ls.Specification("SlothModel")
    with pytest.raises(ls.DataError, match="dict of options"):
        ls.Specification(ComponentLaws, fit=3)
