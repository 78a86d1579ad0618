"""The laws of a score that latentscale comes with, by the names under which saved fits know them."""


from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import DataError
from .beta_law import Beta

if TYPE_CHECKING:
    from .score_laws import ScoreLaw

SHIPPED_LAWS = {"beta": Beta}


def name_of_law(law: ScoreLaw) -> str:
    """Return the name of a shipped law.

    Raises
    ------
    DataError
        For laws from elsewhere, whose code a saved fit cannot hold.
    """
    for name, kind in SHIPPED_LAWS.items():
        if type(law) is kind:
            return name
    raise DataError(
        f"The law of scores {type(law).__name__} ({law.name}) is not one that latentscale comes with: saved fits hold "
        "no code, so that only fits under the shipped laws are saved. Keep the scores and fit again."
    )
