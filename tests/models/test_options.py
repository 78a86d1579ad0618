"""Options are described once, and what is made of the descriptions agrees with what models and fits take and do."""

import inspect
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import typer

import latentscale as ls
from latentscale.boundary import BOUNDARIES
from latentscale.cli import app
from latentscale.cli.options import Boundary
from latentscale.cli.planning import Interval
from latentscale.components.identification import form_from, form_source, saved_form
from latentscale.estimation.fit import fit_latent_skill
from latentscale.estimation.fit_options import FIT_OPTIONS
from latentscale.inference.bootstrap_store import store_header
from latentscale.likelihood.rules import Rule
from latentscale.models import options as described
from latentscale.models.latent_skill_options import LATENT_SKILL_OPTIONS
from latentscale.models.options import OneOf, Option, Switch, Text, Whole, Words
from latentscale.planning.allocation import INTERVALS
from latentscale.sloth.fit import fit_sloth
from latentscale.sloth.options import SLOTH_FIT_OPTIONS

BENCHMARKS = ["mmlu", "arc", "bbh", "gsm8k"]
OTHERS = {
    "scaling": "log(params_b)",
    "skills": ls.Anchored({"math": "gsm8k", "knowledge": "mmlu"}, correlated=False),
    "asymptotes": "both",
    "asymptote_sd": 1.5,
    "random_slopes": ["log(params_b)"],
    "link": "monotone",
    "link_sd": 0.25,
    "shrink_effects": 0.5,
    "shrink_slopes": 1.0,
    "outliers": 0.1,
    "llm_effects": "diagonal",
    "family_covariates": "instruct",
    "avoid_zero_sd": True,
    "benchmark_effects": "equal",
    "precision_sd": 2.0,
    "precision": "log(params_b)",
    "own_precision_slopes": True,
    "nested": True,
}
"""A value other than the default for every option of LatentSkillModel."""
SLOTH_OTHERS = {
    "scaling": "log(params_b)",
    "n_skills": 2,
    "family_intercepts": False,
    "link": "monotone",
    "asymptotes": "lower",
    "positive_slopes": True,
}


@pytest.fixture(scope="module")
def panel():
    table = ls.load_leaderboard()
    table["instruct"] = table["family"].str.contains("instruct|chat")  # constant within families
    return ls.BenchmarkPanel(table, benchmarks=BENCHMARKS, groups="base_family")


@pytest.fixture(scope="module")
def models(panel):
    """A model with every option off its default, and the options that it was made with."""
    laws = {name: value for name, value in SLOTH_OTHERS.items() if name != "n_skills"} | {"scaling": "log(tokens_t)"}
    return [
        (ls.LatentSkillModel(panel, **OTHERS), OTHERS),
        (ls.SlothModel(panel, **SLOTH_OTHERS), SLOTH_OTHERS),
        (ls.BenchmarkLaws(panel, **laws), laws),
    ]


# --- signatures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (ls.LatentSkillModel, LATENT_SKILL_OPTIONS),
        (ls.SlothModel, ls.SlothModel.OPTIONS),
        (ls.BenchmarkLaws, ls.BenchmarkLaws.OPTIONS),
        (fit_latent_skill, FIT_OPTIONS),
        (fit_sloth, SLOTH_FIT_OPTIONS),
    ],
)
def test_signatures_agree_with_descriptions(function, options):
    _, *parameters = inspect.signature(function).parameters.values()  # the first is the panel, or the model
    assert [(one.name, one.default) for one in parameters] == [(one.name, one.default) for one in options]


def test_defaults_and_the_other_values_of_these_tests_are_allowed():
    assert OTHERS.keys() == {one.name for one in LATENT_SKILL_OPTIONS}
    for options in (LATENT_SKILL_OPTIONS, FIT_OPTIONS, ls.SlothModel.OPTIONS, SLOTH_FIT_OPTIONS):
        defaults = {one.name: one.default for one in options}
        assert described.checked_options(options, defaults) == defaults
    assert described.checked_options(LATENT_SKILL_OPTIONS, OTHERS) == OTHERS


def test_models_keep_their_options(models):
    for model, options in models:
        given = described.given_options(model)
        assert repr(given) == repr({one.name: options[one.name] for one in model.OPTIONS})


# --- saved -----------------------------------------------------------------------------------------------------------


