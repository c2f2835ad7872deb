"""Commands that read, export and import traces, and that describe this installation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from evals.cli import completions
from evals.cli.app import DEFAULT_DB, Db, app
from pipeline.errors import UsageError
from pipeline.parallel.interrupts import INTERRUPTED
from pipeline.terminal import OutputLost


@app.command()
def sql(
    query: Annotated[
        str | None,
        typer.Argument(
            help="a saved query, one SELECT, or - for standard input", autocompletion=completions.saved_queries
        ),
    ] = None,
    db: Db = DEFAULT_DB,
    param: Annotated[list[str] | None, typer.Option("--param", help="NAME=VALUE for $NAME; repeatable")] = None,
    list_all: Annotated[bool, typer.Option("--list", help="list the saved queries")] = False,
    format: Annotated[str | None, typer.Option("--format", help="table, csv, json, parquet or markdown")] = None,
    json: Annotated[bool, typer.Option("--json", help="same as --format json")] = False,
    output: Annotated[str | None, typer.Option("--output", help="file to write; its suffix sets the format")] = None,
    figure: Annotated[
        str | None,
        typer.Option("--figure", help="file for a chart of the result: .pdf, .svg, .png, .json (extra: report)"),
    ] = None,
    raw_csv: Annotated[
        bool, typer.Option("--raw-csv", help="CSV without the apostrophe before text that looks like a formula")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="maximum rows [default: 1000 in tables, else all]")
    ] = None,
    ui: Annotated[bool, typer.Option("--ui", help="open a read-only copy in Harlequin (needs the extra ui)")] = False,
    timeout_seconds: Annotated[
        float, typer.Option("--timeout-seconds", min=0.1, max=86400, help="time limit of the query in seconds")
    ] = 60,
) -> None:
    """Query the traces in SQL, read-only, also during a run.

    Example: llm-economist sql "select year, avg(regret) from decisions group by year order by year"

    Example: llm-economist sql worst_calls --param run_id=3 --param calls=2

    Example: llm-economist sql learning_curve --figure learning.pdf
    """
    if ui:
        from evals.sql.terminal_ui import open_ui

        if query is not None or list_all or output or figure or format or json or param:
            raise UsageError("--ui opens the whole database; leave the query and its output out")
        raise typer.Exit(open_ui(db))
    from evals.sql.command import print_query, print_questions

    if json and format not in (None, "json"):
        raise UsageError(f"--json and --format {format}: choose one")
    chosen = "json" if json else format
    if list_all:
        return print_questions(as_json=chosen == "json")
    if query is None:
        raise UsageError("give a SELECT, a saved query (llm-economist sql --list), or - for standard input")
    try:
        if figure is not None:
            if chosen or output or raw_csv:
                raise UsageError(
                    f"--figure {figure} draws the result; ask for --output, --format or --raw-csv without it"
                )
            return _draw_query(db, query, figure, param or (), limit, timeout_seconds)
        print_query(
            db,
            query,
            parameters=param or (),
            format=chosen,
            output=output,
            limit=limit,
            seconds=timeout_seconds,
            raw_csv=raw_csv,
        )
    except OutputLost:
        raise
    except KeyboardInterrupt:
        typer.echo("interrupted: the query was stopped", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _draw_query(db: str, query: str, output: str, param: Sequence[str], limit: int | None, seconds: float) -> None:
    from evals.figures.extra import require

    require()
    from evals.figures.answers import write

    size, left_out = write(db, query, output, parameters=param, limit=limit, seconds=seconds)
    typer.echo(f"{output}: {size / 1000:,.0f} kB")
    if left_out:
        typer.echo(f"the chart shows {left_out}", err=True)


@app.command()
def explore(
    runs: Annotated[list[str] | None, typer.Argument(help="numbers or names of runs to show first")] = None,
    db: Annotated[list[str] | None, typer.Option("--db", help="DuckDB file of the traces; repeatable")] = None,
    host: Annotated[str, typer.Option("--host", help="IP address of this machine to listen on")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="port to listen on [default: a free one]")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="open a browser")] = True,
) -> None:
    """Look at runs in a browser, also while they are played: years, workers, decisions, calls, SQL, comparisons.

    Example: llm-economist explore 3 --db economist.duckdb
    """
    from evals.explore.command import explore as serve
    from evals.output.console import Console

    serve(runs or (), db or [DEFAULT_DB], Console(), host=host, port=port, browser=browser)


@app.command()
def show(call_id: int, db: Db = DEFAULT_DB) -> None:
    """Show one model call: the agent, the question, the full prompt, the reply and its outcome.

    Example: llm-economist show 10000000003000 --db economist.duckdb
    """
    from evals.sql.command import print_call

    print_call(db, call_id)


@app.command()
def schema() -> None:
    """Print the tables and views of a trace store, with the meaning of their columns.

    Example: llm-economist schema
    """
    from importlib.resources import files

    typer.echo(files("pipeline").joinpath("store", "schema.sql").read_text(encoding="utf-8"))
    typer.echo(files("pipeline").joinpath("store", "views.sql").read_text(encoding="utf-8"), nl=False)


@app.command()
def export(
    runs: Annotated[list[str], typer.Argument(help="numbers, ranges (3-7) or names of runs, or `all`")],
    to: Annotated[str, typer.Option("--to", help="folder to create, otlp://HOST:PORT, otlp, mlflow or mlflow:URI")],
    db: Db = DEFAULT_DB,
    format: Annotated[
        str, typer.Option("--format", help="parquet, or training data: sft, preferences or grpo")
    ] = "parquet",
    splits: Annotated[
        str | None, typer.Option("--splits", help="percent of the economies in train, dev, test [default: 80,10,10]")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="seed of the splits [default: 0]")] = None,
    explore: Annotated[bool, typer.Option("--explore", help="also questions that said to explore")] = False,
    card: Annotated[
        bool, typer.Option("--card", help="also write a dataset card, README.md, for publication (docs/store.md)")
    ] = False,
    trace_content: Annotated[
        bool, typer.Option("--trace-content", help="also prompts and replies (for otlp and mlflow)")
    ] = False,
) -> None:
    """Write runs, or all runs and studies, as Parquet files, one folder per table, with a manifest of checksums.

    With --format sft, preferences or grpo: the questions of the runs as training data in chat format, with exact
    answers, one JSONL file per split and a card (docs/optimizing.md).

    With --to otlp://HOST:PORT: as OpenTelemetry spans; with --to mlflow: as runs of an MLflow store
    (docs/telemetry.md).

    Example: llm-economist export 3 --to shared/run-3

    Example: llm-economist export 1-20 --card --to published

    Example: llm-economist export all --format sft --to training
    """
    from evals.telemetry.asked_for import is_service

    if is_service(to):
        options = (splits, seed, explore or card or None, None if format == "parquet" else format)
        return _export_to_service(db, runs, to, content=trace_content, other=any(x is not None for x in options))
    if trace_content:
        raise UsageError("--trace-content needs --to otlp://HOST:PORT or --to mlflow")
    if format != "parquet":
        return _export_training(db, runs, to, format, splits or "80,10,10", seed or 0, explore=explore)
    if training := [f"--{name}" for name, value in (("splits", splits), ("seed", seed)) if value is not None]:
        raise UsageError(f"{training[0]} needs --format sft, preferences or grpo")
    if explore:
        raise UsageError("--explore needs --format sft, preferences or grpo")
    from pipeline.store.exchange.export import export as write

    if card:
        from evals.datasets.export_card import card as describe
        from evals.datasets.export_card import local_paths

        manifest = write(db, runs, to, describe=describe)
        if paths := local_paths(manifest):
            typer.echo(f"the tables, unlike README.md, hold paths of this machine: {', '.join(paths)}", err=True)
    else:
        manifest = write(db, runs, to)
    files = manifest["files"].values()
    numbers = [one["run_id"] for one in manifest["runs"]]
    which = ", ".join(map(str, numbers)) or "none"
    typer.echo(
        f"{'run' if len(numbers) == 1 else 'runs'} {which}: {sum(f['rows'] for f in files):,} "
        f"rows in {len(files)} files, {sum(f['bytes'] for f in files):,} bytes, in {to}"
    )


def _export_to_service(db: str, runs: Sequence[str], to: str, *, content: bool, other: bool) -> None:
    from evals.output.console import Console
    from evals.report.pages import page_of_run
    from evals.telemetry.command import send

    if other:
        raise UsageError(
            f"--to {to} takes neither --format, --splits, --seed, --explore nor --card; they describe files"
        )
    send(db, runs, to, Console(), content=content, page=page_of_run)


def _export_training(
    db: str, runs: Sequence[str], to: str, format: str, splits: str, seed: int, *, explore: bool
) -> None:
    from evals.datasets.training_files import export_training
    from evals.datasets.training_rows import FORMATS

    if format not in FORMATS:
        raise UsageError(f"--format {format}: choose one of parquet, {', '.join(FORMATS)}")
    counts, skipped = export_training(db, runs, to, format=format, shares=splits, seed=seed, explore=explore)
    rows = {name: sum(n for (split, _), n in counts.items() if split == name) for name in ("train", "dev", "test")}
    typer.echo(f"{', '.join(f'{n:,} rows for {name}' for name, n in rows.items())}, in {to} (README.md describes them)")
    for why, number in sorted(skipped.items()):
        typer.echo(f"left out {number:,}: {why}", err=True)
    wanted = dict(zip(rows, splits.split(","), strict=True))
    if empty := [name for name, n in rows.items() if not n and float(wanted[name])]:
        typer.echo(f"{' and '.join(empty)} empty: no economy is in two splits; add runs with other seeds", err=True)


@app.command(name="import")
def import_(
    path: Annotated[str, typer.Argument(help="folder from `export`, or another llm-economist database")],
    db: Db = DEFAULT_DB,
    again: Annotated[bool, typer.Option("--again", help="also import runs that are already here")] = False,
) -> None:
    """Import runs and studies from an export or another database. Runs get new numbers if theirs are taken.

    Example: llm-economist import shared/run-3 --db economist.duckdb
    """
    from evals.output.console import Console
    from evals.run.command import merge_shards
    from pipeline.store.exchange.import_runs import import_runs

    merge_shards(db, Console())
    taken = import_runs(path, db, again=again)
    for one in taken.runs:
        what = "is already here, as" if one.known else "->"
        typer.echo(f"run {one.old} ({one.name}) {what} run {one.new}")
    for study in taken.studies:
        typer.echo(f"study {study}")


@app.command()
def strategies(json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """List the prompt strategies: how a role can be asked, and how many model calls a question takes.

    Example: llm-economist strategies
    """
    from evals.sql.command import print_strategies

    print_strategies(as_json=json)


@app.command()
def laws(
    law: Annotated[
        str | None, typer.Argument(help="law to show, as --law takes it", autocompletion=completions.laws)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """List the tax laws that --law knows by name, or show the brackets of one.

    Example: llm-economist laws us-2026-single-eitc-1
    """
    from evals.laws import print_laws

    print_laws(law, as_json=json)


@app.command()
def bench(
    what: Annotated[
        str, typer.Argument(help="archetypes, decisions, economy, local, memory, prompts, store, views or years")
    ],
    num_agents: Annotated[
        int | None, typer.Option("--num-agents", min=1, help="workers (for archetypes, economy, local, memory, store)")
    ] = None,
    years: Annotated[
        int | None,
        typer.Option("--max-timesteps", min=1, help="years (for archetypes, local, memory, prompts, store, years)"),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=1, help="rounds (for archetypes, decisions, economy, store)")
    ] = None,
    decisions: Annotated[
        int | None, typer.Option("--decisions", min=1, help="decisions per round, or rows (for views)")
    ] = None,
    calls: Annotated[int | None, typer.Option("--calls", min=1, help="model calls (for views)")] = None,
    llm: Annotated[str | None, typer.Option("--llm", help="smollm2 or gguf:FILE (for local)")] = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Measure performance on this machine: decisions, prompts, years, traces or views; or the error of archetypes.

    Example: llm-economist bench store --num-agents 20 --max-timesteps 10
    """
    import sys
    from json import dumps

    from evals.bench.command import run
    from evals.output.console import Console

    sizes = {
        "num_agents": num_agents,
        "years": years,
        "rounds": rounds,
        "decisions": decisions,
        "calls": calls,
        "llm": llm,
    }
    given = {name: value for name, value in sizes.items() if value is not None}
    figures = run(what, given, Console(file=sys.stderr) if json else Console())
    if json:
        typer.echo(dumps(figures))


@app.command()
def doctor(
    llm: Annotated[str | None, typer.Option("--llm", help="model to try with a short call")] = None,
    base_url: Annotated[str | None, typer.Option("--base-url", help="the model's OpenAI-compatible server")] = None,
    omit: Annotated[str, typer.Option("--omit", help="request parameters that are never sent")] = "",
    db: Db = DEFAULT_DB,
) -> None:
    """Check the installation: versions, keys, database, and a model if one is named.

    Example: llm-economist doctor --llm gpt-4o-mini
    """
    from evals.doctor.command import check
    from evals.output.console import Console

    raise typer.Exit(check(Console(), llm=llm, base_url=base_url, db=db, omit=omit))
