"""Files that earlier versions saved are read, and give the numbers that those versions gave.

The files and their numbers were written by ``tests/reference/save_fits.py`` at the commits that ``numbers.json`` names.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_equal

import latentscale as ls

REFERENCE = Path(__file__).parents[1] / "reference"
FOLDER = REFERENCE / "saved_fits"
NUMBERS = json.loads((FOLDER / "numbers.json").read_text(encoding="utf-8"))


def _numbers_of():
    """The function by which the numbers were computed when the files were saved."""
    specification = importlib.util.spec_from_file_location("save_fits", REFERENCE / "save_fits.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.numbers


numbers_of = _numbers_of()


def test_every_file_has_numbers():
    assert sorted(NUMBERS) == sorted(path.name for path in FOLDER.glob("*.lscale"))
    assert {name.split("_")[1] for name in NUMBERS} == {"2", "3", "4", "4b"}


@pytest.mark.parametrize("name", NUMBERS)
def test_saved_fits_of_earlier_versions(name):
    expected = {key: value for key, value in NUMBERS[name].items() if key != "commit"}
    found = numbers_of(ls.load(FOLDER / name))
    assert list(found) == list(expected)
    assert found.pop("names") == expected.pop("names")
    for key, value in expected.items():
        # what is stored comes back as it was; predictions and Sloth's standard errors are computed again
        scale = np.nanmax(np.abs(value))
        assert_allclose(found[key], value, rtol=1e-9, atol=1e-9 * scale, err_msg=key)


@pytest.mark.parametrize("name", NUMBERS)
def test_saved_again_they_are_the_same(name, tmp_path):
    fit = ls.load(FOLDER / name)
    fit.save(tmp_path / "again.lscale")
    again = ls.load(tmp_path / "again.lscale")
    assert type(again.model) is type(fit.model)
    assert_equal(numbers_of(again), numbers_of(fit))  # NaN too: intercepts that no score tells
    assert str(again.summary()) == str(fit.summary())
