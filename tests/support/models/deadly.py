"""`--llm engine:support.models.deadly:Deadly`: answers like `rules` and now and then kills its own process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from dspy import lm15

from programs.engines.rules.engine import RulesEngine

LIVES, ASKED = Path("lives.txt"), Path("asked.txt")


def to_die(times: int, *, after: int) -> None:
    """From now on, processes in this folder but this one die with the question that comes `after` so many, so many
    `times`."""
    LIVES.write_text(f"{times} {after} {os.getpid()}")


def lives() -> int:
    """How often a process will still die."""
    return int(LIVES.read_text().split()[0])


def asked() -> list[str]:
    """The requests that were answered, by processes of any life."""
    return ASKED.read_text().split() if ASKED.exists() else []


class Deadly(RulesEngine):
    """Waits before it dies, so that what was answered before is on the disk."""

    def __init__(self) -> None:
        self.answered = 0

    def complete(self, request: lm15.Request) -> lm15.Response:
        times, after, spared = map(int, LIVES.read_text().split()) if LIVES.exists() else (0, 0, 0)
        if times and self.answered == after and os.getpid() != spared:
            time.sleep(0.4)
            LIVES.write_text(f"{times - 1} {after} {spared}")
            os.kill(os.getpid(), signal.SIGKILL)
        self.answered += 1
        with ASKED.open("a") as file:
            file.write(f"{request.config.seed}\n")
        return super().complete(request)
