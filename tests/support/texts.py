"""All texts of prompts that render with `str` and read back with `parse`, by name."""

from typing import Any

from signatures.texts import ballot, interview, objective, planner, worker
from signatures.types import TaxSchedule

TEXTS: dict[str, Any] = {
    name: kind
    for module in (ballot, interview, objective, planner, worker)
    for name, kind in vars(module).items()
    if hasattr(kind, "parse")
} | {"TaxSchedule": TaxSchedule}
