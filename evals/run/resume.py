"""`llm-economist resume`: continue a stored run after its last complete year."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from evals.output.console import Console
from evals.run.command import play
from evals.run.permissions import NOTHING, Allowed, take
from evals.telemetry.pages import Page
from pipeline.config import PLACEMENT, RunConfig, build
from pipeline.errors import UsageError
from pipeline.laws import with_law
from pipeline.parallel import ray_cluster
from pipeline.simulation.lifecycle import take_up
from pipeline.store.run_lookup import config_of, find_run, years_played
from pipeline.store.writer import Store


def resume(
    run: str,
    db: str,
    settings: Mapping[str, Any],
    console: Console,
    allowed: Allowed = NOTHING,
    page: Page | None = None,
) -> int:
    """Resume a run that was killed, interrupted, stopped or failed; no stored reply is paid for again."""
    with Store(db, serve=True) as store:
        row = find_run(store, run)
        run_id, stored = int(row["run_id"]), config_of(row)
        built = valid({**overridden(stored, settings), "db": db})
        config = take(stored, settings, built, str(row["llm"]), allowed, console)
        ray_cluster.require(config)
        simulation = take_up(store, row, config)
        if simulation is None:
            if row["status"] == "finished":
                years = years_played(store, run_id)
                raise UsageError(f"run {run_id} has all of its {years} years; there is nothing to resume (try `fork`)")
            console.print(f"Run {run_id} had all of its {config.max_timesteps} years; it is finished now.")
            return 0
        stored_calls = chain.from_iterable(simulation.recorded(simulation.start).values())
        known = sum(call.run_id == run_id for call in stored_calls)
        console.print(f"Run {run_id} resumes at year {simulation.start}; {known} stored calls of that year are reused.")
        return play(simulation, console, page)


def overridden(stored: RunConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Stored settings overridden by new ones. The settings on where to ask change together or not at all."""
    usual = {name: getattr(RunConfig(), name) for name in PLACEMENT} if settings.keys() & set(PLACEMENT) else {}
    own = with_law({**settings, "dollars_of": stored.dollars_of, "given": None}) if "law" in settings else settings
    both = {**vars(stored), **usual, **_replaced(stored, settings), **own, "given": stored.given}
    return {name: value for name, value in both.items() if name != "planner_type" or value is not None}


def _replaced(stored: RunConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The stored settings of the law that new ones replace."""
    if settings.get("law") is not None:
        return {"planner_type": None, "rates": (), "brackets": (), "bracket_setting": "three"}
    replaced: dict[str, Any] = {}
    if stored.law is not None and settings.keys() & {"rates", "brackets", "bracket_setting"}:
        replaced = {"law": None, **({"planner_type": None} if stored.planner_type == "RATES" else {})}
    # the stored rates end where another planner is named, and the stored planner where rates are given
    if "planner_type" in settings:
        return {**replaced, "rates": ()}
    return {**replaced, "planner_type": None} if settings.get("rates") else replaced


def valid(settings: Mapping[str, Any]) -> RunConfig:
    """Settings that fit together. UsageError in one line."""
    try:
        return build(settings)
    except ValueError as error:
        raise UsageError(str(error)) from error
