"""Validated types of the signatures' fields: tax schedules, hours, rate changes, votes and personas.

This module does not import dspy, because the economy uses `TaxSchedule`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from signatures.texts.numbers import MONEY, NUMBER, dollars

LEAST_RATE = -100.0
"""The lowest rate in percent that a law can have."""

RateChange = Literal[-20, -10, 0, 10, 20]
"""Percentage points by which one bracket's marginal rate may change at once."""

Platform = tuple[RateChange, ...] | None
"""The changes that a candidate proposes, lowest bracket first; None for a candidate without a proposal."""

Percent = Annotated[float, Field(ge=LEAST_RATE, le=100)]
Dollars = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Outside:
    """Marks an input with untrusted text: from people, files or models. A prompt shows it as one line.

    `most`: maximum characters that a prompt shows. See programs/adapters/untrusted_text.py.
    """

    most: int


OutsideText = Annotated[str, Outside(2400)]
OutsideName = Annotated[str, Outside(200)]
Identity = Annotated[str, Outside(700)]
"""A person's identity: a persona of up to 450 characters, from a model or a file, and the pay."""


class TaxSchedule(BaseModel):
    """A piecewise-linear income tax: marginal rate `rates[j]` applies from `thresholds[j]` up.

    `thresholds`: yearly income in dollars, ascending, the first 0. `rates`: percent in [-100, 100], one
    for each threshold, negative where the law pays for work; the last rate applies without end.
    """

    model_config = ConfigDict(frozen=True)

    thresholds: tuple[Dollars, ...]
    rates: tuple[Percent, ...]

    @model_validator(mode="after")
    def _brackets_match_rates(self) -> Self:
        if not self.thresholds or self.thresholds[0] != 0:
            raise ValueError(f"the first bracket starts at 0, not at {self.thresholds[:1]}")
        if list(self.thresholds) != sorted(set(self.thresholds)):
            raise ValueError(f"bracket thresholds must ascend: {self.thresholds}")
        if len(self.rates) != len(self.thresholds):
            raise ValueError(f"{len(self.thresholds)} brackets need as many rates, not {len(self.rates)}")
        return self

    def changed(self, changes: tuple[int, ...], lowest: float = 0.0) -> TaxSchedule:
        """This schedule with each rate moved by `changes` percentage points, kept within [`lowest`, 100].

        A rate below `lowest` can be raised, and is not lowered.
        """
        if len(changes) != len(self.rates):
            raise ValueError(f"{len(self.rates)} brackets need as many changes, not {len(changes)}")
        moved = (
            min(100.0, max(min(lowest, rate), rate + step)) for rate, step in zip(self.rates, changes, strict=True)
        )
        return TaxSchedule(thresholds=self.thresholds, rates=tuple(moved))

    def __str__(self) -> str:
        """One line for people and models: `10% up to $11,600; 12% to $47,150; 22% above`."""
        return _schedule_in_words(self.thresholds, self.rates)

    @staticmethod
    def parse(text: str) -> TaxSchedule | None:
        """The schedule that `str` rendered: rates to six digits, whole dollars. None for any other text."""
        return _schedule_from_words(text)


@lru_cache(maxsize=64)
def _schedule_in_words(thresholds: tuple[float, ...], rates: tuple[float, ...]) -> str:
    if len(rates) == 1:
        return f"{rates[0]:g}% on every dollar"
    upper = [f" up to ${edge:,.0f}" for edge in thresholds[1:2]]
    upper += [f" to ${edge:,.0f}" for edge in thresholds[2:]]
    return "; ".join(f"{rate:g}%{edge}" for rate, edge in zip(rates, [*upper, " above"], strict=True))


_BRACKET = re.compile(rf"({NUMBER})% (?:(?:up )?to ({MONEY})|above|on every dollar)")


@lru_cache(maxsize=64)
def _schedule_from_words(text: str) -> TaxSchedule | None:
    found = [_BRACKET.fullmatch(part) for part in text.split("; ")]
    brackets = [(float(part[1]), part[2]) for part in found if part]
    edges = [dollars(edge) for _, edge in brackets if edge]
    if not len(found) == len(brackets) == len(edges) + 1:
        return None
    try:
        schedule = TaxSchedule(thresholds=(0, *edges), rates=tuple(rate for rate, _ in brackets))
    except ValueError:
        return None
    return schedule if str(schedule) == text else None


