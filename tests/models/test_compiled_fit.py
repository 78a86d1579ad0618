"""Fits of the shipped table are the same with and without compiled loops."""

import numpy as np
import pytest

from latentscale.numerics import compiled


@pytest.mark.slow
@pytest.mark.skipif(compiled._kernels() is None, reason="numba is not installed")
@pytest.mark.parametrize("options", [{"integration": "laplace"}, {"integration": "quadrature", "points": 3}])
def test_a_fit_does_not_depend_on_how_loops_run(leaderboard_model, options, monkeypatch):
    fits = []
    for plain in "01":
        monkeypatch.setenv("LATENTSCALE_PLAIN", plain)
        fits.append(leaderboard_model.fit(starts=1, **options))
    fast, plain = fits
    assert abs(fast.llf - plain.llf) < 1e-8 * abs(plain.llf)
    # relative to an estimate or its standard error, whichever is larger
    size = np.maximum(np.abs(plain.params), plain.bse)
    assert np.max(np.abs(fast.params - plain.params) / size) < 1e-8
    np.testing.assert_allclose(fast.bse, plain.bse, rtol=1e-8)
