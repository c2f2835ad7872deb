"""Normalize servers' replies before lm15 reads them, and explain replies without an answer.

`readable` converts the body of a chat completion to the form that lm15 accepts: plain text, plausible token counts, and
OpenAI's word for the reason why the reply ended. Any other body raises an error that says what the server sent.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from dspy import lm15

Json = dict[str, Any]

REASONS = {
    "stop": "stop eos end end_turn eos_token stop_sequence complete completed",
    "length": "length max_tokens max_output_tokens max_completion_tokens max_length model_length token_limit",
    "content_filter": "content_filter contentfilter safety recitation blocklist prohibited_content spii sensitive",
    "tool_calls": "tool_calls tool_call tool_use function_call",
    "error": "error abort aborted failed",
}
"""Servers' words for the reason why a reply ended, by OpenAI's word."""

WORD = {said: word for word, all_ in REASONS.items() for said in all_.split()}

MOST_TOKENS = 10_000_000
"""More tokens than any model reads or writes at once: a larger count is the server's mistake."""

ERRORS: dict[int, type[lm15.ProviderError]] = {
    400: lm15.InvalidRequestError,
    401: lm15.AuthError,
    402: lm15.BillingError,
    403: lm15.AuthError,
    404: lm15.InvalidRequestError,
    408: lm15.TimeoutError,
    422: lm15.InvalidRequestError,
    429: lm15.RateLimitError,
    504: lm15.TimeoutError,
}


def readable(body: bytes, media: str = "") -> bytes:
    """The `body` of a reply with status 200 in lm15's form. `media`: its content type, for the error.

    Raises lm15.ProviderError if it is not a chat completion, or is an error instead of one. An answer with invalid
    token counts remains an answer; its counts are unknown.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        _no_answer(_no_json(body, media))
    if not isinstance(said, dict):
        _no_answer(f"the server answers with a JSON {_kind(said)} where a chat completion, an object, was expected")
    choices = said.get("choices")
    if said.get("error") and not _has_answer(choices):
        _raise_error(said["error"], said.get("code"))
    if not isinstance(choices, list) or not choices:
        _no_answer(_no_choices(said))
    first = _choice(choices[0])
    read = [first, *_others(choices[1:])] if len(choices) > 1 else [first]
    kept = {name: said[name] for name in ("id", "object", "created", "model") if isinstance(said.get(name), str | int)}
    return json.dumps({**kept, "choices": read, "usage": usage(said.get("usage"))}).encode()


def usage(said: Any) -> Json:
    """The token counts that a server reports, without impossible ones.

    >>> usage({"prompt_tokens": -1, "completion_tokens": "7", "total_tokens": 7.0})
    {'total_tokens': 7}
    """
    if not isinstance(said, dict):
        return {}
    told = {name: usage(value) if isinstance(value, dict) else _tokens(value) for name, value in said.items()}
    return {name: value for name, value in told.items() if value is not None}


def _tokens(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_TOKENS:
        return None
    return int(value) if value == int(value) else None


def _has_answer(choices: Any) -> bool:
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    return isinstance(message, dict) and bool(message.get("content"))


def _choice(choice: Any) -> Json:
    """One choice in lm15's form. Raises lm15.ProviderError if it is an error or has no message."""
    message = choice.get("message") if isinstance(choice, dict) else None
    reason = WORD.get(str(choice.get("finish_reason") or "stop").lower()) if isinstance(choice, dict) else None
    if isinstance(choice, dict) and (reason == "error" or choice.get("error")):
        _raise_error(choice.get("error") or "the server broke off its answer", None)
    if not isinstance(message, dict):
        _no_answer("the server answers with a choice that has no message")
    text, thought = _parts(message.get("content"))
    apart = _parts(message.get("reasoning_content") or message.get("reasoning"))
    called = message.get("tool_calls") or message.get("function_call")
    read = {"role": "assistant", "content": text, "refusal": None if text else _parts(message.get("refusal"))[0]}
    thoughts = "\n".join(filter(None, (thought, *apart)))
    if thoughts:
        read["reasoning_content"] = thoughts
    return {"index": 0, "finish_reason": "tool_calls" if called and not text else reason, "message": read}


def _others(choices: list[Any]) -> list[Json]:
    """Further choices, up to the first invalid one, which is requested separately."""
    read: list[Json] = []
    for choice in choices:
        try:
            read.append({**_choice(choice), "index": len(read) + 1})
        except lm15.ProviderError:
            break
    return read


