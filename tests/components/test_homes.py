"""The law of a score and the curve of a benchmark have one home each: nothing else computes them."""

import ast
from functools import lru_cache
from pathlib import Path

import pytest

import latentscale

PACKAGE = Path(latentscale.__file__).parent
NUMERICS, LAWS = "numerics/", "components/beta_law.py"
# functions of the beta law, and the modules that compute them
FUNCTIONS = {
    "beta", "betainc", "betaincc", "betaincinv", "betaln", "betaprime", "gammaln", "gammainc", "gammaincinv", "digamma",
    "psi", "polygamma",
}  # fmt: skip
MODULES = {"numerics.beta", "numerics.log_gamma", "numerics.compiled", "numerics.compiled_beta"}
ELSEWHERE = {
    ("prediction/residual_tables.py", "beta"): "the law of order statistics, for bands of normal plots",
    ("prediction/importance_sampling.py", "gammaincinv"): "quantiles of a chi-square law, for t proposals",
    ("downstream/repeated_sampling_law.py", "gammaln"): "the number of orders of successes in many tries of an item",
}
LOGISTIC = {"expit", "logistic_pair"}
LOGISTIC_ELSEWHERE = {
    "components/curve.py": "the curve",
    "components/free_curves.py": "the curve, and the coordinates of its asymptotes",
    "parameters/space.py": "the coordinates of asymptotes",
    "parameters/kinds.py": "the scale of intervals of asymptotes",
    "prediction/predictive.py": "errors of estimates, which move locations on the logit scale",
    "planning/expected_gain.py": "the same",
    "sloth/predictive.py": "the same",
    "results/parameter_tables.py": "bands of curves, on the logit scale",
    "downstream/repeated_sampling_law.py": "the probability that an item is answered, of a model of its own",
    "downstream/repeated_sampling_fit.py": "the same",
}


@lru_cache
def taken_by_module():
    """By path, of every module but those of numerics: (where from, name) of what it imports, of attributes of plain
    names, and of plain names, which come from nowhere.
    """
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith(NUMERICS):
            found[name] = set(taken(ast.parse(path.read_text(encoding="utf-8"))))
    return found


def taken(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id, node.attr
        elif isinstance(node, ast.Name):
            yield "", node.id


def test_only_the_beta_law_calls_the_functions_of_the_beta_law():
    found = {}
    for name, pairs in taken_by_module().items():
        for module, attribute in pairs:
            of_module = any(f"{module}.{attribute}".endswith(one) or module.endswith(one) for one in MODULES)
            # whatever a generator of random numbers is called, .beta is a draw; psi is also a coordinate of profiles
            library = module.removeprefix("scipy.") in ("special", "stats", "math")
            of_library = library or (attribute == "beta" and module != "")
            if (attribute in FUNCTIONS and of_library) or of_module:
                found.setdefault(name, set()).add(attribute)
    assert {"betainc", "beta", "log_density_terms", "gamma_derivatives", "compiled"} <= found.pop(LAWS)
    assert {(name, one) for name, attributes in found.items() for one in attributes} == set(ELSEWHERE)


def test_only_the_curve_takes_logistic_functions_of_linear_predictors():
    found = {name for name, pairs in taken_by_module().items() if any(one in LOGISTIC for _, one in pairs)}
    assert found == set(LOGISTIC_ELSEWHERE)


@pytest.mark.parametrize("word", ["Beta", "OUTLIER_PRECISION", "beta_law"])
def test_nothing_asks_which_law_it_is(word):
    """The beta law is named where models get it by default, and where shipped laws and test data are made."""
    allowed = {LAWS, "components/shipped_laws.py", "models/latent_skill.py", "testing/strategies.py"}
    for name, pairs in taken_by_module().items():
        if any(word in f"{module}.{attribute}".split(".") for module, attribute in pairs):
            assert name in allowed
