"""Response: mu = c + (d - c) F_j(eta), Y ~ Beta(mu phi, (1 - mu) phi), F_j(eta) = expit(g_j(eta)).

g_j is eta itself (the logistic link) or a monotone spline with coordinates of its own (``numerics.monotone``). The
log-likelihood of one score is a function h of its linear predictor eta and of its benchmark's *shapes*, each known by
one character: p the precision phi, c and d the asymptotes, 1 to 6 the coordinates of the link. With a share of
outliers omega the law is a mixture, (1 - omega) Beta(mu, phi) + omega Beta(mu, phi / 10).
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from ..numerics import compiled, monotone
from ..numerics.beta import BetaTerms, log_density_terms, log_tail_terms
from ..numerics.log_gamma import gamma_derivatives
from ..numerics.logistic import logistic_pair

LINK = "123456"
OUTLIER_PRECISION = 0.1  # that of outliers over that of other scores


def derivative_names(order, shapes=""):
    """Names of h's derivatives up to an order: e stands for eta, so that ``eec`` is d3 h / d eta2 dc.

    Parameters
    ----------
    order : int, 0 to 3
        Third derivatives are those with at least two etas.
    shapes : str
        Shapes that count beside the precision, in the order c, d, 1 to 6.
    """
    every = "p" + shapes
    names = ["e", *every] if order >= 1 else []
    if order >= 2:
        names += ["ee", *("e" + a for a in every)]
        names += [a + b for place, a in enumerate(every) for b in every[place:]]
    if order >= 3:
        names += ["eee", *("ee" + a for a in every)]
    return names


class CellParameters(NamedTuple):
    """phi, its gamma derivatives, c and d of each cell, arrays (C, 1); slopes (C, M) and coordinates of its link.

    ``rho`` is None under the logistic link; ``rho_by_link`` (C, M, G) holds its derivative in the coordinates.
    ``outliers`` (C, 1) is None where there are none.
    """

    phi: np.ndarray
    at_phi: tuple
    lower: np.ndarray
    upper: np.ndarray
    rho: np.ndarray = None
    rho_by_link: np.ndarray = None
    outliers: np.ndarray = None

    def part(self, where):
        """Those of a slice of the cells."""
        at_phi = tuple(values[where] for values in self.at_phi)
        link = (None, None) if self.rho is None else (self.rho[where], self.rho_by_link[where])
        outliers = None if self.outliers is None else self.outliers[where]
        return CellParameters(self.phi[where], at_phi, self.lower[where], self.upper[where], *link, outliers)


def cell_parameters(structure, cells):
    """Response parameters of every cell."""
    item = cells.item
    at_phi = tuple(values[item, None] for values in gamma_derivatives(structure.precision, 2))
    link = (None, None)
    if structure.link.shape[1]:
        rho = monotone.slopes(structure.link)
        link = (rho[item], monotone.slopes_jacobian(rho)[item])
    lower, upper = structure.lower[item, None], structure.upper[item, None]
    outliers = structure.outliers[item, None] if np.any(structure.outliers) else None
    return CellParameters(structure.precision[item, None], at_phi, lower, upper, *link, outliers)


def link_function(eta, link=None):
    """F_j(eta); ``link`` (J, G) holds the coordinates of the benchmarks, the last axis of eta."""
    if link is None or link.shape[1] == 0:
        return expit(eta)
    return expit(np.sum(monotone.basis(eta, 0).E * monotone.slopes(link), axis=-1))


def mean_score(eta, lower, upper, link=None):
    """mu = c + (d - c) F_j(eta)."""
    return lower + (upper - lower) * link_function(eta, link)


def cell_terms(eta, parameters, cells, where, order, shapes="", expected=False):
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
    shapes : str
        Shapes beside the precision whose derivatives are wanted.
    expected : bool
        Whether, at order 3, the derivatives of ``fisher`` are wanted too: ``fisher e``, ``fisher p`` and so on. With
        outliers they are always given.

    Returns
    -------
    dict of arrays (C, M)
        ``f``, the derivatives by their names (``derivative_names``), and from order 2 ``fisher``, the expected -ee of
        an uncensored score, always positive; with outliers, the expected one if one knew which scores they are.
    """
    eta = np.asfortranarray(eta)  # loops then run along the cells, as the parameters do
    if has_compiled(parameters):
        return _compiled_terms(eta, parameters, cells, where, order, shapes, expected)
    return _plain_terms(eta, parameters, cells, where, order, shapes, expected)


def has_compiled(parameters):
    """Whether there are compiled loops for such cells: without outliers, under the logistic link."""
    return parameters.rho is None and parameters.outliers is None and compiled.available()


