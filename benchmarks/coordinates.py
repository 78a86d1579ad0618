"""Why the search runs without coordinates: ends of the same random starts under anchors and in the unrotated form.

Command: python benchmarks/coordinates.py      (writes benchmarks/coordinates.csv; under a minute)
"""

from pathlib import Path

import pandas as pd
from common import leaderboard_model, machine

from latentscale.estimation.search import search, starting_structures
from latentscale.likelihood.objective import Objective

STARTS = 11


def main():
    model = leaderboard_model()
    pattern, space = model.search_form
    columns = {}
    for name, form, parameters in [("unrotated", pattern, space), ("anchored", model.pattern, model.space)]:
        objective = Objective(parameters, model.internal_cells, model.penalty_on(parameters.table), 1e-6)
        structures = list(starting_structures(objective, form, model.chance, model.family_codes, STARTS, 0))
        ends = search(objective, structures)
        columns[name] = [round(end.value, 3) for end in ends]
        columns[f"{name}_evaluations"] = [end.evaluations for end in ends]
    table = pd.DataFrame(columns)
    table.insert(0, "start", ["data"] + ["random"] * (STARTS - 1))
    table.to_csv(Path(__file__).with_name("coordinates.csv"), index=False)
    print(table.to_string())
    print(machine())


if __name__ == "__main__":
    main()
