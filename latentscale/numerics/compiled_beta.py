"""Compiled loops for the beta log-density of scores under the logistic link, with its derivatives.

The formulas are those of ``log_gamma.gamma_derivatives``, ``beta.log_density_terms`` and ``components.response``. Here
they are evaluated point by point, so that only eta and the results go through memory. The logarithm and the exponential
are written out, because function calls would keep the compiler from treating several points with one instruction. For
the same reason a chunk of cells is copied into one array, within which the compiler can tell that inputs and results do
not overlap.

Only ``numerics.compiled`` imports this module, because it imports numba.
"""

from collections.abc import Callable
from functools import lru_cache
from math import factorial

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from .beta import SMALLEST_SHAPE
from .log_gamma import GAMMALN, HALF_LOG_2PI, PSI, TETRAGAMMA, TRIGAMMA
from .logistic import LOWEST_ETA

CHUNK = 64  # cells that are copied and evaluated together

# The compiler must keep the order of operations, but may compute a * b + c with one rounding instead of two.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
_inlined = njit(**_OPTIONS, forceinline=True)


def _bitcast(source, target):
    """Return a function for compiled code that reads the 64 bits of one type as a number of the other."""

    @intrinsic
    def bitcast(_, value):
        def codegen(context, builder, _, arguments):
            return builder.bitcast(arguments[0], context.get_value_type(target))

        return target(source), codegen

    return bitcast


_bits, _number = _bitcast(types.float64, types.int64), _bitcast(types.int64, types.float64)

# Adding this to a double below 2^51 leaves the nearest integer in the last bits of the sum.
_ROUND = 1.5 * 2.0**52
_ROUND_BITS = int(np.float64(_ROUND).view(np.int64))
_MANTISSA = (1 << 52) - 1
_ROOT_HALF_BITS = int(np.float64(np.sqrt(0.5)).view(np.int64))
# log 2 as a sum of two numbers, the first with so few digits that its product with an exponent is exact
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_LOG2_E = 1.4426950408889634
# log((1 + s) / (1 - s)) = 2 s + s^3 (...) for |s| < 0.1716, with the minimax coefficients of FreeBSD's libm
_LOG = (
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
    1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
)  # fmt: skip
_EXP = tuple(1.0 / factorial(power) for power in range(14))  # the remainder of the series at log(2) / 2 is below 5e-18
_CONSTANT = 2.0 * HALF_LOG_2PI


@_inlined
def _horner6(c, x):
    """Return the polynomial of degree 5 with coefficients c, lowest power first."""
    return c[0] + x * (c[1] + x * (c[2] + x * (c[3] + x * (c[4] + x * c[5]))))


@_inlined
def _log(x):
    """Return log x to within a unit of rounding, for x > 0 that is not subnormal."""
    shifted = _bits(x) - _ROOT_HALF_BITS
    k = _number((shifted >> 52) + _ROUND_BITS) - _ROUND
    f = _number((shifted & _MANTISSA) + _ROOT_HALF_BITS) - 1.0  # x = 2^k (1 + f), 1 + f from sqrt(1/2) to sqrt(2)
    s = f / (2.0 + f)
    z = s * s
    rest = z * (_horner6(_LOG, z) + z * z * z * (z * z * z) * _LOG[6])
    half = 0.5 * f * f
    return k * _LN2_HIGH - ((half - (s * (half + rest) + k * _LN2_LOW)) - f)


@_inlined
def _exp(x):
    """Return exp x to within a unit of rounding, for -700 <= x <= 700."""
    rounded = x * _LOG2_E + _ROUND
    k = rounded - _ROUND
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    high = _EXP[6] + r * (_EXP[7] + r * _horner6(_EXP[8:], r))
    power = _number((_bits(rounded) - _ROUND_BITS + 1023) << 52)
    return _horner6((1.0, 1.0, 0.5, _EXP[3], _EXP[4], _EXP[5] + r * high), r) * power


