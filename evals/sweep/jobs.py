"""Jobs of a sweep, and how a process plays them in sequence."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace

from evals.run.progress import News
from evals.sweep.cells import Cell
from evals.telemetry.live import reported
from pipeline.agents import examples
from pipeline.agents.agents import LLMAgents
from pipeline.errors import EconomistError
from pipeline.parallel.interrupts import run_async
from pipeline.simulation.lifecycle import carry_out, take_up
from pipeline.simulation.loop import Simulation
from pipeline.simulation.records import Year
from pipeline.store.columns import Row
from pipeline.store.run_lookup import find_run
from pipeline.store.writer import Store

log = logging.getLogger("llm_economist")

Report = Callable[[News], None]


@dataclass(frozen=True)
class Job:
    """A cell to play: as a new run, or by resuming a run in the database."""

    cell: Cell
    run_id: int | None = None


@dataclass(frozen=True)
class Group:
    """Jobs that are played in sequence into the same file.

    `in_main`: into the sweep's database, where the runs to resume are; otherwise into any file, which first gets these
    `personas`.
    """

    jobs: tuple[Job, ...]
    in_main: bool
    personas: tuple[Row, ...] = ()


def play_jobs(store: Store, jobs: Iterable[Job], report: Report) -> None:
    """Play jobs in sequence. An EconomistError names the cell that failed."""
    for job in jobs:
        try:
            _play_job(store, job, report)
        except EconomistError as error:
            raise type(error)(f"{job.cell.shown}: {error}") from error


def _play_job(store: Store, job: Job, report: Report) -> None:
    key, years = job.cell.key, 0
    simulation = _simulation(store, job)
    if simulation is not None:
        usage, before = simulation.llm_agents.usage, replace(simulation.llm_agents.usage)

        def news(done: bool = False) -> News:
            tokens, cost = usage.tokens - before.tokens, usage.cost_usd - before.cost_usd
            return News(key, years, tokens, cost, usage.unpriced - before.unpriced, done)

        def on_year(year: Year) -> None:
            nonlocal years
            years += 1
            report(news())

        with reported(simulation, lambda line: log.warning("%s: %s", job.cell.shown, line)) as report_year:
            ending = carry_out(simulation, on_year, observers=[nullcontext(report_year)])
        if ending.status == "interrupted":
            raise KeyboardInterrupt
        if ending.status == "stopped":
            raise EconomistError(f"{ending.why}; raise the cap")
        report(news(done=True))
    else:
        report(News(key, 0, done=True))


def _simulation(store: Store, job: Job) -> Simulation | None:
    """The run, new or resumed; None if it only had to be marked as finished."""
    config = replace(job.cell.config, db=store.path)
    if job.run_id is not None:
        row = find_run(store, str(job.run_id))
        return take_up(store, row, replace(config, name=row["name"]))
    llm_agents = LLMAgents(config, job.cell.model)
    llm_agents.learn(examples.fixed_pools(llm_agents.modules, config))
    run_async(llm_agents.preflight())
    return Simulation(config, store, llm_agents)
