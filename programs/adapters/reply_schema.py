"""Describe a signature's expected reply: a JSON schema for servers, plain words for models.

Both come from pydantic's schema of each output's type, so a type that validates itself is described by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema

from programs.caching import PerSignature

Schema = Mapping[str, Any]

NOT_SENT = frozenset({"title", "default"})
"""Keys that pydantic adds and no server needs; their tokens would be paid for as part of the prompt."""

STRICT = frozenset(
    {
        *("type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "$ref", "$defs"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems"),
        "description",
    }
)
"""The subset of JSON schema that OpenAI's strict mode supports; it refuses, for example, lengths of text."""

MOST_SHOWN = 12
"""Items up to which a list of fixed length is shown in full."""


def _kinds(signature: Any) -> dict[str, TypeAdapter[Any]]:
    return {name: TypeAdapter(_constrained(field)) for name, field in signature.output_fields.items()}


def _constrained(field: Any) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


kinds = PerSignature(_kinds)
"""A validator for each output field, including constraints of the field that are not part of its type."""


def _reply_schema(signature: Any) -> dict[str, Any] | None:
    adapters: Any = [(name, "validation", kind) for name, kind in kinds(signature).items()]
    try:
        made, definitions = TypeAdapter.json_schemas(adapters)
    except PydanticInvalidForJsonSchema:
        return None
    fields = {name: made[(name, "validation")] for name, _, _ in adapters}
    return _closed({"type": "object", "properties": fields, **definitions})  # type: ignore[no-any-return]


reply_schema = PerSignature(_reply_schema)
"""The JSON schema of an object with exactly the outputs, in order, all of them required.

None if a type has no schema."""


def _closed(schema: Any) -> Any:
    """`schema` in the form that strict servers require: no object has optional or unknown properties."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    named = ("properties", "$defs")
    made = {
        key: {name: _closed(each) for name, each in value.items()} if key in named else _closed(value)
        for key, value in schema.items()
        if key not in NOT_SENT
    }
    if "properties" in made:
        made |= {"required": list(made["properties"]), "additionalProperties": False}
    return made


def is_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode supports `schema`: no text lengths, patterns, open mappings or tuples of types."""
    if not isinstance(schema, dict):
        return False
    if not schema or not schema.keys() <= STRICT or schema.get("additionalProperties") not in (None, False):
        return False
    parts = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values(), *schema.get("anyOf", ())]
    return all(map(is_strict, [*parts, *([schema["items"]] if "items" in schema else [])]))


def _response_format(signature: Any) -> dict[str, Any]:
    schema = reply_schema(signature)
    if schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": is_strict(schema)}}


response_format = PerSignature(_response_format)
"""OpenAI's `response_format` for a signature: its schema, strict if possible."""


def hold(lm: Any, lm_kwargs: dict[str, Any], signature: Any) -> None:
    """Have the server enforce the signature's schema on the reply if `lm` supports it, unless the call says
    otherwise."""
    if "response_format" in lm_kwargs or "response_format" not in lm.supported_params:
        return
    lm_kwargs["response_format"] = (
        response_format(signature) if lm.supports_response_schema else {"type": "json_object"}
    )


def takes_prose(schema: Schema) -> bool:
    """Whether any text is a valid value, so that a value cannot be distinguished from other text."""
    free = schema.get("type") == "string" and not {"enum", "const"} & schema.keys()
    return free or any(map(takes_prose, schema.get("anyOf", ())))


# -- in words ---------------------------------------------------------------------------------------------------


def shape(schema: Schema, definitions: Schema) -> str:
    """The form of a value with placeholders: `{"stand": true or false, "rate_changes": [n, n, n] or null}`."""
    schema, definitions = _resolved(schema, definitions)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(shape(each, definitions) for each in schema["anyOf"]))
    if "properties" in schema:
        fields = [f'"{name}": {shape(each, definitions)}' for name, each in schema["properties"].items()]
        return "{" + ", ".join(fields) + "}"
    if schema.get("type") == "array":
        item, count = shape(schema.get("items", {}), definitions), schema.get("minItems") or 0
        shown = count == schema.get("maxItems") and count <= MOST_SHOWN
        return f"[{', '.join([item] * count)}]" if shown else f"[{item}, ...]"
    return PLACES.get(schema.get("type", ""), '"..."')


PLACES = {"integer": "n", "number": "n", "boolean": "true or false", "null": "null", "object": "{...}"}
"""The placeholder of each type; any other type is shown as text."""


def words(schema: Schema, definitions: Schema) -> str:
    """Requirements that the shape of a value does not show: `a whole number from 0 to 100`. Empty if there are none."""
    schema, definitions = _resolved(schema, definitions)
    if "anyOf" in schema:
        told = [words(each, definitions) for each in schema["anyOf"]]
        shown = [text or shape(each, definitions) for text, each in zip(told, schema["anyOf"], strict=True)]
        return "; or ".join(shown) if any(told) else ""
    if "enum" in schema or "const" in schema:
        *first, last = [json.dumps(value, ensure_ascii=False) for value in schema.get("enum", [schema.get("const")])]
        return f"{', '.join(first)} or {last}" if first else last
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return f"a {'whole ' if kind == 'integer' else ''}number{_bounds(schema)}"
    if kind == "string":
        length = _count(schema.get("minLength"), schema.get("maxLength"))
        return f"text of {length} characters" if length else ""
    if kind == "array":
        each = words(schema.get("items", {}), definitions)
        count = _count(schema.get("minItems"), schema.get("maxItems"))
        return f"{count} value{'' if count == '1' else 's'}".lstrip() + (f", each {each}" if each else "")
    return ""


def _bounds(schema: Schema) -> str:
    """` from 0 to 100`."""
    limits = (("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"), ("exclusiveMaximum", "below"))
    return "".join(f" {word} {schema[key]:g}" for key, word in limits if key in schema)


def _count(least: int | None, most: int | None) -> str:
    """`3`, `40 to 450`, `at least 1`, `at most 9`, or nothing."""
    if least is None or most is None:
        return f"at least {least}" if least else f"at most {most}" if most is not None else ""
    return f"{least}" if least == most else f"{least} to {most}"


def _resolved(schema: Schema, definitions: Schema) -> tuple[Schema, Schema]:
    """The schema that `schema` refers to, and the remaining definitions, without its own, so that recursion ends."""
    name = schema.get("$ref", "").rpartition("/")[2]
    if not name:
        return schema, definitions
    return definitions.get(name, {"type": "object"}), {key: each for key, each in definitions.items() if key != name}
