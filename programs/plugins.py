"""Load a user's strategies and engines by name (`module:Name`)."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any


def load_object(path: str, flag: str) -> Any:
    """The object `module:Name`; the current folder is searched, too. ValueError names `flag` and the cause."""
    module, _, name = path.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # a user's module may fail in any way
        why = f"{type(error).__name__}: {error}"
        raise ValueError(f"{flag}{path} cannot be loaded ({why}); expected module:Name") from error
