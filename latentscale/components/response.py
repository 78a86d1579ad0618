"""Response: mu = c + (d - c) F(eta), Y ~ Beta(mu phi, (1 - mu) phi), F logistic.

The log-likelihood of one score is a function h of its cell parameters: the linear predictor eta, the
precision phi, and the lower and upper asymptotes c and d.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from ..numerics.beta import BetaTerms, log_density_terms, log_tail_terms
from ..numerics.special import gamma_derivatives, logistic_pair


class CellTerms(NamedTuple):
    """h and its derivatives at each cell (and node): e = eta, p = phi, c and d the asymptotes.

    Arrays (C, M); those beyond the order asked for, or in fixed asymptotes, are None.
    """

    f: np.ndarray
    e: np.ndarray = None
    p: np.ndarray = None
    c: np.ndarray = None
    d: np.ndarray = None
    ee: np.ndarray = None
    ep: np.ndarray = None
    pp: np.ndarray = None
    ec: np.ndarray = None
    ed: np.ndarray = None
    pc: np.ndarray = None
    pd: np.ndarray = None
    cc: np.ndarray = None
    cd: np.ndarray = None
    dd: np.ndarray = None
    eee: np.ndarray = None
    eep: np.ndarray = None
    eec: np.ndarray = None
    eed: np.ndarray = None
    fisher: np.ndarray = None  # expected -ee of an uncensored score, always positive


class CellParameters(NamedTuple):
    """phi, its gamma derivatives, c and d of each cell, arrays (C, 1)."""

    phi: np.ndarray
    at_phi: tuple
    lower: np.ndarray
    upper: np.ndarray

    def part(self, where):
        """Those of a slice of the cells."""
        at_phi = tuple(values[where] for values in self.at_phi)
        return CellParameters(self.phi[where], at_phi, self.lower[where], self.upper[where])


def cell_parameters(structure, cells):
    """Response parameters of every cell."""
    item = cells.item
    at_phi = tuple(values[item, None] for values in gamma_derivatives(structure.precision, 2))
    return CellParameters(
        structure.precision[item, None], at_phi, structure.lower[item, None], structure.upper[item, None]
    )


def mean_score(eta, lower, upper):
    """mu = c + (d - c) F(eta)."""
    return lower + (upper - lower) * expit(eta)


def cell_terms(eta, parameters, cells, where, order, asymptotes=False):
    """h and its derivatives for the cells of a slice.

    Parameters
    ----------
    eta : array (C, M)
        Linear predictor of the cells ``where``, at M nodes.
    parameters : CellParameters
        Of the cells ``where``.
    cells : Cells
    where : slice
        The cells that the other arguments describe.
    order : int, 0 to 3
        Highest derivative; third ones are those with at least two etas.
    asymptotes : bool
        Whether derivatives in c and d are wanted.
    """
    lower, upper = parameters.lower, parameters.upper
    big_f, big_g = logistic_pair(eta)
    span = upper - lower
    mu, nu = lower + span * big_f, (1.0 - upper) + span * big_g
    beta = _beta_terms(mu, nu, parameters, cells, where, order)
    if order == 0:
        return CellTerms(beta.f)
    f1 = big_f * big_g
    mu1 = span * f1
    out = {"f": beta.f, "e": beta.m * mu1, "p": beta.p}
    if asymptotes:
        out |= {"c": beta.m * big_g, "d": beta.m * big_f}
    if order >= 2:
        f2 = f1 * (big_g - big_f)
        mu2 = span * f2
        out |= {
            "ee": beta.mm * mu1 * mu1 + beta.m * mu2,
            "ep": beta.mp * mu1,
            "pp": beta.pp,
            "fisher": -beta.mm * mu1 * mu1,
        }
        if asymptotes:
            out |= {
                "ec": beta.mm * mu1 * big_g - beta.m * f1,
                "ed": beta.mm * mu1 * big_f + beta.m * f1,
                "pc": beta.mp * big_g,
                "pd": beta.mp * big_f,
                "cc": beta.mm * big_g * big_g,
                "cd": beta.mm * f1,
                "dd": beta.mm * big_f * big_f,
            }
    if order >= 3:
        f3 = f1 * ((big_g - big_f) ** 2 - 2.0 * f1)
        out |= {
            "eee": beta.mmm * mu1**3 + 3.0 * beta.mm * mu1 * mu2 + beta.m * span * f3,
            "eep": beta.mmp * mu1 * mu1 + beta.mp * mu2,
        }
        if asymptotes:
            curved = beta.mmm * mu1 * mu1 + beta.mm * mu2
            out |= {
                "eec": curved * big_g - 2.0 * beta.mm * mu1 * f1 - beta.m * f2,
                "eed": curved * big_f + 2.0 * beta.mm * mu1 * f1 + beta.m * f2,
            }
    return CellTerms(**out)


def _beta_terms(mu, nu, parameters, cells, where, order):
    """Derivatives in (mu, phi); censored cells are overwritten by those of the tail probability."""
    log_y, log1m_y = cells.log_y[where, None], cells.log1m_y[where, None]
    phi = parameters.phi
    terms = log_density_terms(mu, nu, phi, parameters.at_phi, log_y, log1m_y, order)
    censored = np.flatnonzero(cells.state[where])
    if len(censored) == 0:
        return terms
    upper = cells.state[where][censored, None] == 2
    edge = cells.edge[where][censored, None]
    tails = log_tail_terms(mu[censored], nu[censored], phi[censored], edge, upper, order)
    for full, tail in zip(terms, tails, strict=True):
        if full is not None:
            full[censored] = tail
    return BetaTerms(*terms)


def simulate_scores(rng, eta, phi, lower, upper):
    """Beta draws with mean mu(eta) and precision phi, arrays of one shape."""
    mu = mean_score(eta, lower, upper)
    return rng.beta(mu * phi, (1.0 - mu) * phi)
