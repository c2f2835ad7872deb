"""Read a Containerfile: its instructions, with continued lines joined and comments left out."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def instructions(text: str) -> list[tuple[str, str]]:
    """Each instruction in capitals, with its arguments."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", lines)
    return [
        (word.upper(), rest) for word, _, rest in (line.strip().partition(" ") for line in joined.splitlines()) if word
    ]


def last_stage(text: str) -> list[tuple[str, str]]:
    """The instructions from the last FROM on: what the image is made of."""
    found = instructions(text)
    return found[max(i for i, (word, _) in enumerate(found) if word == "FROM") :]


def copied(text: str) -> list[tuple[str, str]]:
    """Sources and targets that come from the repository."""
    pairs = []
    for word, rest in instructions(text):
        if word == "COPY" and not rest.startswith("--from"):
            *sources, target = rest.split()
            pairs += [(source, target) for source in sources]
    return pairs


def words(text: str) -> list[str]:
    """The list of an instruction in JSON form."""
    found: list[str] = json.loads(text)
    return found