def _compiled_terms(eta, parameters, cells, where, order, shapes, expected):
    """``cell_terms`` by compiled loops; censored cells as ever."""
    kernel, names = compiled.beta_logistic(order, bool(shapes))
    out = np.empty((len(names), *eta.shape[::-1]))
    columns = (parameters.phi, *parameters.at_phi, parameters.lower, parameters.upper)
    columns = (column.ravel() for column in columns)
    kernel(eta.T, *columns, cells.log_y[where], cells.log1m_y[where], out)
    wanted = {"f", *derivative_names(order, shapes), *["fisher"][: order > 1]}
    if expected and order > 2:
        wanted |= {"fisher " + name for name in ("e", "p", *shapes)}
    terms = {name: values.T for name, values in zip(names, out, strict=True) if name in wanted}
    censored = np.flatnonzero(cells.state[where])
    if len(censored):
        rows = censored + (where.start or 0)
        tails = _plain_terms(eta[censored], parameters.part(censored), cells, rows, order, shapes, expected)
        for name, values in tails.items():
            terms[name][censored] = values
    return terms


def _plain_terms(eta, parameters, cells, where, order, shapes, expected):
    """``cell_terms`` by numpy; ``where`` may be an array of indices too."""
    mean, mu, nu = _mean_terms(eta, parameters, order, shapes)
    beta, average = _beta_terms(mu, nu, parameters, cells, where, order)
    out = {"f": beta.f}
    if order >= 1:
        out |= {"e": beta.m * mean["e"], "p": beta.p}
        out |= {a: beta.m * mean[a] for a in shapes}
    if order >= 2:
        bent = beta.mm * mean["e"]
        squared = bent * mean["e"]
        out |= {"ee": squared + beta.m * mean["ee"], "ep": beta.mp * mean["e"], "pp": beta.pp}
        out["fisher"] = -average.mm * mean["e"] ** 2
        for place, a in enumerate(shapes):
            out["e" + a] = bent * mean[a] + beta.m * mean["e" + a]
            out["p" + a] = beta.mp * mean[a]
            for b in shapes[place:]:
                product = beta.mm * mean[a] * mean[b]
                out[a + b] = product + beta.m * mean[a + b] if a + b in mean else product
    if order >= 3:
        cubed = beta.mmm * mean["e"] ** 2 + beta.mm * mean["ee"]
        out["eee"] = (cubed + 2.0 * beta.mm * mean["ee"]) * mean["e"] + beta.m * mean["eee"]
        out["eep"] = beta.mmp * mean["e"] ** 2 + beta.mp * mean["ee"]
        for a in shapes:
            out["ee" + a] = cubed * mean[a] + 2.0 * bent * mean["e" + a] + beta.m * mean["ee" + a]
        if expected or parameters.outliers is not None:
            out |= _fisher_terms(mean, average, shapes)
    return out


def _fisher_terms(mean, average, shapes):
    """Derivatives of ``fisher``, -mm mu_e^2 with mm averaged over the two laws of a score."""
    steep, bent = -average.mmm * mean["e"] ** 2, -2.0 * average.mm * mean["e"]
    out = {"fisher e": steep * mean["e"] + bent * mean["ee"], "fisher p": -average.mmp * mean["e"] ** 2}
    return out | {"fisher " + a: steep * mean[a] + bent * mean["e" + a] for a in shapes}


def _mean_terms(eta, parameters, order, shapes):
    """Derivatives of mu by name (those that vanish everywhere left out), mu, and 1 - mu without cancellation."""
    at = _link_terms(eta, parameters, order, shapes)
    f0, g0 = at["f"], at["1 - f"]
    span = parameters.upper - parameters.lower
    mu, nu = span * f0, span * g0
    mu += parameters.lower
    nu += 1.0 - parameters.upper
    if order == 0:
        return {}, mu, nu
    out = {"c": g0, "d": f0}
    asymptotes = [(a, sign) for a, sign in (("c", -1.0), ("d", 1.0)) if a in shapes]
    for name, value in at.items():
        if name not in ("f", "1 - f"):
            out[name] = span * value
            if "e" in name and not any(a in name for a in LINK):
                out |= {name + a: sign * value for a, sign in asymptotes}
            elif len(name) == 1:  # a coordinate of the link; asymptotes come before it in names
                out |= {a + name: sign * value for a, sign in asymptotes}
    return out, mu, nu


