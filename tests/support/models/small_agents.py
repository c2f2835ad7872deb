"""Small runs and single questions of language-model agents."""

from __future__ import annotations

import asyncio
from typing import Any

import duckdb

from evals.testing.openai_server import Loopback
from pipeline.agents.agents import LLMAgents
from pipeline.config import build
from pipeline.simulation.loop import Simulation
from pipeline.store.writer import Store

SMALL = {
    **{"llm": "rules", "num_agents": 4, "max_timesteps": 4, "two_timescale": 2, "seed": 5, "db": "run.duckdb"},
    "adapter": "chat",  # the engines below talk so
}


def play(**settings: Any) -> Simulation:
    """Play a small run into a file in the current folder."""
    config = build({**SMALL, **settings})
    with Store(config.db) as store:
        simulation = Simulation(config, store, LLMAgents(config, config.llm or "rules"))
        asyncio.run(simulation.play())
    return simulation


def ask(query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect("run.duckdb", read_only=True) as db:
        return db.execute(query).fetchall()


def engine(kind: type) -> str:
    return f"engine:{kind.__module__}:{kind.__name__}"


def preflight(server: Loopback, **settings: Any) -> LLMAgents:
    config = build({**SMALL, "llm": "gpt-4o-mini", "base_url": server.url, **settings})
    llm_agents = LLMAgents(config, str(config.llm))
    asyncio.run(llm_agents.preflight())
    return llm_agents
