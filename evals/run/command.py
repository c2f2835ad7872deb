"""`llm-economist run`: play a run from its settings, with progress and a final summary."""

from __future__ import annotations

import logging
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.markup import escape

from evals.cautions import messages as cautions_told
from evals.cautions import unanswered
from evals.output.console import Console
from evals.output.formats import plain
from evals.run.dollars import tell_dollars
from evals.run.progress import Progress
from evals.run.summary import summary
from pipeline.agents import examples
from pipeline.agents.agents import LLMAgents
from pipeline.agents.budget import Capped
from pipeline.config import RunConfig, build
from pipeline.errors import EconomistError, StoreError, UsageError
from pipeline.parallel import ray_cluster
from pipeline.parallel.interrupts import INTERRUPTED, POLITE, in_main_thread, polite_ends, run_async
from pipeline.parallel.shared_state import Shared
from pipeline.permissions import confirming_flags
from pipeline.printed_commands import command
from pipeline.simulation.loop import Simulation
from pipeline.simulation.records import Year
from pipeline.simulation.world import World, create
from pipeline.store import shards
from pipeline.store.import_runs import ImportedRun
from pipeline.store.lost_database import FileLost
from pipeline.store.writer import check_path
from pipeline.terminal import note_if_lost, visible
from programs.calls.model_names import RULES
from programs.models import default_model, without_secrets
from programs.urls import cut, each_url, shown

log = logging.getLogger("llm_economist")


def configure(settings: Mapping[str, Any]) -> RunConfig:
    """Settings with a name, made up if none is given, but without a default model. UsageError in one line."""
    try:
        config = build(settings)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if config.base_url:  # an address is often copied from an example of a request
        config = replace(config, base_url=",".join(map(cut, each_url(config.base_url))))
    if config.name:
        return config
    model = _file_name(config.llm or "default")
    made = f"{config.scenario}-{model}-{config.num_agents}x{config.max_timesteps}-seed{config.seed}"
    return replace(config, name=made)


def _file_name(text: str) -> str:
    """`text` as part of a file name, in characters that this machine allows."""
    name = re.sub(r"[^\w.-]+", "-", text)
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return re.sub(r"[^\x00-\x7f]+", "-", name)
    return name


def choose_model(config: RunConfig) -> tuple[str, str]:
    """The model of a run and why it was chosen. UsageError if none is named and a server has several."""
    if config.worker_type == "FIXED" and config.planner_type != "LLM":
        return RULES, f"nobody is asked: workers are FIXED and the planner is {config.planner_type}"
    if config.llm:
        return config.llm, "--llm"
    try:
        return default_model(config.base_url, config.given)
    except ValueError as error:
        raise UsageError(str(error)) from error


class Played(NamedTuple):
    """A run that has ended, well or not: its exit code, the file that it is in now, and its number there."""

    code: int
    db: str
    run_id: int


def run(settings: Mapping[str, Any], console: Console) -> int:
    """Play a run and print its summary; return the exit code. EconomistError has the message for the user."""
    return begin_and_play(settings, console).code


def begin_and_play(settings: Mapping[str, Any], console: Console, *, progress: Console | None = None) -> Played:
    """The same, and where the run is. `progress`: where the progress is shown, if not on `console` like all else."""
    config = configure(settings)
    ray_cluster.require(config)
    model, why = choose_model(config)
    console.print(f"Model: [bold]{escape(model)}[/bold] ({escape(why)})", highlight=False, soft_wrap=True)
    if config.base_url and config.base_url != ",".join(each_url(settings.get("base_url"))):
        console.print(
            f"Asked at {escape(shown(config.base_url))}: --base-url ends where requests add their own path.",
            highlight=False,
            soft_wrap=True,
        )
    config = replace(config, llm=config.llm or model)  # so that the stored settings name it
    world = create(config)
    tell_dollars(config, console)
    tell_shocks(world, console)
    cautions_told.tell(cautions_told.before(world), console)
    merge_shards(config.db, console)
    shards.unless_live(config.db, lambda: check_path(config.db))
    llm_agents = LLMAgents(config, model)
    for caution in llm_agents.cautions:
        console.print(f"Caution: {escape(caution)}", highlight=False, soft_wrap=True)
    llm_agents.learn(examples.pools(llm_agents.modules, config))
    if llm_agents.pools:
        console.print(
            _examples_in_words(llm_agents.pools, config.examples or config.db), highlight=False, soft_wrap=True
        )
    run_async(llm_agents.preflight())
    with shards.open_store(config.db, personas=config.scenario != "rational") as store:
        if store.path != config.db:
            console.print(
                f"Another run is writing {escape(config.db)}: this one goes to {escape(store.path)}, "
                "to be merged when both have ended.",
                highlight=False,
                soft_wrap=True,
            )
        simulation = Simulation(replace(config, db=store.path), store, llm_agents, world=world)
        code = play(simulation, console, progress=progress)
    merged = [] if code == INTERRUPTED else merge_shards(config.db, console)
    return Played(code, *_whereabouts(store.path, simulation.run_id, config.db, merged))