def _link_terms(eta, parameters, order, shapes):
    """F, 1 - F, and the derivatives of F in eta and in the coordinates of the link, by name."""
    if parameters.rho is None:
        f0, g0 = logistic_pair(eta)
        out = {"f": f0, "1 - f": g0}
        f1 = f0 * g0
        if order >= 1:
            out["e"] = f1
        if order >= 2:
            out["ee"] = f1 * (g0 - f0)
        if order >= 3:
            out["eee"] = f1 * ((g0 - f0) ** 2 - 2.0 * f1)
        return out
    at = monotone.basis(eta, order)
    rho = parameters.rho[:, None, :]
    g, g1, g2, g3 = (None if part is None else np.sum(part * rho, axis=-1) for part in at)
    f0, g0 = logistic_pair(g)
    out = {"f": f0, "1 - f": g0}
    f1 = f0 * g0
    f2, f3 = f1 * (g0 - f0), f1 * ((g0 - f0) ** 2 - 2.0 * f1)
    if order >= 1:
        out["e"] = f1 * g1
    if order >= 2:
        out["ee"] = f2 * g1 * g1 + f1 * g2
    if order >= 3:
        out["eee"] = f3 * g1**3 + 3.0 * f2 * g1 * g2 + f1 * g3
    wanted = [(number, a) for number, a in enumerate(LINK) if a in shapes]
    if order == 0 or not wanted:
        return out
    moved = [None if part is None else part @ parameters.rho_by_link for part in at[: max(order, 1)]]
    for number, a in wanted:
        e0 = moved[0][..., number]
        out[a] = f1 * e0
        if order >= 2:
            e1 = moved[1][..., number]
            out["e" + a] = f2 * g1 * e0 + f1 * e1
        if order >= 3:
            out["ee" + a] = (f3 * g1 * g1 + f2 * g2) * e0 + 2.0 * f2 * g1 * e1 + f1 * moved[2][..., number]
    if order >= 2:
        curved = monotone.slopes_curvature(rho, at.E)
        for place, (n, a) in enumerate(wanted):
            for m, b in wanted[place:]:
                out[a + b] = f2 * moved[0][..., n] * moved[0][..., m] + f1 * curved[..., n, m]
    return out


def _beta_terms(mu, nu, parameters, cells, where, order):
    """Derivatives in (mu, phi) of the law of a score, or of the mixture of two laws and then of their average too."""
    terms = _one_law(mu, nu, parameters.phi, parameters.at_phi, cells, where, order)
    if parameters.outliers is None:
        return terms, terms
    phi = OUTLIER_PRECISION * parameters.phi
    wide = _one_law(mu, nu, phi, tuple(gamma_derivatives(phi, 2)), cells, where, order)
    scale = {"p": 1, "mp": 1, "mmp": 1, "pp": 2}
    wide = wide._replace(
        **{name: getattr(wide, name) * OUTLIER_PRECISION**power for name, power in scale.items()
           if getattr(wide, name) is not None}
    )  # fmt: skip
    share = parameters.outliers
    average = [None if a is None else (1.0 - share) * a + share * b for a, b in zip(terms, wide, strict=True)]
    return mixture_terms(terms, wide, share, order), BetaTerms(*average)


def mixture_terms(first, second, share, order):
    """Terms of log((1 - share) exp f_1 + share exp f_2) from those of f_1 and f_2: cumulants of a two-point law."""
    one, two = first.f + np.log1p(-share), second.f + np.log(share)
    f = np.logaddexp(one, two)
    if order == 0:
        return BetaTerms(f)
    w, v = np.exp(one - f), np.exp(two - f)
    a, b = first, second
    m, p = w * a.m + v * b.m, w * a.p + v * b.p
    if order == 1:
        return BetaTerms(f, m, p)
    square = w * (a.mm + a.m * a.m) + v * (b.mm + b.m * b.m)
    cross = w * (a.mp + a.m * a.p) + v * (b.mp + b.m * b.p)
    mm, mp = square - m * m, cross - m * p
    pp = w * (a.pp + a.p * a.p) + v * (b.pp + b.p * b.p) - p * p
    if order == 2:
        return BetaTerms(f, m, p, mm, mp, pp)
    mmm = w * (a.mmm + 3.0 * a.m * a.mm + a.m**3) + v * (b.mmm + 3.0 * b.m * b.mm + b.m**3)
    mmm = mmm - 3.0 * m * square + 2.0 * m**3
    mmp = w * (a.mmp + a.mm * a.p + 2.0 * a.m * a.mp + a.m * a.m * a.p)
    mmp = mmp + v * (b.mmp + b.mm * b.p + 2.0 * b.m * b.mp + b.m * b.m * b.p)
    mmp = mmp - p * square - 2.0 * m * cross + 2.0 * m * m * p
    return BetaTerms(f, m, p, mm, mp, pp, mmm, mmp)


def _one_law(mu, nu, phi, at_phi, cells, where, order):
    """Derivatives in (mu, phi); censored cells are overwritten by those of the tail probability."""
    log_y, log1m_y = cells.log_y[where, None], cells.log1m_y[where, None]
    terms = log_density_terms(mu, nu, phi, at_phi, log_y, log1m_y, order)
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


def simulate_scores(rng, eta, phi, lower, upper, link=None, outliers=0.0):
    """Draws with mean mu(eta) and precision phi, arrays of one shape; ``link`` as in ``mean_score``.

    ``outliers`` is the share of scores with a tenth of the precision.
    """
    mu = mean_score(eta, lower, upper, link)
    if np.any(outliers):
        phi = np.where(rng.random(mu.shape) < outliers, OUTLIER_PRECISION, 1.0) * phi
    return rng.beta(mu * phi, (1.0 - mu) * phi)
