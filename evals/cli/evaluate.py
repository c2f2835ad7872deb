"""The command `eval`: judge runs, and laws on people whom they were not made for."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from evals.cli import completions
from evals.cli.app import DEFAULT_DB, AllowCode, Db, app
from evals.cli.options import PEOPLE, with_options
from pipeline.errors import UsageError
from programs.trust import allowing


@app.command(name="eval")
@partial(with_options, names=PEOPLE, defaults={"num_agents": 100})
def eval_(
    runs: Annotated[list[str] | None, typer.Argument(help="numbers or names of runs, or `all`")] = None,
    db: Db = DEFAULT_DB,
    welfare: Annotated[
        str | None,
        typer.Option("--welfare", help="`all`, or names separated by commas [default: the runs' own objectives]"),
    ] = None,
    years: Annotated[
        str | None,
        typer.Option(
            "--years", help="years to judge as played, e.g. 20-29 [default: the last tax year, and all years]"
        ),
    ] = None,
    fresh: Annotated[
        int | None,
        typer.Option("--fresh", help="judge the last law, SAEZ and ORACLE on populations of so many other people"),
    ] = None,
    elasticity: Annotated[
        str | None,
        typer.Option("--elasticity", help="elasticities of the fresh people's hours [default: 0.2,0.4,0.8]"),
    ] = None,
    populations: Annotated[
        int | None, typer.Option("--populations", help="number of fresh populations [default: 5]")
    ] = None,
    law: Annotated[
        str | None,
        typer.Option(
            "--law",
            help="with --fresh: a law to judge, as `run --law` takes it, in addition to the runs' or without a run",
            autocompletion=completions.laws,
        ),
    ] = None,
    csv: Annotated[str | None, typer.Option("--csv", help="CSV file for the policies")] = None,
    gains_csv: Annotated[
        str | None, typer.Option("--gains-csv", help="CSV file for who gains, by third and decile of wages")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    allow_code: AllowCode = None,
    **people: Any,
) -> None:
    """Judge runs from their traces: any welfare function, planner share, ORACLE's certificate, and who gains.

    `eval all` also adds the regret and ORACLE figures that runs of older versions lack (docs/store.md). With --fresh,
    the last law, SAEZ and ORACLE are judged on other people, under several elasticities (docs/yardsticks.md); settings
    of the people are for a --law without a run.

    Example: llm-economist eval 1 2 --welfare all

    Example: llm-economist eval 1 --fresh 2000 --elasticity 0.2,0.4,0.8
    """
    from json import dumps

    from evals.output.console import Console

    given = {name: value for name, value in people.items() if value is not None}
    if fresh is not None or elasticity is not None or populations is not None or law is not None or given:
        wrong = [flag for flag, value in (("--years", years), ("--gains-csv", gains_csv)) if value is not None]
        wrong += ["--welfare"] if welfare is not None and runs else []
        if wrong:
            raise UsageError(f"{wrong[0]} does not fit --fresh, which judges the last law by the run's own objective")
        if fresh is None:
            raise UsageError("--elasticity, --populations, --law and settings of people go with --fresh, e.g. 2000")
        if not runs and law is None:
            raise UsageError("give runs or a law: llm-economist eval 1 --fresh 2000, or --law us-2024-single")
        given |= {} if welfare is None else {"welfare": welfare}
        return _robust(runs or [], law, (fresh, populations or 5, elasticity), db, given, csv, json, allow_code)
    if not runs:
        raise UsageError("give runs: llm-economist eval 1 2, or eval all")

    from evals.evaluate.command import evaluate, keep
    from evals.evaluate.tables import as_json, print_evaluation, write_csv
    from evals.policies import who_gains

    with allowing(allow_code or ()):
        made = evaluate(runs, db, welfare=welfare, years=years)
    if csv:
        write_csv(made, csv, not_over=db)
    if gains_csv:
        who_gains.write_csv(((run.run_id, run.gains) for run in made.runs), gains_csv, not_over=db)
    if json:
        typer.echo(dumps(as_json(made), allow_nan=False))
    else:
        print_evaluation(made, Console())
    keep(made, db, Console(stderr=True))


def _robust(
    runs: list[str],
    law: str | None,
    size: tuple[int, int, str | None],
    db: str,
    people: dict[str, Any],
    csv: str | None,
    json: bool,
    allow_code: list[str] | None,
) -> None:
    """`eval --fresh`; `size`: people, populations and the text of the elasticities."""
    from json import dumps

    from evals.evaluate.robust import Request, elasticities_in, robustness
    from evals.evaluate.robust_tables import as_json, print_robustness, write_csv
    from evals.output.console import Console

    request = Request(size[0], size[1], elasticities_in(size[2]))
    with allowing(allow_code or ()), Console(stderr=True).status("") as status:
        found = robustness(runs, law, request, db=db, people=people, told=status.update)
    if csv:
        write_csv(found, csv, not_over=db)
    if json:
        typer.echo(dumps(as_json(found), allow_nan=False))
    else:
        print_robustness(found, Console())