def test_saved_options_come_back(models, panel):
    for model, _ in models:
        saved = json.loads(json.dumps(described.saved_options(model), allow_nan=False))
        again = type(model)(panel, **described.read_options(model.OPTIONS, saved, 5))
        assert described.saved_options(again) == saved
        assert repr(described.given_options(again)) == repr(described.given_options(model))


@pytest.mark.parametrize(
    "form",
    [
        ls.Anchored({"s,t": 'a"b', "u": "c"}),
        ls.Anchored({"s": "a"}, correlated=False),
        ls.Echelon(["a", "b"], ["first", "nan"]),
        ls.Confirmatory(pd.DataFrame({"s": [1.0, np.nan], "nan": [0.0, 0.5]}, ["a", "nan"]), correlated=False),
    ],
)
def test_forms_come_back_from_files_and_from_source(form):
    for again in (form_from(json.loads(json.dumps(saved_form(form)))), eval(form_source(form), {"ls": ls, "pd": pd})):
        assert type(again) is type(form)
        for name in form.__dataclass_fields__:
            value, other = getattr(form, name), getattr(again, name)
            if isinstance(value, pd.DataFrame):
                pd.testing.assert_frame_equal(value, other)
            else:
                assert value == other


def test_files_that_lack_an_option_or_have_one_too_many(models):
    saved = described.saved_options(models[0][0])
    older = {name: saved[name] for name in ("scaling", "skills", "asymptotes", "asymptote_sd", "random_slopes")}
    assert set(described.read_options(LATENT_SKILL_OPTIONS, older, 2)) == set(older)
    with pytest.raises(ls.DataError, match="lacks the options link, link_sd, shrink_effects, shrink_slopes, outliers"):
        described.read_options(LATENT_SKILL_OPTIONS, older, 3)
    within = {name: value for name, value in saved.items() if name != "avoid_zero_sd"}  # came while it was written
    assert set(described.read_options(LATENT_SKILL_OPTIONS, within, 4)) == set(within)
    with pytest.raises(ls.DataError, match="lacks the options skills"):
        described.read_options(LATENT_SKILL_OPTIONS, {"scaling": "x"} | dict.fromkeys(list(older)[2:]), 2)
    with pytest.raises(ls.DataError, match="does not know: response"):
        described.read_options(LATENT_SKILL_OPTIONS, saved | {"response": "binomial"}, 4)


def test_stores_of_replicates_are_of_one_set_of_options(panel):
    """Also of options that change no parameter's name."""
    plain = {"skills": ls.Anchored({"g": "gsm8k"}), "asymptotes": "both", "link": "monotone"}
    prints = []
    for options in ({}, {"asymptote_sd": 1.0}, {"link_sd": 1.0}, {"shrink_slopes": 1.0}, {"outliers": 0.1}):
        model = ls.LatentSkillModel(panel, **plain, **options)
        zeros = np.zeros(model.table.size)
        estimate = SimpleNamespace(restriction=None, params=zeros, free=zeros, information=zeros)
        header = store_header(model, estimate, Rule.build("laplace", 1), "parametric", 0)
        prints.append(header["fingerprint"]["model"])
    assert len(set(prints)) == len(prints)


# --- told ------------------------------------------------------------------------------------------------------------


def test_calls_name_what_is_off_its_default(models, panel):
    for model, options in models:
        kept = {one.name: one.kept(model) for one in model.OPTIONS}
        told = described.told_options(model.OPTIONS, kept)
        assert list(told) == [one.name for one in model.OPTIONS]
        given = {name: eval(source, {"ls": ls}) for name, source in told.items()}
        assert repr(given) == repr({name: options[name] for name in told})
    plain = ls.LatentSkillModel(panel, skills=ls.Anchored({"g": "gsm8k"}))
    kept = {one.name: one.kept(plain) for one in LATENT_SKILL_OPTIONS}
    assert list(described.told_options(LATENT_SKILL_OPTIONS, kept)) == ["scaling", "skills"]


