"""A fast path from a prompt to the model, which bypasses DSPy's model layer for plain questions.

DSPy hands each call to worker threads twice and reads the messages into a request as if a stranger had written them;
that is half of what a decision costs here. With callbacks, or where something is asked for that only DSPy can do
(callbacks, history, streams, its cache, several generations, its own types), the call takes DSPy's way. Requests,
replies and errors are the same on both.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import dspy
from dspy import lm15
from dspy.adapters.types import Type

from programs.caching import PerObject, PerSignature
from programs.calls.observed_engine import ObservedEngine
from programs.dspy_versions import wrap_error

PLAIN = frozenset({"temperature", "max_tokens", "response_format", "top_p", "stop"})
"""Settings of a call that mean the same to every engine."""

Messages = Sequence[Mapping[str, Any]]


Settings = tuple[str, str]
"""Settings of a call in JSON: the schema that its reply is held to (`null` for none), and all others."""


def settings_of(lm: Any, lm_kwargs: Mapping[str, Any], signature: Any) -> Settings | None:
    """The settings of a call; None where it must take DSPy's way."""
    listened = lm.callbacks or dspy.settings.callbacks or not dspy.settings.disable_history
    watched = dspy.settings.usage_tracker or dspy.settings.send_stream is not None
    engine = getattr(lm, "engine", None)
    if listened or watched or lm.cache or not isinstance(engine, ObservedEngine) or not _is_plain(signature):
        return None
    settings = {name: value for name, value in (lm.kwargs | lm_kwargs).items() if value is not None}
    if engine.asynchronous is None or not settings.keys() <= PLAIN:
        return None
    held_to = settings.pop("response_format", None)
    try:
        return _schema(held_to), json.dumps(settings, sort_keys=True)
    except TypeError:  # a class instead of a schema
        return None


_schema = PerObject(json.dumps)


def _own_types(signature: Any) -> bool:
    fields = signature.fields.values()
    return not any(Type in getattr(part, "__mro__", ()) for field in fields for part in _parts(field.annotation))


def _parts(annotation: Any) -> list[Any]:
    """A type and all types in it."""
    return [annotation, *(part for inner in getattr(annotation, "__args__", ()) for part in _parts(inner))]


_is_plain = PerSignature(_own_types)
"""Whether a signature has none of DSPy's types, which formats and models treat each in its own way."""


@lru_cache(maxsize=64)
def _config(settings: Settings) -> lm15.Config:
    """Settings as DSPy reads them."""
    held_to, others = map(json.loads, settings)
    body = {"model": "any", "messages": [{"role": "user", "content": "any"}], **others}
    if held_to is not None:
        body["response_format"] = held_to
    return lm15.request_from_openai_chat(body).config


def request(lm: Any, settings: Settings, messages: Messages) -> lm15.Request | None:
    """The request that DSPy would make; None where a message is not text alone."""
    if not all(isinstance(message["content"], str) for message in messages):
        return None
    system, *said = messages
    turns = tuple(_SAY[message["role"]](message["content"]) for message in said)
    return lm15.Request(model=lm.model, messages=turns, system=system["content"], config=_config(settings))


_SAY = {"user": lm15.Message.user, "assistant": lm15.Message.assistant}


async def reply(lm: Any, request: lm15.Request) -> str:
    """What the model says, tried again as DSPy does: `lm.num_retries` times, when the error says. Raises LMError."""
    left = lm.num_retries
    while True:
        try:
            response: lm15.Response = await lm.engine.asynchronous.complete(request)
            return response.text or ""
        except Exception as error:
            failure = wrap_error(error, model=lm.model)
            if not left or not dspy.is_retryable_lm_error(failure):
                raise failure from (error if failure is not error else None)
        left -= 1
        await asyncio.sleep(1.0 if failure.retry_after is None else failure.retry_after)
