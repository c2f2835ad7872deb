"""Prompt formats with repair: if a reply does not parse, show the model the error and ask again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from threading import Lock
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError
from pydantic import TypeAdapter, ValidationError

from programs.adapters import compact, reply_schema, untrusted_text
from programs.adapters.thinking_blocks import without_thoughts
from programs.caching import PerSignature
from programs.calls import direct
from programs.calls.context import call_context
from programs.dspy_versions import messages_of, with_defaults
from signatures.types import Hours

REPAIRS = 2
"""How often a reply that does not parse is sent back with the error."""

LONGEST = 1_000_000
"""Characters of a reply that is read: a longer one is no answer to any question here."""

MOST_MENDING = 8_000_000
"""How much may be mended in a reply that is no JSON: characters times (40 a brace, 1 a quote), about a second."""

PARSING = Lock()
"""DSPy parses by `ast`, which in CPython 3.11 fails now and then when two threads use it at once."""

EMPTY = "The LM returned an empty or null response."
"""DSPy's words. A thought alone is told in the same ones, whether or not it came apart from the text."""

UNFINISHED = "it ends within a thought, before any answer"

_feedback: ContextVar[list[dict[str, str]]] = ContextVar("feedback")


class _Repairing:
    """Mixed into an adapter: on a reply that does not parse, ask again and say what was wrong.

    Outcomes are reported to the recorder of the current context (programs/calls/context.py). The system message is put
    together once per signature.
    """

    repairs_texts = True
    """Whether the format's parser repairs as JSON what is not exactly `str`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._system: PerSignature[str] = PerSignature(super().format_system_message)  # type: ignore[misc]

    def format_system_message(self, signature: Any) -> str:
        return self._system(signature)

    def format(self, signature: Any, demos: Any, inputs: Any) -> list[dict[str, Any]]:
        return messages_of(super().format(signature, demos, inputs)) + _feedback.get([])  # type: ignore[misc]

    def format_user_message_content(self, signature: Any, inputs: Any, *rest: Any, **options: Any) -> str:
        framed = untrusted_text.framed_inputs(signature, inputs)
        return super().format_user_message_content(signature, framed, *rest, **options)  # type: ignore[misc,no-any-return]

    def format_assistant_message_content(self, signature: Any, outputs: Any, *rest: Any, **options: Any) -> str:
        framed = untrusted_text.framed_outputs(signature, outputs)
        return super().format_assistant_message_content(signature, framed, *rest, **options)  # type: ignore[misc,no-any-return]

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        if len(completion) > LONGEST:
            raise self._refused(signature, completion, f"it has {len(completion)} characters, more than {LONGEST}")
        spoken = without_thoughts(completion, self.tags(signature))
        if spoken.thought and not spoken.answer:
            why = UNFINISHED if spoken.cut_off else EMPTY
            raise AdapterParseError(type(self).__name__, signature, "", why)
        fields = self._answer(signature, spoken.answer)
        recorder = call_context().replies
        if recorder is not None:
            recorder.parsed(fields)
        return fields

    def tags(self, signature: Any) -> Collection[str]:
        """Tags that are no thoughts, whatever they are called."""
        return ()

    def _answer(self, signature: Any, completion: str) -> dict[str, Any]:
        """The values in a reply without thoughts."""
        plain, bounded = _texts(signature) if self.repairs_texts else (None, {})
        if self.repairs_texts and any(map(_is_tangled, self.repaired(plain or signature, completion))):
            raise self._refused(signature, completion, "it is no JSON, and too tangled to be mended")
        try:
            with PARSING:
                fields: dict[str, Any] = super().parse(plain or signature, completion)  # type: ignore[misc]
        except (RecursionError, ValueError) as error:
            raise self._refused(signature, completion, f"it is nested too deep ({error})") from error
        for name, kind in bounded.items():
            try:
                fields[name] = kind.validate_python(fields[name])
            except ValidationError as error:
                why = f"Failed to parse field {name}: {error}"
                raise AdapterParseError(type(self).__name__, signature, completion, why) from error
        return fields

    def repaired(self, signature: Any, completion: str) -> Iterable[str]:
        """The parts of a reply that DSPy repairs where they are no JSON."""
        return ()

    def _refused(self, signature: Any, completion: str, why: str) -> AdapterParseError:
        return AdapterParseError(type(self).__name__, signature, completion, why)

    async def acall(self, lm: Any, lm_kwargs: Any, signature: Any, demos: Any, inputs: Any) -> list[dict[str, Any]]:
        token = _feedback.set([])
        try:
            for left in reversed(range(REPAIRS + 1)):
                try:
                    return await self._once(lm, dict(lm_kwargs), signature, demos, inputs)
                except AdapterParseError as error:
                    _failed(error)
                    if not left:
                        raise
        finally:
            _feedback.reset(token)
        raise AssertionError("the loop returns or raises")

    async def _once(self, lm: Any, lm_kwargs: Any, signature: Any, demos: Any, inputs: Any) -> list[dict[str, Any]]:
        """One reply and what it says: the short way where that is the same as DSPy's."""
        self.hold(lm, lm_kwargs, signature)
        settings = direct.settings_of(lm, lm_kwargs, signature)
        request = direct.request(lm, settings, self.format(signature, demos, inputs)) if settings is not None else None
        if request is None:
            return await super().acall(lm, lm_kwargs, signature, demos, inputs)  # type: ignore[misc,no-any-return]
        text = await direct.reply(lm, request)
        if not text:
            raise AdapterParseError(type(self).__name__, signature, text, EMPTY)
        fields = with_defaults(signature, self.parse(signature, text))
        return [dict.fromkeys(signature.output_fields) | fields]

    def hold(self, lm: Any, lm_kwargs: dict[str, Any], signature: Any) -> None:
        """Have the server hold the reply to a schema, where the format has one."""

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
    what = untrusted_text.one_line(reason(error), 300)
    recorder = call_context().replies
    if recorder is not None:
        recorder.unparsed(what)
    reply = untrusted_text.quoted(error.signature, _sendable(error.lm_response or "(empty)")[:500])
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
    """Why a reply did not parse, in one line without the reply itself: `labor: Input should be at most 100`."""
    outputs = error.signature.output_fields
    own = str(error.message).partition(f"Adapter {error.adapter_name} failed")[0]
    named = re.match(r"Failed to parse field (\w+)", own)
    field = named[1] if named and named[1] in outputs else " or ".join(outputs)
    if invalid := _invalid(error):
        messages = dict.fromkeys(each["msg"] for each in invalid.errors(include_url=False))
        return f"{field}: {'; '.join(messages)}"[:300]
    missing = [name for name in outputs if name not in (error.parsed_result or {})]
    told = " ".join(own.rpartition("Error message: ")[2].split())  # before it stands the whole value
    return (told or f"no value for {', '.join(missing)}")[:300]


