"""The command line: one function per command, thin; heavy imports sit inside, so that --help answers at once."""

from __future__ import annotations

import sys
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
    **settings: Any,
) -> None:
    """Play an economy and store every trace.

    Example: llm-economist run --scenario bounded --num-agents 10 --max-timesteps 200 --two-timescale 10
    """
    from rich.console import Console

    from evals.running import run as play

    given = {name: value for name, value in settings.items() if value is not None}
    raise typer.Exit(play({**(read_toml(config) if config else {}), **given}, Console()))


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

    given = {"base_url": base_url, "concurrency": concurrency, "timeout": timeout}
    given |= {"max_cost_usd": max_cost_usd, "max_tokens": max_tokens}
    raise typer.Exit(go_on(run, db, {name: value for name, value in given.items() if value is not None}, Console()))


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

    given = {name: value for name, value in settings.items() if value is not None}
    db = str(given.pop("db", DEFAULT_DB))
    raise typer.Exit(branch(run, db, at, given, Console()))


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
        raise UsageError('give a SELECT, a saved question (llm-economist sql --list), or - for standard input')
    try:
        print_query(
            db, query, parameters=param or (), format=chosen, output=output, limit=limit, seconds=timeout_seconds
        )
    except KeyboardInterrupt:
        typer.echo("interrupted: the query was stopped", err=True)
        raise typer.Exit(130) from None


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

    Path(CRASH_FILE).write_text("".join(traceback.format_exception(error)))
    what = " ".join(str(error).split())[:200]
    typer.echo(f"error: this is a bug: {type(error).__name__}: {what}; the traceback is in {CRASH_FILE}", err=True)
