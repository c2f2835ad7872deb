"""Settings as text from the command line: pairs of roles and values, and lists of numbers."""

from __future__ import annotations

from typing import Any

from pipeline.fixed_rates import parse_rates
from pipeline.laws import parse_brackets
from programs.text_files import each_once


def by_role(text: str) -> dict[str, str]:
    """Parse `worker=cot,planner=io`. ValueError on an entry without `=`, or a role given twice."""
    pairs: list[tuple[str, str]] = []
    for entry in filter(None, text.split(",")):
        role, separator, value = entry.partition("=")
        if not separator or not value:
            raise ValueError(f"{entry!r} is not role=value, e.g. worker=cot,planner=io")
        pairs.append((role.strip(), value.strip()))
    return each_once(pairs)


def plain(name: str, value: Any) -> Any:
    """Parse text from the command line: `role=value` pairs, or numbers separated by commas."""
    if name in ("strategy", "program", "role_llm", "layout") and isinstance(value, str):
        try:
            return by_role(value)
        except ValueError as error:
            raise ValueError(f"--{name.replace('_', '-')}: {error}") from None
    if name == "omit" and isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if name in ("shock", "callback"):
        return (value,) if isinstance(value, str) else value
    if name == "rates":
        return parse_rates(value)
    if name == "brackets":
        return parse_brackets(value)
    if name in ("elasticity", "elasticity_of_labor"):
        return (
            tuple(value.replace(",", " ").split())
            if isinstance(value, str)
            else value
            if isinstance(value, list | tuple)
            else (value,)
        )
    return value
