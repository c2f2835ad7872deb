"""Model calls as they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

RUN_STRIDE = 10**13
"""Call ids of run n lie between n and n + 1 times this."""


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
