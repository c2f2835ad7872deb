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
