"""The command line: one function per command, thin; heavy imports sit inside, so that --help answers at once."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated, Any

import typer

from evals.options import gather_elasticities, read_toml, with_run_options
from pipeline.errors import EconomistError, UsageError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would double the time of --help
    help="An economy of language-model agents in which tax policy is designed, voted on and studied.",
)

Db = Annotated[str, typer.Option("--db", help="DuckDB file of the traces")]
DEFAULT_DB = "economist.duckdb"
CRASH_FILE = "llm-economist-crash.log"


@app.command()
@with_run_options
def run(
    config: Annotated[str | None, typer.Option("--config", help="TOML file of settings; a flag beats the file")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only say what the run would take: calls, tokens, dollars, time")
    ] = False,
    latency: Annotated[float, typer.Option("--latency", min=0, help="seconds an answer takes, for --dry-run")] = 1.0,
    json: Annotated[bool, typer.Option("--json", help="as JSON, with --dry-run")] = False,
    **settings: Any,
) -> None:
    """Play an economy and store every trace.

    Example: llm-economist run --scenario bounded --num-agents 10 --max-timesteps 200 --two-timescale 10
    """
    from rich.console import Console

    given = {name: value for name, value in settings.items() if value is not None}
    given = {**(read_toml(config) if config else {}), **given}
    if dry_run:
        from evals.dry_run import dry_run as tell

        raise typer.Exit(tell(given, Console(), latency=latency, as_json=json))
    if json:
        raise UsageError("--json needs --dry-run; the results of a run are in its database (llm-economist sql --json)")

    from evals.running import run as play

    raise typer.Exit(play(given, Console()))


@app.command()
def resume(
    run: Annotated[str, typer.Argument(help="number or name of the run")],
    db: Db = DEFAULT_DB,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="the server, if it moved or its URL holds a password")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", min=1, help="model calls in flight at once")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", help="seconds before a model call counts as failed")
    ] = None,
    max_cost_usd: Annotated[float | None, typer.Option("--max-cost-usd", help="a new cap on the whole run")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="a new cap on the whole run")] = None,
) -> None:
    """Go on with a run that was killed, interrupted, stopped or failed; no reply is paid for twice.

    Example: llm-economist resume 3
    """
    from rich.console import Console

    from evals.again import resume as go_on
    from evals.running import then_merge

    given = {"base_url": base_url, "concurrency": concurrency, "timeout": timeout}
    given |= {"max_cost_usd": max_cost_usd, "max_tokens": max_tokens}
    code = go_on(run, db, {name: value for name, value in given.items() if value is not None}, Console())
    raise typer.Exit(then_merge(code, db, Console()))


@app.command()
def replay(run: Annotated[str, typer.Argument(help="number or name of the run")], db: Db = DEFAULT_DB) -> None:
    """Play a run again from its stored replies, without a model, and check that every row comes out the same.

    Example: llm-economist replay 3
    """
    from rich.console import Console

    from evals.again import replay as play_again

    raise typer.Exit(play_again(run, db, Console()))


@app.command()
@with_run_options
def fork(
    run: Annotated[str, typer.Argument(help="number or name of the run")],
    at: Annotated[int, typer.Option("--at", help="the first year that is played anew")],
    **settings: Any,
) -> None:
    """Branch a counterfactual that shares the past of a run, and compare both branches.

    Example: llm-economist fork 3 --at 25 --planner-type ORACLE
    """
    from rich.console import Console

    from evals.again import fork as branch
    from evals.running import then_merge

    given = {name: value for name, value in settings.items() if value is not None}
    db = str(given.pop("db", DEFAULT_DB))
    raise typer.Exit(then_merge(branch(run, db, at, given, Console()), db, Console()))


@app.command(name="eval")
def eval_(
    runs: Annotated[list[str], typer.Argument(help="numbers or names of runs")],
    db: Db = DEFAULT_DB,
    welfare: Annotated[
        str | None, typer.Option("--welfare", help="all, or names with commas [default: the runs' own objectives]")
    ] = None,
    years: Annotated[
        str | None, typer.Option("--years", help="years as played, e.g. 20-29 [default: the last tax year, and all]")
    ] = None,
    csv: Annotated[str | None, typer.Option("--csv", help="file to write the policies to")] = None,
    json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
) -> None:
    """Judge runs from their traces: any welfare function, planner share, equilibrium gap, and ORACLE's certificate.

    Example: llm-economist eval 1 2 --welfare all
    """
    from json import dumps

    from rich.console import Console

    from evals.evaluate import evaluate, keep
    from evals.evaluation_tables import as_json, print_evaluation, write_csv

    made = evaluate(runs, db, welfare=welfare, years=years)
    if csv:
        write_csv(made, csv, not_over=db)
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
    from evals.compare import Options, run_compare

    given = {name: value for name, value in settings.items() if value is not None}
    given = {**(read_toml(config) if config else {}), **given}
    options = Options(seeds, parallel, detect or [], max_fallback / 100, csv, json, any_code, dry_run, latency)
    run_compare(arms, given, options)


@app.command()
@with_run_options
def optimize(
    role: Annotated[str, typer.Argument(help="worker, planner, voter or persona")],
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
        str | None, typer.Option("-o", "--output", help="file to write [default: ROLE.STRATEGY.json]")
    ] = None,
    config: Annotated[str | None, typer.Option("--config", help="TOML file of settings; a flag beats the file")] = None,
    **settings: Any,
) -> None:
    """Tune how a role is asked, and judge it on held-out economies; the same command again goes on with it.

    Example: llm-economist optimize worker --optimizer labeled --llm rules --budget 200 --sizes 10,10,20
    """
    from rich.console import Console

    from evals.optimize import optimize as tune
    from evals.tuning_plan import UNUSED, Order

    given = {name: value for name, value in settings.items() if value is not None}
    run_file = read_toml(config) if config else {}
    given = {**{name: value for name, value in run_file.items() if name not in UNUSED}, **given}
    order = Order(role, optimizer, metric, budget, teacher_llm, reflection_llm, sizes, from_sql, demos, output)
    raise typer.Exit(tune(order, given, Console()))


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
    db: Db = DEFAULT_DB,
    json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
) -> None:
    """Ask an agent of a run about one of its years, with exactly the memory it had then; the run stays as it is.

    Example: llm-economist interview 3 --agent 2 --year 20 "Why did you work less this year?"
    """
    from rich.console import Console

    from evals.interview import Asked, chosen
    from evals.interview import interview as ask

    asked = Asked(question, chosen(agent, planner=planner), year, llm, base_url)
    ask(db, run, asked, Console(stderr=json), as_json=json)


@app.command()
def runs(db: Db = DEFAULT_DB, json: Annotated[bool, typer.Option("--json", help="as JSON")] = False) -> None:
    """List the runs in a database.

    Example: llm-economist runs --db economist.duckdb
    """
    from evals.reading import print_runs

    print_runs(db, as_json=json)


@app.command()
def show(call_id: int, db: Db = DEFAULT_DB) -> None:
    """Show one model call: who was asked what, the whole prompt, the reply, and what came of it.

    Example: llm-economist show 10000000003000 --db economist.duckdb
    """
    from evals.reading import print_call

    print_call(db, call_id)


@app.command()
def sql(
    query: Annotated[str | None, typer.Argument(help="a saved question, one SELECT, or - for standard input")] = None,
    db: Db = DEFAULT_DB,
    param: Annotated[list[str] | None, typer.Option("--param", help="NAME=VALUE for $NAME; as often as needed")] = None,
    list_all: Annotated[bool, typer.Option("--list", help="show the saved questions")] = False,
    format: Annotated[str | None, typer.Option("--format", help="table, csv, json, parquet or markdown")] = None,
    json: Annotated[bool, typer.Option("--json", help="the same as --format json")] = False,
    output: Annotated[str | None, typer.Option("--output", help="file to write; its suffix chooses a format")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="rows at most [default: 1000 in tables, else all]")
    ] = None,
    timeout_seconds: Annotated[
        float, typer.Option("--timeout-seconds", min=0.1, max=86400, help="seconds after which the query is stopped")
    ] = 60,
) -> None:
    """Query the traces in SQL, read-only, also while a run goes on.

    Example: llm-economist sql "select year, avg(regret) from decisions group by year order by year"

    Example: llm-economist sql worst_calls --param run_id=3 --param calls=2
    """
    from evals.reading import print_query, print_questions

    if json and format not in (None, "json"):
        raise UsageError(f"--json and --format {format}: choose one")
    chosen = "json" if json else format
    if list_all:
        return print_questions(as_json=chosen == "json")
    if query is None:
        raise UsageError("give a SELECT, a saved question (llm-economist sql --list), or - for standard input")
    try:
        print_query(
            db, query, parameters=param or (), format=chosen, output=output, limit=limit, seconds=timeout_seconds
        )
    except KeyboardInterrupt:
        typer.echo("interrupted: the query was stopped", err=True)
        raise typer.Exit(130) from None


@app.command()
def elections(
    runs: Annotated[list[str], typer.Argument(help="numbers or names of democratic runs, or all")],
    db: Db = DEFAULT_DB,
    json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
) -> None:
    """Judge elections by exact figures: turnout, votes, Condorcet winners, welfare, and who gains.

    Example: llm-economist elections 3

    Example: llm-economist elections all --json
    """
    from rich.console import Console

    from evals.election_tables import print_elections

    print_elections(db, runs, Console(), as_json=json)


@app.command()
def report(
    runs: Annotated[list[str], typer.Argument(help="numbers or names of runs, side by side")],
    output: Annotated[str, typer.Option("--output", "-o", help="HTML file to write")] = "report.html",
    db: Db = DEFAULT_DB,
) -> None:
    """Write a page about runs that opens offline: figures, tables, prompts, the worst decisions.

    Example: llm-economist report 3 -o report.html
    """
    from rich.console import Console

    from evals.figures.extra import require

    require()
    from evals.report.page import write

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
    from evals.figures.export import listing, write

    if list_all:
        return typer.echo(listing())
    if not name or not runs or not output:
        raise UsageError("give a figure, runs and a file: llm-economist figure lorenz 3 -o lorenz.pdf; or --list")
    typer.echo(f"{output}: {write(name, runs, output, db=db, inches=width) / 1000:,.0f} kB")


@app.command()
def watch(
    db: Db = DEFAULT_DB,
    once: Annotated[bool, typer.Option("--once", help="print the state now and end")] = False,
    interval: Annotated[float, typer.Option("--interval", min=0.1, help="seconds between two looks")] = 1,
) -> None:
    """Watch the runs that are being written into a database and its shards, until the last one ends.

    Example: llm-economist watch --once
    """
    from rich.console import Console

    from evals.watch import watch as look

    look(db, Console(), once=once, interval=interval)


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="number or name of the run, or all")],
    to: Annotated[str, typer.Option("--to", help="folder to make")],
    db: Db = DEFAULT_DB,
) -> None:
    """Write runs as Parquet files, one folder per table, with a manifest of versions and checksums.

    Example: llm-economist export 3 --to shared/run-3
    """
    from pipeline.exchange import export as write

    manifest = write(db, run, to)
    files = manifest["files"].values()
    numbers = [one["run_id"] for one in manifest["runs"]]
    typer.echo(
        f"{'run' if len(numbers) == 1 else 'runs'} {', '.join(map(str, numbers))}: {sum(f['rows'] for f in files):,} "
        f"rows in {len(files)} files, {sum(f['bytes'] for f in files):,} bytes, in {to}"
    )


@app.command(name="import")
def import_(
    path: Annotated[str, typer.Argument(help="folder made by `export`, or another database of llm-economist")],
    db: Db = DEFAULT_DB,
    again: Annotated[bool, typer.Option("--again", help="take in runs that are here already once more")] = False,
) -> None:
    """Take runs from an export or from another database; they get new numbers where theirs are taken.

    Example: llm-economist import shared/run-3 --db economist.duckdb
    """
    from rich.console import Console

    from evals.running import merge_shards
    from pipeline.exchange import import_runs

    merge_shards(db, Console())
    for one in import_runs(path, db, again=again):
        what = "is here already, as" if one.known else "->"
        typer.echo(f"run {one.old} ({one.name}) {what} run {one.new}")


@app.command()
def schema() -> None:
    """Print the tables and views of a trace store, with what their columns mean.

    Example: llm-economist schema
    """
    from importlib.resources import files

    typer.echo(files("pipeline").joinpath("schema.sql").read_text())
    typer.echo(files("pipeline").joinpath("views.sql").read_text(), nl=False)


@app.command()
@with_run_options
def personas(**settings: Any) -> None:
    """Write and print the personas of a population; a later run with this seed and model uses them again.

    Example: llm-economist personas --num-agents 5 --llm rules
    """
    from rich.console import Console

    from evals.personas import print_personas

    print_personas({name: value for name, value in settings.items() if value is not None}, Console())


@app.command()
def bench(
    what: Annotated[str, typer.Argument(help="store or views")],
    num_agents: Annotated[int, typer.Option("--num-agents", min=1, help="store: workers")] = 100,
    years: Annotated[int, typer.Option("--max-timesteps", min=1, help="store: years")] = 50,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="store: runs of each kind")] = 3,
    decisions: Annotated[int, typer.Option("--decisions", min=1, help="views: rows")] = 10_000_000,
    calls: Annotated[int, typer.Option("--calls", min=1, help="views: model calls")] = 1_000_000,
    json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
) -> None:
    """Measure what traces cost (store), or how fast the views are on large data (views).

    Example: llm-economist bench store --num-agents 20 --max-timesteps 10
    """
    import sys
    from json import dumps

    from rich.console import Console

    from evals.bench import bench_store, bench_views
    from pipeline.errors import UsageError

    console = Console(file=sys.stderr) if json else Console()
    if what == "store":
        figures = bench_store(console, num_agents=num_agents, years=years, rounds=rounds)
    elif what == "views":
        figures = bench_views(console, decisions=decisions, calls=calls)
    else:
        raise UsageError(f"bench {what!r}: choose one of store, views")
    if json:
        typer.echo(dumps(figures))


@app.command()
def strategies(json: Annotated[bool, typer.Option("--json", help="as JSON")] = False) -> None:
    """List the prompt strategies: how a role can be asked, and how many model calls a question takes.

    Example: llm-economist strategies
    """
    from evals.reading import print_strategies

    print_strategies(as_json=json)


@app.command()
def doctor(
    llm: Annotated[str | None, typer.Option("--llm", help="a model to try with one tiny call")] = None,
    base_url: Annotated[str | None, typer.Option("--base-url", help="its OpenAI-compatible server")] = None,
    db: Db = DEFAULT_DB,
) -> None:
    """Check the installation: versions, keys, database, and a model if one is named.

    Example: llm-economist doctor --llm gpt-4o-mini
    """
    from rich.console import Console

    from evals.doctor import check

    raise typer.Exit(check(Console(), llm=llm, base_url=base_url, db=db))


def main() -> None:
    """Entry point: errors that a user can act on become one line and their exit code."""
    try:
        app(args=gather_elasticities(sys.argv[1:]))
    except EconomistError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:
        _report_bug(error)
        sys.exit(1)


def _report_bug(error: Exception) -> None:
    """A failure that nobody foresaw: one line for the user, the traceback in a file to send along."""
    import traceback
    from pathlib import Path

    from programs.lm import blotted, without_secrets

    with suppress(OSError):  # a full disk must not hide the error
        Path(CRASH_FILE).write_text(blotted("".join(traceback.format_exception(error))))
    what = without_secrets(str(error))[:200]
    typer.echo(f"error: this is a bug: {type(error).__name__}: {what}; the traceback is in {CRASH_FILE}", err=True)
