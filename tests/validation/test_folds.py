"""Who trains and who is predicted."""

import pytest

import latentscale as ls
from latentscale.validation.folds import leave_out


def test_the_smallest_stay(panel):
    whole, splits = leave_out(panel)
    # e has no complete LLM, d one, c-0 lacks its tokens and b-0 a score
    assert list(whole.llms) == ["a-big", "a-small", "a-mid", "b-1", "b-2", "c-2", "c-1"]
    assert [split.group for split in splits] == ["a", "b", "c"]
    assert [split.test for split in splits] == [("a-big", "a-mid"), ("b-2",), ("c-2",)]
    assert splits[0].train == ("a-small", "b-1", "b-2", "c-2", "c-1")


def test_two_train(panel):
    whole, splits = leave_out(panel, n_train=2)
    assert list(whole.llms) == ["a-big", "a-small", "a-mid"]
    assert [split.test for split in splits] == [("a-big",)]


def test_none_trains(panel):
    whole, splits = leave_out(panel, ["a", "d"], n_train=0)
    assert "d-1" in whole.llms
    assert [split.test for split in splits] == [("a-big", "a-small", "a-mid"), ("d-1",)]
    assert not set(splits[0].train) & {"a-big", "a-small", "a-mid"}


def test_groups(panel):
    _, splits = leave_out(panel, [["a", "c"], "b"])
    assert splits[0].group == "a + c"
    assert splits[0].test == ("a-big", "a-mid", "c-2")
    assert splits[0].train == ("a-small", "b-1", "b-2", "c-1")
    assert splits[1].families == ("b",)


def test_ties_are_kept_in_the_panel_order(panel):
    turned = panel.subset(list(panel.llms[::-1]))
    assert leave_out(panel, ["b"])[1][0].test == ("b-2",)
    assert leave_out(turned, ["b"])[1][0].test == ("b-1",)


def test_another_size(panel):
    table = panel.to_frame().assign(age=range(12, 0, -1))
    panel = ls.BenchmarkPanel(table, benchmarks=["x", "y"])
    assert leave_out(panel, ["a"], size="age")[1][0].test == ("a-big", "a-small")


def test_small_families_may_train(panel):
    whole, splits = leave_out(panel, small_families="train")
    assert "d-1" in whole.llms
    assert "d-1" in splits[0].train
    assert [split.group for split in splits] == ["a", "b", "c"]


def test_missing_scores_may_stay(panel):
    whole, splits = leave_out(panel, complete=False)
    assert [split.test for split in splits] == [("a-big", "a-mid"), ("b-1", "b-2"), ("c-2",), ("e-2",)]
    assert "b-0" in whole.llms


def test_an_llm_without_covariate_may_stay(panel):
    assert leave_out(panel, ["c"], covariates="params_b")[1][0].test == ("c-2", "c-1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": ["aa"]}, "does not have: aa"),
        ({"groups": [["a", "bb", "cc"]]}, "does not have: bb, cc"),
        ({"groups": []}, "groups is empty"),
        ({"groups": [["a"], []]}, "Group 2 of 2 is empty"),
        ({"groups": [["a", "b", "a"]]}, r"Group 1 \(a \+ b \+ a\) names a twice"),
        ({"groups": [["a", "b"], ["b", "a"]]}, "more than once"),
        ({"groups": ["e"]}, r"too few have e \(0\)"),
        ({"groups": ["a", "d"]}, r"too few have d \(1\)"),
        ({"groups": ["b"], "n_train": 2}, r"n_train = 2 .* too few have b \(2\)"),
        ({"n_train": 3}, "No family has more than 3 LLMs"),
        ({"n_train": -1}, "at least 0; got -1"),
        ({"n_train": True}, "got True"),
        ({"groups": [["a", "b", "c", "d"]], "n_train": 0}, "no LLM is left to train on"),
        ({"size": "age"}, "size column not among the columns: 'age'"),
        ({"size": "base"}, "a-big, a-small, a-mid, b-1, b-2 and 2 more"),
        ({"covariates": ["tokens"]}, "covariate not among the columns: 'tokens'"),
        ({"small_families": "keep"}, "small_families is one of"),
    ],
)
def test_bad_requests(panel, options, message):
    panel = ls.BenchmarkPanel(panel.to_frame().assign(base="text"), benchmarks=["x", "y"])
    with pytest.raises(ls.DataError, match=message):
        leave_out(panel, **options)


def test_a_close_name_is_suggested(leaderboard):
    with pytest.raises(ls.DataError, match="did you mean 'olmo'"):
        leave_out(leaderboard, ["olmoo"])


def test_every_llm_of_the_leaderboard_is_in_its_place(leaderboard):
    whole, splits = leave_out(leaderboard, n_train=2)
    families, sizes = whole.families, whole.table["params_b"]
    for split in splits:
        assert sorted(split.train + split.test) == sorted(whole.llms)
        own = families.index[families == split.group]
        kept = [llm for llm in split.train if llm in own]
        assert len(kept) == 2
        assert sizes[kept].max() <= sizes[list(split.test)].min()
        assert set(split.test) | set(kept) == set(own)
