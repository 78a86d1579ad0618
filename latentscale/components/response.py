"""The log-likelihood of one score as a function of its linear predictor eta and of its benchmark's shapes.

It is h(eta) = f(y; mu(eta), phi), where mu is the benchmark's curve (``components.curve``) and f is the log-density of
the law of a score (``components.score_laws``) with location mu and precision phi. The *shapes* of a benchmark, on which
h depends beside eta, have names of one character: p is the precision phi, c and d are the asymptotes, 1 to 6 the
coordinates of the link. This module joins the derivatives of the law and of the curve by the chain rule.
"""


from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..parameters.structure import Structure
from .cells import Cells
from .curve import Curve, CurveAt, mean_score
from .score_laws import LawTerms, ScoreLaw


def derivative_names(order: int, shapes: str = "") -> list[str]:
    """Return the names of the derivatives of h up to an order; e stands for eta, so that ``eec`` is d3 h / d eta2 dc.

    Parameters
    ----------
    order : int, 0 to 3
        Of the third derivatives only those in at least two etas are included.
    shapes : str
        Shapes beside the precision, in the order c, d, 1 to 6.
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
    """The parameters of h at each cell, beside eta.

    Attributes
    ----------
    phi : array (C, 1)
        Precisions.
    at_phi : tuple of arrays (C, 1)
        Functions of the precision that the law needs (``ScoreLaw.at_precision``).
    curve : Curve
    multiple : array (C, 1) or None
        phi_ij / phi_j = exp(gamma' w_i), where precisions depend on covariates.
    """

    phi: np.ndarray
    at_phi: tuple[np.ndarray, ...]
    curve: Curve
    multiple: np.ndarray | None = None

    def at(self, where: slice | np.ndarray) -> CellParameters:
        """Return the parameters of some of the cells."""
        at_phi = tuple(values[where] for values in self.at_phi)
        multiple = None if self.multiple is None else self.multiple[where]
        return CellParameters(self.phi[where], at_phi, self.curve.at(where), multiple)


def cell_parameters(structure: Structure, cells: Cells) -> CellParameters:
    """Return the parameters of h at every cell."""
    item = cells.item
    curve = Curve.of(structure.lower, structure.upper, structure.link, item)
    if not len(structure.precision_slopes):
        at_phi = tuple(values[item, None] for values in cells.law.at_precision(structure.precision))
        return CellParameters(structure.precision[item, None], at_phi, curve)
    multiple = precision_multiples(structure, cells.dispersion_cells, item)[:, None]
    phi = structure.precision[item, None] * multiple
    return CellParameters(phi, cells.law.at_precision(phi), curve, multiple)


def precision_multiples(structure: Structure, dispersion: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Return exp(gamma' w) of m cells with covariates w (m, q) of the precision on benchmarks ``item`` (m,)."""
    slopes = np.broadcast_to(structure.precision_slopes, (dispersion.shape[1], len(structure.precision)))
    with np.errstate(over="ignore"):  # an infinite precision has no log-density, and is refused as such
        return np.exp(np.einsum("cq,qc->c", dispersion, slopes[:, item]))


def precisions(structure: Structure, dispersion: np.ndarray | None) -> np.ndarray:
    """Return the precisions (n, J) of the scores of n LLMs, or (1, J) if they do not depend on covariates.

    ``dispersion`` (n, q) are the covariates of the precision.
    """
    phi = structure.precision[None]
    if dispersion is None or not len(structure.precision_slopes):
        return phi
    return phi * np.exp(dispersion @ np.broadcast_to(structure.precision_slopes, (dispersion.shape[1], phi.shape[1])))


def cell_terms(
    eta: np.ndarray,
    parameters: CellParameters,
    cells: Cells,
    where: slice,
    order: int,
    shapes: str = "",
    expected: bool = False,
) -> dict[str, np.ndarray]:
    """Return h and its derivatives at the cells of a slice.

    Parameters
    ----------
    eta : array (C, M)
        Linear predictor of the cells ``where``, at M nodes.
    parameters : CellParameters
        Those of the cells ``where``.
    cells : Cells
    where : slice
        The cells that the other arguments describe.
    order : int, 0 to 3
        Order of the highest derivative; of the third ones those in at least two etas.
    shapes : str
        Shapes beside the precision whose derivatives are wanted.
    expected : bool
        Whether, at order 3, the derivatives of ``fisher`` are wanted too: ``fisher e``, ``fisher p`` and so on. Under
        laws with ``expected_curvature`` they are always included.

    Returns
    -------
    dict of arrays (C, M)
        ``f``, the value of h; its derivatives by their names (``derivative_names``), those in the precision being in
        phi_j of the benchmark, also where the precision of a score is a multiple of it; and from order 2 ``fisher``,
        the expectation of -ee for an uncensored score, which is positive. (For a mixture of laws it is the average over
        its components, as if one knew which of them a score has.)
    """
    eta = np.asfortranarray(eta)  # loops then run along the cells, as the parameters do
    loops = compiled_loops(parameters, cells, order, shapes)
    if loops is None:
        terms = _plain_terms(eta, parameters, cells, where, order, shapes, expected)
    else:
        terms = _compiled_terms(loops, eta, parameters, cells, where, order, shapes, expected)
    if parameters.multiple is not None:
        for name, values in terms.items():
            for _ in range(name.count("p")):  # the letter of the precision
                values *= parameters.multiple
    return terms


def compiled_loops(
    parameters: CellParameters, cells: Cells, order: int, shapes: str = ""
) -> tuple[Callable[..., None], tuple[str, ...]] | None:
    """Return compiled loops for these cells, which some laws have under the logistic link, or None."""
    return cells.law.compiled(order, bool(shapes)) if parameters.curve.rho is None else None


def _compiled_terms(
    loops: tuple[Callable[..., None], tuple[str, ...]],
    eta: np.ndarray,
    parameters: CellParameters,
    cells: Cells,
    where: slice,
    order: int,
    shapes: str,
    expected: bool,
) -> dict[str, np.ndarray]:
    """Compute ``cell_terms`` by compiled loops, and by numpy for censored cells."""
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
        tails = _plain_terms(eta[censored], parameters.at(censored), cells, rows, order, shapes, expected)
        for name, values in tails.items():
            terms[name][censored] = values
    return terms


def _plain_terms(
    eta: np.ndarray,
    parameters: CellParameters,
    cells: Cells,
    where: slice | np.ndarray,
    order: int,
    shapes: str,
    expected: bool,
) -> dict[str, np.ndarray]:
    """Compute ``cell_terms`` by numpy; ``where`` may also be an array of indices."""
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


def _fisher_terms(mean: dict[str, np.ndarray], law: LawTerms, shapes: str) -> dict[str, np.ndarray]:
    """Return the derivatives of ``fisher``, which is minus the expected ``mm`` times mu_e^2."""
    steep, bent = -law.expected_mmm * mean["e"] ** 2, -2.0 * law.expected_mm * mean["e"]
    out = {"fisher e": steep * mean["e"] + bent * mean["ee"], "fisher p": -law.expected_mmp * mean["e"] ** 2}
    return out | {"fisher " + a: steep * mean[a] + bent * mean["e" + a] for a in shapes}


def _law_terms(
    mu: np.ndarray, nu: np.ndarray, parameters: CellParameters, cells: Cells, where: slice | np.ndarray, order: int
) -> LawTerms:
    """Return f and its derivatives in location and precision; for censored cells f is the log of a tail probability."""
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


def locations(structure: Structure, eta: np.ndarray) -> np.ndarray:
    """Return mu at linear predictors (..., J) of the benchmarks of a Structure."""
    return mean_score(eta, structure.lower, structure.upper, structure.link)


def expected_score(law: ScoreLaw, structure: Structure, eta: np.ndarray) -> np.ndarray:
    """Return expected scores under a law at linear predictors (..., J) of the benchmarks of a Structure."""
    return law.mean(locations(structure, eta), structure.precision)


def simulate_scores(
    law: ScoreLaw, rng: np.random.Generator, structure: Structure, eta: np.ndarray, dispersion: np.ndarray | None = None
) -> np.ndarray:
    """Return scores (n, J) drawn from a law at linear predictors (n, J) of the benchmarks of a Structure.

    ``dispersion`` (n, q) are the covariates of the precision of the LLMs.
    """
    return law.draw(rng, locations(structure, eta), np.broadcast_to(precisions(structure, dispersion), eta.shape))