class Hours(int):
    """Whole hours of work a week, 0 to 100. Pydantic refuses anything else, and so does every adapter."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        hours = core_schema.int_schema(ge=0, le=100)
        return core_schema.no_info_before_validator_function(_hours, hours)


MARKUP = " \t\n*_`\"'"
"""Characters that may surround a number."""

HOURS_A_WEEK = (
    r"h|hrs?\.?|hours?|(?:h|hrs?\.?|hours?)(?:\s*/\s*|\s+(?:a|per|each|every)\s+)(?:week|wk)|(?:hrs?|hours?)\s+weekly"
)
POINTS = r"%|percent|pp|(?:percentage\s+)?points?"


def _number(value: Any, unit: str) -> Any:
    """The number in `value`, which may have markup and a unit: `**33**`, `33 hours`, `33.0`; otherwise `value` itself.

    A range, an estimate (`about 33`) or a number in a sentence is not converted, because that would be a guess.
    """
    if isinstance(value, bool):
        raise ValueError("a number was expected, not true or false")
    if not isinstance(value, str) or len(value) > 100:
        return value
    text = value.strip(MARKUP).removesuffix(".").strip(MARKUP)
    found = re.fullmatch(rf"([-+\u2212]?[0-9]+(?:\.[0-9]+)?)[*_]*\s*(?:{unit})?", text, re.IGNORECASE)
    if found is None:
        return value
    number = float(found[1].replace("\u2212", "-"))
    return int(number) if number.is_integer() else number


def _hours(value: Any) -> Any:
    return _number(value, HOURS_A_WEEK)


def _change(value: Any) -> Any:
    return _number(value, POINTS)


@cache
def rate_changes_type(brackets: int) -> type[tuple[RateChange, ...]]:
    """The type of exactly one `RateChange` per bracket; every adapter refuses a list of another length.

    It is a class, not `tuple[RateChange, RateChange, ...]`, so that its JSON schema is one line for any number of
    brackets, both in the prompt and in the request.
    """

    def core(cls: type, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        step = core_schema.literal_schema(list(get_args(RateChange)))
        change = core_schema.no_info_before_validator_function(_change, step)
        return core_schema.tuple_variable_schema(change, min_length=brackets, max_length=brackets)

    def core_to_json(cls: type, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        change = {"enum": list(get_args(RateChange)), "type": "integer"}
        return {"items": change, "maxItems": brackets, "minItems": brackets, "type": "array"}

    hooks = {
        "__get_pydantic_core_schema__": classmethod(core),
        "__get_pydantic_json_schema__": classmethod(core_to_json),
    }
    return type("RateChanges", (tuple,), hooks)


@cache
def approval_type(names: tuple[str, ...]) -> type[tuple[str, ...]]:
    """The type of a set of `names`, in the order given; an empty one abstains."""
    return _names_type("Approval", names, lambda chosen: tuple(dict.fromkeys(chosen)))


@cache
def ranking_type(names: tuple[str, ...]) -> type[tuple[str, ...]]:
    """The type of a strict order of `names`, best first, each at most once; an empty one abstains."""
    return _names_type("Ranking", names, _each_once)


def _each_once(order: tuple[str, ...]) -> tuple[str, ...]:
    twice = [name for name in dict.fromkeys(order) if order.count(name) > 1]
    if twice:
        raise ValueError(f"{', '.join(twice)} appears in the ranking more than once")
    return order


def _names_type(
    title: str, names: tuple[str, ...], checked: Callable[[tuple[str, ...]], tuple[str, ...]]
) -> type[tuple[str, ...]]:
    """Several of `names`. The JSON schema has no `uniqueItems`, which servers refuse in a strict schema."""

    def core(cls: type, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        several = core_schema.tuple_variable_schema(core_schema.literal_schema(list(names)))
        return core_schema.no_info_after_validator_function(checked, several)

    def core_to_json(cls: type, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"items": {"enum": list(names), "type": "string"}, "maxItems": len(names), "type": "array"}

    hooks = {
        "__get_pydantic_core_schema__": classmethod(core),
        "__get_pydantic_json_schema__": classmethod(core_to_json),
    }
    return type(title, (tuple,), hooks)


class PersonaText(str):
    """A persona in two or three sentences: 40 to 450 characters, so that prompts stay within their limit."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.str_schema(min_length=40, max_length=450, strip_whitespace=True)


class AnswerText(str):
    """An answer in an interview: 1 to 1000 characters."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.str_schema(min_length=1, max_length=1000, strip_whitespace=True)


class Demographics(BaseModel):
    """A worker's demographics, in the categories of the census."""

    model_config = ConfigDict(frozen=True)

    occupation: str
    sex: Literal["Male", "Female"]
    age: Annotated[int, Field(ge=16, le=90)]
