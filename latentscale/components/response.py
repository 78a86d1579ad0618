"""The log-likelihood of one score as a function of its linear predictor and of its benchmark's shapes.

With mu(eta) the benchmark's curve (``components.curve``) and f the log-density of the law of a score
(``components.score_laws``) in the location mu and the precision phi, h(eta) = f(y; mu(eta), phi). The *shapes* of a
benchmark that h depends on beside eta are each known by one character: p the precision phi, c and d the asymptotes, 1
to 6 the coordinates of the link. Here the derivatives of the law and of the curve are joined by the chain rule.
"""

from typing import NamedTuple

import numpy as np

from .curve import Curve, CurveAt, mean_score


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
    """What h of each cell depends on beside eta: the precision (C, 1), what the law needs of it, and the curve.

    Attributes
    ----------
    phi : array (C, 1)
    at_phi : tuple of arrays (C, 1)
        ``ScoreLaw.at_precision``.
    curve : Curve
    """

    phi: np.ndarray
    at_phi: tuple
    curve: Curve

    def part(self, where):
        """Those of a slice of the cells."""
        return CellParameters(self.phi[where], tuple(values[where] for values in self.at_phi), self.curve.part(where))


def cell_parameters(structure, cells):
    """Response parameters of every cell."""
    item = cells.item
    at_phi = tuple(values[item, None] for values in cells.law.at_precision(structure.precision))
    curve = Curve.of(structure.lower, structure.upper, structure.link, item)
    return CellParameters(structure.precision[item, None], at_phi, curve)


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
        laws whose ``expected_curvature`` Laplace's approximation must take they are always given.

    Returns
    -------
    dict of arrays (C, M)
        ``f``, the derivatives by their names (``derivative_names``), and from order 2 ``fisher``, the expected -ee of
        an uncensored score, always positive (of a mixture of laws, if one knew which of them a score has).
    """
    eta = np.asfortranarray(eta)  # loops then run along the cells, as the parameters do
    loops = compiled_loops(parameters, cells, order, shapes)
    if loops is None:
        return _plain_terms(eta, parameters, cells, where, order, shapes, expected)
    return _compiled_terms(loops, eta, parameters, cells, where, order, shapes, expected)


def compiled_loops(parameters, cells, order, shapes=""):
    """Compiled loops for such cells, which some laws have under the logistic link; or None."""
    return cells.law.compiled(order, bool(shapes)) if parameters.curve.rho is None else None


def _compiled_terms(loops, eta, parameters, cells, where, order, shapes, expected):
    """``cell_terms`` by compiled loops; censored cells as ever."""
    kernel, names = loops
    out = np.empty((len(names), *eta.shape[::-1]))
    curve = parameters.curve
    columns = (column.ravel() for column in (parameters.phi, *parameters.at_phi, curve.lower, curve.upper))
    kernel(eta.T, *columns, *(values[where] for values in cells.data), out)
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
    at = CurveAt(eta, parameters.curve, order, shapes)
    mean, law = at.derivatives(), _law_terms(at.mu, at.nu, parameters, cells, where, order)
    out = {"f": law.f}
    if order >= 1:
        out |= {"e": law.m * mean["e"], "p": law.p}
        out |= {a: law.m * mean[a] for a in shapes}
    if order >= 2:
        bent = law.mm * mean["e"]
        squared = bent * mean["e"]
        out |= {"ee": squared + law.m * mean["ee"], "ep": law.mp * mean["e"], "pp": law.pp}
        out["fisher"] = -law.expected_mm * mean["e"] ** 2
        for place, a in enumerate(shapes):
            out["e" + a] = bent * mean[a] + law.m * mean["e" + a]
            out["p" + a] = law.mp * mean[a]
            for b in shapes[place:]:
                product = law.mm * mean[a] * mean[b]
                out[a + b] = product + law.m * mean[a + b] if a + b in mean else product
    if order >= 3:
        cubed = law.mmm * mean["e"] ** 2 + law.mm * mean["ee"]
        out["eee"] = (cubed + 2.0 * law.mm * mean["ee"]) * mean["e"] + law.m * mean["eee"]
        out["eep"] = law.mmp * mean["e"] ** 2 + law.mp * mean["ee"]
        for a in shapes:
            out["ee" + a] = cubed * mean[a] + 2.0 * bent * mean["e" + a] + law.m * mean["ee" + a]
        if expected or cells.law.expected_curvature:
            out |= _fisher_terms(mean, law, shapes)
    return out


def _fisher_terms(mean, law, shapes):
    """Derivatives of ``fisher``, minus the expected mm times mu_e^2."""
    steep, bent = -law.expected_mmm * mean["e"] ** 2, -2.0 * law.expected_mm * mean["e"]
    out = {"fisher e": steep * mean["e"] + bent * mean["ee"], "fisher p": -law.expected_mmp * mean["e"] ** 2}
    return out | {"fisher " + a: steep * mean[a] + bent * mean["e" + a] for a in shapes}


def _law_terms(mu, nu, parameters, cells, where, order):
    """Derivatives of the law in location and precision; those of censored cells are of their tail's probability."""
    law, phi = cells.law, parameters.phi
    terms = law.terms(mu, nu, phi, parameters.at_phi, tuple(values[where, None] for values in cells.data), order)
    censored = np.flatnonzero(cells.state[where])
    if len(censored) == 0:
        return terms
    upper = cells.state[where][censored, None] == 2
    edge = cells.edge[where][censored, None]
    tails = law.tail_terms(mu[censored], nu[censored], phi[censored], edge, upper, order)
    for full, tail in zip(terms, tails, strict=True):
        if full is not None:
            full[censored] = tail
    return terms


def locations(structure, eta):
    """mu at linear predictors (..., J) of a Structure's benchmarks."""
    return mean_score(eta, structure.lower, structure.upper, structure.link)


def expected_score(law, structure, eta):
    """Expected scores under a law at linear predictors (..., J) of a Structure's benchmarks."""
    return law.mean(locations(structure, eta), structure.precision)


def simulate_scores(law, rng, structure, eta):
    """Draws (..., J) from a law at linear predictors (..., J) of a Structure's benchmarks."""
    return law.draw(rng, locations(structure, eta), np.broadcast_to(structure.precision, eta.shape))