def _whereabouts(
    path: str, run_id: int, db: str, merged: Sequence[tuple[str, Sequence[ImportedRun]]]
) -> tuple[str, int]:
    """The file and the number of a run that was written to `path`, after shards were `merged` into `db`."""
    moved = (one.new for shard, runs in merged for one in runs if shard == path and one.old == run_id)
    new = next(moved, None)
    return (path, run_id) if new is None else (shards.main_of(db), new)


def tell_shocks(world: World, console: Console, *, since: int = 0) -> None:
    """Print which workers the shocks from year `since` on hit."""
    for shock, hit in zip(world.exposure.shocks, world.exposure.hit, strict=True):
        if shock.first >= since:
            whom = f": {hit.sum()} of {len(hit)} workers" if shock.condition else ""
            console.print(f"Shock {escape(shock.text)}{whom}", highlight=False, soft_wrap=True)


def _examples_in_words(pools: examples.Pools, db: str) -> str:
    """The number of examples that the strategies can select from."""
    found = ", ".join(f"{question} {len(pool)}" for question, pool in pools.items() if pool)
    if not found:
        return f"Examples: {escape(db)} has no decisions yet to choose from; knn asks without examples"
    return f"Examples from the decisions in {escape(db)}: {found}"


def then_merge(code: int, db: str, console: Console) -> int:
    """Merge the shards that have ended by now, unless the user wants to stop at once; return `code`."""
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


def play(simulation: Simulation, console: Console, *, progress: Console | None = None) -> int:
    """Play a simulation to its end, with progress, text log and summary; return the exit code."""
    with Progress(progress or console, simulation.config, simulation.llm_agents.usage, simulation.start) as years:
        try:
            ending = carry_out(simulation, years.on_year)
        except EconomistError as error:
            if not simulation.run_id or isinstance(error, FileLost):
                raise
            raise type(error)(f"{error}; go on with: {_resume(simulation)}") from error
    if ending.status == "finished":
        note_if_lost(f"run {simulation.run_id} is finished and stored")
    else:
        told = f"{ending.why}; go on with: {_resume(simulation)}"
        note_if_lost(f"run {simulation.run_id} is {ending.status}: {told}")
        console.print(f"[bold]{ending.status}[/bold]: {escape(told)}", highlight=False, soft_wrap=True)
    if simulation.world.outcome is not None and not console.quiet:
        console.print(summary(simulation))
    simulation.store.flush()
    for line in unanswered.cautions(simulation.store, simulation.run_id, simulation.config.db):
        console.print(escape(plain(line)), highlight=False, soft_wrap=True)
    _tell_where(simulation, console)
    return INTERRUPTED if ending.status == "interrupted" else 0


class Ending(NamedTuple):
    """How a run ended without an error: `finished`, `interrupted` or `stopped` by a cap, and why."""

    status: str
    why: str = ""


def carry_out(simulation: Simulation, on_year: Callable[[Year], None]) -> Ending:
    """Play a simulation to its end with its text log, its live state and W&B; prints nothing.

    The run's row records how it ended; EconomistError has the message for the user.
    """
    config = simulation.config

    def play() -> None:
        with ExitStack() as stack:
            stack.enter_context(_text_log(config, goes_on=simulation.start > 0))
            observers = [on_year, _log_year, _tell_live(simulation)]
            if config.wandb:
                from evals.run.wandb_log import WandbLog

                observers.append(stack.enter_context(WandbLog(config, simulation.llm_agents.usage)).on_year)

            def observe(year: Year) -> None:
                for observer in observers:
                    observer(year)

            simulation.on_year = observe
            run_async(simulation.play())

    return _see_through(simulation, play)


