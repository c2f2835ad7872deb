"""Play the jobs of a sweep in several processes, each of which writes its own shard next to the database."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue

from evals.run.progress import News
from evals.sweep.jobs import Group, Report, play_jobs
from pipeline import terminal
from pipeline.errors import EconomistError
from pipeline.parallel.interrupts import deaf_to_interrupts, work_for_another
from pipeline.store import shards
from pipeline.store.writer import Store
from programs.models import blotted

SHUTDOWN_TIMEOUT = 15.0
"""Seconds for a process to store its data and end, before it is killed."""

READY = "ready"
"""The message of an idle process; otherwise it sends `News`, or the error that ended it."""


def play_in_processes(groups: Sequence[Group], db: str, processes: int, report: Report) -> None:
    """Play groups of jobs in up to `processes` concurrent processes; the first error ends them all.

    Afterwards all processes have ended. Their results are in the shards of `db`, or in `db` itself.
    """
    spawn, left = get_context("spawn"), deque(groups)
    crew: dict[Connection, SpawnProcess] = {}
    try:
        for _ in range(min(processes, len(groups))):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=work, args=(theirs, db))  # not a daemon: it may start worker processes
            with deaf_to_interrupts():
                process.start()
                crew[ours] = process
            theirs.close()
        _direct(crew, left, report)
    except BaseException:
        for process in crew.values():
            process.terminate()
        raise
    finally:
        for pipe, process in crew.items():
            process.join(SHUTDOWN_TIMEOUT)
            process.kill()
            process.join()
            pipe.close()


def _direct(crew: dict[Connection, SpawnProcess], left: deque[Group], report: Report) -> None:
    """Hand out groups and receive reports, until every process has been told to stop."""
    at_work = dict(crew)
    while at_work:
        for pipe in wait(list(at_work)):
            assert isinstance(pipe, Connection)
            try:
                said = pipe.recv()
            except EOFError:
                at_work[pipe].join()
                raise EconomistError(f"a process of the sweep died (exit code {at_work[pipe].exitcode})") from None
            if isinstance(said, News):
                report(said)
            elif isinstance(said, Exception):
                raise said
            elif left:
                pipe.send(left.popleft())
            else:
                pipe.send(None)
                del at_work[pipe]


def work(pipe: Connection, db: str) -> None:
    """The main loop of a process: groups of jobs from `pipe`, until it receives None.

    It ends quietly if the sweep stops it with SIGTERM, or has ended itself. Ctrl-C does not reach it.
    """
    work_for_another()
    terminal.prepare()
    with suppress(KeyboardInterrupt, BrokenPipeError):
        inbox: SimpleQueue[Group | None] = SimpleQueue()
        threading.Thread(target=_listen, args=(pipe, inbox), daemon=True).start()
        try:
            _work(pipe, inbox, db)
        except EconomistError as error:
            pipe.send(error)
        except Exception:  # the sweep reports it as a bug
            pipe.send(RuntimeError(blotted(traceback.format_exc())))


def _listen(pipe: Connection, inbox: SimpleQueue[Group | None]) -> None:
    """Receive groups from the sweep; if its process has ended, interrupt the runs."""
    try:
        while (group := pipe.recv()) is not None:
            inbox.put(group)
        inbox.put(None)
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)


def _work(pipe: Connection, inbox: SimpleQueue[Group | None], db: str) -> None:
    shard: Store | None = None
    try:
        while (group := _next(pipe, inbox)) is not None:
            if group.in_main:
                with Store(db, serve=True) as store:
                    play_jobs(store, group.jobs, pipe.send)
                continue
            shard = shard or Store(shards.new_shard(db), serve=True)
            shard.write({"personas": group.personas})
            play_jobs(shard, group.jobs, pipe.send)
    finally:
        if shard is not None:
            shard.close()


def _next(pipe: Connection, inbox: SimpleQueue[Group | None]) -> Group | None:
    pipe.send(READY)
    return inbox.get()
