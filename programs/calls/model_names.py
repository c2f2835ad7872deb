"""Names of models that are computed in this process."""

from __future__ import annotations

SMOLLM2 = "smollm2"


GGUF_PREFIX = "gguf:"


def is_local(name: str) -> bool:
    """Whether the model `name` is computed in this process."""
    return name == SMOLLM2 or name.startswith(GGUF_PREFIX)