@polite_ends()
def _see_through(simulation: Simulation, play: Callable[[], None]) -> Ending:
    """Play to the end and set the run's status in every case. KeyboardInterrupt if there is no run yet."""
    store = simulation.store
    ours = (signal.SIGINT, *POLITE) if in_main_thread() else ()
    previous = {number: signal.getsignal(number) for number in ours}
    try:
        play()
        store.finish_run(simulation.run_id, "finished")
    except KeyboardInterrupt:
        if not simulation.run_id:
            raise
        for number in previous:  # nobody's impatience leaves the run as one that goes on
            signal.signal(number, signal.SIG_IGN)
        store.finish_run(simulation.run_id, "interrupted")
        return Ending("interrupted", "all replies are stored")
    except Capped as cap:
        store.finish_run(simulation.run_id, "stopped", str(cap))
        return Ending("stopped", str(cap))
    except EconomistError as error:
        if simulation.run_id and (
            isinstance(error, FileLost) or not isinstance(error, StoreError)
        ):  # a store that failed can't be told how it ended
            store.finish_run(simulation.run_id, "failed", str(error))
        raise
    except Exception as error:
        store.finish_run(simulation.run_id, "failed", without_secrets(f"{type(error).__name__}: {error}")[:300])
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return Ending("finished")


def _resume(simulation: Simulation) -> str:
    again = confirming_flags(simulation.config, simulation.llm_agents.model)
    return command("resume", simulation.run_id, "--db", simulation.config.db, *again)


def _tell_live(simulation: Simulation) -> Callable[[Year], None]:
    """Update the state that other processes see of this run."""
    server = simulation.store.server
    known = {"name": simulation.config.name, "years": simulation.config.max_timesteps}
    if server is not None:
        server.progress = {**known, "year": simulation.start}

    def on_year(year: Year) -> None:
        if server is not None:
            usage = simulation.llm_agents.usage
            server.progress = {
                **known,
                "run_id": simulation.run_id,
                "year": year.year + 1,
                "welfare": year.welfare,
                "calls": usage.calls,
                "tokens": usage.tokens,
                "cost_usd": usage.cost_usd,
            }

    return on_year


def _log_year(year: Year) -> None:
    log.info(
        "year %d: welfare %.6g, mean hours %.1f, failed %d",
        year.year,
        year.welfare,
        year.outcome.labor.mean(),
        year.failed,
    )


class _Legible(logging.Formatter):
    """Log lines that are safe to show on a terminal, without control characters from models or servers."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def _quieten() -> int:
    before = logging.getLogger("dspy").level
    logging.getLogger("dspy").setLevel(logging.ERROR)
    return before


_QUIET = Shared(_quieten, logging.getLogger("dspy").setLevel)
"""DSPy's warnings would garble the progress bar."""


class _text_log:
    """The run's text log, `LOG_DIR/NAME.log`, kept when the run resumes; with --debug also every failed call."""

    def __init__(self, config: RunConfig, *, goes_on: bool) -> None:
        self.config, self.mode = config, "a" if goes_on else "w"

    def __enter__(self) -> None:
        folder = Path(self.config.log_dir)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"{_file_name(self.config.name)}.log"
            self.handler = logging.FileHandler(file, self.mode, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UsageError(f"--log-dir {self.config.log_dir} cannot be written ({error.strerror})") from error
        _QUIET.__enter__()
        self.handler.setFormatter(_Legible("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(self.handler)
        log.propagate = False
        log.setLevel(logging.DEBUG if self.config.debug else logging.INFO)
        log.info("run %s: %s", self.config.name, self.config.public())

    def __exit__(self, *exc: object) -> None:
        log.removeHandler(self.handler)
        self.handler.close()
        _QUIET.__exit__()


def _tell_where(simulation: Simulation, console: Console) -> None:
    db, run_id = simulation.config.db, simulation.run_id
    console.print(
        f"Run {run_id} is in [bold]{escape(str(Path(db).absolute()))}[/bold]", highlight=False, soft_wrap=True
    )
    query = f"select year, rates, welfare from years where run_id = {run_id}"
    console.print(f"Next: {escape(command('sql', query, '--db', db))}", highlight=False, soft_wrap=True)
