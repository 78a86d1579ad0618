"""Choice of the number of skills."""

import pandas as pd
import pytest
import worlds

import latentscale as ls
from latentscale.validation.skill_selection import with_more_skills


def _panel(families=40, per_family=3):
    """Two skills, six benchmarks, precise scores."""
    table = worlds.simulated(
        families, per_family, [[0.9, 0.0], [0.8, 0.1], [0.7, 0.3], [0.1, 0.9], [0.0, 0.8], [0.4, 0.6]],
        [[0.5, 0.1], [0.0, 0.0]], intercepts=-0.5, precision=60.0, family="f{}", seed=8,
    )  # fmt: skip
    return ls.BenchmarkPanel(table, benchmarks=list("abcdef"))


@pytest.mark.study
def test_two_skills_are_found():
    panel = _panel()
    chosen = ls.select_skills(panel, [1, 2, 3], folds=3, starts=1)
    assert chosen.recommended == 2
    assert chosen.table.loc[2, "lfo_mae"] < chosen.table.loc[1, "lfo_mae"]
    assert list(chosen.table.index) == [1, 2, 3]
    assert chosen.fits[2].model.pattern.n_skills == 2
    assert len(chosen.errors) == 40
    assert "least with" in chosen.reason
    assert "Recommended: 2 skills" in str(chosen)
    parallel = ls.select_skills(panel, [1], folds=3, starts=1, n_jobs=2)
    pd.testing.assert_frame_equal(parallel.errors, chosen.errors[[1]])


def test_without_folds_bic_decides_and_nonsense_is_refused():
    panel = _panel(20)
    chosen = ls.select_skills(panel, [1, 2], folds=0, starts=1)
    assert chosen.recommended == chosen.table["bic"].idxmin()
    assert "lfo_mae" not in chosen.table
    with pytest.raises(ls.DataError, match="folds"):
        ls.select_skills(panel, [1], folds=1)
    with pytest.raises(ls.DataError, match="at least 1"):
        ls.select_skills(panel, [0, 1])


def test_an_estimate_is_a_start_with_more_skills():
    """Its log-likelihood is already that of fewer skills, or better, so that more never end below."""
    panel = _panel(20)
    fit = ls.LatentSkillModel(panel, skills=1).fit(integration="laplace", starts=1)
    model = ls.LatentSkillModel(panel, skills=3)
    start = with_more_skills(fit, model)
    assert list(start.index) == list(model.param_names)
    there = model.loglike(start, integration="laplace")
    assert there > fit.llf - 1.0
    again = model.fit(integration="laplace", starts=0, start_params=start)
    assert again.starts["kind"].tolist() == ["given"]
    assert again.llf > fit.llf
