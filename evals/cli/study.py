"""Commands that judge, compare, tune and show runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from evals.cli import completions
from evals.cli.app import DEFAULT_DB, AllowCode, AllowFile, Db, app
from evals.cli.options import read_toml, with_run_options
from pipeline.errors import UsageError
from programs.trust import allowing

Seeds = Annotated[str, typer.Option("--seeds", help="seeds of the populations: 20 (1 to 20), 5-9 or 3,5,8")]
Parallel = Annotated[int, typer.Option("--parallel", min=1, help="concurrent runs, each in its own process")]
Detect = Annotated[
    list[str] | None,
    typer.Option("--detect", help="report the seeds needed to detect a difference: 0.5 (in welfare), regret=500"),
]
MaxFallback = Annotated[
    float,
    typer.Option("--max-fallback", min=0, max=100, help="percent of unusable answers above which an arm is flagged"),
]


@app.command()
@with_run_options
def compare(
    arms: Annotated[
        list[str],
        typer.Argument(help="reference first: role=strategy, role=FILE.json or setting:KEY=VALUE, joined by commas"),
    ],
    seeds: Seeds = "10",
    parallel: Parallel = 1,
    primary: Annotated[
        str, typer.Option("--primary", help="outcome to test; the others are shown as secondary")
    ] = "welfare",
    detect: Detect = None,
    max_fallback: MaxFallback = 5,
    csv: Annotated[str | None, typer.Option("--csv", help="CSV file for the comparison")] = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    config: Annotated[str | None, typer.Option("--config", help="TOML file of settings; flags override it")] = None,
    any_code: Annotated[bool, typer.Option("--any-code", help="also reuse runs of other code versions")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="estimate the missing runs; call no model")] = False,
    latency: Annotated[float, typer.Option("--latency", min=0, help="seconds per answer, for --dry-run")] = 1.0,
    **settings: Any,
) -> None:
    """Compare strategies, programs or settings on the same people. Finished runs are reused.

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
    which: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="name of the experiment, `all` or `paper`", autocompletion=completions.experiments
        ),
    ] = None,
    seeds: Seeds = "10",
    paper: Annotated[
        bool, typer.Option("--paper", help="settings of the released LLM Economist code: economy v1, 2500 years")
    ] = False,
    parallel: Parallel = 1,
    detect: Detect = None,
    max_fallback: MaxFallback = 5,
    csv: Annotated[str | None, typer.Option("--csv", help="CSV file for the results")] = None,
    figure: Annotated[
        str | None, typer.Option("--figure", help="file for the figure: .pdf, .svg, .png, .json (extra: report)")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    config: Annotated[str | None, typer.Option("--config", help="TOML file of settings; flags override it")] = None,
    any_code: Annotated[bool, typer.Option("--any-code", help="also reuse runs of other code versions")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="estimate the missing runs; call no model")] = False,
    latency: Annotated[float, typer.Option("--latency", min=0, help="seconds per answer, for --dry-run")] = 1.0,
    list_all: Annotated[bool, typer.Option("--list", help="list the experiments")] = False,
    **settings: Any,
) -> None:
    """Run a declared experiment, or all. Finished runs are reused, and interrupted ones resume.

    Example: llm-economist experiment baselines --seeds 1-10 --num-agents 100

    Example: llm-economist experiment rational --llm rules --seeds 1-5 --dry-run

    Example: llm-economist experiment paper --llm rules --seeds 1-10
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
    if which == "paper":
        from evals.experiments.paper_table import run_paper

        return run_paper(given, options, paper=paper, figure=figure)
    run_experiments(which, given, options, paper=paper, figure=figure)


@app.command()
@with_run_options
def optimize(
    role: Annotated[
        str,
        typer.Argument(help="worker, planner, voter or persona; several roles of one game with commas: worker,planner"),
    ],
    optimizer: Annotated[
        str, typer.Option("--optimizer", help="labeled, bootstrap, bootstrap_rs, mipro, simba, copro, gepa or layouts")
    ] = "bootstrap_rs",
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            help="score to maximize [default, by role: regret, welfare, vote_quality or fidelity]; or information, "
            "planner_share or episode",
        ),
    ] = None,
    budget: Annotated[int, typer.Option("--budget", min=1, help="maximum model calls of the whole study")] = 1000,
    teacher_llm: Annotated[
        str | None, typer.Option("--teacher-llm", help="model that writes the demonstrations [default: --llm]")
    ] = None,
    reflection_llm: Annotated[
        str | None, typer.Option("--reflection-llm", help="model that proposes instructions [default: --llm]")
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(
            "--sizes", help="examples for training, development and test [default: 60,40,100; 12,8,16 economies]"
        ),
    ] = None,
    from_sql: Annotated[
        str | None, typer.Option("--from-sql", help="SELECT of run_id, year, agent: tune on these stored decisions")
    ] = None,
    demos: Annotated[int, typer.Option("--demos", min=0, max=32, help="maximum demonstrations in a prompt")] = 4,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="file to write; {role} in it for several roles [default: ROLE.STRATEGY.json]",
        ),
    ] = None,
    config: Annotated[str | None, typer.Option("--config", help="TOML file of settings; flags override it")] = None,
    allow_code: AllowCode = None,
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
    with allowing(allow_code or ()):
        code = tune(order, given, Console()).code
    raise typer.Exit(code)


@app.command()
@with_run_options
def validate(
    size: Annotated[
        Literal["full", "small"], typer.Option("--size", help="all questions, or about a third of them")
    ] = "full",
    output: Annotated[str | None, typer.Option("-o", "--output", help="Markdown file for the card")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="compare the cards in this database")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="estimate the calls of a card; call no model")] = False,
    config: Annotated[str | None, typer.Option("--config", help="TOML file of settings; flags override it")] = None,
    **settings: Any,
) -> None:
    """Check a model before you trust it: a validity card of scores, with intervals, against exact answers.

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
    runs: Annotated[list[str], typer.Argument(help="numbers or names of democratic runs, or `all`")],
    db: Db = DEFAULT_DB,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    allow_code: AllowCode = None,
) -> None:
    """Judge elections and every change of the law by exact figures: votes, Condorcet winners, welfare, and who gains.

    Example: llm-economist elections 3

    Example: llm-economist elections all --json
    """
    from evals.elections.command import print_elections
    from evals.output.console import Console

    with allowing(allow_code or ()):
        print_elections(db, runs, Console(), as_json=json)