@_inlined
def _gamma(x, tables):
    """Return gammaln(x) - log(2 pi) / 2, psi(x), psi'(x), psi''(x); see ``log_gamma.gamma_derivatives``."""
    z = x + 6.0
    log_z = _log(z)
    y = x * (x + 5.0)
    product = ((y + 10.0) * y + 24.0) * y
    joint = 1.0 / (z * product)
    inverse, scale = joint * product, joint * z
    square = inverse * inverse
    slope = 2.0 * x + 5.0
    s2 = slope * slope
    r1 = ((3.0 * y + 20.0) * y + 24.0) * scale
    r2 = (6.0 * y + 20.0) * scale - r1 * r1
    r3 = 6.0 * scale - r1 * (3.0 * r2 + r1 * r1)
    gammaln, psi, trigamma, tetragamma = tables
    six = square * square * square * (square * square * square)
    at_2 = _horner6(trigamma, square) + six * trigamma[6]
    at_3 = _horner6(tetragamma, square) + six * (tetragamma[6] + square * tetragamma[7])
    return (
        (x + 5.5) * log_z - x + inverse * _horner6(gammaln, square) - _log(product) - 6.0,
        log_z - 0.5 * inverse + square * _horner6(psi, square) - slope * r1,
        inverse * (1.0 + 0.5 * inverse + square * at_2) - 2.0 * r1 - s2 * r2,
        square * (square * at_3 - inverse - 1.0) - slope * (6.0 * r2 + s2 * r3),
    )


@lru_cache(None)
def beta_logistic(order: int, asymptotes: bool) -> tuple[Callable[..., None], tuple[str, ...]]:
    """Return the compiled function for an order of derivatives, and the names of its results.

    Parameters
    ----------
    order : int, 0 to 3
        The highest derivative that is wanted.
    asymptotes : bool
        Whether derivatives in the asymptotes c and d are wanted.

    Returns
    -------
    function : callable
        Its arguments are eta (M, C); the arrays (C,) phi, gammaln(phi), psi(phi), psi'(phi), c, d, log y and
        log(1 - y); and an array (number of names, M, C), into which it writes the results.
    names : tuple of str
        What each of the results is: f, or the variables in which f is differentiated (e for eta, p for phi). "fisher"
        is the expected second derivative in eta with its sign reversed, "fisher e" its derivative in eta.
    """
    names = ["f", *("e", "p")[: 2 * (order > 0)], *("ee", "ep", "pp", "fisher")[: 4 * (order > 1)]]
    names += ("eee", "eep", "fisher e", "fisher p")[: 4 * (order > 2)]
    if asymptotes and order:
        names += ["c", "d", *("ec", "ed", "pc", "pd", "cc", "cd", "dd")[: 7 * (order > 1)]]
        names += ("eec", "eed", "fisher c", "fisher d")[: 4 * (order > 2)]
    # The tables belong to the closure, so that the cache on disk is not used for functions with other coefficients.
    tables = tuple(tuple(map(float, table)) for table in (GAMMALN, PSI, TRIGAMMA, TETRAGAMMA))
    kernel = _kernel(order, asymptotes, len(names), tables)
    try:
        return njit(**_OPTIONS, cache=True)(kernel), tuple(names)
    except RuntimeError:  # no folder to keep a cache in
        return njit(**_OPTIONS)(kernel), tuple(names)


def _kernel(order, asymptotes, n_names, tables):
    """Return the function to compile.

    ``order`` and ``asymptotes`` are constants to the compiler, which leaves out the branches that they exclude.
    """

    def kernel(eta, phi, gammaln_phi, psi_phi, trigamma_phi, lower, upper, log_y, log1m_y, out):
        work = np.ones((9 + n_names) * CHUNK)
        n_nodes, n_cells = eta.shape
        for start in range(0, n_cells, CHUNK):
            size = min(CHUNK, n_cells - start)
            for c in range(size):
                work[c] = phi[start + c]
                work[c + CHUNK] = gammaln_phi[start + c] - log_y[start + c] - log1m_y[start + c] - _CONSTANT
                work[c + 2 * CHUNK] = psi_phi[start + c]
                work[c + 3 * CHUNK] = trigamma_phi[start + c]
                work[c + 4 * CHUNK] = lower[start + c]
                work[c + 5 * CHUNK] = upper[start + c]
                work[c + 6 * CHUNK] = log_y[start + c]
                work[c + 7 * CHUNK] = log1m_y[start + c]
            for node in range(n_nodes):
                for c in range(size):
                    work[c + 8 * CHUNK] = eta[node, start + c]
                for c in range(CHUNK):
                    _point(work, c, order, asymptotes, tables)
                for name in range(n_names):
                    for c in range(size):
                        out[name, node, start + c] = work[c + (9 + name) * CHUNK]

    return kernel


