"""Worker processes on this machine, which receive their questions through pipes (`--processes`)."""

from __future__ import annotations

import asyncio
import os
import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from pipeline import terminal
from pipeline.agents.question import Question
from pipeline.errors import EconomistError, StoreError
from pipeline.parallel.interrupts import deaf_to_interrupts, work_for_another
from pipeline.parallel.worker import LIVES, SHUTDOWN_TIMEOUT, AgentWorker, Report, WorkerSetup
from programs.models import blotted


class Processes:
    """One process for each part of the population. A lost one restarts and continues from its call files."""

    def __init__(self, setups: Sequence[WorkerSetup]) -> None:
        self.setups = setups
        self.threads = ThreadPoolExecutor(len(setups), thread_name_prefix="process")
        self.turns = [asyncio.Lock() for _ in setups]
        self.members: list[tuple[SpawnProcess, Connection]] = []
        try:
            for setup in setups:
                self.members.append(_begin(setup))
        except BaseException:
            self.close()
            raise

    @property
    def count(self) -> int:
        """The number of worker processes."""
        return len(self.setups)

    async def ask(self, number: int, batch: Sequence[Question]) -> Report:
        """The report of worker process `number`. EconomistError if it was lost `LIVES` times."""
        loop = asyncio.get_running_loop()
        async with self.turns[number]:
            for _ in range(LIVES):
                _, pipe = self.members[number]
                try:
                    return await loop.run_in_executor(self.threads, _exchange, pipe, batch)
                except (EOFError, ConnectionError):
                    code = _end(*self.members[number])
                    self.members[number] = _begin(self.setups[number])
        raise EconomistError(f"process {number} of --processes was lost {LIVES} times in a year (exit code {code})")

    def close(self) -> None:
        """Have all processes store their calls and end."""
        for process, _ in self.members:
            process.terminate()
        for member in self.members:
            _end(*member)
        self.threads.shutdown()


def _begin(setup: WorkerSetup) -> tuple[SpawnProcess, Connection]:
    spawn = get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=work, args=(theirs, setup), name=f"process {setup.number}", daemon=True)
    with deaf_to_interrupts():
        process.start()
    theirs.close()
    return process, ours


def _end(process: SpawnProcess, pipe: Connection) -> int | None:
    """The exit code of a process that was told to end, or has ended; a process that does not end is killed."""
    process.join(SHUTDOWN_TIMEOUT)
    process.kill()
    process.join()
    pipe.close()
    return process.exitcode


def _exchange(pipe: Connection, batch: Sequence[Question]) -> Report:
    pipe.send(batch)
    said = pipe.recv()
    if isinstance(said, Exception):
        raise said
    assert isinstance(said, Report)
    return said


def work(pipe: Connection, setup: WorkerSetup) -> None:
    """Answer batches from `pipe` until the run's main process sends SIGTERM or ends."""
    work_for_another()
    terminal.prepare()
    with suppress(KeyboardInterrupt, EOFError, ConnectionError), asyncio.Runner() as runner:
        agent_worker = AgentWorker(setup)
        agent_worker.take_log()
        threading.Thread(target=_exit_with_parent, args=(agent_worker,), daemon=True).start()
        while True:
            pipe.send(_answered(runner, agent_worker, pipe.recv()))


def _answered(runner: asyncio.Runner, agent_worker: AgentWorker, batch: Sequence[Question]) -> Report | Exception:
    try:
        return runner.run(agent_worker.answer(batch))
    except EconomistError as error:
        return error
    except Exception:  # the run reports it as a bug
        return RuntimeError(blotted(traceback.format_exc()))


def _exit_with_parent(agent_worker: AgentWorker) -> None:
    """Once the run's main process has ended for any reason, store all replies and exit."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    with suppress(StoreError):
        agent_worker.journal.flush()
    os._exit(1)
