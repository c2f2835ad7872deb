"""Play many runs in one sweep. Finished runs in the database are reused, interrupted ones resume.

made = Sweep(cells(settings, arms, seeds=range(1, 21)), "economist.duckdb")
runs = made.play(console)          # run ids by `Cell.key`
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evals.output.console import Console
from evals.run.command import carry_out, merge_shards
from evals.run.progress import News, SweepProgress
from evals.run.resume import take_up
from evals.sweep.cells import Cell, Plan, plan
from pipeline.agents import examples
from pipeline.agents.agents import LLMAgents
from pipeline.config import RunConfig
from pipeline.errors import EconomistError, StoreError, UsageError
from pipeline.parallel import ray_cluster
from pipeline.parallel.interrupts import polite_ends, run_async
from pipeline.scenarios import SCENARIOS
from pipeline.simulation.loop import Simulation
from pipeline.simulation.personas import written_by
from pipeline.simulation.records import Year
from pipeline.simulation.restore import ReadOnlyStore, find_run
from pipeline.store import shards
from pipeline.store.writer import Row, Store, check_path
from pipeline.terminal import note_if_lost

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


@dataclass
class Sweep:
    """Cells that one database is to hold, of which `parallel` play concurrently, each process with its own file.

    `any_code`: also reuse runs from other versions of the code.
    """

    cells: Sequence[Cell]
    db: str
    parallel: int = 1
    any_code: bool = False

    def plan(self, *, shards_too: bool = False) -> Plan:
        """The state of the sweep. Writes nothing. StoreError while another process writes the database.

        `shards_too`: also count runs in shards that no process writes, where run numbers differ.
        """
        found = Plan()
        for path in (self.db, *(filter(shards.at_rest, shards.shards_of(self.db)) if shards_too else ())):
            if Path(path).exists():
                with ReadOnlyStore(path) as reader:
                    found = found.joined(plan(reader, self.cells, any_code=self.any_code))
        return found

    @property
    def on_ray(self) -> bool:
        """Whether the runs are Ray tasks."""
        return any(cell.config.engine == "ray" for cell in self.cells)

    def check(self) -> None:
        """Refuse an arm that cannot be played, before anything is paid for. UsageError in one line."""
        if self.on_ray:
            ray_cluster.require(self.cells[0].config)
            if self.cells[0].config.shards is not None:
                raise UsageError(
                    "--shards applies to single runs: in a sweep with --engine ray each run is a task; leave it out"
                )
        for cell in {cell.arm: cell for cell in self.cells}.values():
            try:
                llm_agents = LLMAgents(cell.config, cell.model)
                examples.fixed_pools(llm_agents.modules, cell.config)
            except UsageError as error:
                raise UsageError(f"{cell.arm}: {error}") from error

    def play(self, console: Console) -> dict[str, int]:
        """Play the missing runs, with progress; return the run number of every cell, by `Cell.key`.

        An interrupt, a cap or an unavailable model ends the sweep at once. Repeating the command reuses finished runs
        and resumes interrupted ones. Raises KeyboardInterrupt or EconomistError with that message.
        """
        self.check()
        check_path(self.db)  # raises while another process writes it
        merge_shards(self.db, console, cut_off=True)
        found = self.plan()
        jobs = [Job(cell, found.cut_off.get(cell.key)) for cell in found.missing(self.cells)]
        console.print(self._in_words(found, jobs), highlight=False, soft_wrap=True)
        if not jobs:
            return found.done
        self._play(jobs, found, console)
        merge_shards(self.db, console)  # of other processes that have ended
        done = self.plan().done
        if any(cell.key not in done for cell in self.cells):
            raise StoreError(f"runs of this sweep are not in {self.db} yet; repeat the command")
        return done

    def _in_words(self, found: Plan, jobs: Sequence[Job]) -> str:
        wanted = {cell.key for cell in self.cells}
        again = sum(job.run_id is not None for job in jobs)
        words = f"{len(wanted)} runs: {len(wanted) - len(jobs)} cached, {again} resumed, {len(jobs) - again} new."
        if found.other_code:
            words += f" {len(found.other_code)} come from other versions of the code (--any-code reuses them)."
        return words

    @polite_ends()
    def _play(self, jobs: Sequence[Job], found: Plan, console: Console) -> None:
        years = sum(job.cell.config.max_timesteps - found.years.get(job.cell.key, 0) for job in jobs)
        try:
            with SweepProgress(console, runs=len(jobs), years=years) as progress:
                if self.on_ray or (self.parallel > 1 and len(jobs) > 1):
                    self._play_apart(jobs, progress.hear)
                else:
                    with Store(self.db, serve=True) as store:
                        play_jobs(store, jobs, progress.hear)
        except KeyboardInterrupt:
            note_if_lost(f"interrupted: {self._left()}")
            console.print(f"[bold]interrupted[/bold]: {self._left()}", highlight=False, soft_wrap=True)
            raise
        except StoreError:
            raise  # without a writable store the state is unknown
        except EconomistError as error:
            raise type(error)(f"{error}; {self._left()}") from error

    def _play_apart(self, jobs: Sequence[Job], report: Report) -> None:
        """Play jobs in other processes or on other machines, and merge what they wrote."""
        groups = self._groups(jobs)
        try:
            if self.on_ray:
                from evals.sweep.ray_tasks import play_on_ray

                most = self.parallel if self.parallel > 1 else len(groups)
                play_on_ray(groups, self.db, report, most=most, address=self.cells[0].config.ray_address)
            else:
                from evals.sweep.processes import play_in_processes

                play_in_processes(groups, self.db, self.parallel, report)
        finally:
            shards.merge(self.db, cut_off=True)

    def _left(self) -> str:
        done = len(self.plan().done)
        return f"{done} of {len({cell.key for cell in self.cells})} runs are finished; repeat the command to resume"

    def _groups(self, jobs: Sequence[Job]) -> list[Group]:
        """Jobs by the file that they need: runs resume in their own file, and the personas of a population are written
        once, by
        its first run."""
        apart: dict[object, list[Job]] = {}
        here = {population(job.cell) for job in jobs if job.run_id is not None}
        for job in jobs:
            who = population(job.cell)
            apart.setdefault("main" if who in here else who, []).append(job)
        stored = self._personas(jobs)
        return [Group(tuple(of), who == "main", tuple(stored.get(who, ()))) for who, of in apart.items()]

    def _personas(self, jobs: Iterable[Job]) -> Mapping[object, list[Row]]:
        """Stored personas of the populations of these jobs."""
        wanted = {population(job.cell) for job in jobs}
        if not Path(self.db).exists() or not any(map(has_personas, (job.cell.config for job in jobs))):
            return {}
        found: dict[object, list[Row]] = {}
        with ReadOnlyStore(self.db) as reader:
            for row in reader.rows("SELECT * FROM personas"):
                who = (row["model"], row["strategy"], row["seed"])
                if who in wanted:
                    found.setdefault(who, []).append(row)
        return found


def has_personas(config: RunConfig) -> bool:
    return SCENARIOS[config.scenario].personas


def population(cell: Cell) -> tuple[object, ...]:
    """A key that runs with the same personas share; a run without personas has its own."""
    if has_personas(cell.config):
        return (cell.model, written_by(cell.config), cell.config.seed)
    return (cell.key,)


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

        ending = carry_out(simulation, on_year)
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
