"""Worker processes as Ray actors (`--engine ray`): Ray spreads them over its nodes and restarts lost ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from pipeline.agents.question import Question
from pipeline.errors import EconomistError, UsageError
from pipeline.parallel.ray_cluster import cluster
from pipeline.parallel.worker import LIVES, SHUTDOWN_TIMEOUT, AgentWorker, Report, WorkerSetup


class Actor:
    """A worker process on some node."""

    def __init__(self, setup: WorkerSetup, folder: str) -> None:
        self.agent_worker = AgentWorker(setup)
        self.agent_worker.take_log()
        with suppress(OSError):  # paths of saved programs and prices may be relative to it
            os.chdir(folder)

    async def is_at_home(self) -> bool:
        """Whether the call files of the run can be written here."""
        return Path(self.agent_worker.setup.folder).parent.is_dir()

    async def answer(self, batch: Sequence[Question]) -> Report:
        """The report of the worker process."""
        return await self.agent_worker.answer(batch)


class Actors:
    """One actor for each part of the population, on the cluster at `address` (pipeline/parallel/ray_cluster.py)."""

    def __init__(
        self, setups: Callable[[int], Sequence[WorkerSetup]], *, count: int | None, address: str | None
    ) -> None:
        """`setups`: a function of the number of processes; without a count, there is one per CPU. UsageError if they
        cannot work."""
        with ExitStack() as stack:
            self.ray = stack.enter_context(cluster(address))
            count = count or max(1, int(self.ray.cluster_resources().get("CPU", 1)))
            # An actor waits more than it computes, so a node may have any number of them.
            kind = self.ray.remote(
                num_cpus=0, max_restarts=-1, max_task_retries=LIVES - 1, scheduling_strategy="SPREAD"
            )(Actor)
            self.members = [kind.remote(setup, os.getcwd()) for setup in setups(count)]
            self.under_way: set[Any] = set()
            stack.callback(self._end)
            self._check()
            self._exit = stack.pop_all()

    def _check(self) -> None:
        at_home = self.ray.get([member.is_at_home.remote() for member in self.members])
        if not all(at_home):
            raise UsageError("a node of the Ray cluster does not see the folder of --db; expected one that all share")

    @property
    def count(self) -> int:
        """The number of worker processes."""
        return len(self.members)

    async def ask(self, number: int, batch: Sequence[Question]) -> Report:
        """The report of worker process `number`. EconomistError if it was lost `LIVES` times."""
        asked = self.members[number].answer.remote(batch)
        self.under_way.add(asked)
        try:
            report: Report = await asked
        except self.ray.exceptions.RayActorError as error:
            why = str(error).strip().splitlines()[0][:160]
            raise EconomistError(f"shard {number} was lost {LIVES} times in a year ({why})") from error
        self.under_way.remove(asked)  # an interrupted one stays
        return report

    def close(self) -> None:
        """Have all actors store their calls and end; also end the cluster if it was started here."""
        self._exit.close()

    def _end(self) -> None:
        for asked in self.under_way:
            self.ray.cancel(asked)
        if self.under_way:
            self.ray.wait(list(self.under_way), num_returns=len(self.under_way), timeout=SHUTDOWN_TIMEOUT)
        for member in self.members:
            self.ray.kill(member)
