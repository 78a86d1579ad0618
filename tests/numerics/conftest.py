import numpy as np
import pytest

from latentscale.numerics.differences import jacobian


@pytest.fixture
def slope():
    """Derivatives of an elementwise function at each element of x, by differences with steps of its shape."""

    def differences(function, x, step):
        flat = jacobian(lambda t: np.ravel(function(x + t[0] * step)), np.zeros(1), np.ones(1))
        return flat.reshape(x.shape) / step

    return differences
