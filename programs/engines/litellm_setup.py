"""LiteLLM, for providers that lm15 does not know: imported before a call is timed, and silenced."""

from __future__ import annotations

import logging
import warnings
from functools import cache

from programs.dspy_versions import litellm

LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")

NEVER_AWAITED = r"coroutine '.*' was never awaited"
"""The warning after a cancelled call, because LiteLLM creates its coroutines in a thread."""

NOISY = r"(litellm|pydantic|openai|httpx|aiohttp|concurrent|asyncio)(\..*)?$"
"""Modules whose warnings concern LiteLLM's own types and threads, and do not help the user of a run."""


@cache
def ready() -> None:
    """Import LiteLLM, which takes seconds, and silence it: its errors say what went wrong."""
    warnings.filterwarnings("ignore", message=NEVER_AWAITED)
    warnings.filterwarnings("ignore", module=NOISY)
    litellm().suppress_debug_info = True  # type: ignore[attr-defined]
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
