"""Small democratic runs whose agents answer from a script."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import duckdb
from dspy import lm15

from pipeline.agents.agents import LLMAgents
from pipeline.config import build
from pipeline.simulation.loop import Simulation
from pipeline.store.writer import Store
from programs.engines.rules.engine import RulesEngine
from programs.engines.rules.prompt_parser import FORMATS

SMALL = {
    "adapter": "chat",  # the engines below talk so
    "llm": "rules",
    "scenario": "democratic",
    "num_agents": 4,
    "max_timesteps": 4,
    "two_timescale": 2,
    "seed": 3,
}


def play(**settings: Any) -> duckdb.DuckDBPyConnection:
    """Play a small democracy into a file of its own, and open it."""
    config = build({**SMALL, "db": f"{len(list(Path().iterdir()))}.duckdb", **settings})
    llm_agents = LLMAgents(config, config.llm or "rules")
    with Store(config.db) as store:
        asyncio.run(Simulation(config, store, llm_agents).play())
    return duckdb.connect(config.db, read_only=True)


def rows(db: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return db.execute(query).fetchall()


Answer = dict[str, Any] | str


class Scripted(RulesEngine):
    """Answers by the rules, but for the questions whose output field is in `answers`; a string is said as it is."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = answers

    def answer(self, field: str, prompt: str) -> Answer | None:
        return self.answers.get(field)

    def complete(self, request: lm15.Request) -> lm15.Response:
        prompt = "\n".join(message.text or "" for message in request.messages)
        for field in ("stand", "vote", "rate_changes"):
            answer = self.answer(field, prompt) if f"`[[ ## {field} ## ]]`" in prompt else None
            if answer is not None:
                said = answer if isinstance(answer, str) else FORMATS["chat"].write(answer)
                message = lm15.Message.assistant(said)
                return lm15.Response(id=None, model="x", message=message, finish_reason="stop", usage=lm15.Usage())
        return super().complete(request)


RELUCTANT = {"stand": {"stand": False, "rate_changes": None}, "rate_changes": {"rate_changes": [10, 0, 0]}}
"""No worker wants to lead."""

KEEN = {
    "stand": {"stand": True, "rate_changes": [-10, 0, 20]},
    "vote": {"vote": "worker 2"},
    "rate_changes": {"rate_changes": [20, 20, 20]},
}
"""Every worker wants to lead, and all agree on worker 2, who promises one thing and does another."""
