"""A study: one optimization of a program. It stores every model call, pays for it once, and respects a budget.

An interrupted study starts again from the beginning. The store answers all earlier requests, so the study reaches the
same point at no cost, and continues. `StudyCallbacks` (dspy_callbacks.py) is the part that DSPy sees.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import Any

from pipeline.agents.agents import Usage
from pipeline.agents.budget import Amount
from pipeline.store.call_rows import Call
from pipeline.store.columns import Row, as_json, now
from pipeline.store.writer import Store
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
    """The rows and replies of a study in `store`. A process has one study open at a time.

    `row`: the columns of `studies` that identify it; `output`: the field that identifies its question, even after an
    optimizer has changed it; `questions`: role and signature by such a field, if several roles are tuned together.
    `replies`: stored calls by the key of their request. `usage`: the usage of the study in total, of which `bought`
    calls are new. Threads share a study: a thread that waits for another thread's reply waits on `changed`.
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
        """Load the study's earlier calls and spending."""
        columns = ", ".join(field.name for field in fields(Call) if field.name != "prompt")
        query = f"SELECT {columns}, '' AS prompt FROM lm_calls WHERE study = ? ORDER BY call_id DESC"
        calls = [Call(**row) for row in self.store.rows(query, [self.name])]
        self.replies = {call.request_key: call for call in calls if call.response is not None}
        self.usage.add(calls)
        self.allowance.calls = len(calls)
        self.allowance.estimator.spent = Amount(self.usage.cost_usd, self.usage.tokens)

    def save(self, status: str, **values: Any) -> None:
        """Write the study's row, with its status and results."""
        ended = None if status == "running" else now()
        used = {"calls": self.usage.calls, "cost_usd": self.usage.cost_usd}
        row = {**self.row, **used, **values, "status": status, "finished_at": ended}
        self.store.replace("studies", {"study": self.name}, [row])

    def check(self) -> None:
        """Raise Halted if the study cannot continue."""
        if self.halted is not None:
            raise Halted(self.halted)

    def halt(self, error: Exception) -> None:
        """Refuse all further questions; `check` raises the reason, of which the first counts."""
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
        """A new call id: negative, unlike those of runs."""
        with self.changed:
            self.last_id -= 1
            return self.last_id

    def seed_of(self, key: str) -> int:
        """The sampling seed of a request: the same whenever the study is repeated, whatever is asked before it."""
        return int.from_bytes(blake2b(f"{self.seed}/{key}".encode(), digest_size=4).digest()) & 0x7FFFFFFF


def study_name(identity: Mapping[str, Any]) -> str:
    """A name that identifies the settings of a study, e.g. `worker-labeled-1f0c9a2b`: equal settings, equal name."""
    digest = blake2b(as_json(identity).encode(), digest_size=4).hexdigest()
    return f"{identity['role']}-{identity['optimizer']}-{digest}"
