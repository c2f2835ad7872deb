"""A user's own code by name: strategies and engines as `module:Name`."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any


def load_object(path: str, flag: str) -> Any:
    """The object `module:Name`, looked for in the current folder, too. ValueError names `flag` and the cause."""
    module, _, name = path.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{flag}{path} cannot be loaded ({error}); expected module:Name") from error
