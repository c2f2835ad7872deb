"""A study: one optimization of a program, which stores every model call, pays for it once and keeps to a budget.

A study that was cut off is done again from its start: what was asked before is answered from the store, so that it
comes to the same point without paying, and continues. `StudyCallbacks` (dspy_callbacks.py) is the part that DSPy sees.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import Any

from pipeline.agents.agents import Usage
from pipeline.agents.budget import Amount
from pipeline.agents.call_trace import Call
from pipeline.store.writer import Row, Store, as_json, now
from pipeline.studies.study_budget import StudyBudget
from programs.calls.prices import KNOWN, Prices


class Halted(BaseException):
    """The study cannot continue: its model or its store cannot be used. `error` says why.

    Not an Exception: optimizers catch those, score the example 0 and continue.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass
class Study:
    """Rows of a study in `store`, and the replies that it has. One study is open at a time in a process.

    `row`: the columns of `studies` that tell it from all others; `output`: the field by which its question is known,
    however an optimizer has changed it; `questions`: role and signature by such a field, where several roles are tuned
    together. `replies`: stored calls by what was asked. `usage`
    holds what the study took in all, of which `bought` calls are new. Threads share a study: a thread that waits for
    another thread's reply waits on `changed`.
    """

    store: Store
    row: Row
    output: str
    seed: int
    allowance: StudyBudget
    prices: Prices = KNOWN
    replies: dict[str, Call] = field(default_factory=dict)
    in_flight: dict[str, str] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    bought: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)
    halted: Exception | None = None
    questions: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name: str = self.row["study"]
        self.store.flush()
        self.last_id = int(self.store.one("SELECT least(0, coalesce(min(call_id), 0)) FROM lm_calls"))
        self._load()
        self.save("running")

    def _load(self) -> None:
        """Take what the study has asked and spent before."""
        columns = ", ".join(field.name for field in fields(Call) if field.name != "prompt")
        query = f"SELECT {columns}, '' AS prompt FROM lm_calls WHERE study = ? ORDER BY call_id DESC"
        calls = [Call(**row) for row in self.store.rows(query, [self.name])]
        self.replies = {call.request_key: call for call in calls if call.response is not None}
        self.usage.add(calls)
        self.allowance.calls = len(calls)
        self.allowance.estimator.spent = Amount(self.usage.cost_usd, self.usage.tokens)

    def save(self, status: str, **values: Any) -> None:
        """Write the study's row: its status, and what has come of it."""
        ended = None if status == "running" else now()
        used = {"calls": self.usage.calls, "cost_usd": self.usage.cost_usd}
        row = {**self.row, **used, **values, "status": status, "finished_at": ended}
        self.store.replace("studies", {"study": self.name}, [row])

    def check(self) -> None:
        """Raise Halted if the study cannot go on."""
        if self.halted is not None:
            raise Halted(self.halted)

    def halt(self, error: Exception) -> None:
        """From now on nothing more is asked, and `check` says why; the first reason counts."""
        with self.changed:
            self.halted = self.halted or error
            self.changed.notify_all()

    def keep(self, call: Call) -> None:
        """Count a new call and store it."""
        with self.changed:
            self.usage.add([call])
            self.bought += 1
            row = {field.name: getattr(call, field.name) for field in fields(Call)}
            self.store.post({**row, "run_id": None, "year": None, "study": self.name})

    def next_id(self) -> int:
        """A number for a call: negative, as no call of a run has."""
        with self.changed:
            self.last_id -= 1
            return self.last_id

    def seed_of(self, key: str) -> int:
        """The sampling seed of a request: the same whenever the study is done again, whatever is asked before it."""
        return int.from_bytes(blake2b(f"{self.seed}/{key}".encode(), digest_size=4).digest()) & 0x7FFFFFFF


def study_name(identity: Mapping[str, Any]) -> str:
    """A name by what makes a study what it is, e.g. `worker-labeled-1f0c9a2b`: the same settings, the same study."""
    digest = blake2b(as_json(identity).encode(), digest_size=4).hexdigest()
    return f"{identity['role']}-{identity['optimizer']}-{digest}"
