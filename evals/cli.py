"""The command line: one function per command, thin; heavy imports sit inside, so that --help answers at once."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from evals.options import gather_elasticities, read_toml, with_run_options
from pipeline.errors import EconomistError

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
def runs(db: Db = DEFAULT_DB, json: Annotated[bool, typer.Option("--json", help="as JSON")] = False) -> None:
    """List the runs in a database.

    Example: llm-economist runs --db economist.duckdb
    """
    from evals.reading import RUNS, print_query

    print_query(db, RUNS, as_json=json)


@app.command()
def show(call_id: int, db: Db = DEFAULT_DB) -> None:
    """Show one model call: who was asked what, the whole prompt, the reply, and what came of it.

    Example: llm-economist show 10000000003000 --db economist.duckdb
    """
    from evals.reading import print_call

    print_call(db, call_id)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="one SELECT")],
    db: Db = DEFAULT_DB,
    limit: Annotated[int, typer.Option("--limit", min=1, help="rows to show at most")] = 1000,
    json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
) -> None:
    """Query the traces in SQL, read-only.

    Example: llm-economist sql "select year, avg(regret) from decisions group by year order by year"
    """
    from evals.reading import print_query

    print_query(db, query, limit=limit, as_json=json)


@app.command()
def schema() -> None:
    """Print the tables of a trace store, with what their columns mean.

    Example: llm-economist schema
    """
    from importlib.resources import files

    typer.echo(files("pipeline").joinpath("schema.sql").read_text(), nl=False)


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
