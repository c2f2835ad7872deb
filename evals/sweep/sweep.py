"""Play many runs in one sweep. Finished runs in the database are reused, interrupted ones resume.

made = Sweep(cells(settings, arms, seeds=range(1, 21)), "economist.duckdb")
runs = made.play(console)          # run ids by `Cell.key`
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.output.console import Console
from evals.run.command import merge_shards
from evals.run.progress import SweepProgress
from evals.sweep.cells import Cell, Plan, plan
from evals.sweep.jobs import Group, Job, Report, play_jobs
from pipeline.agents import examples
from pipeline.agents.agents import LLMAgents
from pipeline.config import RunConfig
from pipeline.errors import EconomistError, StoreError, UsageError
from pipeline.parallel import ray_cluster
from pipeline.parallel.interrupts import polite_ends
from pipeline.scenarios import SCENARIOS
from pipeline.simulation.personas import written_by
from pipeline.store import shards
from pipeline.store.columns import Row
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.writer import Store, check_path
from pipeline.terminal import note_if_lost


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
            note_if_lost(f"interrupted: {self._left()}", unfinished=True)
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
        once, by its first run."""
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
