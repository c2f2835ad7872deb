"""Rows of `lm_calls`: a model call, and the numbers that identify it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

SIGNATURES = (
    "Preflight",
    "WritePersona",
    "StandForOffice",
    "CastVote",
    "GovernAsLeader",
    "SetTaxRates",
    "ChooseLabor",
    "JudgeTaxPolicy",
)
"""Questions in the order in which a year asks them, which is the order of call ids."""


INTERVIEW = "AnswerInterview"
"""The question of an interview. It is not part of a run: a resumed or replayed run ignores it."""


MOST_ATTEMPTS = 1000
BRANCH_ATTEMPTS = 50
"""Maximum attempts of one branch of a question; a question can have twenty branches."""
RUN_STRIDE = 10**13


@dataclass
class Call:
    """One row of `lm_calls`; field names are its columns."""

    call_id: int
    run_id: int
    request_key: str
    year: int
    agent: int | None
    role: str
    signature: str
    strategy: str
    program: str | None
    model: str
    temperature: float | None
    sampling_seed: int | None
    prompt: str
    response: str | None
    parsed: str | None
    status: str
    error: str | None
    attempt: int
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None
    latency_ms: float
    started_at: datetime
    choice: int | None = None
    finish_reason: str | None = None


Recorded = dict[tuple[int, str, int | None], list[Call]]
"""Stored calls by (year, signature, agent), each list in the order in which they were made."""


def next_interview(run_id: int, lowest: int | None) -> int:
    """The number of a run's next interview, from the lowest call id of its interviews so far.

    >>> next_interview(1, None), next_interview(1, 19_999_999_998_000)
    (0, 2)
    """
    return 0 if lowest is None else ((run_id + 1) * RUN_STRIDE - lowest) // MOST_ATTEMPTS
