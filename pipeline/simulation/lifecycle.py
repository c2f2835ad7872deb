"""The stages of a run from its start to its end, the same for the command line, Python and sweeps."""

from __future__ import annotations

import logging
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any, NamedTuple

import dspy

from pipeline.agents import examples
from pipeline.agents.agents import LLMAgents, Usage
from pipeline.agents.budget import Capped
from pipeline.agents.examples import stored_pools
from pipeline.agents.model_choice import choose_model, configure, file_name
from pipeline.config import RunConfig
from pipeline.errors import EconomistError, StoreError, UsageError
from pipeline.parallel import ray_cluster
from pipeline.parallel.interrupts import POLITE, polite_ends, run_async
from pipeline.parallel.shared_state import Shared
from pipeline.printed_commands import command
from pipeline.simulation.loop import Simulation
from pipeline.simulation.records import Year
from pipeline.simulation.restore import restore
from pipeline.simulation.world import World, create
from pipeline.store import shards
from pipeline.store.call_rows import INTERVIEW
from pipeline.store.columns import Reader, Row
from pipeline.store.incoming_calls import TOTALS
from pipeline.store.lost_database import FileLost
from pipeline.store.run_lookup import known_calls, years_played
from pipeline.store.writer import Store, check_name
from programs.calls.rate_limits import calls_in_flight
from programs.given_models import giving
from programs.interruptible import in_main_thread
from programs.models import without_secrets
from programs.visible import visible

log = logging.getLogger("llm_economist")


OnYear = Callable[[Year], None]
"""Called after every year of a run."""


class Ending(NamedTuple):
    """How a run ended without an error: `finished`, `interrupted` or `stopped` by a cap, and why."""

    status: str
    why: str = ""


def prepare(settings: Mapping[str, Any]) -> tuple[RunConfig, str, str]:
    """Valid settings of a new run that name its model, the model, and why it was chosen. UsageError in one line."""
    config = configure(settings)
    ray_cluster.require(config)
    model, why = choose_model(config)
    return replace(config, llm=config.llm or model), model, why


_writing: defaultdict[Path, Lock] = defaultdict(Lock)
"""Locks by database: two threads of a process would share one connection's transactions, so one waits for the other."""


def stored_run(
    settings: Mapping[str, Any],
    play: Callable[[Simulation], Ending],
    *,
    models: Mapping[str, dspy.BaseLM] = MappingProxyType({}),
) -> tuple[str, int]:
    """Let `play` carry out a new run without printing anything; the database and the number of the run.

    `settings` and `models` as `pipeline.agents.given_parts.as_stored` gives them. EconomistError if the run cannot be
    played; an interrupt is raised as KeyboardInterrupt, which says how to resume the run.
    """
    config, model, _ = prepare(settings)
    if models and (config.processes > 1 or config.engine != "local"):
        raise UsageError("llm: a model object answers in one process; leave out processes and engine, or give its name")
    world, main = create(config), shards.main_of(config.db)
    with _writing[Path(main).absolute()]:
        shards.merge(main)
        with giving(models), new_run(config, model, world, tell=lambda notice: None) as simulation:
            ending = play(simulation)
        db, run_id = simulation.config.db, simulation.run_id
        if ending.status == "interrupted":
            again = command("resume", run_id, "--db", db)
            raise KeyboardInterrupt(f"run {run_id} is interrupted, and all replies are stored; resume it with: {again}")
        moved = [one.new for shard, runs in shards.merge(main) for one in runs if shard == db and one.old == run_id]
    return (main, moved[0]) if moved else (db, run_id)


@contextmanager
def new_run(
    config: RunConfig,
    model: str,
    world: World,
    tell: Callable[[str], None],
) -> Iterator[Simulation]:
    """A run that is ready to be played: its database is open, and its model has answered.

    The database stays open for as long as the context lasts. While another process writes it, the run goes to a shard
    (shards.py). `tell` gets each notice for the user, as plain text in one line. EconomistError if the run cannot
    begin; a database that was created for it is removed then.
    """
    check_name(config.db)
    with polite_ends(), shards.open_store(config.db) as store:
        llm_agents = LLMAgents(config, model)
        for caution in llm_agents.cautions:
            tell(f"Caution: {caution}")
        llm_agents.learn(examples.pools(llm_agents.modules, config, store))
        if llm_agents.pools:
            tell(_examples_in_words(llm_agents.pools, config.examples or config.db))
        run_async(llm_agents.preflight())
        if store.path != config.db:
            if config.scenario != "rational":
                shards.take_personas(store, config.db)
            tell(
                f"Another run is writing {config.db}: this one goes to {store.path}, to be merged when both have ended."
            )
        yield Simulation(replace(config, db=store.path), store, llm_agents, world=world)


