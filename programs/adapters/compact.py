"""The compact prompt format: constant instructions, `name: value` lines, and one JSON object as the reply.

The system message states the task, the input fields and the JSON of the reply; it is the same text for every agent that
is asked the same question. A field can have the words for its type in `told`. The user message has only the values, in
the signature's order. Demonstrations, instructions and descriptions are read on every call, so DSPy's optimizers work
with this format as with DSPy's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from programs.adapters import reply_schema
from programs.caching import PerSignature
from programs.dspy_versions import with_defaults

INPUTS = "You are given:"
REPLY = "Reply with one JSON object and nothing else:"


class CompactAdapter(dspy.Adapter):
    """The format itself; programs/adapters/repairing.py adds what all formats share. `parse` raises
    AdapterParseError."""

    def __init__(self) -> None:
        super().__init__(use_native_function_calling=False)

    # -- the prompt ---------------------------------------------------------------------------------------------

    def format_system_message(self, signature: Any) -> str:
        parts = (self.format_task_description, self.format_field_description, self.format_field_structure)
        return "\n\n".join(part(signature) for part in parts)

    def format_task_description(self, signature: Any) -> str:
        return str(signature.instructions)

    def format_field_description(self, signature: Any) -> str:
        lines = [_explained(name, described(name, field)) for name, field in signature.input_fields.items()]
        return "\n".join([INPUTS, *lines])

    def format_field_structure(self, signature: Any) -> str:
        schema = reply_schema.reply_schema(signature) or {"properties": {name: {} for name in signature.output_fields}}
        definitions = schema.get("$defs", {})
        lines = []
        for name, field in signature.output_fields.items():
            kind = field.json_schema_extra.get("told") or reply_schema.words(schema["properties"][name], definitions)
            told = described(name, field), kind
            if any(told):
                lines.append(_explained(name, f"{told[0]} ({told[1]})" if all(told) else "".join(told)))
        return "\n".join([REPLY, reply_schema.shape(schema, definitions), *lines])

    def format_user_message_content(
        self, signature: Any, inputs: Mapping[str, Any], prefix: str = "", suffix: str = "", main_request: bool = False
    ) -> str:
        lines = [_line(name, inputs[name]) for name in signature.input_fields if name in inputs]
        return "\n".join(text for text in (prefix, *lines, suffix) if text)

    def format_assistant_message_content(
        self, signature: Any, outputs: Mapping[str, Any], missing_field_message: str | None = None
    ) -> str:
        said = {name: outputs.get(name, missing_field_message) for name in signature.output_fields}
        return json.dumps(to_jsonable_python(said, fallback=str), ensure_ascii=False)

    # -- the reply ----------------------------------------------------------------------------------------------

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        outputs = _outputs(signature)
        fields: dict[str, Any] = {}
        try:
            for name, said in _said(completion, outputs).items():
                fields[name] = outputs[name].read(said)
        except ValidationError as error:
            raise self._unusable(signature, completion, f"Failed to parse field {name}: {error}", fields) from error
        except ValueError as error:
            raise self._unusable(signature, completion, str(error), fields) from error
        complete: dict[str, Any] = with_defaults(signature, fields)
        if complete.keys() != outputs.keys():
            raise self._unusable(signature, completion, None, complete)
        return complete

    def _unusable(self, signature: Any, completion: str, why: str | None, fields: dict[str, Any]) -> AdapterParseError:
        return AdapterParseError(type(self).__name__, signature, completion, why, fields)

    # -- the call -----------------------------------------------------------------------------------------------

    def __call__(self, lm: Any, lm_kwargs: Any, signature: Any, demos: Any, inputs: Any) -> list[dict[str, Any]]:
        reply_schema.hold(lm, lm_kwargs, signature)
        return super().__call__(lm, lm_kwargs, signature, demos, inputs)  # type: ignore[no-any-return]

    async def acall(self, lm: Any, lm_kwargs: Any, signature: Any, demos: Any, inputs: Any) -> list[dict[str, Any]]:
        reply_schema.hold(lm, lm_kwargs, signature)
        return await super().acall(lm, lm_kwargs, signature, demos, inputs)  # type: ignore[no-any-return]


def described(name: str, field: Any) -> str:
    """The field's description on one line; DSPy's placeholder for none is none."""
    desc = field.json_schema_extra.get("desc") or ""
    return "" if desc == f"${{{name}}}" else " ".join(desc.split())


def _explained(name: str, text: str) -> str:
    return f"{name}: {text}" if text else name


def _line(name: str, value: Any) -> str:
    """An input as the model reads it: text as it is, anything else as JSON."""
    text = value if isinstance(value, str) else to_jsonable_python(value, fallback=str)
    if not isinstance(text, str):
        text = json.dumps(text, ensure_ascii=False)
    return f"{name}:\n{text}" if "\n" in text else f"{name}: {text}"


# -- reading a reply: the intended value, and never a number taken from prose ---------------------------------------

MARKUP = " \t\n*_`\"'"
"""Characters that may surround a value."""


@dataclass(frozen=True)
class Output:
    """How one output field is read. `unit`: words that may follow its number, all of them or the first; `prose`:
    whether any text is a valid value."""

    kind: TypeAdapter[Any]
    unit: tuple[str, ...]
    prose: bool

    def read(self, said: Any) -> Any:
        """The value of `said`, which was decoded from JSON. Raises ValidationError."""
        try:
            return self.kind.validate_python(said)
        except ValidationError:
            if not isinstance(said, str) or self.prose:
                raise
            return self.kind.validate_python(self.plain(said))

    def plain(self, text: str) -> Any:
        """`text` decoded if it is JSON, `40 hours` as 40 if hours are asked for, else unchanged."""
        number = re.fullmatch(r"(-?\d+(?:\.\d+)?)\s*([A-Za-z][A-Za-z ]*)", text)
        if number and tuple(words := number[2].lower().split()) == self.unit[: len(words)]:
            text = number[1]
        try:
            return json.loads(_mended(text), strict=False)
        except json.JSONDecodeError:
            return text

    def bare(self, reply: str, name: str) -> Any:
        """The value of a reply without an object if it is the value alone: named, fenced or in bold, but not a
        sentence.

        Raises ValueError. If any text is a valid value, it must be JSON, because nothing else distinguishes it from a
        refusal.
        """
        text = re.sub(r"\A```\w*\n|\n```\Z", "", reply.strip())
        text = re.sub(rf"\A\W*{name}\W*[:=]", "", text, flags=re.IGNORECASE)
        if self.prose:
            return json.loads(text)
        value = self.plain(text.lstrip(MARKUP).rstrip(f"{MARKUP}."))
        if isinstance(value, str):
            self.kind.validate_python(value)
        return value


def _make_outputs(signature: Any) -> dict[str, Output]:
    schema, outputs = reply_schema.reply_schema(signature), {}
    for name, kind in reply_schema.kinds(signature).items():
        unit = re.findall("[a-z]+", described(name, signature.output_fields[name]).lower())
        prose = schema is None or reply_schema.takes_prose(schema["properties"][name])
        outputs[name] = Output(kind, tuple(unit), prose)
    return outputs


_outputs = PerSignature(_make_outputs)


def _said(reply: str, outputs: Mapping[str, Output]) -> dict[str, Any]:
    """The decoded value of each output. ValueError if there is no object, or several that differ."""
    for mended in (False, True):
        text = _mended(reply[reply.find("{") : reply.rfind("}") + 1]) if mended else reply
        found = [each for each in _objects(text) if not outputs.keys().isdisjoint(each)]
        if len(found) > 1 and any(each != found[0] for each in found):
            raise ValueError("it holds more than one JSON object")
        if found:
            return {name: found[0][name] for name in outputs if name in found[0]}
    if len(outputs) == 1 and "{" not in reply:
        [(name, output)] = outputs.items()
        with suppress(ValueError):
            return {name: output.bare(reply, name)}
    raise ValueError(f"it holds no JSON object with {', '.join(map(json.dumps, outputs))}")


MOST_BRACES = 50
"""Maximum number of positions at which an object is searched for, so that no reply takes long to read."""


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The outermost JSON objects in `text`."""
    decoder, end = json.JSONDecoder(strict=False), 0
    for brace in islice(re.finditer("{", text), MOST_BRACES):
        if brace.start() >= end:
            try:
                found, end = decoder.raw_decode(text, brace.start())
            except json.JSONDecodeError:
                continue
            yield found


SLIPS = re.compile(
    r'"[^"\\]*+(?:\\[\s\S][^"\\]*+)*+(?:"|\\?\Z)'  # text in double quotes, even unclosed, stays
    r"|'[^'\"\n]*'"  # text in single quotes
    r"|,(?=\s*[}\]])|\+(?=\d)"  # a comma at the end, a plus sign
    r"|\b(?:True|False|None)\b"
    r"|\b[A-Za-z_]\w*+(?=\s*:)"  # a name without quotes
)


def _mended(text: str) -> str:
    """`text` with models' usual JSON mistakes corrected; nothing is omitted or guessed."""
    return SLIPS.sub(_mend, text)


def _mend(slip: re.Match[str]) -> str:
    token = slip[0]
    if token[0] == "'":
        return f'"{token[1:-1]}"'
    if token in (",", "+") or token[0] == '"':
        return token.strip(",+") if len(token) == 1 else token
    return {"True": "true", "False": "false", "None": "null"}.get(token, f'"{token}"')
