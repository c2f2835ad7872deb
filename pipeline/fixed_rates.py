"""`--rates 30/40/60`: tax rates that never change, as text, and the planner `RATES` that they stand for.

The law of `--law` (pipeline/laws.py) never changes either, unless another planner is named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def rates_as_text(rates: Sequence[float]) -> str:
    """Rates as `--rates` takes them.

    >>> rates_as_text((30, 42.5))
    '30/42.5'
    """
    return "/".join(f"{rate:g}" for rate in rates)


def with_planner(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the planner that `rates` or `law` stands for.

    ValueError if rates come with another planner or with a law, or `RATES` with neither.

    >>> with_planner({"rates": (30, 40, 60)})["planner_type"]
    'RATES'
    """
    planner, rates, law = settings.get("planner_type"), settings.get("rates") or (), settings.get("law")
    if rates and law is not None:
        raise ValueError(
            f"--rates {rates_as_text(rates)} and --law {law}, which has its own rates: give one of the two"
        )
    if rates and planner not in (None, "RATES"):
        raise ValueError(
            f"--rates {rates_as_text(rates)} never change and do not fit --planner-type {planner}; give one of the two"
        )
    if planner == "RATES" and not rates and law is None:
        raise ValueError("--planner-type RATES needs --rates, one rate in percent per bracket, e.g. --rates 30/40/60")
    fixed = rates or (law is not None and planner is None)
    return {**settings, "planner_type": "RATES"} if fixed else dict(settings)


def parse_rates(value: Any) -> tuple[float, ...]:
    """Rates from `30/40/60`, a number or a list. ValueError in one line unless each is from -100 to 100."""
    parts = value.split("/") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    try:
        rates = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        rates = (math.nan,)
    if not all(-100 <= rate <= 100 for rate in rates):
        raise ValueError(
            f"--rates {value!r}: expected one rate in percent per bracket, each from -100 to 100, e.g. 30/40/60"
        )
    return rates