@_inlined
def _point(work, c, order, asymptotes, tables):
    """Evaluate cell c of a chunk at one eta.

    ``work`` holds nine inputs and then the results in the order of the names, each for CHUNK cells.
    """
    phi, log_y, log1m_y = work[c], work[c + 6 * CHUNK], work[c + 7 * CHUNK]
    eta = work[c + 8 * CHUNK]
    eta = LOWEST_ETA if eta < LOWEST_ETA else eta  # NaN passes
    rest = _exp(-(-LOWEST_ETA if eta > -LOWEST_ETA else eta))
    f = 1.0 / (1.0 + rest)
    g = rest * f
    lower, upper = work[c + 4 * CHUNK], work[c + 5 * CHUNK]
    mu, nu = lower + (upper - lower) * f, (1.0 - upper) + (upper - lower) * g
    a, b = mu * phi, nu * phi
    a, b = (SMALLEST_SHAPE if a < SMALLEST_SHAPE else a), (SMALLEST_SHAPE if b < SMALLEST_SHAPE else b)
    a0, a1, a2, a3 = _gamma(a, tables)
    b0, b1, b2, b3 = _gamma(b, tables)
    out = c + 9 * CHUNK
    work[out] = a * log_y + b * log1m_y - a0 - b0 + work[c + CHUNK]
    if order == 0:
        return
    mean_e = (upper - lower) * (f * g)
    w_a, w_b = log_y - a1, log1m_y - b1
    m = phi * (w_a - w_b)
    work[out + CHUNK] = m * mean_e
    work[out + 2 * CHUNK] = mu * w_a + nu * w_b + work[c + 2 * CHUNK]
    if order == 1:
        if asymptotes:
            work[out + 3 * CHUNK] = m * g
            work[out + 4 * CHUNK] = m * f
        return
    mean_ee = mean_e * (g - f)
    mm = -phi * phi * (a2 + b2)
    mp = w_a - w_b - a * a2 + b * b2
    pp = work[c + 3 * CHUNK] - mu * mu * a2 - nu * nu * b2
    work[out + 3 * CHUNK] = mm * mean_e * mean_e + m * mean_ee
    work[out + 4 * CHUNK] = mp * mean_e
    work[out + 5 * CHUNK] = pp
    work[out + 6 * CHUNK] = -mm * mean_e * mean_e
    if order == 2:
        if asymptotes:
            _second(work, out + 7 * CHUNK, m, mm, mp, f, g, mean_e)
        return
    mmm = phi * phi * phi * (b3 - a3)
    mmp = -2.0 * phi * (a2 + b2) - phi * phi * (mu * a3 + nu * b3)
    mean_eee = mean_e * ((g - f) * (g - f) - 2.0 * (f * g))
    cubed, steep = mmm * mean_e * mean_e + mm * mean_ee, -mmm * mean_e * mean_e
    bent = 2.0 * mm * mean_e
    work[out + 7 * CHUNK] = (cubed + 2.0 * mm * mean_ee) * mean_e + m * mean_eee
    work[out + 8 * CHUNK] = mmp * mean_e * mean_e + mp * mean_ee
    work[out + 9 * CHUNK] = steep * mean_e - bent * mean_ee
    work[out + 10 * CHUNK] = -mmp * mean_e * mean_e
    if asymptotes:
        _second(work, out + 11 * CHUNK, m, mm, mp, f, g, mean_e)
        _third(work, out + 20 * CHUNK, m, cubed, steep, bent, f, g)


@_inlined
def _second(work, out, m, mm, mp, f, g, mean_e):
    """Write the first and second derivatives that involve an asymptote."""
    work[out] = m * g
    work[out + CHUNK] = m * f
    work[out + 2 * CHUNK] = mm * mean_e * g - m * (f * g)
    work[out + 3 * CHUNK] = mm * mean_e * f + m * (f * g)
    work[out + 4 * CHUNK] = mp * g
    work[out + 5 * CHUNK] = mp * f
    work[out + 6 * CHUNK] = mm * g * g
    work[out + 7 * CHUNK] = mm * g * f
    work[out + 8 * CHUNK] = mm * f * f


@_inlined
def _third(work, out, m, cubed, steep, bent, f, g):
    """Write the third derivatives that involve an asymptote, and the derivatives of ``fisher`` in the asymptotes."""
    f1, f2 = f * g, (f * g) * (g - f)
    work[out] = cubed * g - bent * f1 - m * f2
    work[out + CHUNK] = cubed * f + bent * f1 + m * f2
    work[out + 2 * CHUNK] = steep * g + bent * f1
    work[out + 3 * CHUNK] = steep * f - bent * f1
