"""Every module imports, and the examples in its docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import latentscale

MODULES = ["latentscale"] + [
    module.name
    for module in pkgutil.walk_packages(latentscale.__path__, "latentscale.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0
