"""Optional parts of a request: their names, how errors refer to them, and the flag `--omit`."""

from __future__ import annotations

import re
from collections.abc import Mapping

SCHEMA, SEED, SAMPLES, TEMPERATURE, SYSTEM = "schema", "seed", "n", "temperature", "system"
NEW_LIMIT, OLD_LIMIT = "max_completion_tokens", "max_tokens"
LIMITS = (NEW_LIMIT, OLD_LIMIT)

PARTS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        SCHEMA: r"response.?format|json.?schema|json.?object|schema|structured|guided|grammar",
        SEED: r"\bseed\b",
        SAMPLES: r"\bn\b|(completion|multiple|several|one|more).{0,20}(choice|completion|sample)",
        TEMPERATURE: r"temperature",
        SYSTEM: r"(system|developer).{0,3}(role|message|prompt|instruction)|role.{0,12}system",
        NEW_LIMIT: r"max_completion_tokens",
        OLD_LIMIT: r"max_tokens",
    }.items()
}
"""The parts, in the order in which they are left out if an error names none, and how errors refer to each."""

WITHOUT = {
    SCHEMA: "without a schema for replies",
    SEED: "without a seed",
    SAMPLES: "for one sample at a time",
    TEMPERATURE: "at its own temperature",
    SYSTEM: "with the system text in front of the first message",
    NEW_LIMIT: "with the token limit as max_tokens",
    OLD_LIMIT: "without max_tokens",
}
"""How an endpoint is asked if it refuses a part."""


def parse_omitted(text: str) -> tuple[str, ...]:
    """Parse `--omit seed,temperature`; returns parts in order. ValueError names an unknown one."""
    parts = [name.strip() for name in text.split(",") if name.strip()]
    for part in parts:
        if part not in PARTS:
            raise ValueError(f"--omit {part!r}: expected some of {', '.join(PARTS)}, separated by commas")
    return tuple(part for part in PARTS if part in parts)
