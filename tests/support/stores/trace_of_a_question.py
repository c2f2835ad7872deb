"""The trace of one question, with its place in a run."""

from typing import Any

from dspy import lm15

from pipeline.agents.call_trace import Trace

REQUEST = lm15.Request(
    model="any",
    system="Be brief.",
    messages=(lm15.Message.user("How long?"),),
    config=lm15.Config(temperature=0.7, seed=3),
)


def trace(**places: Any) -> Trace:
    defaults: dict[str, Any] = {
        "run_id": 1,
        "year": 0,
        "agent": 0,
        "role": "worker",
        "signature": "ChooseLabor",
        "strategy": "io",
        "program": None,
        "model": "gpt-4o-mini",
        "num_agents": 5,
        "seed": 42,
    }
    return Trace(**{**defaults, **places})
