"""``latentscale predict``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .app import app
from .described import SEED
from .files import FIT_FILE, print_table, read, write_csv
from .problems import problems_shown


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Folder that latentscale fit made.")],
    new: Annotated[Path, typer.Argument(help="Table with the family and covariates of each LLM.")],
    intervals: Annotated[
        float | None, typer.Option(min=0.01, max=0.999, help="Level such as .95: one row a score, with intervals.")
    ] = None,
    observed: Annotated[bool, typer.Option("--observed", help="Condition on the scores that the table has.")] = False,
    seed: Annotated[int, SEED] = 0,
    out: Annotated[Path | None, typer.Option(help="Write a CSV file instead of a table.")] = None,
) -> None:
    """Predict the scores of LLMs from a saved fit.

    LLMs of a family in the fit are predicted with the posterior of its effect, others with the law of all families.

    Example:

        latentscale predict run/ new_llms.csv --intervals .95 --out predicted.csv
    """
    with problems_shown(out):
        import latentscale as ls

        fitted = ls.load(run if run.is_file() else run / FIT_FILE)
        table = read(new)
        if intervals is None and not observed:
            predicted = fitted.predict(table)
        else:
            options: dict[str, Any] = {"observed": True} if observed else {}
            prediction = fitted.get_prediction(table, seed=seed, **options)
            predicted = prediction.mean if intervals is None else prediction.summary_frame(1.0 - intervals)
            predicted = predicted if intervals is None else predicted.set_index("llm")
        if out is None:
            print_table(predicted, str(predicted.index.name or "LLM"))
        else:
            write_csv(predicted, out)
