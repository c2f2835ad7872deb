"""Replies with given hours, as a model writes them."""

from __future__ import annotations


def hours(number: int, reasoning: str | None = None) -> str:
    thought = f"[[ ## reasoning ## ]]\n{reasoning}\n\n" if reasoning else ""
    return f"{thought}[[ ## labor ## ]]\n{number}\n\n[[ ## completed ## ]]"
