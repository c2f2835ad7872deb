"""`llm-economist run`: play a run from its settings, with progress and a final summary."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from rich.markup import escape

from evals.cautions import messages as cautions_told
from evals.cautions import unanswered
from evals.output.console import Console
from evals.output.number_format import plain
from evals.run.dollars import tell_dollars
from evals.run.progress import Progress
from evals.run.summary import summary
from evals.telemetry.live import reported
from evals.telemetry.pages import Page
from pipeline.errors import EconomistError
from pipeline.parallel.interrupts import INTERRUPTED
from pipeline.permissions import confirming_flags
from pipeline.printed_commands import command
from pipeline.simulation.lifecycle import Ending, carry_out, new_run, prepare
from pipeline.simulation.loop import Simulation
from pipeline.simulation.world import World, create
from pipeline.store import shards
from pipeline.store.exchange.import_runs import ImportedRun
from pipeline.store.lost_database import FileLost
from pipeline.terminal import note_if_lost
from programs.urls import each_url, shown

log = logging.getLogger("llm_economist")


def run(settings: Mapping[str, Any], console: Console, page: Page | None = None) -> int:
    """Play a run and print its summary; return the exit code. EconomistError has the message for the user.

    `page` makes the report that --mlflow keeps.
    """
    config, model, why = prepare(settings)
    console.print(f"Model: [bold]{escape(model)}[/bold] ({escape(why)})", highlight=False, soft_wrap=True)
    if config.base_url and config.base_url != ",".join(each_url(settings.get("base_url"))):
        say(console, f"Asked at {shown(config.base_url)}: --base-url ends where requests add their own path.")
    world = create(config)
    tell_dollars(config, console)
    tell_shocks(world, console)
    cautions_told.tell(cautions_told.before(world), console)
    merge_shards(config.db, console)
    with new_run(config, model, world, partial(say, console)) as simulation:
        code = play(simulation, console, page)
    return then_merge(code, config.db, console)


def say(console: Console, text: str) -> None:
    """Print one line of plain text, whatever its length."""
    console.print(escape(text), highlight=False, soft_wrap=True)


def tell_shocks(world: World, console: Console, *, since: int = 0) -> None:
    """Print which workers are hit by the shocks from year `since` on."""
    for shock, hit in zip(world.exposure.shocks, world.exposure.hit, strict=True):
        if shock.first >= since:
            whom = f": {hit.sum()} of {len(hit)} workers" if shock.condition else ""
            console.print(f"Shock {escape(shock.text)}{whom}", highlight=False, soft_wrap=True)


def then_merge(code: int, db: str, console: Console) -> int:
    """Merge the shards that have ended, unless the user wants to stop at once; return `code`."""
    if code != INTERRUPTED:
        merge_shards(db, console)
    return code


def merge_shards(db: str, console: Console, *, cut_off: bool = False) -> list[tuple[str, list[ImportedRun]]]:
    """Merge finished shards (`cut_off`: all that no process writes) into their database, if no process writes it, and
    print the new numbers of their runs."""
    main = shards.main_of(db)
    merged = shards.merge(main, cut_off=cut_off)
    for shard, moved in merged:
        for one in moved:
            console.print(
                f"Run {one.old} of {escape(Path(shard).name)} is now run [bold]{one.new}[/bold] of {escape(main)}",
                highlight=False,
                soft_wrap=True,
            )
    return merged


def play(simulation: Simulation, console: Console, page: Page | None = None) -> int:
    """Play a simulation to its end, with progress, text log and summary; return the exit code."""
    ending = play_with_progress(simulation, console, page=page)
    if ending.status == "finished":
        note_if_lost(f"run {simulation.run_id} is finished and stored", unfinished=False)
    else:
        told = f"{ending.why}; resume with: {_resume(simulation)}"
        note_if_lost(f"run {simulation.run_id} is {ending.status}: {told}", unfinished=True)
        console.print(f"[bold]{ending.status}[/bold]: {escape(told)}", highlight=False, soft_wrap=True)
    if simulation.world.outcome is not None:
        console.print(summary(simulation))
    simulation.store.flush()
    for line in unanswered.cautions(simulation.store, simulation.run_id, simulation.config.db):
        say(console, plain(line))
    _tell_where(simulation, console)
    return INTERRUPTED if ending.status == "interrupted" else 0


def play_with_progress(
    simulation: Simulation, console: Console, shown: Callable[..., Progress] = Progress, page: Page | None = None
) -> Ending:
    """Play a simulation to its end, with its progress on `console`, as `shown`. An error says how to resume the run."""
    tell = log.warning if console.quiet else partial(say, console)
    with (
        reported(simulation, tell, page) as report,
        shown(console, simulation.config, simulation.llm_agents.usage, simulation.start) as years,
    ):
        try:
            return carry_out(simulation, years.on_year, observers=[nullcontext(report)])
        except EconomistError as error:
            if not simulation.run_id or isinstance(error, FileLost):
                raise
            raise type(error)(f"{error}; resume with: {_resume(simulation)}") from error


def _resume(simulation: Simulation) -> str:
    again = confirming_flags(simulation.config, simulation.llm_agents.model)
    return command("resume", simulation.run_id, "--db", simulation.config.db, *again)


def _tell_where(simulation: Simulation, console: Console) -> None:
    db, run_id = simulation.config.db, simulation.run_id
    console.print(
        f"Run {run_id} is in [bold]{escape(str(Path(db).absolute()))}[/bold]", highlight=False, soft_wrap=True
    )
    query = f"select year, rates, welfare from years where run_id = {run_id}"
    console.print(f"Next: {escape(command('sql', query, '--db', db))}", highlight=False, soft_wrap=True)