def _examples_in_words(pools: examples.Pools, db: str) -> str:
    """The number of examples that the strategies can select from."""
    found = ", ".join(f"{question} {len(pool)}" for question, pool in pools.items() if pool)
    if not found:
        return f"Examples: {db} has no decisions yet to choose from; knn asks without examples"
    return f"Examples from the decisions in {db}: {found}"


def carry_out(
    simulation: Simulation, on_year: OnYear, *, observers: Iterable[AbstractContextManager[OnYear]] = ()
) -> Ending:
    """Play a simulation to its end, with its text log and its live state; prints nothing.

    `observers` are entered after the log is open and yield functions that are called after every year, as `on_year` is.
    The run's row records how it ended; EconomistError has the message for the user.
    """

    def play() -> None:
        with ExitStack() as stack:
            stack.enter_context(_text_log(simulation.config, resumed=simulation.start > 0))
            told = [
                on_year,
                _log_year,
                _tell_live(simulation),
                simulation.llm_agents.callbacks.on_year,
                *map(stack.enter_context, observers),
            ]

            def observe(year: Year) -> None:
                for tell in told:
                    tell(year)

            simulation.on_year = observe
            run_async(simulation.play())

    return _with_status(simulation, play)


@polite_ends()
def _with_status(simulation: Simulation, play: Callable[[], None]) -> Ending:
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
        for number in previous:  # a second Ctrl-C must not leave the run with the status `running`
            signal.signal(number, signal.SIG_IGN)
        store.finish_run(simulation.run_id, "interrupted")
        return Ending("interrupted", "all replies are stored")
    except Capped as cap:
        store.finish_run(simulation.run_id, "stopped", str(cap))
        return Ending("stopped", str(cap))
    except EconomistError as error:
        if simulation.run_id and (
            isinstance(error, FileLost) or not isinstance(error, StoreError)
        ):  # a failed store cannot record how the run ended
            store.finish_run(simulation.run_id, "failed", str(error))
        raise
    except Exception as error:
        store.finish_run(simulation.run_id, "failed", without_secrets(f"{type(error).__name__}: {error}")[:300])
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return Ending("finished")


def _tell_live(simulation: Simulation) -> OnYear:
    """Update the state that other processes see of this run."""
    server = simulation.store.server
    known = {"name": simulation.config.name, "years": simulation.config.max_timesteps}
    started = time.monotonic()

    def at_this_moment() -> dict[str, Any]:
        now: dict[str, Any] = {"start": simulation.start, "seconds": time.monotonic() - started}
        if simulation.run_id:
            now["run_id"] = simulation.run_id
        if simulation.config.divided:  # other processes send the calls then
            now["under_way"] = simulation.llm_agents.under_way
        else:
            now["in_flight"] = calls_in_flight()
        return now

    if server is not None:
        server.progress = {**known, "year": simulation.start}
        server.at_this_moment = at_this_moment

    def on_year(year: Year) -> None:
        if server is not None:
            usage = simulation.llm_agents.usage
            server.progress = {
                **known,
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

    def __init__(self, config: RunConfig, *, resumed: bool) -> None:
        self.config, self.mode = config, "a" if resumed else "w"

    def __enter__(self) -> None:
        folder = Path(self.config.log_dir)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"{file_name(self.config.name)}.log"
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


def take_up(store: Store, row: Row, config: RunConfig) -> Simulation | None:
    """The simulation that resumes a run after its last complete year, without paying for a stored reply again.

    None if all of its years are stored: the run was interrupted just before its end and is now marked as finished.
    """
    run_id, start = int(row["run_id"]), years_played(store, int(row["run_id"]))
    if start >= config.max_timesteps:
        if row["status"] != "finished":
            store.finish_run(run_id, "finished")
        return None
    recorded = known_calls(store, row, start)
    llm_agents = LLMAgents(config, row["llm"], usage=usage_so_far(store, run_id))
    llm_agents.learn(stored_pools(store, run_id))
    llm_agents.enter(run_id)
    earlier = recorded.pop((start, "Preflight", None), [])
    run_async(llm_agents.preflight(year=start, earlier=earlier))
    return Simulation(
        config,
        store,
        llm_agents,
        run_id=run_id,
        world=restore(store, run_id, config, start),
        start=start,
        recorded=lambda year: recorded if year == start else known_calls(store, row, year),
        fallbacks=int(store.one("SELECT count(*) FROM decisions WHERE run_id = ? AND fallback", [run_id])),
    )


def usage_so_far(reader: Reader, run_id: int) -> Usage:
    """The usage of a run, from its stored calls."""
    query = f"SELECT {TOTALS} FROM lm_calls WHERE run_id = ? AND signature <> ?"
    return Usage(**reader.rows(query, [run_id, INTERVIEW])[0])
