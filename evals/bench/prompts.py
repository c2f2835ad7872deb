"""`bench prompts`: tokens per decision late in a long run, by role and format, and the share that a cache can reuse.

`rules` plays worlds in which every question is asked. Tokens are characters / 4. The shared part of a prompt is its
common prefix with the previous prompt of the same question: a server with a prefix cache computes only the rest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.agents.agents import LLMAgents
from pipeline.config import build
from pipeline.parallel.interrupts import run_async
from pipeline.simulation.loop import Simulation
from pipeline.store.writer import Store

SCENARIOS: Mapping[str, Mapping[str, Any]] = {
    "rational": {"scenario": "rational"},
    "democratic": {"scenario": "democratic", "platforms": True},
}
"""Worlds in which every question is asked: planner and plain workers, personas and their votes."""

LATE = 10
"""Years at the end that count: by then prompts have reached their final length."""

PROMPTS = """SELECT signature, prompt, response FROM lm_calls WHERE year >= ? AND signature <> 'WritePersona'
             ORDER BY signature, call_id"""


def measure(*, years: int, adapters: Iterable[str] = ("compact", "chat")) -> dict[str, float]:
    """Mean tokens of prompt and reply by question, and the mean share of a prompt in common with the previous one."""
    found: dict[str, float] = {}
    for adapter in adapters:
        for scenario, settings in SCENARIOS.items():
            asked: dict[str, list[tuple[str, str]]] = {}
            for signature, prompt, reply in _late(years, adapter, settings):
                asked.setdefault(signature, []).append((prompt, reply))
            for signature, texts in asked.items():
                name = f"{adapter}_{scenario}_{signature}"
                found[f"{name}_prompt_tokens"] = float(np.mean([len(prompt) for prompt, _ in texts])) / 4
                found[f"{name}_reply_tokens"] = float(np.mean([len(reply) for _, reply in texts])) / 4
                found[f"{name}_shared"] = _shared([prompt for prompt, _ in texts])
    return found


def _late(years: int, adapter: str, settings: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Question, prompt and reply of the last years of a run."""
    config = build({"max_timesteps": years, "two_timescale": 5, "llm": "rules", "adapter": adapter, **settings})
    with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/traces.duckdb") as store:
        run_async(Simulation(config, store, LLMAgents(config, "rules")).play())
        return [(row["signature"], row["prompt"], row["response"]) for row in store.rows(PROMPTS, [years - LATE])]


def _shared(prompts: list[str]) -> float:
    """Mean share of each prompt that it has in common with the start of the previous one."""
    shares = [_alike(before, prompt) / len(prompt) for before, prompt in pairwise(prompts)]
    return float(np.mean(shares)) if shares else float("nan")


def _alike(one: str, other: str) -> int:
    """The length of the common prefix, in characters.

    >>> _alike("tax", "task")
    2
    """
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
