"""How questions become text and replies become values: DSPy's formats, with the error told to the model on failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import cache
from threading import Lock
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError
from pydantic import TypeAdapter, ValidationError

REPAIRS = 2
"""How often a reply that does not parse is sent back with the error."""

PARSING = Lock()
"""DSPy parses by `ast`, which in CPython 3.11 fails now and then when two threads use it at once."""

_feedback: ContextVar[list[dict[str, str]]] = ContextVar("feedback")


class _Repairing:
    """Mixed into a DSPy adapter: on a reply that does not parse, ask again and say what was wrong.

    Outcomes are reported to the `lineage` of the current `dspy.context` (see programs/lm.py).
    """

    def format(self, signature: Any, demos: Any, inputs: Any) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = super().format(signature, demos, inputs)  # type: ignore[misc]
        return messages + _feedback.get([])

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        plain, bounded = _texts(signature)
        with PARSING:
            fields: dict[str, Any] = super().parse(plain, completion)  # type: ignore[misc]
        for name, kind in bounded.items():
            try:
                fields[name] = kind.validate_python(fields[name])
            except ValidationError as error:
                raise AdapterParseError(type(self).__name__, signature, completion, str(error)) from error
        lineage = dspy.settings.get("lineage")
        if lineage is not None:
            lineage.parsed(fields)
        return fields

    async def acall(self, lm: Any, lm_kwargs: Any, signature: Any, demos: Any, inputs: Any) -> list[dict[str, Any]]:
        token = _feedback.set([])
        try:
            for left in reversed(range(REPAIRS + 1)):
                try:
                    return await super().acall(  # type: ignore[misc,no-any-return]
                        lm, dict(lm_kwargs), signature, demos, inputs
                    )
                except AdapterParseError as error:
                    _failed(error)
                    if not left:
                        raise
        finally:
            _feedback.reset(token)
        raise AssertionError("the loop returns or raises")

    def __call__(self, lm: Any, lm_kwargs: Any, signature: Any, demos: Any, inputs: Any) -> list[dict[str, Any]]:
        token = _feedback.set([])
        try:
            for left in reversed(range(REPAIRS + 1)):
                try:
                    return super().__call__(  # type: ignore[misc,no-any-return]
                        lm, dict(lm_kwargs), signature, demos, inputs
                    )
                except AdapterParseError as error:
                    _failed(error)
                    if not left:
                        raise
        finally:
            _feedback.reset(token)
        raise AssertionError("the loop returns or raises")


def _failed(error: AdapterParseError) -> None:
    """Report the failure and set the next request to carry it."""
    what = _sendable(reason(error))
    lineage = dspy.settings.get("lineage")
    if lineage is not None:
        lineage.unparsed(what)
    reply = _sendable(error.lm_response or "(empty)")[:500]
    _feedback.set(
        [
            {"role": "assistant", "content": reply},
            {
                "role": "user",
                "content": f"That reply could not be used: {what}. Reply again in the required format.",
            },
        ]
    )


def _sendable(text: str) -> str:
    """`text` without lone surrogates, which broken JSON may bring and no provider takes back."""
    return text.encode("utf-8", "replace").decode("utf-8")


def reason(error: AdapterParseError) -> str:
    """Why a reply did not parse, in one line without the reply itself and without links."""
    text = str(getattr(error, "message", None) or error)
    # DSPy puts the whole value before the reason; the value is sent back anyway.
    text = text.rpartition("Error message: ")[2]
    lines = [line.strip() for line in text.splitlines() if line.strip() and "For further information" not in line]
    kept = [line for line in lines if not line.startswith(("LM Response", "Adapter "))]
    return " ".join(kept or lines)[:300]


@cache
def _texts(signature: Any) -> tuple[Any, Mapping[str, TypeAdapter[Any]]]:
    """`signature` with its bounded texts as plain ones, and what validates them.

    DSPy repairs as JSON whatever is not exactly `str`, which tears a text with a bracket in it apart.
    """
    bounded = {
        name: TypeAdapter(field.annotation)
        for name, field in signature.output_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, str) and field.annotation is not str
    }
    for name in bounded:
        signature = signature.with_updated_fields(name, type_=str)
    return signature, bounded


class ChatAdapter(_Repairing, dspy.ChatAdapter):
    """DSPy's chat format (`[[ ## field ## ]]`), with repair in place of its silent second call."""

    def __init__(self) -> None:
        super().__init__(use_json_adapter_fallback=False)


class JSONAdapter(_Repairing, dspy.JSONAdapter):
    """DSPy's JSON format, held to the signature's schema where the server can, with repair."""

    def __init__(self) -> None:
        super().__init__(use_native_function_calling=False)


ADAPTERS: Mapping[str, Callable[[], dspy.Adapter]] = {"chat": ChatAdapter, "json": JSONAdapter}
