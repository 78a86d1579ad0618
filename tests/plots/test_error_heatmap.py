"""The heatmap of errors writes every number, on its colour."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("agg")
from matplotlib import pyplot

from latentscale.plots.error_heatmap import plot_errors


@pytest.fixture
def table():
    return pd.DataFrame([[1.0, 2.25, 1.6], [9.0, np.nan, 9.0]], ["low", "high"], ["bbh", "gpqa", "mean"])


def test_numbers_and_names(table):
    ax = plot_errors(table)
    assert [text.get_text() for text in ax.texts] == ["1.0", "2.2", "1.6", "9.0", "9.0"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["low", "high"]
    colours = {text.get_text(): text.get_color() for text in ax.texts}
    assert colours["1.0"] == "black"
    assert colours["9.0"] == "white"
    assert len(ax.lines) == 1  # between the benchmarks and their mean
    ax.figure.canvas.draw()
    pyplot.close(ax.figure)


def test_axes_of_the_user(table):
    figure, mine = pyplot.subplots()
    assert plot_errors(table[["bbh"]], ax=mine, digits=2) is mine
    assert [text.get_text() for text in mine.texts] == ["1.00", "9.00"]
    assert not mine.lines
    pyplot.close(figure)
