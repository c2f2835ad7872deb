"""`bench local`: where the time of a decision goes when a local model answers.

A small economy is played, with `rules` as planner. llama.cpp reports the tokens that it computed and the time for
them; the rest of a prompt was in its prefix cache.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping

from pipeline.agents.agents import LLMAgents
from pipeline.config import build
from pipeline.errors import UsageError
from pipeline.parallel.interrupts import run_async
from pipeline.simulation.loop import Simulation
from pipeline.store.writer import Store
from programs.calls.model_names import GGUF_PREFIX, SMOLLM2
from programs.engines.local import model_of, require_extra
from programs.engines.local_weights import weights

DECISIONS = """SELECT count(*), avg(prompt_tokens), avg(cached_tokens), avg(completion_tokens), avg(latency_ms) / 1000
               FROM lm_calls WHERE signature = 'ChooseLabor'"""


def measure(*, llm: str, num_agents: int, years: int) -> dict[str, float]:
    """Means over the workers' questions, and llama.cpp's tokens a second.

    `computed_tokens`: the part of `prompt_tokens` that was not in the prefix cache. UsageError unless `llm` is a local
    model that can be loaded.
    """
    if llm != SMOLLM2 and not llm.startswith(GGUF_PREFIX):
        raise UsageError(f"bench local: --llm {llm!r} is not a local model; give {SMOLLM2} or {GGUF_PREFIX}FILE")
    try:
        require_extra(llm)
        model = model_of(weights(llm))
    except ValueError as error:
        raise UsageError(str(error)) from error
    begun = time.perf_counter()
    model.load()
    load = time.perf_counter() - begun
    settings: Mapping[str, object] = {
        "llm": llm,
        "role_llm": {"planner": "rules"},
        "num_agents": num_agents,
        "max_timesteps": years,
        "two_timescale": max(1, years // 2),
        "warmup": 0,
        "temperature": 0.0,
        "timeout": 900.0,
    }
    config = build(dict(settings))
    before = model.spent.copy()
    with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/traces.duckdb") as store:
        run_async(Simulation(config, store, LLMAgents(config, llm)).play())
        calls, prompt, cached, reply, seconds = next(iter(store.rows(DECISIONS))).values()
    spent = {name: value - before[name] for name, value in model.spent.items()}
    return {
        "load_s": load,
        "decisions": float(calls),
        "prompt_tokens": prompt,
        "computed_tokens": prompt - cached,
        "reply_tokens": reply,
        "decision_s": seconds,
        "prompt_s": spent["prompt_ms"] / 1000 / calls,
        "reply_s": spent["predicted_ms"] / 1000 / calls,
        "prompt_tokens_per_s": 1000 * spent["prompt_n"] / spent["prompt_ms"],
        "reply_tokens_per_s": 1000 * spent["predicted_n"] / spent["predicted_ms"],
    }
