"""Any text: a reply is a typed value or a parse error, a condition chooses agents or is refused in one line."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from dspy.utils.exceptions import AdapterParseError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.hostile import HOSTILE

from pipeline import shocks
from pipeline.economy.population import Population
from pipeline.errors import UsageError
from pipeline.simulation.shocks.conditions import agents_matching
from programs.adapters.repairing import ADAPTERS
from signatures.worker import ChooseLabor, JudgeTaxPolicy

PIECES = st.sampled_from(
    [
        *(
            "labor",
            "satisfied",
            "reasoning",
            ":",
            ": ",
            "\n",
            " ",
            "{",
            "}",
            "[",
            "]",
            '"',
            "'",
            ",",
            "\\",
            "\\u00",
            "```json",
        ),
        *(
            "```",
            "[[ ## ",
            " ## ]]",
            "[[ ## labor ## ]]\n",
            "[[ ## completed ## ]]",
            "<labor>",
            "</labor>",
            "<",
            ">",
            "&",
        ),
        *(
            "<think>",
            "</think>",
            "<!--",
            "<![CDATA[",
            "40",
            "1e999",
            "-0",
            "NaN",
            "Infinity",
            "null",
            "true",
            "yes",
            "٤٠",
        ),
        *("\x00", "\ud800", "\u2028", "\u202e", "9" * 400, "[" * 200, '{"a":' * 100, "(" * 200, "日本", "**"),
    ]
)
REPLIES = st.lists(PIECES | st.text(max_size=8), max_size=14).map("".join)
QUIET = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(adapter: str, reply: str, signature: Any = ChooseLabor) -> None:
    try:
        fields = ADAPTERS[adapter]().parse(signature, reply)
    except AdapterParseError:
        return
    assert set(fields) == set(signature.output_fields)
    if signature is ChooseLabor:
        assert isinstance(fields["labor"], int | float)
        assert 0 <= fields["labor"] <= 100
    else:
        assert isinstance(fields["satisfied"], bool)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("adapter", ADAPTERS)
@QUIET
@given(reply=REPLIES)
def test_any_reply_is_a_typed_value_or_a_parse_error(adapter: str, reply: str) -> None:
    for signature in (ChooseLabor, JudgeTaxPolicy):
        check(adapter, reply, signature)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_hostile_reply_is_a_typed_value_or_a_parse_error(adapter: str) -> None:
    for text in HOSTILE.values():
        check(adapter, text)


PEOPLE = Population(np.array([10.0, 20.0, 30.0]), np.array(["egotistical"] * 3))
WORDS = st.sampled_from(
    [
        *(
            "wage",
            "agent",
            "age",
            "occupation",
            " ",
            " > ",
            " = ",
            "20",
            "'a'",
            " and ",
            " or ",
            " not ",
            "(",
            ")",
            ";",
            "--",
            "/*",
        ),
        *(
            " in ",
            "select ",
            " from agents",
            "'",
            '"',
            "$$",
            "$1",
            "?",
            ":a",
            "*",
            ",",
            "[",
            "]",
            "{",
            "}",
            "::int",
            "\n)",
            "\x00",
        ),
        *(
            "\ud800",
            "1/0",
            "9" * 50,
            "1e999",
            " between ",
            " is null",
            "lambda x: x",
            "getenv('HOME')",
            "read_text('/etc/passwd')",
        ),
        *(
            " union select 1",
            "(select 1)",
            "wage)) union (select ((1",
            "exists",
            "case when",
            " like '%a%'",
            " % ",
            " ~ ",
            "\\",
        ),
    ]
)
CONDITIONS = st.lists(WORDS, max_size=9).map("".join) | st.text(max_size=20)


def refused_or_chosen(condition: str) -> None:
    try:
        chosen = agents_matching(condition, PEOPLE)
    except UsageError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert chosen.dtype == bool
        assert chosen.shape == (3,)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(CONDITIONS)
def test_any_condition_chooses_agents_or_is_refused_in_one_line(condition: str) -> None:
    refused_or_chosen(condition)


@pytest.mark.parametrize(
    "condition",
    [
        "(" * 400 + "wage > 1" + ")" * 400,
        "not " * 450 + "true",
        "wage" + "+1" * 240 + " > 1",
        "-" * 499,
        "[" * 500,
        "'",
        "",
    ],
)
def test_a_nested_condition_chooses_agents_or_is_refused(condition: str) -> None:
    refused_or_chosen(condition)


@pytest.mark.parametrize("shape", [" ", "where ", " where", "1/", "\n", "1", ".1", " w"])
def test_a_shock_is_read_in_time_that_grows_with_its_length(shape: str) -> None:
    for head in ("", "year=1:", "year=1: wages*", "year=1: wages*2 where "):
        text = (head + shape * 500)[: shocks.LONGEST - 1] + "!"
        started = time.process_time()
        try:
            shocks.parse(text)
        except ValueError as error:
            assert "\n" not in str(error)  # noqa: PT017
        assert time.process_time() - started < 0.2
