"""LiteLLM, for providers that lm15 does not know: imported before a call is timed, and kept from the terminal."""

from __future__ import annotations

import logging
import warnings
from functools import cache

from programs.dspy_versions import litellm

LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")

NEVER_AWAITED = r"coroutine '.*' was never awaited"
"""Of a call that was given up: LiteLLM makes its coroutines in a thread."""

NOISY = r"(litellm|pydantic|openai|httpx|aiohttp|concurrent|asyncio)(\..*)?$"
"""Modules whose warnings are about LiteLLM's own types and threads, and tell the user of a run nothing."""


@cache
def ready() -> None:
    """Import LiteLLM, which takes seconds, and have it print nothing: what goes wrong is in its errors."""
    warnings.filterwarnings("ignore", message=NEVER_AWAITED)
    warnings.filterwarnings("ignore", module=NOISY)
    litellm().suppress_debug_info = True  # type: ignore[attr-defined]
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
