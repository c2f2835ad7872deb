"""`llm-economist experiment`: play declared experiments in one sweep, and judge each of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.text import Text

from evals.cautions.messages import tell
from evals.compare.arms import parse_detect, parse_seeds
from evals.compare.command import Options, forecast, prepare, tell_models
from evals.compare.tables import say
from evals.experiments.declaration import PAPER, PAPER_IS, PAPER_IS_NOT, Experiment, choose
from evals.experiments.results import Finding, Judge
from evals.experiments.tables import as_json, as_rows, print_finding
from evals.output.console import Console
from evals.output.files import writable
from evals.output.tables import write_csv
from evals.sweep.cautions import after_sweep, before_sweep
from evals.sweep.cells import Cell
from evals.sweep.sweep import Sweep
from pipeline.config import RunConfig
from pipeline.economy.welfare import WELFARE
from pipeline.errors import UsageError
from pipeline.store.writer import check_path

Made = dict[str, list[Cell]]
"""The cells of each experiment, by its name."""


def run_experiments(
    name: str, settings: Mapping[str, Any], options: Options, *, paper: bool, figure: str | None
) -> None:
    """Run one experiment or all of them, under the given settings. EconomistError in one line."""
    chosen = choose(name)
    made = {one: cells_of(one, experiment, settings, options, paper=paper) for one, experiment in chosen.items()}
    played = {one: cells for one, cells in made.items() if not chosen[one].solved}
    wanted = objectives(settings, paper=paper) if any(one.solved for one in chosen.values()) else []
    db, detect = next(iter(made.values()))[0].config.db, parse_detect(options.detect)
    sweep = Sweep(once_each(played), db, parallel=options.parallel, any_code=options.any_code)
    _check_outputs(db, options, figure)
    console = Console(stderr=options.json)
    for note in _notes(chosen, settings, played, paper=paper):
        console.print(Text(note, style="dim"), soft_wrap=True)
    solved = [cell for one, cells in made.items() if chosen[one].solved for cell in cells]
    tell(before_sweep(sweep.cells, solved=solved), console)
    if options.dry_run:
        return forecast(sweep, console, options)
    judge = Judge(db, _play(sweep, console), options.max_fallback, detect)
    findings = []
    for found in _judged(judge, chosen, made, wanted, console):
        findings.append(found)
        if not options.json:
            print_finding(found, console, detect=detect, db=db)
    cautions = after_sweep(db, sweep.cells, judge.runs) if sweep.cells else []
    tell(cautions, console)
    if options.json:
        print(json.dumps({"experiments": [as_json(found) for found in findings], "cautions": cautions}))
    _write(findings, console, options, figure, db)


def cells_of(
    name: str, experiment: Experiment, settings: Mapping[str, Any], options: Options, *, paper: bool
) -> list[Cell]:
    """The cells of an experiment, its reference first. UsageError names the experiment."""
    common = {**experiment.common(settings, paper=paper), "name": f"{settings.get('name', '')} {name}".strip()}
    if experiment.solved:
        common["llm"] = "rules"  # no model is called, whatever key is set
    if "seed" in settings:
        raise UsageError("--seed sets one seed; an experiment takes --seeds, e.g. --seeds 1-20")
    try:
        arms = experiment.layout(settings, paper=paper)
        return prepare(common, arms, seeds=parse_seeds(options.seeds), paired=experiment.paired)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error


def once_each(made: Mapping[str, list[Cell]]) -> list[Cell]:
    """The cells of all experiments, each run once, with the experiment's name if there are several.

    Ordered seed by seed within an experiment, so that an interruption leaves complete pairs.
    """
    first: dict[str, Cell] = {}
    for name, cells in made.items():
        for cell in cells:
            first.setdefault(cell.key, replace(cell, arm=f"{name}: {cell.arm}") if len(made) > 1 else cell)
    return list(first.values())


def _check_outputs(db: str, options: Options, figure: str | None) -> None:
    """Refuse output files that cannot be written, before anything is paid for."""
    if options.csv is not None:
        writable(options.csv, not_over=db, flag="--csv")
    if figure is not None:
        from evals.figures.extra import require

        require()
        from evals.figures.command import drawable

        drawable(figure, db=db, flag="--figure")


def _notes(
    chosen: Mapping[str, Experiment], settings: Mapping[str, Any], played: Mapping[str, list[Cell]], *, paper: bool
) -> Iterator[str]:
    if paper:
        yield from (PAPER_IS, PAPER_IS_NOT)
    for name, experiment in chosen.items():
        if unmoved := ", ".join(f"--{flag.replace('_', '-')}" for flag in experiment.unmoved(settings)):
            yield f"{name} sets {unmoved} itself; your value is ignored."
        if experiment.solved:
            yield f"{name} calls no model: every worker best-responds, and the economy is solved."
    arms, runs = sum(map(len, played.values())), len(once_each(played))
    if runs < arms:
        yield f"{arms} cells need only {runs} runs: experiments share runs, each played once, for the first of them."
    for name, cells in played.items():
        if once := ", ".join(dict.fromkeys(cell.arm for cell in cells if _has_one_turn(cell.config))):
            yield f"{name}: runs of {once} last one tax year, so the planner never sees the result of its first turn."


def _has_one_turn(config: RunConfig) -> bool:
    return config.planner_type == "LLM" and config.two_timescale >= config.max_timesteps


def _play(sweep: Sweep, console: Console) -> dict[str, int]:
    if not sweep.cells:
        check_path(sweep.db)
        return {}
    tell_models(sweep.cells, console)
    return sweep.play(console)


def objectives(settings: Mapping[str, Any], *, paper: bool) -> list[str]:
    """The objectives of a solved experiment: the requested one, or else every built-in welfare function. UsageError."""
    asked = {**(PAPER if paper else {}), **settings}
    if "welfare" not in asked:
        return list(WELFARE)
    name = str(asked["welfare"])
    if name not in WELFARE.builtin:
        raise UsageError(
            f"--welfare {name}: a solved experiment judges by the built-in functions ({', '.join(WELFARE)}); for your "
            "own one, play runs with it and judge them by `eval`"
        )
    return [name]


def _judged(
    judge: Judge, chosen: Mapping[str, Experiment], made: Made, wanted: Sequence[str], console: Console
) -> Iterator[Finding]:
    for name, cells in made.items():
        if chosen[name].solved:
            yield judge.solved(name, chosen[name], cells, wanted, console)
        else:
            yield judge.played(name, chosen[name], cells)


def _write(findings: list[Finding], console: Console, options: Options, figure: str | None, db: str) -> None:
    """Write the requested files."""
    if options.csv is not None:
        write_csv(as_rows(findings), options.csv, not_over=db, flag="--csv")
    if figure is not None:
        _draw(findings, figure, console, db)
    elif not options.json:
        say(console, "For a figure, add --figure FILE.svg")


def _draw(findings: list[Finding], figure: str, console: Console, db: str) -> None:
    """Draw a figure of each experiment; several go to files with their names."""
    from evals.figures.command import INCH, draw
    from evals.figures.experiment_arms import intervals
    from evals.figures.style import Size

    for found in findings:
        path = Path(figure)
        target = str(path.with_name(f"{path.stem}-{found.name}{path.suffix}")) if len(findings) > 1 else figure
        size = draw(intervals(found.arms, found.drawn), Size(int(6.5 * INCH), 0), target, db=db, flag="--figure")
        say(console, f"{target}: {size / 1000:,.0f} kB")
