"""Which terms the skills of a model have, and which of them may vary between families."""


from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..checks import check_names
from ..components.scaling import Design, build_design, no_design, within_family_constants
from ..errors import DataError, IdentificationError


def skill_design(
    scaling: str | None, family_covariates: str | None, table: pd.DataFrame, wanted: np.ndarray
) -> tuple[Design, tuple[str, ...]]:
    """Return the covariates of the skills, and the names of those that come from ``family_covariates``.

    Parameters
    ----------
    scaling : str or None
        Formula of the covariates; None for none.
    family_covariates : str or None
        Formula of further covariates, which are constant within families.
    table : DataFrame
        N LLMs with the columns that the formulas name.
    wanted : bool array (N,)
        True for LLMs with a score.

    Returns
    -------
    (Design, tuple of str)

    Raises
    ------
    DataError, IdentificationError
        Where ``latentscale.components.scaling.build_design`` raises them, and a DataError if ``family_covariates``
        brings no term beyond those of ``scaling``.
    """
    if scaling is None and family_covariates is None:
        return no_design(wanted), ()
    if scaling is None:
        design = build_design(str(family_covariates), table, wanted)
        return design, design.terms
    if family_covariates is None:
        return build_design(scaling, table, wanted), ()
    # each formula is built by itself first, so that errors quote what the user wrote
    of_scaling = build_design(scaling, table, wanted)
    build_design(family_covariates, table, wanted)
    design = build_design(f"{scaling} + {family_covariates}", table, wanted)
    terms = tuple(term for term in design.terms if term not in of_scaling.terms)
    if not terms:
        raise DataError(f"The terms of family_covariates={family_covariates!r} are all in the scaling {scaling!r}.")
    return design, terms


def check_family_terms(design: Design, terms: Sequence[str], families: np.ndarray, codes: np.ndarray) -> None:
    """Refuse family covariates that vary within families, or that leave nothing to families' effects.

    Parameters
    ----------
    design : Design
    terms : tuple of str
        The terms that must be constant within families.
    families : array (L,)
        Names of the families.
    codes : int array (n,)
        Family of each LLM in the design, as a position in ``families``.

    Raises
    ------
    DataError
        If a term varies within families; the message names them.
    IdentificationError
        If there are so many terms that they and the intercepts could account for all families' effects.
    """
    where = [design.terms.index(term) for term in terms]
    constant = within_family_constants(design.x[:, where], terms, codes)
    for column, term in zip(where, terms, strict=True):
        if term in constant:
            continue
        x = design.x[:, column]
        mixed = [name for code, name in enumerate(families) if np.ptp(x[codes == code]) > 1e-10 * np.abs(x).max()]
        raise DataError(
            f"The family covariate {term!r} varies within {len(mixed)} families ({', '.join(map(str, mixed[:5]))}"
            f"{', ...' if len(mixed) > 5 else ''}): families are what it is to tell apart. Mend the table, divide the "
            "families, or put the term into scaling."
        )
    if len(families) <= len(terms) + 1:  # one more, as the intercepts account for what families have in common
        raise IdentificationError(
            f"{len(terms)} family covariates and the intercepts say all that {len(families)} families' effects could: "
            "nothing is left to tell how families vary. Take fewer."
        )


def read_random_terms(wanted: Any, terms: Sequence[str], between_only: Sequence[str]) -> tuple[str, ...]:
    """Return the terms whose slopes vary between families.

    Parameters
    ----------
    wanted : str, sequence of str, bool or None
        What the user asks for: names of terms, True for all terms that vary within a family, False or None for none.
    terms, between_only : tuples of str
        The terms of the design, and those among them that are constant within every family.

    Returns
    -------
    tuple of str

    Raises
    ------
    DataError
        If a name is not that of a term.
    IdentificationError
        If a term is constant within every family, so that its slope cannot be told from the families' effects.
    """
    varying = [term for term in terms if term not in between_only]
    if wanted is None or wanted is False:
        return ()
    if wanted is True:
        return tuple(varying)
    wanted = check_names("random_slopes", wanted, terms, "terms of the scaling", empty=True)
    constant = [term for term in wanted if term in between_only]
    if constant:
        raise IdentificationError(
            f"Within every family all LLMs have the same {', '.join(constant)}, so its slope cannot vary between "
            f"families; leave it out of random_slopes. These vary: {varying}."
        )
    return tuple(wanted)
