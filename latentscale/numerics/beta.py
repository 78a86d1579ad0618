"""The beta law in mean and precision: log-density, probabilities of rounded scores at 0 and 1, and derivatives.

A score is Y ~ Beta(a, b) with shapes a = mu phi and b = (1 - mu) phi, mean mu and precision phi. Derivatives are taken
in (a, b), where the formulas are short, and the chain rule carries them to (mu, phi).
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from .log_gamma import gamma_derivatives, gamma_pair

# A shape below this belongs to a mean that nearly underflows (|eta| > 230), where the log-density is below -200. Only a
# line search ever asks for it, and needs a finite number. Third derivatives still fit in a double at this shape.
SMALLEST_SHAPE = 1e-100

# The series of a tail needs about edge * phi terms. A precision that would need more terms than this makes scores vary
# far less than they were rounded; only a line search asks for it, and is given the value at the limit.
_MOST_TERMS = 2000.0

_UNDERFLOW = 1e-290  # tail probabilities below this are computed as logarithms
_MOST_FRACTIONS = 20_000  # of a continued fraction


class BetaTerms(NamedTuple):
    """Log-likelihood f of single scores and its derivatives, in the mean (m) and in the precision (p).

    Each field is named after the variables in which f is differentiated: ``mmp`` is d^3 f / d mu^2 d phi. All arrays
    have one shape; those beyond the order that was asked for are None.
    """

    f: np.ndarray
    m: np.ndarray | None = None
    p: np.ndarray | None = None
    mm: np.ndarray | None = None
    mp: np.ndarray | None = None
    pp: np.ndarray | None = None
    mmm: np.ndarray | None = None
    mmp: np.ndarray | None = None


# the derivatives of each order that involve the precision
_IN_PHI: dict[int, tuple[str, ...]] = {0: (), 1: ("p",), 2: ("p", "mp", "pp"), 3: ("p", "mp", "pp", "mmp")}


def shapes(mu: np.ndarray, nu: np.ndarray, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shapes a = mu phi and b = nu phi, neither below ``SMALLEST_SHAPE``.

    ``nu`` is 1 - mu, which the caller computes without cancellation.
    """
    return np.maximum(mu * phi, SMALLEST_SHAPE), np.maximum(nu * phi, SMALLEST_SHAPE)


def log_density_terms(
    mu: np.ndarray,
    nu: np.ndarray,
    phi: np.ndarray,
    at_phi: tuple[np.ndarray, ...],
    log_y: np.ndarray,
    log1m_y: np.ndarray,
    order: int,
) -> BetaTerms:
    """Return the beta log-density and its derivatives at C scores y strictly inside (0, 1), each with M means.

    Parameters
    ----------
    mu, nu : arrays (C, M)
        Mean and one minus the mean; fastest in Fortran order.
    phi, log_y, log1m_y : arrays (C, 1)
        Precision, log y and log(1 - y).
    at_phi : tuple of arrays (C, 1)
        ``gamma_derivatives(phi, 2)``, which a caller with few distinct precisions computes once.
    order : int, 0 to 3
        The highest derivative that is wanted.

    Returns
    -------
    BetaTerms
        Arrays (C, M).
    """
    # scores are the innermost axis in memory, along which the parameters vary
    both = np.empty((2, *mu.shape[::-1])).swapaxes(1, 2)
    a, b = both
    np.multiply(mu, phi, out=a)
    np.multiply(nu, phi, out=b)
    np.maximum(both, SMALLEST_SHAPE, out=both)
    at = gamma_pair(both, order)
    f = a * log_y
    f += b * log1m_y
    f -= at[0]
    f += at_phi[0] - log_y - log1m_y
    if order == 0:
        return BetaTerms(f)
    w_a, w_b = at[1]
    np.subtract(log_y, w_a, out=w_a)
    np.subtract(log1m_y, w_b, out=w_b)
    difference = w_a - w_b
    m = phi * difference
    p = mu * w_a
    p += nu * w_b
    p += at_phi[1]
    if order == 1:
        return BetaTerms(f, m, p)
    phi2 = phi * phi
    a2, b2 = at[2]
    mm = -phi2 * (a2 + b2)
    mp = difference - a * a2 + b * b2
    pp = at_phi[2] - mu * mu * a2 - nu * nu * b2
    if order == 2:
        return BetaTerms(f, m, p, mm, mp, pp)
    a3, b3 = at[3]
    mmm = phi2 * phi * (b3 - a3)
    mmp = -2.0 * phi * (a2 + b2) - phi2 * (mu * a3 + nu * b3)
    return BetaTerms(f, m, p, mm, mp, pp, mmm, mmp)


