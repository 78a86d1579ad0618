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
    """Assert that the law of the data determines the parameters of a model.

    Parameters
    ----------
    model : LatentSkillModel
    params : Series, dict or array, optional
        A parameter point at which the information must have full rank too; ``parameters(model)`` draws one.
    points, seed : int
        Number and seed of the random points of ``model.identification``.

    Returns
    -------
    latentscale.inference.identification.IdentificationReport

    Raises
    ------
    AssertionError
        If they are not determined, with the report that names them.

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
        rank = local_rank(model, model.space.free_vector(model.recoding.internal(structure)), seed)
        if rank.n_flat:
            raise AssertionError(
                f"{model!r} is identified in general, but at the parameters given the information has rank "
                f"{rank.rank} of {rank.size}."
            )
    return report