@app.command()
def interview(
    run: Annotated[str, typer.Argument(help="number or name of the run")],
    question: Annotated[str | None, typer.Argument(help="question to ask")] = None,
    agent: Annotated[int | None, typer.Option("--agent", help="the worker to ask")] = None,
    planner: Annotated[bool, typer.Option("--planner", help="ask the planner or the elected leader instead")] = False,
    everybody: Annotated[bool, typer.Option("--all", help="ask all workers (with --survey)")] = False,
    survey: Annotated[str | None, typer.Option("--survey", help="TOML file of questions (docs/shocks.md)")] = None,
    sample: Annotated[int | None, typer.Option("--sample", min=1, help="ask so many workers, drawn at random")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="seed of --sample")] = 0,
    year: Annotated[int | None, typer.Option("--year", help="the year to ask about [default: the last one]")] = None,
    llm: Annotated[str | None, typer.Option("--llm", help="model that answers instead of the run's")] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="its OpenAI-compatible server [without --llm: the run's]")
    ] = None,
    allow_code: AllowCode = None,
    allow_file: AllowFile = None,
    db: Db = DEFAULT_DB,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Ask an agent of a run about one of its years, with exactly the memory it had then. The run does not change.

    Example: llm-economist interview 3 --agent 2 --year 20 "Why did you work less this year?"

    Example: llm-economist interview 3 --all --survey survey.toml --sample 20
    """
    from evals.interview import Asked, chosen
    from evals.interview import interview as ask
    from evals.output.console import Console
    from evals.run.permissions import Allowed

    allowed = Allowed(allow_code or (), allow_file or ())
    if survey is not None:
        from evals.survey import Whom
        from evals.survey import survey as ask_all

        if not everybody or question is not None or agent is not None or planner:
            raise UsageError("--survey FILE goes with --all (and --sample N), without a question, --agent or --planner")
        whom, about = Whom(sample, seed), Asked("", None, year, llm, base_url, allowed)
        return ask_all(db, run, survey, whom, about, Console(stderr=json), as_json=json)
    if everybody or sample is not None:
        raise UsageError("--all and --sample need --survey FILE")
    if question is None:
        raise UsageError("give a question, or --all --survey FILE")
    asked = Asked(question, chosen(agent, planner=planner), year, llm, base_url, allowed)
    with allowing(allow_code or ()):
        ask(db, run, asked, Console(stderr=json), as_json=json)


@app.command()
def report(
    runs: Annotated[list[str], typer.Argument(help="numbers or names of the runs to report on")],
    output: Annotated[str, typer.Option("--output", "-o", help="HTML file to write")] = "report.html",
    db: Db = DEFAULT_DB,
    allow_code: AllowCode = None,
) -> None:
    """Write an HTML report on runs that opens offline: figures, tables, prompts and the worst decisions.

    Example: llm-economist report 3 -o report.html
    """
    from evals.figures.extra import require
    from evals.output.console import Console

    require()
    from evals.report.command import write

    with Console(stderr=True).status("drawing the figures"), allowing(allow_code or ()):
        figures, size = write(runs, output, db=db)
    typer.echo(f"{output}: {figures} figures, {size / 1000:,.0f} kB")


@app.command()
def figure(
    name: Annotated[str | None, typer.Argument(help="name of the figure", autocompletion=completions.figures)] = None,
    runs: Annotated[list[str] | None, typer.Argument(help="numbers or names of runs")] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help=".pdf, .svg, .png or .json file to write")
    ] = None,
    width: Annotated[float | None, typer.Option("--width", min=2, max=20, help="inches [default: 4.5 or 6.5]")] = None,
    year: Annotated[
        int | None,
        typer.Option("--year", min=0, help="year of the change of law (hours_by_decile) [default: the largest]"),
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="list the figures")] = False,
    db: Db = DEFAULT_DB,
    allow_code: AllowCode = None,
) -> None:
    """Write a single figure of a report, ready to print.

    Example: llm-economist figure lorenz 3 -o lorenz.pdf

    Example: llm-economist figure hours_by_decile 3 --year 20 -o hours.pdf
    """
    from evals.figures.extra import require

    require()
    from evals.figures.command import listing, write

    if list_all:
        return typer.echo(listing())
    if not name or not runs or not output:
        raise UsageError("give a figure, runs and a file: llm-economist figure lorenz 3 -o lorenz.pdf; or --list")
    with allowing(allow_code or ()):
        size = write(name, runs, output, db=db, inches=width, year=year)
    typer.echo(f"{output}: {size / 1000:,.0f} kB")
