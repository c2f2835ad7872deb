"""The model `human`: a person answers in the terminal, and is scored by the same regret as a language model.

The prompt is shown as a model gets it, without the form of the reply, and with control characters as their numbers.
Each output field is asked for by name; what does not fit its type is asked for again. Questions wait for one another.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Mapping
from typing import Any, TextIO

from dspy import lm15

from programs.interruptible import interruptible_wait
from programs.visible import visible

Schema = Mapping[str, Any]

NOT_A_QUESTION = "Reply with the word OK."
"""What a run asks each model before it begins."""

FORM = re.compile(r"^Reply with one JSON object and nothing else:\n\{.*\}$", re.MULTILINE)
"""How a model is told to write its reply (CompactAdapter); a person is asked for each field instead."""

_turn = threading.Lock()


class HumanEngine:
    """A synchronous lm15 engine. Raises `lm15.ConfigurationError` once standard input has ended."""

    supported_params = frozenset({"response_format"})
    supports_response_schema = True

    def __init__(self, source: TextIO | None = None, target: TextIO | None = None) -> None:
        self.source, self.target = source, target
        self._told: set[str] = set()

    def complete(self, request: lm15.Request) -> lm15.Response:
        asked = [message.text or "" for message in request.messages]
        with _turn:
            told = str(request.system or "")
            text = "OK" if asked == [NOT_A_QUESTION] else self._answer(told, asked[-1], _schema(request))
        message = lm15.Message.assistant(text)
        usage = lm15.Usage(input_tokens=0, output_tokens=0)
        return lm15.Response(id=None, model="human", message=message, finish_reason="stop", usage=usage)

    def _answer(self, system: str, question: str, schema: Schema | None) -> str:
        if system not in self._told:  # the instruction is the same in every year
            self._told.add(system)
            self._say(f"\n{FORM.sub('You are asked for:', system)}\n")
        self._say(f"\n{question}\n")
        if schema is None:
            return self._line("your reply: ")
        definitions = schema.get("$defs", {})
        return json.dumps({name: self._value(name, of, definitions) for name, of in schema["properties"].items()})

    def _value(self, name: str, schema: Schema, definitions: Schema) -> Any:
        """The answer for one field, asked for until it fits."""
        kinds = _kinds(schema, definitions)
        while True:
            text = self._line(f"{name} ({' or '.join(map(_words, kinds))}): ")
            for kind in kinds:
                try:
                    return _read(text, kind, definitions)
                except ValueError:
                    continue
            self._say(f"{text!r} is not {' or '.join(map(_words, kinds))}.\n")

    def _line(self, prompt: str) -> str:
        self._say(prompt)
        with interruptible_wait():
            line = (self.source or sys.stdin).readline()
        if not line:
            self._say("\n")
            raise lm15.ConfigurationError("no one answers, because standard input has ended")
        return line.strip()

    def _say(self, text: str) -> None:
        target = self.target or sys.stderr
        target.write(visible(text))
        target.flush()


def _schema(request: lm15.Request) -> Schema | None:
    """The schema that the reply is held to."""
    held = request.config.response_format
    if not isinstance(held, Mapping):
        return None
    found = held.get("schema") or held.get("json_schema", {}).get("schema")
    return found if isinstance(found, Mapping) and "properties" in found else None


def _kinds(schema: Schema, definitions: Schema) -> list[Schema]:
    """The types that a field may have."""
    if "$ref" in schema:
        return _kinds(definitions[str(schema["$ref"]).rpartition("/")[2]], definitions)
    return [kind for part in schema["anyOf"] for kind in _kinds(part, definitions)] if "anyOf" in schema else [schema]


def _words(schema: Schema) -> str:
    """What a person is to type."""
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    match schema.get("type"):
        case "boolean":
            return "yes or no"
        case "null":
            return "nothing"
        case "array":
            count = schema.get("minItems")
            numbers = f"{count} values" if count == schema.get("maxItems") and count else "values"
            return f"{numbers} separated by spaces: {_words(schema.get('items', {}))}"
        case "integer" | "number":
            least, most = schema.get("minimum"), schema.get("maximum")
            return "a number" if least is None or most is None else f"a number from {least} to {most}"
    return "text"


def _read(text: str, schema: Schema, definitions: Schema) -> Any:
    """The value that `text` means in one type. ValueError if it has none."""
    if "enum" in schema:
        return _one_of(text, schema["enum"])
    match schema.get("type"):
        case "boolean":
            return _one_of(text.lower(), ("yes", "no", "y", "n")).startswith("y")
        case "null":
            return None if not text else _one_of(text, ())
        case "array":
            parts = text.replace(",", " ").replace("/", " ").split()
            return _within([_read(part, schema.get("items", {}), definitions) for part in parts], schema)
        case "integer":
            return _between(int(text), schema)
        case "number":
            return _between(float(text), schema)
    return text


def _one_of(text: str, values: Any) -> Any:
    found = [value for value in values if str(value) == text]
    if not found:
        raise ValueError(text)
    return found[0]


def _between(value: float, schema: Schema) -> float:
    if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        raise ValueError(value)
    return value


def _within(values: list[Any], schema: Schema) -> list[Any]:
    if not schema.get("minItems", 0) <= len(values) <= schema.get("maxItems", len(values)):
        raise ValueError(len(values))
    return values
