"""Find out with a few calls which parts of a request an endpoint accepts, for `llm-economist doctor`.

One call has every part at once; refused parts are found as in a run (programs/engines/refused_parts.py). A second call
asks for more tokens than its limit allows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dspy
from dspy import lm15

from programs.calls.multi_choice import unfolded
from programs.calls.optional_parts import LIMITS, NEW_LIMIT, SAMPLES, SCHEMA, SEED, SYSTEM, TEMPERATURE, WITHOUT
from programs.engines.http import AsyncRemoteEngine
from programs.models import is_remote, without_secrets

ANSWER = {"type": "object", "properties": {"hours": {"type": "integer"}}, "required": ["hours"]}
CLOSED = {**ANSWER, "additionalProperties": False}
LIMIT = 16
"""Token limit of the long answer, which would otherwise take several hundred."""

MOST_CHARACTERS = 12 * LIMIT
"""Maximum characters of that many tokens of plain words."""


def everything(lm: dspy.LM) -> lm15.Request:
    """A request with every part that a run may send."""
    held_to = {"type": "json_schema", "name": "reply", "schema": CLOSED, "strict": True}
    return lm15.Request(
        model=lm.model,
        system="You are asked for weekly hours of work.",
        messages=(lm15.Message.user('How many hours? Reply as JSON: {"hours": n}'),),
        config=lm15.Config(
            temperature=lm.kwargs.get("temperature"),
            max_tokens=lm.kwargs.get("max_tokens"),
            response_format=held_to,
            seed=1 if SEED in lm.supported_params else None,
        ),
    )


def engines_of(lm: Any) -> list[AsyncRemoteEngine]:
    """The engines of `lm`, one for each of its servers; none if this process answers."""
    return list(lm.engine.asynchronous.engines) if is_remote(lm) else []


async def what_it_takes(lm: dspy.LM, engine: AsyncRemoteEngine) -> dict[str, str]:
    """Each part of a request and how the server of `engine` treats it, in words. Raises lm15.LM15Error."""
    await engine.ready()
    try:
        return await _tried(lm, engine)
    finally:
        await engine.aclose()


async def _tried(lm: dspy.LM, engine: AsyncRemoteEngine) -> dict[str, str]:
    request = everything(lm)
    known = engine.parts.of(request, frozenset())
    if engine.takes_several:
        several = replace(request, config=replace(request.config, extensions={SAMPLES: 2}))
        count = len(unfolded(await engine.several(several), 2))
    else:
        await engine.complete(request)
        count = 0
    said = {name: _said(engine, name, name in known) for name in (SCHEMA, SEED, SAMPLES, TEMPERATURE, SYSTEM)}
    if count:
        refused = SAMPLES in engine.parts.refused
        said[SAMPLES] = _said(engine, SAMPLES, True) if refused or count == 2 else "ignored: one answer instead of two"
    return said | await _limit(engine, request)


async def _limit(engine: AsyncRemoteEngine, request: lm15.Request) -> dict[str, str]:
    """How the endpoint treats the token limit, by each name under which it is sent."""
    if request.config.max_tokens is None:
        return {NEW_LIMIT: "not sent to this model"}
    long = lm15.Message.user("Count from one to two hundred in words, each number on a line of its own.")
    asked = lm15.Request(model=request.model, messages=(long,), config=lm15.Config(max_tokens=LIMIT))
    answer = await engine.complete(replace(asked, config=replace(asked.config, temperature=request.config.temperature)))
    sent = next((name for name in engine.parts.limits if name not in engine.parts.refused), None)
    said = {name: _said(engine, name, True) for name in LIMITS if name in engine.parts.refused}
    if sent is not None:
        void = (answer.usage.output_tokens or 0) > LIMIT or len(answer.text or "") > MOST_CHARACTERS
        said[sent] = "ignored: replies are longer, and --max-tokens counts their actual length" if void else "taken"
    return said


def _said(engine: AsyncRemoteEngine, name: str, sent: bool) -> str:
    words = engine.parts.memory.told.get(name)
    if words is not None:
        return f"refused ({without_secrets(words)[:120]}); asked {WITHOUT[name]}"
    if name in engine.parts.omitted:
        return f"left out by --omit; asked {WITHOUT[name]}"
    return "taken" if sent else "not sent to this model"
