"""Distribute a run's questions over several worker processes, each of which serves a fixed range of agents.

The run's main process keeps the economy and the store. Concurrent questions reach a worker process as one message, and
its calls come back as files (pipeline/store/call_files.py), which enter the store at the end of the year.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

import dspy

from pipeline.agents.agents import LLMAgents
from pipeline.agents.question import Answer, Question
from pipeline.parallel.worker import Reply, Report, WorkerSetup, share
from pipeline.store.incoming_calls import calls_folder, ingest_calls, remove_call_files
from pipeline.store.writer import Store

log = logging.getLogger("llm_economist")


class Transport(Protocol):
    """The connection to the worker processes: `Processes` on this machine, or `Actors` on a Ray cluster."""

    @property
    def count(self) -> int: ...

    async def ask(self, number: int, batch: Sequence[Question]) -> Report: ...

    def close(self) -> None: ...


@contextmanager
def divided(llm_agents: LLMAgents, store: Store) -> Iterator[WorkerPool | None]:
    """The worker processes of a run; None if its settings say that this process answers."""
    if not llm_agents.config.divided:
        yield None
        return
    pool = WorkerPool(llm_agents, store)
    try:
        yield pool
    finally:
        pool.close()


class WorkerPool:
    """An `Answerer` with many processes. They start with the first question, and end with `close`.

    `llm_agents`: those of the run's main process, which receive the usage and the reply counts.
    """

    def __init__(
        self, llm_agents: LLMAgents, store: Store, transport: Callable[[WorkerPool], Transport] | None = None
    ) -> None:
        self.llm_agents, self.store = llm_agents, store
        self.transport: Transport | None = None
        self._begin = transport or _transport
        self._batches: dict[int, list[tuple[Question, asyncio.Future[Reply]]]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def ask(self, question: Question) -> Answer:
        """Like `LLMAgents.ask`, in the worker process of its agent; the planner's questions go to the first one."""
        known = self.llm_agents.recorded.pop(question.place, ())
        reply = await self._post(replace(question, recorded=tuple(known)))
        prediction = dspy.Prediction(**reply.fields) if reply.fields is not None else None
        return Answer(prediction, [], call_id=reply.call_id, error=reply.error)

    def _post(self, question: Question) -> asyncio.Future[Reply]:
        """Add a question to its worker process's batch; the batch is sent on the event loop's next round."""
        loop = asyncio.get_running_loop()
        self.transport = self.transport or self._begin(self)
        number = partition_of(question.agent, self.llm_agents.config.num_agents, self.transport.count)
        if number not in self._batches:
            self._batches[number] = []
            loop.call_soon(self._send, number)
        reply: asyncio.Future[Reply] = loop.create_future()
        self._batches[number].append((question, reply))
        return reply

    def _send(self, number: int) -> None:
        task = asyncio.create_task(self._deliver(number, self._batches.pop(number)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _deliver(self, number: int, batch: list[tuple[Question, asyncio.Future[Reply]]]) -> None:
        assert self.transport is not None
        self.llm_agents.under_way += len(batch)
        try:
            report = await self.transport.ask(number, [question for question, _ in batch])
            self._hear(report)
            if report.failure is not None:
                raise report.failure
        except Exception as error:  # every caller gets the error
            for _, reply in batch:
                if not reply.done():
                    reply.set_exception(error)
            return
        finally:
            self.llm_agents.under_way -= len(batch)
        for (_, reply), said in zip(batch, report.replies, strict=True):
            if not reply.done():
                reply.set_result(said)

    def _hear(self, report: Report) -> None:
        self.llm_agents.hearing.join(report.hearing)
        for record in report.logged:
            log.handle(record)

    def ingest_calls(self) -> None:
        """Move the calls that the worker processes have written into the store, and count them."""
        self.llm_agents.usage.join(ingest_calls(self.store, self.llm_agents.run_id))

    def close(self) -> None:
        """End the worker processes, after which their calls are in the store."""
        if self.transport is not None:
            self.transport.close()
            self.ingest_calls()
            remove_call_files(self.store.path)


def partition_of(agent: int | None, num_agents: int, processes: int) -> int:
    """The worker process of an agent: contiguous ranges of about the same length.

    >>> [partition_of(agent, 5, 2) for agent in (None, 0, 1, 2, 3, 4)]
    [0, 0, 0, 0, 1, 1]
    """
    return 0 if agent is None else agent * processes // num_agents


def setups(llm_agents: LLMAgents, store: Store, count: int) -> list[WorkerSetup]:
    """The setup of each worker process; their number is at most that of the agents, and that of the calls to share."""
    config = llm_agents.config
    count = min(count, *(n for n in (config.num_agents, config.concurrency, config.rpm, config.tpm) if n is not None))
    folder = calls_folder(store.path) / str(llm_agents.run_id)
    folder.mkdir(parents=True, exist_ok=True)
    return [
        WorkerSetup(
            number,
            share(config, number, count),
            llm_agents.model,
            llm_agents.run_id,
            str(folder / str(number)),
            llm_agents.pools,
        )
        for number in range(count)
    ]


def _transport(pool: WorkerPool) -> Transport:
    config = pool.llm_agents.config
    if config.engine == "ray":
        from pipeline.parallel.ray_actors import Actors

        return Actors(
            lambda count: setups(pool.llm_agents, pool.store, count), count=config.shards, address=config.ray_address
        )
    from pipeline.parallel.processes import Processes

    return Processes(setups(pool.llm_agents, pool.store, config.processes))
