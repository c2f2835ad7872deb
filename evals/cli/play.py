"""Commands that play, resume, replay and fork runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from evals.cli.app import DEFAULT_DB, AllowCode, AllowFile, Db, app
from evals.cli.options import ADDRESS, read_toml, with_run_options
from evals.run.setting_panels import LIMITS, MOST_USED
from pipeline.errors import UsageError


@app.command()
@with_run_options
def run(
    config: Annotated[
        str | None,
        typer.Option("--config", help="TOML file of settings; flags override it", rich_help_panel=MOST_USED),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="estimate calls, tokens, dollars and time; call no model", rich_help_panel=LIMITS
        ),
    ] = False,
    latency: Annotated[
        float, typer.Option("--latency", min=0, help="seconds per answer, for --dry-run", rich_help_panel=LIMITS)
    ] = 1.0,
    json: Annotated[bool, typer.Option("--json", help="print JSON, with --dry-run", rich_help_panel=LIMITS)] = False,
    **settings: Any,
) -> None:
    """Play an economy and store every trace.

    Example: llm-economist run --scenario bounded --num-agents 10 --max-timesteps 200 --two-timescale 10
    """
    from evals.output.console import Console

    given = {name: value for name, value in settings.items() if value is not None}
    given = {**(read_toml(config) if config else {}), **given}
    if dry_run:
        from evals.run.dry_run import dry_run as tell

        raise typer.Exit(tell(given, Console(), latency=latency, as_json=json))
    if json:
        raise UsageError("--json needs --dry-run; the results of a run are in its database (llm-economist sql --json)")

    from evals.report.pages import page_of_run
    from evals.run.command import run as play

    raise typer.Exit(play(given, Console(), page_of_run))


@app.command()
def init(
    path: Annotated[str, typer.Argument(metavar="FILE", help="TOML file to write; it must not exist")] = "study.toml",
) -> None:
    """Write a commented file of settings for --config.

    Example: llm-economist init study.toml
    """
    from evals.output.console import Console
    from evals.run.settings_file import init as write

    write(path, Console())


@app.command()
def resume(
    run: Annotated[str, typer.Argument(help="number or name of the run")],
    db: Db = DEFAULT_DB,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="the server, if its URL changed or contains a password")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", min=1, help="maximum concurrent model calls")
    ] = None,
    rpm: Annotated[int | None, typer.Option("--rpm", min=1, help="maximum requests per minute to each model")] = None,
    tpm: Annotated[
        int | None, typer.Option("--tpm", min=1, help="maximum tokens per minute, sent and received, for each model")
    ] = None,
    omit: Annotated[str | None, typer.Option("--omit", help="request parameters that are never sent")] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", help="seconds before a model call counts as failed")
    ] = None,
    processes: Annotated[int | None, typer.Option("--processes", min=1, help="processes on this machine")] = None,
    engine: Annotated[
        Literal["local", "ray"] | None, typer.Option("--engine", help="where questions are answered")
    ] = None,
    shards: Annotated[int | None, typer.Option("--shards", min=1, help="Ray actors, with --engine ray")] = None,
    ray_address: Annotated[str | None, typer.Option("--ray-address", help="address of the Ray cluster")] = None,
    max_cost_usd: Annotated[
        float | None, typer.Option("--max-cost-usd", help="new limit on the cost of the whole run, in dollars")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", help="new limit on the tokens of the whole run")
    ] = None,
    log_dir: Annotated[
        str | None, typer.Option("--log-dir", help="folder of the run's text log [default: logs]")
    ] = None,
    otel: Annotated[
        str | None, typer.Option("--otel", metavar=ADDRESS, help="OTLP receiver of spans (docs/telemetry.md)")
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option("--mlflow", metavar=ADDRESS, help="MLflow store to log to (docs/telemetry.md)")
    ] = None,
    trace_content: Annotated[
        bool | None, typer.Option("--trace-content", help="also send prompts and replies there")
    ] = None,
    allow_code: AllowCode = None,
    allow_file: AllowFile = None,
) -> None:
    """Resume a run. No stored reply is paid for twice, whether the run was killed, interrupted, stopped or failed.

    Example: llm-economist resume 3
    """
    from evals.output.console import Console
    from evals.report.pages import page_of_run
    from evals.run.command import then_merge
    from evals.run.permissions import Allowed
    from evals.run.resume import resume as go_on

    given = {"base_url": base_url, "concurrency": concurrency, "rpm": rpm, "tpm": tpm, "timeout": timeout, "omit": omit}
    given |= {"processes": processes, "engine": engine, "shards": shards, "ray_address": ray_address}
    given |= {"max_cost_usd": max_cost_usd, "max_tokens": max_tokens, "log_dir": log_dir}
    given |= {"otel": otel, "mlflow": mlflow, "trace_content": trace_content}
    allowed = Allowed(allow_code or (), allow_file or ())
    settings = {name: value for name, value in given.items() if value is not None}
    code = go_on(run, db, settings, Console(), allowed, page_of_run)
    raise typer.Exit(then_merge(code, db, Console()))


@app.command()
def replay(
    run: Annotated[str, typer.Argument(help="number or name of the run")],
    db: Db = DEFAULT_DB,
    allow_code: AllowCode = None,
    allow_file: AllowFile = None,
) -> None:
    """Replay a run from its stored replies, without a model, and check that every row is the same.

    Example: llm-economist replay 3
    """
    from evals.output.console import Console
    from evals.run.permissions import Allowed
    from evals.run.replay import replay as play_again

    raise typer.Exit(play_again(run, db, Console(), Allowed(allow_code or (), allow_file or ())))


@app.command()
@with_run_options
def fork(
    run: Annotated[str, typer.Argument(help="number or name of the run")],
    at: Annotated[int, typer.Option("--at", help="first year to play with the new settings")],
    allow_code: AllowCode = None,
    allow_file: AllowFile = None,
    **settings: Any,
) -> None:
    """Branch a counterfactual that shares the past of a run, and compare both branches.

    Example: llm-economist fork 3 --at 25 --planner-type ORACLE
    """
    from evals.output.console import Console
    from evals.report.pages import page_of_run
    from evals.run.command import then_merge
    from evals.run.fork import fork as branch
    from evals.run.permissions import Allowed

    given = {name: value for name, value in settings.items() if value is not None}
    db = str(given.pop("db", DEFAULT_DB))
    allowed = Allowed(allow_code or (), allow_file or ())
    raise typer.Exit(then_merge(branch(run, db, at, given, Console(), allowed, page_of_run), db, Console()))


@app.command()
@with_run_options
def personas(**settings: Any) -> None:
    """Write and print the personas of a population; later runs with the same seed and model reuse them.

    Example: llm-economist personas --num-agents 5 --llm rules
    """
    from evals.output.console import Console
    from evals.personas import print_personas

    print_personas({name: value for name, value in settings.items() if value is not None}, Console())


@app.command()
def watch(
    db: Db = DEFAULT_DB,
    once: Annotated[bool, typer.Option("--once", help="print the current state and exit")] = False,
    interval: Annotated[float, typer.Option("--interval", min=0.1, help="seconds between updates")] = 1,
) -> None:
    """Watch the live runs of a database and its shards until the last one ends.

    Example: llm-economist watch --once
    """
    from evals.output.console import Console
    from evals.watch import watch as look

    look(db, Console(), once=once, interval=interval)


@app.command()
def runs(db: Db = DEFAULT_DB, json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """List the runs in a database.

    Example: llm-economist runs --db economist.duckdb
    """
    from evals.sql.command import print_runs

    print_runs(db, as_json=json)