def test_words_are_said_of_options_off_their_defaults(models, panel):
    model, plain = models[0][0], ls.LatentSkillModel(panel, skills=1)
    texts = ("row", "note", "sentence", "penalty", "penalised", "short")
    assert not any(described.said_of(plain, what) for what in texts)
    assert described.said_of(model, "short") == [
        "asymptotes' s.d. 1.5", "random slopes of log(params_b)", "monotone link", "links' s.d. 0.25",
        "shrunken effects (0.5) slopes (1)", "outliers 0.1", "residual skills of LLMs (diagonal)",
        "family covariates instruct", "standard deviations kept off zero", "benchmark effects (equal)",
        "precisions' s.d. 2", "precision log(params_b)", "own precision slopes",
        "families nested in groups",
    ]  # fmt: skip
    assert described.said_of(model, "row") == [
        "monotone, s.d. 0.25", "effects 0.5, slopes 1", "0.1 of the scores", "instruct", "avoided by a penalty",
        "penalised, s.d. 2", "log(params_b)",
    ]
    assert described.said_of(model, "penalty")[2].startswith(
        "Penalised: loadings (s.d. 0.5) and slopes (s.d. 1) are shrunk towards zero. Standard errors"
    )
    half = ls.LatentSkillModel(panel, skills=1, shrink_slopes=0.5, link_sd=0.25)  # the links are logistic
    assert described.said_of(half, "short") == ["shrunken slopes (0.5)"]


def test_an_option_that_is_not_active_does_not_set_models_apart(panel):
    first = ls.LatentSkillModel(panel, skills=1)
    assert described.differing_options(first, ls.LatentSkillModel(panel, skills=1, link_sd=1.0, asymptote_sd=9.0)) == []
    other = ls.LatentSkillModel(panel, skills=1, link="monotone", outliers=0.1)
    assert [one.name for one in described.differing_options(first, other)] == ["link", "link_sd", "outliers"]


# --- the command line ------------------------------------------------------------------------------------------------


def test_the_command_line_has_the_options_that_are_described_for_it():
    parameters = {one.name: one for one in typer.main.get_command(app).commands["fit"].params}
    for option in (*LATENT_SKILL_OPTIONS, *FIT_OPTIONS):
        if option.command is None:
            assert option.name not in parameters
            continue
        found = parameters[option.command.flag or option.name]
        default = option.default if option.command.default is None else option.command.default
        assert found.help == option.command.help
        assert (found.default is None) == (default is None)
        if default is not None:
            assert str(getattr(found.default, "value", found.default)) == str(default)
        if isinstance(option.domain, OneOf):
            kind = found.type_descriptor.annotation if found.default is None else type(found.default)
            assert tuple(one.value for one in kind) == option.domain.words


def test_lists_of_words_of_the_command_line():
    assert {one.value for one in Boundary} == set(BOUNDARIES)
    assert {one.value for one in Interval} == set(INTERVALS)


# --- a new option ----------------------------------------------------------------------------------------------------


def test_one_entry_makes_everything_of_a_new_option():
    colour = Option(
        "colour", OneOf(("red", "blue")), "red", in_files_since=5, untested="nobody knows why",
        words=Words(label="Colour:", row="{model.colour}", short="{model.colour} model"),
    )  # fmt: skip
    deep = Option("deep", Switch(), False, kept_as="depth")
    options = (Option("scaling", Text(), "x", always_told=True), colour, deep)

    class Model:
        OPTIONS = options

        def __init__(self, scaling="x", colour="red", deep=False):
            checked = described.checked_options(self.OPTIONS, locals())
            described.keep_options(self, checked)
            self.depth = checked["deep"]

    red, blue = Model(), Model("y", "blue", True)
    assert vars(blue) == {"scaling": "y", "colour": "blue", "depth": True}
    with pytest.raises(ls.DataError, match="colour is one of red, blue, not 'bleu'"):
        Model(colour="bleu")
    assert described.saved_options(blue) == {"scaling": "y", "colour": "blue", "deep": True}
    assert described.read_options(options, {"scaling": "y", "deep": False}, 4) == {"scaling": "y", "deep": False}
    assert described.told_options(options, described.saved_options(red)) == {"scaling": "'x'"}
    assert described.told_options(options, described.saved_options(blue))["colour"] == "'blue'"
    assert described.said_of(red, "short") == []
    assert described.said_of(blue, "short") == ["blue model"]
    assert colour in described.differing_options(red, blue)


@pytest.mark.parametrize(("optional", "refused"), [(True, [0, 1.5]), (False, [0, None])])
def test_domains_may_have_none(optional, refused):
    domain = Whole(least=1, optional=optional)
    assert domain.check("points", np.int64(3)) == 3
    assert not optional or domain.check("points", None) is None
    for value in refused:
        with pytest.raises(ls.DataError, match="points is a whole number, at least 1"):
            domain.check("points", value)
