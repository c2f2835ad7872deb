"""What a reply must be: closed and complete for servers, in plain words for models, both from the type itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import dspy
import pytest
from pydantic import BaseModel, Field, TypeAdapter
from support.village import module_of, scripted_lm

from pipeline.agents.roles import QUESTIONS
from programs.adapters.reply_schema import hold, is_strict, reply_schema, response_format, shape, words
from signatures.types import Hours, PersonaText, rate_changes_type

Change = Literal[-10, 0, 10]


class Point(BaseModel):
    x: int = 0
    y: Annotated[float, Field(gt=0, lt=1)] | None = None


class Tree(BaseModel):
    """A type that holds itself."""

    name: str
    below: list[Tree] = []


def answer(*kinds: Any) -> Any:
    """A signature whose outputs a, b ... have these types."""
    outputs = {name: (kind, dspy.OutputField()) for name, kind in zip("abcdef", kinds, strict=False)}
    return dspy.Signature({"asked": (str, dspy.InputField()), **outputs}, "Answer.")


def objects(schema: Any) -> list[dict[str, Any]]:
    """Every object schema in `schema`."""
    if isinstance(schema, list):
        return [found for each in schema for found in objects(each)]
    if not isinstance(schema, dict):
        return []
    below = [found for each in schema.values() for found in objects(each)]
    return [schema, *below] if "properties" in schema else below


@pytest.mark.parametrize("strategy", ["io", "cot"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_every_object_is_closed_and_complete_and_in_the_order_of_the_outputs(question: str, strategy: str) -> None:
    signature = module_of(question, strategy).predictors()[0].signature
    schema = reply_schema(signature)
    assert schema is not None
    assert list(schema["properties"]) == schema["required"] == list(signature.output_fields)
    assert schema["additionalProperties"] is False
    assert response_format(signature)["json_schema"]["strict"] is (question != "WritePersona")


def test_objects_within_are_closed_too_and_nothing_stays_optional() -> None:
    schema = reply_schema(answer(Point, list[Tree]))
    assert len(objects(schema)) == 3
    for each in objects(schema):
        assert each["required"] == list(each["properties"])
        assert each["additionalProperties"] is False
        assert "title" not in each
        assert all("default" not in field for field in each["properties"].values())
    assert is_strict(schema)


def test_a_property_may_be_called_title() -> None:
    schema = reply_schema(dspy.Signature("asked -> title, default"))
    assert schema is not None
    assert list(schema["properties"]) == ["title", "default"]


@pytest.mark.parametrize(
    "kind",
    [PersonaText, dict[str, int], tuple[int, str], Any, Annotated[str, Field(pattern="a+")], list[dict[str, str]]],
)
def test_what_strict_mode_refuses_is_sent_without_it(kind: Any) -> None:
    form = response_format(answer(int, kind))
    assert form["json_schema"]["strict"] is False
    assert form["json_schema"]["schema"]["required"] == ["a", "b"]


def test_a_type_without_a_schema_is_asked_for_as_any_object() -> None:
    assert response_format(answer(Callable[[], int])) == {"type": "json_object"}


@pytest.mark.parametrize(
    ("params", "schema", "expected"),
    [
        ((), False, None),
        (("response_format",), False, {"type": "json_object"}),
        (("response_format",), True, response_format(answer(int))),
    ],
)
def test_a_server_is_asked_for_as_much_as_it_can(params: tuple[str, ...], schema: bool, expected: Any) -> None:
    class Server:
        supported_params = frozenset(params)
        supports_response_schema = schema

    options: dict[str, Any] = {}
    hold(scripted_lm(Server()), options, answer(int))
    assert options.get("response_format") == expected
    own = {"response_format": {"type": "text"}}
    hold(scripted_lm(Server()), own, answer(int))
    assert own == {"response_format": {"type": "text"}}, "what a call asks for itself is left alone"


@pytest.mark.parametrize(
    ("kind", "form", "told"),
    [
        (Hours, "n", "a whole number from 0 to 100"),
        (float, "n", "a number"),
        (Annotated[float, Field(gt=0, le=1)], "n", "a number above 0 to 1"),
        (bool, "true or false", ""),
        (str, '"..."', ""),
        (PersonaText, '"..."', "text of 40 to 450 characters"),
        (Annotated[str, Field(max_length=9)], '"..."', "text of at most 9 characters"),
        (Literal["a"], '"..."', '"a"'),
        (Literal["a", "b", "c"], '"..."', '"a", "b" or "c"'),
        (rate_changes_type(3), "[n, n, n]", "3 values, each -20, -10, 0, 10 or 20"),
        (rate_changes_type(1) | None, "[n] or null", "1 value, each -20, -10, 0, 10 or 20; or null"),
        (str | None, '"..." or null', ""),
        (list[Change], "[n, ...]", "values, each -10, 0 or 10"),
        (Annotated[list[bool], Field(min_length=2)], "[true or false, ...]", "at least 2 values"),
        (Annotated[list[int], Field(min_length=99, max_length=99)], "[n, ...]", "99 values, each a whole number"),
        (Point, '{"x": n, "y": n or null}', ""),
        (Tree, '{"name": "...", "below": [{...}, ...]}', ""),
        (dict[str, int], "{...}", ""),
    ],
)
def test_a_type_in_words(kind: Any, form: str, told: str) -> None:
    schema = TypeAdapter(kind).json_schema()
    definitions = schema.get("$defs", {})
    assert (shape(schema, definitions), words(schema, definitions)) == (form, told)
