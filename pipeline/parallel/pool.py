"""More than one process answers the questions of a run: each worker's by the ward that it belongs to.

The run's process keeps the economy and the store. Questions that are asked at once reach a ward as one message, and its
calls come back as files (pipeline/store/call_files.py) that are taken into the store at the end of the year.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import dspy

from pipeline.agents.agents import Answer, Minds
from pipeline.parallel.worker import Ask, Reply, Report, Setup, share
from pipeline.store.incoming_calls import calls_folder, forget_calls, take_calls
from pipeline.store.writer import Store

log = logging.getLogger("llm_economist")


class Transport(Protocol):
    """The way to the wards: `Processes` of this machine, or `Actors` of a Ray cluster."""

    @property
    def count(self) -> int: ...

    async def ask(self, number: int, batch: Sequence[Ask]) -> Report: ...

    def close(self) -> None: ...


@contextmanager
def divided(minds: Minds, store: Store) -> Iterator[Wards | None]:
    """The wards of a run that is being played; None where its settings say that this process answers."""
    if not minds.config.divided:
        yield None
        return
    wards = Wards(minds, store)
    try:
        yield wards
    finally:
        wards.close()


class Wards:
    """`Respondents` of many processes. They begin with the first question, and end with `close`.

    `minds`, those of the run's process, give the modules and are told what was used and heard.
    """

    def __init__(self, minds: Minds, store: Store, transport: Callable[[Wards], Transport] | None = None) -> None:
        self.minds, self.store = minds, store
        self.transport: Transport | None = None
        self._begin = transport or _transport
        self._batches: dict[int, list[tuple[Ask, asyncio.Future[Reply]]]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def module(self, question: str) -> dspy.Module:
        """The module that asks `question`."""
        return self.minds.module(question)

    async def ask(
        self,
        question: str,
        inputs: Mapping[str, Any],
        *,
        year: int,
        agent: int | None,
        module: dspy.Module | None = None,
    ) -> Answer:
        """As `Minds.ask`, in the ward of `agent`; the planner's questions go to the first."""
        known = self.minds.recorded.pop((year, question, agent), [])
        paper = module.on_ballot if module is not None else None
        alike = dspy.settings.get("alike")
        reply = await self._post(Ask(question, dict(inputs), year, agent, paper, tuple(known), alike))
        prediction = dspy.Prediction(**reply.fields) if reply.fields is not None else None
        return Answer(prediction, [], call_id=reply.call_id, error=reply.error)

    def _post(self, ask: Ask) -> asyncio.Future[Reply]:
        """Put a question into its ward's batch, which is sent when all who ask at once have asked."""
        loop = asyncio.get_running_loop()
        self.transport = self.transport or self._begin(self)
        number = ward_of(ask.agent, self.minds.config.num_agents, self.transport.count)
        if number not in self._batches:
            self._batches[number] = []
            loop.call_soon(self._send, number)
        reply: asyncio.Future[Reply] = loop.create_future()
        self._batches[number].append((ask, reply))
        return reply

    def _send(self, number: int) -> None:
        task = asyncio.create_task(self._deliver(number, self._batches.pop(number)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _deliver(self, number: int, batch: list[tuple[Ask, asyncio.Future[Reply]]]) -> None:
        assert self.transport is not None
        try:
            report = await self.transport.ask(number, [ask for ask, _ in batch])
            self._hear(report)
            if report.failure is not None:
                raise report.failure
        except Exception as error:  # whoever asked is told
            for _, reply in batch:
                if not reply.done():
                    reply.set_exception(error)
            return
        for (_, reply), said in zip(batch, report.replies, strict=True):
            if not reply.done():
                reply.set_result(said)

    def _hear(self, report: Report) -> None:
        self.minds.hearing.join(report.hearing)
        for record in report.logged:
            log.handle(record)

    def take_calls(self) -> None:
        """Take the calls that the wards have written into the store, and count them."""
        self.minds.usage.join(take_calls(self.store, self.minds.run_id))

    def close(self) -> None:
        """End the wards; what they have written is in the store then."""
        if self.transport is not None:
            self.transport.close()
            self.take_calls()
            forget_calls(self.store.path)


def ward_of(agent: int | None, num_agents: int, wards: int) -> int:
    """The ward of an agent: contiguous ranges of about the same length.

    >>> [ward_of(agent, 5, 2) for agent in (None, 0, 1, 2, 3, 4)]
    [0, 0, 0, 0, 1, 1]
    """
    return 0 if agent is None else agent * wards // num_agents


def setups(minds: Minds, store: Store, wards: int) -> list[Setup]:
    """What each of so many wards must know; there are no more than there are agents, or calls to share."""
    config = minds.config
    wards = min(wards, *(n for n in (config.num_agents, config.concurrency, config.rpm, config.tpm) if n is not None))
    folder = calls_folder(store.path) / str(minds.run_id)
    folder.mkdir(parents=True, exist_ok=True)
    return [
        Setup(
            number,
            share(config, number, wards),
            minds.model,
            minds.run_id,
            str(folder / str(number)),
            minds.pools,
        )
        for number in range(wards)
    ]


def _transport(wards: Wards) -> Transport:
    config = wards.minds.config
    if config.engine == "ray":
        from pipeline.parallel.ray_actors import Actors

        return Actors(
            lambda count: setups(wards.minds, wards.store, count), wards=config.shards, address=config.ray_address
        )
    from pipeline.parallel.processes import Processes

    return Processes(setups(wards.minds, wards.store, config.processes))
