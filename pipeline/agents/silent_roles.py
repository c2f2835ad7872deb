"""Detect roles whose model has stopped replying, and end the run after several such years."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.config import RunConfig
from pipeline.store.call_rows import Call

SILENT_YEARS_ALLOWED = 3
"""The run ends after this many consecutive years in which a role was asked and got no reply at all.

One year may be lost to a temporary failure; its workers keep their hours. Every question has been retried by then, so
three years show that the model does not serve this role. From then on, a run would no longer measure its model.
"""


@dataclass
class Hearing:
    """Roles that were `asked` and `heard` since the last `forget`, and each role's last failure."""

    asked: set[str] = field(default_factory=set)
    heard: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)

    def take(self, call: Call) -> None:
        """Count a call whose outcome is known. An unusable reply counts as a reply, an empty one does not."""
        self.asked.add(call.role)
        if call.response is not None and call.response.strip():
            self.heard.add(call.role)
        if call.status != "ok":
            self.failures.pop(call.role, None)  # the latest failure comes last
            self.failures[call.role] = f"{call.status}: {call.error}"

    def join(self, other: Hearing) -> None:
        """Add the counts of another process."""
        self.asked |= other.asked
        self.heard |= other.heard
        self.failures |= other.failures

    def forget(self) -> None:
        """Start counting again; the last failures are kept."""
        self.asked, self.heard = set(), set()

    def failure(self, role: str | None = None) -> str:
        """The last failure of `role`, or of all roles."""
        last = next(reversed(self.failures.values()), None) if role is None else self.failures.get(role)
        return last or "no attempt was made"


@dataclass
class Silence:
    """The number of consecutive years in which each role got no reply, in a run that starts with year `start`."""

    config: RunConfig
    start: int = 0
    years: Counter[str] = field(default_factory=Counter)

    def after(self, hearing: Hearing) -> Mapping[str, int]:
        """Count a year; return the roles that reached their limit, with their silent years."""
        for role in hearing.heard:
            del self.years[role]
        self.years.update(hearing.asked - hearing.heard)
        return {role: years for role, years in self.years.items() if years >= self.patience(role)}

    def patience(self, role: str) -> int:
        """How many silent years a run tolerates: `SILENT_YEARS_ALLOWED`, or all years in which it asks, if fewer."""
        left = range(self.start, self.config.max_timesteps)
        asking = len(left) if role == "worker" else sum(governs(self.config, year) for year in left)
        return max(1, min(SILENT_YEARS_ALLOWED, asking))


def governs(config: RunConfig, year: int) -> bool:
    """Whether a model may change the law in `year`."""
    return config.planner_type == "LLM" and year % config.two_timescale == 0 and year >= config.warmup
