"""Commands that judge, compare, tune and show what was played."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from evals.cli.app import DEFAULT_DB, AllowCode, AllowFile, Db, app
from evals.cli.options import read_toml, with_run_options
from pipeline.errors import UsageError


@app.command(name="eval")
def eval_(
    runs: Annotated[list[str], typer.Argument(help="numbers or names of runs, or all")],
    db: Db = DEFAULT_DB,
    welfare: Annotated[
        str | None, typer.Option("--welfare", help="all, or names with commas [default: the runs' own objectives]")
    ] = None,
    years: Annotated[
        str | None, typer.Option("--years", help="years as played, e.g. 20-29 [default: the last tax year, and all]")
    ] = None,
    csv: Annotated[str | None, typer.Option("--csv", help="file to write the policies to")] = None,
    gains_csv: Annotated[
        str | None, typer.Option("--gains-csv", help="file to write who gains to, by third and decile of the wages")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
) -> None:
    """Judge runs from their traces: any welfare function, planner share, ORACLE's certificate, and who gains.

    Runs of an older version get the regret and the ORACLE that they lack (docs/store.md): eval all.

    Example: llm-economist eval 1 2 --welfare all
    """
    from json import dumps

    from evals.evaluate.command import evaluate, keep
    from evals.evaluate.tables import as_json, print_evaluation, write_csv
    from evals.output.console import Console
    from evals.policies import who_gains

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


@app.command()
@with_run_options
def compare(
    arms: Annotated[
        list[str],
        typer.Argument(help="the reference first: role=strategy, role=FILE.json, setting:KEY=VALUE, with commas"),
    ],
    seeds: Annotated[str, typer.Option("--seeds", help="seeds of the populations: 20 (1 to 20), 5-9 or 3,5,8")] = "10",
    parallel: Annotated[int, typer.Option("--parallel", min=1, help="runs at a time, each in a process")] = 1,
    primary: Annotated[
        str, typer.Option("--primary", help="the outcome that is tested; all others are shown as secondary")
    ] = "welfare",
    detect: Annotated[
        list[str] | None,
        typer.Option("--detect", help="say how many seeds show a difference: 0.5 (of welfare), regret=500"),
    ] = None,
    max_fallback: Annotated[
        float, typer.Option("--max-fallback", min=0, max=100, help="percent of unusable answers that flag an arm")
    ] = 5,
    csv: Annotated[str | None, typer.Option("--csv", help="file to write the comparison to")] = None,
    json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
    config: Annotated[str | None, typer.Option("--config", help="TOML file of settings; a flag beats the file")] = None,
    any_code: Annotated[bool, typer.Option("--any-code", help="use runs by other versions of the code, too")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what missing runs would take")] = False,
    latency: Annotated[float, typer.Option("--latency", min=0, help="seconds an answer takes, for --dry-run")] = 1.0,
    **settings: Any,
) -> None:
    """Compare strategies, programs or settings on the same people; runs that exist are used again.

    Example: llm-economist compare worker=io worker=cot --seeds 20 --num-agents 5 --max-timesteps 50
    """
    from evals.compare.command import Options, run_compare

    given = {name: value for name, value in settings.items() if value is not None}
    given = {**(read_toml(config) if config else {}), **given}
    options = Options(seeds, parallel, detect or [], max_fallback / 100, csv, json, any_code, dry_run, latency, primary)
    run_compare(arms, given, options)


@app.command()
@with_run_options
def experiment(
    which: Annotated[str | None, typer.Argument(metavar="NAME", help="which experiment, or all")] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="seeds of the populations: 20 (1 to 20), 5-9 or 3,5,8")] = "10",
    paper: Annotated[
        bool, typer.Option("--paper", help="settings of the LLM Economist's released code: economy v1, 2500 years")
    ] = False,
    parallel: Annotated[int, typer.Option("--parallel", min=1, help="runs at a time, each in a process")] = 1,
    detect: Annotated[
        list[str] | None,
        typer.Option("--detect", help="say how many seeds show a difference: 0.5 (of welfare), regret=500"),
    ] = None,
    max_fallback: Annotated[
        float, typer.Option("--max-fallback", min=0, max=100, help="percent of unusable answers that flag an arm")
    ] = 5,
    csv: Annotated[str | None, typer.Option("--csv", help="file to write what was found to")] = None,
    figure: Annotated[
        str | None, typer.Option("--figure", help="file to draw it to: .pdf, .svg, .png, .json (extra: report)")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
    config: Annotated[str | None, typer.Option("--config", help="TOML file of settings; a flag beats the file")] = None,
    any_code: Annotated[bool, typer.Option("--any-code", help="use runs by other versions of the code, too")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what missing runs would take")] = False,
    latency: Annotated[float, typer.Option("--latency", min=0, help="seconds an answer takes, for --dry-run")] = 1.0,
    list_all: Annotated[bool, typer.Option("--list", help="show the experiments")] = False,
    **settings: Any,
) -> None:
    """Run a declared experiment, or all. Finished runs are reused, and interrupted ones resume.

    Example: llm-economist experiment baselines --seeds 1-10 --num-agents 100

    Example: llm-economist experiment rational --llm rules --seeds 1-5 --dry-run
    """
    from evals.experiments.declaration import listing

    if list_all:
        return typer.echo(listing())
    if not which:
        raise UsageError("give an experiment: llm-economist experiment baselines; --list shows them")
    from evals.compare.command import Options
    from evals.experiments.command import run_experiments

    given = {name: value for name, value in settings.items() if value is not None}
    given = {**(read_toml(config) if config else {}), **given}
    options = Options(seeds, parallel, detect or [], max_fallback / 100, csv, json, any_code, dry_run, latency)
    run_experiments(which, given, options, paper=paper, figure=figure)


@app.command()
@with_run_options
def optimize(
    role: Annotated[
        str, typer.Argument(help="worker, planner, voter or persona; several of one game as in worker,planner")
    ],
    optimizer: Annotated[
        str, typer.Option("--optimizer", help="labeled, bootstrap, bootstrap_rs, mipro, simba, copro or gepa")
    ] = "bootstrap_rs",
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric", help="what counts [default: regret, welfare, vote_quality or fidelity by role]; or episode"
        ),
    ] = None,
    budget: Annotated[int, typer.Option("--budget", min=1, help="model calls of the whole study at most")] = 1000,
    teacher_llm: Annotated[
        str | None, typer.Option("--teacher-llm", help="model that answers to make demonstrations [default: --llm]")
    ] = None,
    reflection_llm: Annotated[
        str | None, typer.Option("--reflection-llm", help="model that writes instructions [default: --llm]")
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option("--sizes", help="examples to train, choose and test on [default: 60,40,100; 12,8,16 economies]"),
    ] = None,
    from_sql: Annotated[
        str | None, typer.Option("--from-sql", help="SELECT of run_id, year, agent: tune on these stored states")
    ] = None,
    demos: Annotated[int, typer.Option("--demos", min=0, max=32, help="demonstrations in a prompt at most")] = 4,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="file to write; {role} in it for several roles [default: ROLE.STRATEGY.json]",
        ),
    ] = None,
    config: Annotated[str | None, typer.Option("--config", help="TOML file of settings; a flag beats the file")] = None,
    **settings: Any,
) -> None:
    """Tune the prompt of a role. It is judged on held-out economies; repeat the command to resume.

    Example: llm-economist optimize worker --optimizer labeled --llm rules --budget 200 --sizes 10,10,20
    """
    from evals.optimize.command import optimize as tune
    from evals.optimize.plan import UNUSED, OptimizeRequest
    from evals.output.console import Console

    given = {name: value for name, value in settings.items() if value is not None}
    run_file = read_toml(config) if config else {}
    given = {**{name: value for name, value in run_file.items() if name not in UNUSED}, **given}
    order = OptimizeRequest(
        role, optimizer, metric, budget, teacher_llm, reflection_llm, sizes, from_sql, demos, output
    )
    raise typer.Exit(tune(order, given, Console()).code)


@app.command()
@with_run_options
def validate(
    size: Annotated[Literal["full", "small"], typer.Option("--size", help="all questions, or about a third")] = "full",
    output: Annotated[str | None, typer.Option("-o", "--output", help="Markdown file to write the card to")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="only show the cards of this database")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what a card takes")] = False,
    config: Annotated[str | None, typer.Option("--config", help="TOML file of settings; a flag beats the file")] = None,
    **settings: Any,
) -> None:
    """Check a model before it is trusted: its validity card, scores with intervals against the exact economy.

    Example: llm-economist validate --llm gpt-4o-mini -o card.md
    """
    from evals.output.console import Console
    from evals.validity.command import compare as side_by_side
    from evals.validity.command import validate as check
    from evals.validity.plan import MATTERS, OTHERS, ValidateRequest

    given = {name: value for name, value in settings.items() if value is not None}
    run_file = read_toml(config) if config else {}
    given = {**{name: value for name, value in run_file.items() if name in (*MATTERS, *OTHERS)}, **given}
    if compare:
        return side_by_side(given.get("db", DEFAULT_DB), Console())
    raise typer.Exit(check(ValidateRequest(size, output), given, Console(), dry_run=dry_run))


@app.command()
def elections(
    runs: Annotated[list[str], typer.Argument(help="numbers or names of democratic runs, or all")],
    db: Db = DEFAULT_DB,
    json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
) -> None:
    """Judge elections and every change of the law by exact figures: votes, Condorcet winners, welfare, and who gains.

    Example: llm-economist elections 3

    Example: llm-economist elections all --json
    """
    from evals.elections.command import print_elections
    from evals.output.console import Console

    print_elections(db, runs, Console(), as_json=json)


@app.command()
def interview(
    run: Annotated[str, typer.Argument(help="number or name of the run")],
    question: Annotated[str, typer.Argument(help="what to ask")],
    agent: Annotated[int | None, typer.Option("--agent", help="the worker to ask")] = None,
    planner: Annotated[bool, typer.Option("--planner", help="ask the planner or the elected leader instead")] = False,
    year: Annotated[int | None, typer.Option("--year", help="the year to ask about [default: the last one]")] = None,
    llm: Annotated[str | None, typer.Option("--llm", help="a model to answer instead of the run's")] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="its OpenAI-compatible server [without --llm: the run's]")
    ] = None,
    allow_code: AllowCode = None,
    allow_file: AllowFile = None,
    db: Db = DEFAULT_DB,
    json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
) -> None:
    """Ask an agent of a run about one of its years, with exactly the memory it had then; the run stays as it is.

    Example: llm-economist interview 3 --agent 2 --year 20 "Why did you work less this year?"
    """
    from evals.interview import Asked, chosen
    from evals.interview import interview as ask
    from evals.output.console import Console
    from evals.run.permissions import Allowed

    allowed = Allowed(allow_code or (), allow_file or ())
    asked = Asked(question, chosen(agent, planner=planner), year, llm, base_url, allowed)
    ask(db, run, asked, Console(stderr=json), as_json=json)


@app.command()
def report(
    runs: Annotated[list[str], typer.Argument(help="numbers or names of runs, side by side")],
    output: Annotated[str, typer.Option("--output", "-o", help="HTML file to write")] = "report.html",
    db: Db = DEFAULT_DB,
) -> None:
    """Write a page about runs that opens offline: figures, tables, prompts, the worst decisions.

    Example: llm-economist report 3 -o report.html
    """
    from evals.figures.extra import require
    from evals.output.console import Console

    require()
    from evals.report.command import write

    with Console(stderr=True).status("drawing the figures"):
        figures, size = write(runs, output, db=db)
    typer.echo(f"{output}: {figures} figures, {size / 1000:,.0f} kB")


@app.command()
def figure(
    name: Annotated[str | None, typer.Argument(help="which figure")] = None,
    runs: Annotated[list[str] | None, typer.Argument(help="numbers or names of runs")] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="a .pdf, .svg, .png or .json file")] = None,
    width: Annotated[float | None, typer.Option("--width", min=2, max=20, help="inches [default: 4.5 or 6.5]")] = None,
    list_all: Annotated[bool, typer.Option("--list", help="show the figures")] = False,
    db: Db = DEFAULT_DB,
) -> None:
    """Write one figure of a report alone, ready to print.

    Example: llm-economist figure lorenz 3 -o lorenz.pdf
    """
    from evals.figures.extra import require

    require()
    from evals.figures.command import listing, write

    if list_all:
        return typer.echo(listing())
    if not name or not runs or not output:
        raise UsageError("give a figure, runs and a file: llm-economist figure lorenz 3 -o lorenz.pdf; or --list")
    typer.echo(f"{output}: {write(name, runs, output, db=db, inches=width) / 1000:,.0f} kB")
