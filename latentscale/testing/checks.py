"""Assertions for property tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..inference.local_rank import local_rank

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ..inference.identification import IdentificationReport
    from ..model import LatentSkillModel


def assert_identified(
    model: LatentSkillModel,
    params: pd.Series | Mapping[str, float] | np.ndarray | None = None,
    points: int = 3,
    seed: int = 0,
) -> IdentificationReport:
    """Assert that a model's parameters are determined by the law of its data.

    Parameters
    ----------
    model : LatentSkillModel
    params : Series, dict or array, optional
        A parameter point at which the information must have full rank as well; ``parameters(model)`` draws one.
    points, seed : int
        Of ``model.identification``: number and seed of its own random points.

    Returns
    -------
    latentscale.inference.identification.IdentificationReport

    Raises
    ------
    AssertionError
        With the report, which names the parameters that are not determined.

    Examples
    --------
    >>> import latentscale as ls
    >>> panel = ls.BenchmarkPanel(ls.load_leaderboard())
    >>> assert_identified(ls.LatentSkillModel(panel, skills=ls.Echelon(["bbh", "ifeval"])), points=1)
    <IdentificationReport: 0 problems, just-identified>
    """
    report = model.identification(points=points, seed=seed)
    if not report.identified:
        raise AssertionError(f"{model!r}\n{report}")
    if params is not None:
        structure = model.table.structure(model.table.read(params))
        found = local_rank(model, model.space.free_vector(model.recoding.internal(structure)), seed)
        if found.n_flat:
            raise AssertionError(
                f"{model!r} is identified in general, but at the parameters given the information has rank "
                f"{found.rank} of {found.size}."
            )
    return report
