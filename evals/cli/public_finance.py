"""Commands on tax laws as public finance judges them."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from evals.cli.app import DEFAULT_DB, AllowCode, Db, app
from evals.cli.options import PEOPLE, with_options
from programs.trust import allowing


@app.command()
@partial(with_options, names=PEOPLE, defaults={"num_agents": 1_000})
def incidence(
    run: Annotated[str | None, typer.Argument(help="number or name of a run")] = None,
    law: Annotated[
        str | None, typer.Option("--law", help="law to judge, as `run --law` takes it [default: the run's]")
    ] = None,
    year: Annotated[int | None, typer.Option("--year", help="year of the run [default: the last one]")] = None,
    csv: Annotated[str | None, typer.Option("--csv", help="CSV file for the figures by bracket")] = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    db: Db = DEFAULT_DB,
    allow_code: AllowCode = None,
    **people: Any,
) -> None:
    """What a tax law costs and whom: MVPF, deadweight loss, Laffer curve, reforms, winners and welfare weights.

    Example: llm-economist incidence 3

    Example: llm-economist incidence --law us-2024-single --num-agents 1000
    """
    from json import dumps

    from evals.incidence.command import figures, subject
    from evals.incidence.tables import as_json, print_figures, write_csv
    from evals.output.console import Console

    given = {name: value for name, value in people.items() if value is not None}
    with allowing(allow_code or ()), Console(stderr=True).status("solving the economy"):
        found = figures(subject(run, law, year=year, db=db, people=given))
    if csv:
        write_csv(found, csv, not_over=db)
    if json:
        typer.echo(dumps(as_json(found), allow_nan=False))
    else:
        print_figures(found, Console())


@app.command()
def elasticity(
    run: Annotated[str, typer.Argument(help="number or name of a run")],
    years: Annotated[str | None, typer.Option("--years", help="years to use, e.g. 20-29 [default: all]")] = None,
    csv: Annotated[str | None, typer.Option("--csv", help="CSV file for the estimates")] = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    db: Db = DEFAULT_DB,
    allow_code: AllowCode = None,
) -> None:
    """The elasticity of taxable income that the agents of a run showed, with standard errors clustered by worker.

    It needs the extra econometrics: uv sync --extra econometrics

    Example: llm-economist elasticity 3
    """
    from evals.elasticity.command import as_json, measure, print_measured, write_csv
    from evals.evaluate.command import range_of_years
    from evals.output.console import Console

    with allowing(allow_code or ()):
        found = measure(run, db, range_of_years(years) if years else None)
    if csv:
        write_csv(found, csv, not_over=db)
    if json:
        typer.echo(as_json(found))
    else:
        print_measured(found, Console())