def log_tail_terms(
    mu: np.ndarray, nu: np.ndarray, phi: np.ndarray, edge: np.ndarray, upper: np.ndarray, order: int
) -> BetaTerms:
    """Return the log-probability of scores that were rounded to 0 or 1, with its derivatives.

    It is log P(Y <= edge), or log P(Y >= 1 - edge) where ``upper``.

    Parameters
    ----------
    mu, nu : arrays (C, M)
        Mean and one minus the mean.
    phi, edge : arrays (C, 1)
        Precision, and half the rounding unit, in (0, 1/2].
    upper : bool array (C, 1)
        Whether the score was rounded to 1.
    order : int, 0 to 3
        The highest derivative that is wanted.

    Returns
    -------
    BetaTerms
        Arrays (C, M).
    """
    limit = _MOST_TERMS / edge
    if np.any(phi > limit):
        terms = log_tail_terms(mu, nu, np.minimum(phi, limit), edge, upper, order)
        constant = {name: np.where(phi > limit, 0.0, getattr(terms, name)) for name in _IN_PHI[order]}
        return terms._replace(**constant)
    a, b = shapes(mu, nu, phi)
    w = _log_lower_tail(np.where(upper, b, a), np.where(upper, a, b), edge, order)
    mean, rest = np.where(upper, nu, mu), np.where(upper, mu, nu)
    sign = np.where(upper, -1.0, 1.0)
    if order == 0:
        return BetaTerms(w[0])
    _, w_a, w_b = w[:3]
    m, p = phi * (w_a - w_b), mean * w_a + rest * w_b
    if order == 1:
        return BetaTerms(w[0], sign * m, p)
    w_aa, w_ab, w_bb = w[3:6]
    q = w_aa - 2.0 * w_ab + w_bb
    mm = phi**2 * q
    mp = w_a - w_b + phi * (mean * (w_aa - w_ab) + rest * (w_ab - w_bb))
    pp = mean**2 * w_aa + 2.0 * mean * rest * w_ab + rest**2 * w_bb
    if order == 2:
        return BetaTerms(w[0], sign * m, p, mm, sign * mp, pp)
    w_aaa, w_aab, w_abb, w_bbb = w[6:]
    mmm = phi**3 * (w_aaa - 3.0 * w_aab + 3.0 * w_abb - w_bbb)
    mmp = 2.0 * phi * q + phi**2 * (mean * (w_aaa - 2.0 * w_aab + w_abb) + rest * (w_aab - 2.0 * w_abb + w_bbb))
    return BetaTerms(w[0], sign * m, p, mm, sign * mp, pp, sign * mmm, mmp)


def _log_lower_tail(a: np.ndarray, b: np.ndarray, edge: np.ndarray, order: int) -> list[np.ndarray]:
    """Return w = log I_e(a, b), e the edge, and its partial derivatives up to ``order``.

    They come in the order w, a, b, aa, ab, bb, aaa, aab, abb, bbb. The regularised incomplete beta function is
    I_e(a, b) = e^a (1-e)^b / (a B(a, b)) S with S = sum_n e^n (a+b)_n / (a+1)_n, where (x)_n is the rising factorial.
    The terms of S are positive, and its derivatives are sums of the same terms with other weights.
    """
    s = _log_series(a + b, a + 1.0, edge, order)
    at_a, at_b, at_ab = (gamma_derivatives(x, order) for x in (a + 1.0, b, a + b))
    log_e, log_r = np.log(edge), np.log1p(-edge)
    out = [a * log_e + b * log_r + at_ab[0] - at_a[0] - at_b[0] + s[0]]
    if order >= 1:  # p = a + b, q = a + 1: d/da = d/dp + d/dq, d/db = d/dp
        out += [log_e + at_ab[1] - at_a[1] + s[1] + s[2], log_r + at_ab[1] - at_b[1] + s[1]]
    if order >= 2:
        out += [
            at_ab[2] - at_a[2] + s[3] + 2.0 * s[4] + s[5],
            at_ab[2] + s[3] + s[4],
            at_ab[2] - at_b[2] + s[3],
        ]
    if order >= 3:
        out += [
            at_ab[3] - at_a[3] + s[6] + 3.0 * s[7] + 3.0 * s[8] + s[9],
            at_ab[3] + s[6] + 2.0 * s[7] + s[8],
            at_ab[3] + s[6] + s[7],
            at_ab[3] - at_b[3] + s[6],
        ]
    return out


