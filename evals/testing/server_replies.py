"""Replies of the loopback server (openai_server.py): by the rules, or with a fault."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dspy import lm15

from programs.engines.rules import prompt_parser
from programs.engines.rules.engine import reply

MODEL = "gpt-4o-mini"


@dataclass(frozen=True)
class Reply:
    """The reply to a request: an HTTP status with a body, after `delay` seconds, with extra headers."""

    status: int
    body: bytes
    delay: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()


Fault = Callable[[int, dict[str, Any]], Reply | None]
"""(number of the request from 0, its body) -> the reply to send instead of an answer, or None."""


def failure(status: int, message: str, *, delay: float = 0.0, retry_after: float | None = None) -> Reply:
    """An error in OpenAI's form."""
    body = json.dumps({"error": {"message": message, "type": "error", "code": None}}).encode()
    headers = (("Retry-After", f"{retry_after:g}"),) if retry_after is not None else ()
    return Reply(status, body, delay, headers)


def completion(text: str | list[str], request: dict[str, Any], *, delay: float = 0.0) -> Reply:
    """A chat completion with `text`, or one choice for each; a token is counted as four characters."""
    texts = [text] if isinstance(text, str) else text
    written = sum(len(each) // 4 + 1 for each in texts)
    prompt = sum(len(str(message.get("content", ""))) for message in request.get("messages", ())) // 4
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
    }
    choices = [
        {"index": number, "finish_reason": "stop", "message": {"role": "assistant", "content": each}}
        for number, each in enumerate(texts)
    ]
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": request.get("model", MODEL),
    }
    return Reply(200, json.dumps({**body, "choices": choices, "usage": usage}).encode(), delay)


def answered(request: dict[str, Any]) -> Reply:
    """The completion that `rules` gives to a request, or status 400 for a prompt that `rules` does not know."""
    try:
        return completion(samples(request), request)
    except lm15.InvalidRequestError as error:
        return failure(400, str(error))


def samples(request: dict[str, Any]) -> list[str]:
    """The number of answers that a request asks for (`n`), with consecutive seeds, as in vLLM."""
    count, seed = request.get("n", 1), request.get("seed")
    return [by_rules({**request, "seed": None if seed is None else seed + number}) for number in range(count)]


def ignores_n(number: int, request: dict[str, Any]) -> Reply | None:
    """The fault of a server that returns one answer, whatever `n` is."""
    return completion(by_rules(request), request) if request.get("n", 1) > 1 else None


def refuses_n(number: int, request: dict[str, Any]) -> Reply | None:
    """The fault of a server that refuses more than one answer."""
    return failure(400, "Only one completion choice is allowed") if request.get("n", 1) > 1 else None


def by_rules(request: dict[str, Any]) -> str:
    """The answer of `rules` to the messages of a chat completion request. InvalidRequestError if it knows none."""
    messages = [_message(one) for one in _listed(request.get("messages"))]
    system = "\n".join(text for role, text in messages if role in ("system", "developer"))
    rest = [text for role, text in messages if role not in ("system", "developer")]
    if not rest:
        raise lm15.InvalidRequestError("'messages' has no message of a user")
    if not system:
        system, rest = _parted(rest)
    return reply(system, rest, request.get("seed"))


def _listed(messages: Any) -> list[Any]:
    if not isinstance(messages, list):
        raise lm15.InvalidRequestError(f"'messages' is {messages!r:.60}; expected a list")
    return messages


def _message(one: Any) -> tuple[str, str]:
    """Role and text of a message, whose content may be a list of parts."""
    content = one.get("content") if isinstance(one, dict) else None
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(content, str):
        raise lm15.InvalidRequestError(f"message {one!r:.60}: expected a role and a text as content")
    return str(one.get("role")), content


def _parted(said: list[str]) -> tuple[str, list[str]]:
    """The system text at the start of the first message, if there is one, and the messages without it."""
    first = said[0]
    for break_ in re.finditer("\n\n", first):
        system, message = first[: break_.start()], first[break_.end() :]
        if prompt_parser.find("", [first]) is None and prompt_parser.find(system, [message]) is not None:
            return system, [message, *said[1:]]
    return "", said
