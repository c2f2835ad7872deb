"""`llm-economist compare`: the same people under several strategies, programs or settings, and how they differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
from rich.markup import escape

from evals.cautions.messages import tell
from evals.compare.arms import parse_arms, parse_detect, parse_primary, parse_seeds
from evals.compare.contrasts import Comparison, Result, estimates, evaluation_rows, flagged
from evals.compare.run_measures import BY_OBJECTIVE, OWN, Measure, measures_for, outcomes
from evals.compare.tables import as_json, as_rows, print_comparison
from evals.output.console import Console
from evals.output.files import writable
from evals.output.tables import write_csv
from evals.sweep import forecast as sweep_forecast
from evals.sweep.cautions import after_sweep, before_sweep
from evals.sweep.cells import Cell, cells
from evals.sweep.sweep import Sweep
from pipeline.agents.model_choice import choose_model
from pipeline.economy.effort import OWN as OWN_COSTS
from pipeline.errors import UsageError
from pipeline.simulation.world import create
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.writer import Store


@dataclass(frozen=True)
class Options:
    """Options of the command line apart from arms and settings. `max_fallback`: a share; `primary`: for `compare`."""

    seeds: str
    parallel: int
    detect: Sequence[str]
    max_fallback: float
    csv: str | None
    json: bool
    any_code: bool
    dry_run: bool
    latency: float
    primary: str = "welfare"


def run_compare(
    texts: Sequence[str], settings: Mapping[str, Any], options: Options, console: Console | None = None
) -> tuple[Comparison, str] | None:
    """Run the command with arms as texts and their shared settings. EconomistError in one line.

    The comparison and its database; None if only a forecast was asked for.
    """
    made = prepare(settings, parse_arms(texts), seeds=parse_seeds(options.seeds))
    config, measures = made[0].config, measures_for(cell.config.welfare for cell in made)
    detect, primary = parse_detect(options.detect, measures), parse_primary(options.primary, measures)
    sweep = Sweep(made, config.db, parallel=options.parallel, any_code=options.any_code)
    if options.csv is not None:
        writable(options.csv, not_over=config.db, flag="--csv")
    console = console or Console(stderr=options.json)
    tell(before_sweep(made), console)
    if options.dry_run:
        forecast(sweep, console, options)
        return None
    tell_models(made, console)
    compared = compare(sweep, console, primary=primary, max_fallback=options.max_fallback, detect=detect)
    runs = {cell.key: one.run_id for cell, one in zip(made, compared.results, strict=True) if one.run_id is not None}
    cautions = after_sweep(config.db, made, runs)
    if options.csv is not None:
        write_csv(as_rows(compared), options.csv, not_over=config.db, flag="--csv")
    if options.json:
        print(json.dumps({**as_json(compared), "cautions": cautions}))
    else:
        print_comparison(compared, console, detect=detect, db=config.db)
    tell(cautions, console)
    return compared, config.db


def tell_models(wanted: Iterable[Cell], console: Console) -> None:
    """Print which models are asked, and why these."""
    for model, why in dict.fromkeys(choose_model(cell.config) for cell in wanted):
        console.print(f"Model: [bold]{escape(model)}[/bold] ({escape(why)})", highlight=False)


def forecast(sweep: Sweep, console: Console, options: Options) -> None:
    """Print an estimate for the missing runs."""
    made = sweep_forecast.outlook(sweep, latency=options.latency)
    if options.json:
        print(json.dumps(sweep_forecast.as_json(made, parallel=options.parallel)))
    else:
        sweep_forecast.print_outlook(made, console, parallel=options.parallel, latency=options.latency)


def prepare(
    settings: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]], *, seeds: Sequence[int], paired: bool = True
) -> list[Cell]:
    """The cells of a comparison. UsageError if two arms are the same, or (`paired`) have other people than the
    reference."""
    if "seed" in settings:
        raise UsageError("--seed sets one seed; a comparison takes --seeds, e.g. --seeds 20")
    common = {name: value for name, value in settings.items() if name != "name"}
    made = cells(common, arms, seeds=seeds, name=str(settings.get("name", "")))
    by_key: dict[str, Cell] = {}
    for cell in made[: len(arms)]:
        other = by_key.setdefault(cell.key, cell)
        if other is not cell:
            raise UsageError(f"arms {other.arm} and {cell.arm} are the same: their runs would be identical")
        if paired:
            _same_people(made[0], cell)
    return made


def _same_people(reference: Cell, cell: Cell) -> None:
    people, others = (create(replace(one.config, planner_type="LLM")).population for one in (reference, cell))
    columns = [(getattr(people, name), getattr(others, name)) for name in ("wage", "utility_type", *OWN_COSTS)]
    same = (np.array_equal(own, other) for own, other in columns)
    if not all(same):
        raise UsageError(
            f"arm {cell.arm} has other people than {reference.arm}: a paired comparison needs the same people "
            "(num_agents, agent_mix, taste_spread, elasticity_of_labor, participation_cost, percentages and the draws "
            "of a scenario must be the same)"
        )


def compare(
    sweep: Sweep, console: Console, *, primary: str, max_fallback: float, detect: Mapping[str, float]
) -> Comparison:
    """Play the missing runs, compare all under the first arm's objective and each under its own, and store that in
    `evaluations`."""
    welfare = sweep.cells[0].config.welfare
    objectives = {cell.arm: cell.config.welfare for cell in sweep.cells}
    measures = measures_for(objectives.values())
    results = judged(sweep, sweep.play(console), welfare=welfare, measures=measures)
    reference = results[0].arm
    made = estimates(results, reference, primary=primary, detect=detect, measures=measures)
    study = study_name("compare", sweep.cells, welfare)
    with Store(sweep.db) as store:
        store.write_study(study, evaluation_rows(study, results, made, reference))
    return Comparison(
        study=study,
        welfare=welfare,
        results=results,
        estimates=made,
        flags=flagged(results, max_fallback),
        max_fallback=max_fallback,
        measures=measures,
        primary=primary,
        objectives=objectives,
    )


def judged(sweep: Sweep, runs: Mapping[str, int], *, welfare: str, measures: Mapping[str, Measure]) -> list[Result]:
    """The results under one welfare function and, where the `measures` include such, by each run's own objective."""
    results = results_of(sweep, runs, welfare=welfare)
    owned = [name for name in BY_OBJECTIVE if f"{OWN}{name}" in measures]
    if not owned:
        return results
    by_objective = {
        objective: results_of(sweep, runs, welfare=objective)
        for objective in dict.fromkeys(cell.config.welfare for cell in sweep.cells)
    }
    return [
        replace(
            one,
            figures={
                **one.figures,
                **{f"{OWN}{name}": by_objective[cell.config.welfare][i].figures[name] for name in owned},
            },
        )
        for i, (one, cell) in enumerate(zip(results, sweep.cells, strict=True))
    ]


def results_of(sweep: Sweep, runs: Mapping[str, int], *, welfare: str) -> list[Result]:
    """One row of figures per cell, in the order of the sweep, all under one welfare function."""
    with ReadOnlyStore(sweep.db) as reader:
        figures = outcomes(reader, {runs[cell.key]: cell.config for cell in sweep.cells}, welfare=welfare)
    return [Result(cell.arm, cell.config.seed, runs[cell.key], figures[runs[cell.key]]) for cell in sweep.cells]


def study_name(kind: str, cells: Iterable[Cell], welfare: str) -> str:
    """The same name for the same cells, so that a repeated study replaces its earlier result."""
    what = [[cell.arm, cell.key, cell.config.seed] for cell in cells]
    return f"{kind}-{blake2b(json.dumps([welfare, what]).encode(), digest_size=4).hexdigest()}"