def _invalid(error: BaseException) -> ValidationError | None:
    """The validation error that `error` reports, if it reports one."""
    cause = error.__cause__ or error.__context__
    return cause if cause is None or isinstance(cause, ValidationError) else _invalid(cause)


def _plain_texts(signature: Any) -> tuple[Any, Mapping[str, TypeAdapter[Any]]]:
    bounded = {
        name: TypeAdapter(field.annotation)
        for name, field in signature.output_fields.items()
        if isinstance(field.annotation, type)
        and issubclass(field.annotation, (str, Hours))
        and field.annotation is not str
    }
    plain = signature
    for name in bounded:
        plain = plain.with_updated_fields(name, type_=str)
    return plain if bounded else None, bounded


_texts = PerSignature(_plain_texts)
"""A signature with its bounded texts and hours as plain texts, None if there are none, and what validates them.

DSPy repairs as JSON whatever is not exactly `str`, which tears a text with a bracket in it apart.
"""


def _is_tangled(text: str) -> bool:
    """Whether `text` is no JSON and mending it may take long.

    The library that DSPy mends with reads on to the end of the text at each brace and quote: on two cores of 2024,
    5 microseconds for each brace and character, an eighth of one for each quote and character.
    """
    braces = text.count("{") + text.count("[") + text.count("(")
    quotes = text.count('"') + text.count("'")
    if len(text) * (40 * braces + quotes) <= MOST_MENDING:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return True
    return False


def _others(signature: Any) -> list[str]:
    """The outputs that are no plain text, which DSPy repairs."""
    return [name for name, field in signature.output_fields.items() if field.annotation is not str]


class ChatAdapter(_Repairing, dspy.ChatAdapter):
    """DSPy's chat format (`[[ ## field ## ]]`), with repair in place of its silent second call."""

    def __init__(self) -> None:
        super().__init__(use_json_adapter_fallback=False)

    def repaired(self, signature: Any, completion: str) -> Iterable[str]:
        for name in _others(signature):
            for part in re.split(rf"\[\[ ## {name} ## \]\]", completion)[1:]:
                yield part.partition("[[ ## ")[0].strip()


class XMLAdapter(_Repairing, dspy.XMLAdapter):
    """DSPy's XML format (`<field>`), with repair in place of its silent second call."""

    def __init__(self) -> None:
        super().__init__(use_json_adapter_fallback=False)

    def tags(self, signature: Any) -> Collection[str]:
        return frozenset(signature.output_fields)

    def repaired(self, signature: Any, completion: str) -> Iterable[str]:
        for name in _others(signature):
            for part in completion.split(f"<{name}>")[1:]:
                yield part.partition(f"</{name}>")[0].strip()

    @classmethod
    def _elements_to_value(cls, elements: Any, schema: Mapping[str, Any], definitions: Any) -> Any:
        """A list in brackets as a list: DSPy validates the text at last, and would say that a list was expected."""
        value = super()._elements_to_value(elements, schema, definitions)
        if schema.get("type") != "string" and isinstance(value, str) and value.startswith("["):
            with suppress(json.JSONDecodeError):
                return json.loads(value)
        return value


class JSONAdapter(_Repairing, dspy.JSONAdapter):
    """DSPy's JSON format, held to the signature's schema where the server can, with repair."""

    def __init__(self) -> None:
        super().__init__(use_native_function_calling=False)

    def repaired(self, signature: Any, completion: str) -> Iterable[str]:
        return (completion,)

    hold = staticmethod(reply_schema.hold)
    _prepare_response_format = hold


class CompactAdapter(_Repairing, compact.CompactAdapter):
    """The short format of programs/adapters/compact.py, held to the signature's schema where the server can, with
    repair."""

    repairs_texts = False
    hold = staticmethod(reply_schema.hold)


ADAPTERS: Mapping[str, Callable[[], dspy.Adapter]] = {
    "chat": ChatAdapter,
    "json": JSONAdapter,
    "xml": XMLAdapter,
    "compact": CompactAdapter,
}
