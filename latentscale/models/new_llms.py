"""Reading a table of LLMs that are to be predicted, in the same way for every kind of model."""


from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pandas as pd

from ..errors import DataError
from ..panel import BenchmarkPanel
from ..tables import read_families, read_llms, read_table, require_columns


class ModelOfLLMs(Protocol):
    """What reading a table of new LLMs needs of a model, whatever its law."""

    @property
    def panel(self) -> BenchmarkPanel: ...

    @property
    def design(self) -> Any: ...

    @property
    def scaling(self) -> str: ...


def read_new_llms(
    model: ModelOfLLMs, data: Any, families: bool = True
) -> tuple[pd.Index, list[str] | None, np.ndarray]:
    """Return names, families and covariates of the LLMs of a table that the model was not fitted to.

    Parameters
    ----------
    model : LatentSkillModel, SlothModel, BenchmarkLaws or ComponentLaws
        Its panel says which columns hold names and families, its design how covariates are computed.
    data : table
        A row for each LLM.
    families : bool
        Whether families are read; the table must then have the family column.

    Returns
    -------
    index : Index (n,)
        Names of the LLMs; 0, 1, ... where the table has none.
    families : list of str, or None where they are not read
    x : array (n, p)
        Covariates.

    Raises
    ------
    DataError
        If columns are absent, or a covariate is missing in some rows.
    """
    table, panel = read_table(data), model.panel
    names = read_llms(table[panel.llm]) if panel.llm in table.columns else range(len(table))
    table = table.set_index(pd.Index(names, name=panel.llm))
    family_names = None
    if families:
        columns = [panel.family] if isinstance(panel.family, str) else panel.family
        require_columns(table, columns, "family column")
        family_names = list(read_families(table, panel.family))
    x = model.design.code(table)
    missing = list(table.index[np.isnan(x).any(axis=1)])
    if missing:
        raise DataError(
            f"{len(missing)} LLMs lack a covariate of {model.scaling!r} and cannot be predicted: {missing[:5]}. "
            "Fill in or drop those rows."
        )
    return table.index, family_names, x
