"""Play the jobs of a sweep as Ray tasks (`--engine ray`): each group writes a shard in the database's shared folder.

Ray restarts a lost task, which resumes from its shard.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.sweep.cells import plan
from evals.sweep.jobs import Group, Job, Report, play_jobs
from pipeline.errors import EconomistError
from pipeline.parallel.ray_cluster import cluster
from pipeline.store import shards
from pipeline.store.writer import Store
from programs.models import blotted

SHUTDOWN_TIMEOUT = 15.0
"""Seconds for a task to store its data and end, before it is killed."""

PAUSE = 0.2
"""Seconds between two checks for reports of the tasks."""

RETRIES = 4
"""How often a lost task is restarted."""


def play_on_ray(groups: Sequence[Group], db: str, report: Report, *, most: int, address: str | None) -> None:
    """Play groups of jobs, at most `most` at a time and as many as the cluster has CPUs; the first error ends them all.

    Afterwards all tasks have ended. Their results are in the shards of `db`, or in `db` itself.
    """
    with cluster(address) as ray:
        from ray.util.queue import Queue

        news = Queue(actor_options={"num_cpus": 0})
        task = ray.remote(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD")(play_group)
        left = deque(enumerate(groups))
        under_way: list[Any] = []
        try:
            while left or under_way:
                while left and len(under_way) < most:
                    number, group = left.popleft()
                    under_way.append(task.remote(_at_home(group), _file(db, group, number), os.getcwd(), news))
                done, under_way = ray.wait(under_way, timeout=PAUSE)
                _tell(news, report)
                for failure in filter(None, ray.get(done)):
                    raise failure
            _tell(news, report)
        except BaseException:
            _end(ray, under_way)
            raise
        finally:
            news.shutdown()


def _at_home(group: Group) -> Group:
    """The group with settings that make the task's own process answer."""
    jobs = (replace(job, cell=replace(job.cell, config=job.cell.config.undivided())) for job in group.jobs)
    return replace(group, jobs=tuple(jobs))


def _file(db: str, group: Group, number: int) -> str:
    """The absolute path of the database that a group is played into."""
    path = Path(db).absolute()
    name = f"{path.stem}{shards.MARK}{os.getpid()}-task{number}{path.suffix}"
    return str(path if group.in_main else path.with_name(name))


def _tell(news: Any, report: Report) -> None:
    for one in news.get_nowait_batch(news.qsize()):
        report(one)


def _end(ray: Any, under_way: list[Any]) -> None:
    """Interrupt the running tasks, and wait until they have stored their data."""
    for asked in under_way:
        ray.cancel(asked)
    if under_way:
        ray.wait(under_way, num_returns=len(under_way), timeout=SHUTDOWN_TIMEOUT)


def play_group(group: Group, db: str, folder: str, news: Any) -> Exception | None:
    """The task: play the jobs of a group into `db`; return the error that ended it, if any."""
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ray cancels by an interrupt
    try:
        goes_on = os.path.exists(db)
        with Store(db, serve=True) as store:
            if not goes_on:
                store.write({"personas": group.personas})
            play_jobs(store, _left(store, group.jobs), news.put)
    except EconomistError as error:
        return error
    except Exception:  # the sweep reports it as a bug
        return RuntimeError(blotted(traceback.format_exc()))
    return None


def _left(store: Store, jobs: Sequence[Job]) -> Iterable[Job]:
    """The remaining jobs: a lost predecessor may have played some, and interrupted ones resume."""
    found = plan(store, [job.cell for job in jobs])
    for job in jobs:
        if job.cell.key not in found.done:
            yield replace(job, run_id=found.cut_off.get(job.cell.key))
