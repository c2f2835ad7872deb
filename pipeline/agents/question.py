"""One question to one agent as a value, which can wait in a batch or be sent to another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import dspy

from pipeline.store.call_rows import Call
from programs.calls.protocols import SharedPrompt
from programs.roles.voter import BallotPaper


@dataclass(frozen=True)
class Question:
    """A question, its agent and its year. `name`: a signature's name; `agent` None: the planner.

    `ballot`: the candidates of a vote. `shared`: the agents that get the same prompt at once. `recorded`: stored calls
    whose replies are reused.
    """

    name: str
    inputs: Mapping[str, Any]
    year: int
    agent: int | None = None
    ballot: BallotPaper | None = None
    shared: SharedPrompt | None = None
    recorded: tuple[Call, ...] = ()

    @property
    def place(self) -> tuple[int, str, int | None]:
        """Its identity among the questions of a run, as in `Recorded`."""
        return self.year, self.name, self.agent


@dataclass
class Answer:
    """The outcome of a question: the prediction or None, the attempts made, and the last error."""

    prediction: dspy.Prediction | None
    calls: list[Call]
    call_id: int | None = None
    error: str | None = None


class Answerer(Protocol):
    """Answers the questions of a year: the `LLMAgents` of a run, or the agents of an economy in memory."""

    async def ask(self, question: Question) -> Answer: ...