def _parts(content: Any) -> tuple[str, str]:
    """Text and reasoning of a content, which may be text, a part or a list of parts."""
    if isinstance(content, str):
        return content, ""
    if isinstance(content, list):
        read = [_parts(part) for part in content]
        return "\n".join(text for text, _ in read if text), "\n".join(thought for _, thought in read if thought)
    if not isinstance(content, dict):
        return "", ""
    if content.get("type") in ("thinking", "reasoning"):
        return "", "\n".join(filter(None, _parts(content.get("thinking") or content.get("text"))))
    return _parts(content.get("text") or content.get("content"))


def _no_json(body: bytes, media: str) -> str:
    start = body[:500].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")) or "html" in media:
        return "the server answers with a web page (HTML)"
    if start.startswith(b"data:"):
        return "the server answers with a stream of events, which it was not asked for"
    excerpt = body[:60].decode("utf-8", "replace")
    return f"the server answers with what is not JSON, {len(body)} bytes that begin with {excerpt!r}"


def _no_choices(said: Json) -> str:
    if not said:
        return "the server answers with an empty object ({}), which holds no choices"
    if "choices" in said:
        return "the server answers without a choice (an empty `choices`)"
    names = ", ".join(map(str, list(said)[:5]))
    return f"the server answers with an object that holds no choices (it has {names})"


def _kind(value: Any) -> str:
    return {list: "list", str: "text", bool: "truth value", type(None): "null"}.get(type(value), "number")


def _no_answer(what: str) -> NoReturn:
    raise lm15.ServerError(what, status=200)


def _raise_error(error: Any, code: Any) -> NoReturn:
    """The error in a reply with status 200, classified by the status that it names."""
    told = error if isinstance(error, dict) else {"message": error}
    status = next((int(str(each)) for each in (told.get("code"), code) if re.fullmatch("[45][0-9]{2}", str(each))), 0)
    metadata = told.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    message = " ".join(str(each) for each in (told.get("message"), raw) if each) or json.dumps(error)[:200]
    named = told.get("code") or told.get("type")
    kind = ERRORS.get(status, lm15.InvalidRequestError if 400 < status < 500 else lm15.ServerError)
    made = kind(f"{message} (an error in a reply with HTTP 200)", status=status or 200, provider_code=str(named or ""))
    made.finish_reason = "error"  # stored with the call
    raise made


# -- what was read ----------------------------------------------------------------------------------------------


def text_of(response: lm15.Response) -> str:
    """The whole reply for the trace, with separate reasoning in front as `<think>`, and the words of a refusal."""
    parts = response.message.parts
    thoughts = [part.text for part in parts if isinstance(part, lm15.ThinkingPart) and part.text]
    before = "".join(f"<think>{text}</think>\n" for text in thoughts)
    if response.text:
        return before + str(response.text)
    return before + "\n".join(part.text for part in parts if isinstance(part, lm15.RefusalPart) and part.text)


def finish_reason(response: lm15.Response | None, error: Exception | None) -> str | None:
    """Why the reply ended: stop, length, content_filter, tool_call, error, or refusal if the model declared one."""
    if response is None:
        return getattr(error, "finish_reason", None)
    if response.text:
        return str(response.finish_reason)
    refused = any(isinstance(part, lm15.RefusalPart) for part in response.message.parts)
    return "refusal" if refused else response.finish_reason


def stored(text: str, finish: str | None, *, model: str, usage: lm15.Usage) -> lm15.Response:
    """The response that was stored as `text` (`text_of`) and `finish` (`finish_reason`)."""
    if finish == "refusal":
        message = lm15.Message(role="assistant", parts=(lm15.RefusalPart(text=text),))
        return lm15.Response(id=None, model=model, message=message, finish_reason="stop", usage=usage)
    reason: Any = finish if finish in ("length", "content_filter", "tool_call") else "stop"
    message = lm15.Message.assistant(text)
    return lm15.Response(id=None, model=model, message=message, finish_reason=reason, usage=usage)


def told(why: str, finish: str | None, response: str | None = None) -> str:
    """Why a reply could not be used, with the reason why it ended. `response`: its text."""
    if finish == "length":
        return f"the reply was cut off at the token limit (raise --max-output-tokens): {why}"
    if finish == "content_filter":
        return f"the server's content filter stopped the reply: {why}"
    if finish == "refusal":
        return f"the model refused: {' '.join((response or '').split())[:200]}"
    if finish == "tool_call":
        return "the model called a tool in the place of an answer"
    return why