def _log_series(p: np.ndarray, q: np.ndarray, edge: np.ndarray, order: int) -> list[np.ndarray]:
    """Return log S and its derivatives in p and q up to ``order``, where S = sum_n e^n (p)_n / (q)_n, e the edge.

    They come in the order s, p, q, pp, pq, qq, ppp, ppq, pqq, qqq.
    """
    p, q, edge = np.broadcast_arrays(p, q, edge)
    term = np.ones_like(p)
    # derivatives of the logarithm of the term: p, q, pp, qq, ppp, qqq (the mixed ones are zero)
    power = np.zeros((6, *p.shape))
    sums = np.zeros((10, *p.shape))
    scale = np.zeros_like(p)  # logarithm of the number by which the terms were divided, so that no sum overflows
    n = 0
    while True:
        up, uq, upp, uqq, uppp, uqqq = power
        factors = [1.0, up, uq, upp + up * up, up * uq, uqq + uq * uq]
        factors += [uppp + 3.0 * up * upp + up**3, uq * factors[3]]
        factors += [up * factors[5], uqqq + 3.0 * uq * uqq + uq**3]
        for total, factor in zip(sums, factors[: (1, 3, 6, 10)[order]], strict=False):
            total += term * factor
        ratio = edge * (p + n) / (q + n)
        growth = np.maximum(1.0, np.abs(power).max(axis=0)) ** order
        if np.all((ratio < 1.0) & (term * growth < 1e-17 * sums[0] * (1.0 - ratio))):
            break
        term = term * ratio
        in_p, in_q = 1.0 / (p + n), 1.0 / (q + n)
        power += np.array([in_p, -in_q, -(in_p**2), in_q**2, 2.0 * in_p**3, -2.0 * in_q**3])
        n += 1
        if n % 64 == 0:
            size = sums[0].copy()
            sums /= size
            term, scale = term / size, scale + np.log(size)
    return _cumulants(sums / sums[0], scale + np.log(sums[0]), order)


def _cumulants(r: np.ndarray, log_sum: np.ndarray, order: int) -> list[np.ndarray]:
    """Return the derivatives of log S, given those of S divided by S.

    The formulas are those by which cumulants follow from moments.
    """
    _, p, q, pp, pq, qq, ppp, ppq, pqq, qqq = r
    out = [log_sum, p, q, pp - p * p, pq - p * q, qq - q * q]
    out += [
        ppp - 3.0 * p * pp + 2.0 * p**3,
        ppq - 2.0 * p * pq - q * pp + 2.0 * p * p * q,
        pqq - 2.0 * q * pq - p * qq + 2.0 * p * q * q,
        qqq - 3.0 * q * qq + 2.0 * q**3,
    ]
    return out[: (1, 3, 6, 10)[order]]


def log_tails(a: np.ndarray, b: np.ndarray, y: np.ndarray, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log P(Y <= y) and log P(Y >= y) for Y ~ Beta(a, b), accurate far beyond the underflow of either.

    Parameters
    ----------
    a, b : arrays (C,), positive
    y, rest : arrays (C,)
        y in (0, 1) and 1 - y, given apart so that neither end loses digits.

    Returns
    -------
    below, above : arrays (C,), at most 0
    """
    near_zero = y < 0.5
    x, first, second = np.where(near_zero, y, rest), np.where(near_zero, a, b), np.where(near_zero, b, a)
    inner, outer = special.betainc(first, second, x), special.betaincc(first, second, x)
    below, above = np.where(near_zero, inner, outer), np.where(near_zero, outer, inner)
    return _safe_log(below, a, b, y, rest), _safe_log(above, b, a, rest, y)


def _safe_log(tail: np.ndarray, a: np.ndarray, b: np.ndarray, x: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Return the logarithm of tail = I_x(a, b), by a continued fraction where it is too small for a double."""
    small = np.flatnonzero(~(tail > _UNDERFLOW))
    out = np.log(np.where(tail > _UNDERFLOW, tail, 1.0))
    if len(small):
        out[small] = _log_betainc(a[small], b[small], x[small], rest[small])
    return np.minimum(out, 0.0)


def _log_betainc(a: np.ndarray, b: np.ndarray, x: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Return log I_x(a, b) far in the tail by Lentz's method for the continued fraction DLMF 8.17.22."""
    tiny = 1e-300
    c = np.ones_like(x)
    d = 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / np.where(np.abs(d) < tiny, tiny, d)
    fraction = d.copy()
    for m in range(1, _MOST_FRACTIONS):
        even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        for term in (even, odd):
            d, c = 1.0 + term * d, 1.0 + term / c
            d = 1.0 / np.where(np.abs(d) < tiny, tiny, d)
            c = np.where(np.abs(c) < tiny, tiny, c)
            change = c * d
            fraction *= change
        if np.all(np.abs(change - 1.0) < 1e-13):
            break
    # rest is 1 - x: log(rest) keeps the digits that log1p(-x) loses near one
    front = a * np.log(x) + b * np.log(rest) - np.log(a) - special.betaln(a, b)
    return front + np.log(np.abs(fraction))
