"""A worker process, which asks the questions of a contiguous range of agents.

It renders prompts and parses replies, so this work runs on several cores. The answers do not depend on the process that
gives them, because seeds, ids and keys of calls depend only on the question (pipeline/agents/call_trace.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from logging.handlers import QueueHandler
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from pipeline.agents.agents import LLMAgents
from pipeline.agents.examples import Pools
from pipeline.agents.question import Question
from pipeline.agents.silent_roles import Hearing
from pipeline.config import RunConfig
from pipeline.errors import EconomistError
from pipeline.store.call_rows import Call, Recorded

if TYPE_CHECKING:
    from pipeline.store.call_files import CallFileWriter

log = logging.getLogger("llm_economist")

LIVES = 5
"""How often a worker process may be lost during one batch of questions before the run fails."""

SHUTDOWN_TIMEOUT = 15.0
"""Seconds for a worker process to store its calls and end, before it is killed."""


@dataclass(frozen=True)
class WorkerSetup:
    """The setup of a worker process. `config` has its share of the limits; `folder`: of its call files."""

    number: int
    config: RunConfig
    model: str
    run_id: int
    folder: str
    pools: Pools


@dataclass(frozen=True)
class Reply:
    """The outcome of a question: the fields of the prediction, or None and the last error."""

    fields: dict[str, Any] | None
    call_id: int | None = None
    error: str | None = None


@dataclass
class Report:
    """The outcome of a batch: a reply for each question, in order, or the `failure` that ends the run.

    `hearing`: as in `LLMAgents`. `logged`: lines for the run's text log.
    """

    replies: list[Reply] = field(default_factory=list)
    hearing: Hearing = field(default_factory=Hearing)
    logged: list[logging.LogRecord] = field(default_factory=list)
    failure: EconomistError | None = None


class AgentWorker:
    """Answers batches of questions in the event loop of its process. Its calls are in its files before it reports.

    It is created at the first question, so that a failure to create it is part of a report.
    """

    def __init__(self, setup: WorkerSetup) -> None:
        self.setup = setup
        self.logged: SimpleQueue[logging.LogRecord] = SimpleQueue()

    def take_log(self) -> None:
        """Collect this process's log lines for the main process to write; nothing reaches the terminal."""
        log.handlers, log.propagate = [QueueHandler(self.logged)], False
        log.setLevel(logging.DEBUG if self.setup.config.debug else logging.INFO)
        logging.getLogger("dspy").setLevel(logging.ERROR)

    @cached_property
    def journal(self) -> CallFileWriter:
        from pipeline.store.call_files import CallFileWriter  # Arrow, which a run in one process does not need

        return CallFileWriter(Path(self.setup.folder))

    @cached_property
    def left(self) -> Recorded:
        """Calls of a lost predecessor, whose replies are reused."""
        return by_question(self.journal.leftover_calls())

    @cached_property
    def llm_agents(self) -> LLMAgents:
        llm_agents = LLMAgents(self.setup.config, self.setup.model)
        llm_agents.learn(self.setup.pools)
        llm_agents.enter(self.setup.run_id, self.journal.post)
        return llm_agents

    async def answer(self, batch: Sequence[Question]) -> Report:
        """Ask all questions of a batch at once. The report contains any error that ends the run."""
        try:
            report = await self._answer(batch)
        except EconomistError as error:
            report = Report(failure=error)
        report.logged = [self.logged.get_nowait() for _ in range(self.logged.qsize())]
        return report

    async def _answer(self, batch: Sequence[Question]) -> Report:
        self.llm_agents.hearing = Hearing()
        tasks = [asyncio.create_task(self._ask(question)) for question in batch]
        try:
            replies = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.journal.flush()
        return Report(replies, self.llm_agents.hearing)

    async def _ask(self, question: Question) -> Reply:
        known = {call.call_id: call for call in (*question.recorded, *self.left.pop(question.place, ()))}
        recorded = tuple(known[call_id] for call_id in sorted(known))
        answer = await self.llm_agents.ask(replace(question, recorded=recorded))
        said = dict(answer.prediction.items()) if answer.prediction is not None else None
        return Reply(said, answer.call_id, answer.error)


def share(config: RunConfig, number: int, count: int) -> RunConfig:
    """The settings of one worker process, with its share of each limit, so that together they respect it."""

    def part(limit: int | None) -> int | None:
        return None if limit is None else limit // count + (number < limit % count)

    limits: dict[str, Any] = {name: part(getattr(config, name)) for name in ("concurrency", "rpm", "tpm")}
    return replace(config.undivided(), **limits)


def by_question(calls: Sequence[Call]) -> Recorded:
    """Calls by question, in order."""
    found: Recorded = {}
    for call in calls:
        found.setdefault((call.year, call.signature, call.agent), []).append(call)
    return found
