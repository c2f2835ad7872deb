"""No text from outside takes long to read: the processor time of every parser and redactor grows with its length.

Each awkward shape is repeated to a length and to a sixteenth of it; what is quadratic takes 256 times as long, and
what is linear 16 times. A factor of 64 tells them apart on any machine. Seconds are of the processor.
"""

from __future__ import annotations

import gc
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import dspy
import pytest
from dspy import lm15
from dspy.utils.exceptions import AdapterParseError
from hypothesis import given
from hypothesis import strategies as st
from support.texts import TEXTS

from pipeline import shocks
from pipeline.agents import model_errors
from programs import persona_checks, secrets
from programs.adapters import compact, untrusted_text
from programs.adapters.repairing import ADAPTERS
from programs.adapters.repairing import reason as why
from programs.adapters.thinking_blocks import FENCE, without_thoughts
from programs.calls import multi_choice
from programs.calls import server_replies as replies
from programs.calls.optional_parts import PARTS
from programs.engines import refusal_reasons as worded
from programs.engines.rules import prompt_parser
from programs.visible import visible
from signatures.texts.numbers import numbers_in
from signatures.types import rate_changes_type
from signatures.worker import ChooseLabor

LENGTHS = (40_000, pytest.param(2_000_000, marks=pytest.mark.slow))
FLOOR = 0.5
"""Seconds of the processor within which growth is no matter: a constant part, and the noise of a busy machine."""

SHAPES = {
    "letters": "a",
    "digits": "1",
    "blanks": " ",
    "wide blanks": "\u3000",
    "line breaks": "\n",
    "names and colons": "a:",
    "names at hosts": "a@",
    "a key's beginning": "sk-",
    "a key's beginning and a star": "sk-*.",
    "the word key": "key ",
    "bearers": "Bearer ",
    "slashes": "//",
    "queries": "?a=",
    "parts of queries": "&a",
    "quotes": '"',
    "escaped quotes": '"\\',
    "escaped quotes on lines": '"\\\n',
    "single quotes": "a'",
    "open braces": "{",
    "braces and quotes": "{'",
    "objects": '{"labor": 40} ',
    "open objects": '{"a":',
    "open lists": "[",
    "parentheses": "( ",
    "commas": ", ",
    "points": ".",
    "points and quotes": '."',
    "numbers": "1.1.",
    "amounts": "$1,",
    "open tags": "<a>\n",
    "tags": "<labor>\n</labor>\n",
    "tags with lines": "<labor>\n\n</labor>\n",
    "open thoughts": "<think ",
    "thoughts": "<think>a</think>",
    "tokens": "<|",
    "markers": "[[ ## labor ## ]]\n",
    "brackets apart": "[ [ ",
    "fences": "```\n",
    "fences apart": "``` ",
    "one word": "a ",
    "kin": "as a ",
    "heads": "###\n",
    "years": "year=1:",
    "rows of hours": "40: 1 (1); 1 (1)\n",
    "rows of schedules": "1/1/",
    "rows of brackets": "from $1: 1 workers\n",
    "candidates": "a; $1 at 40 hours\n",
    "occupations": ", male, 1; $1",
    "brackets": "1% to $1; ",
    "earnings": " You earn $1.00 an hour, $1",
    "objectives": "utility = income after tax + rebate - 1",
}
ENDS = ("!", "}")

COT = ChooseLabor.insert(0, "reasoning", dspy.OutputField(), type_=str)
RATES = dspy.Signature("record -> rate_changes").with_updated_fields("rate_changes", type_=rate_changes_type(3))


def answer_of(name: str, signature: Any) -> Callable[[str], Any]:
    adapter = ADAPTERS[name]()

    def read(text: str) -> Any:
        try:
            return adapter.parse(signature, text)
        except AdapterParseError as error:
            return why(error)

    return read


def completion(text: str) -> Any:
    body = {"choices": [{"message": {"content": text, "reasoning": text}}], "usage": {text[:100]: text}}
    return replies.readable(json.dumps(body).encode())


def refusal(text: str) -> Any:
    error = lm15.InvalidRequestError(text, status=400)
    return model_errors.cannot_use("gpt-4o-mini", error, "http://127.0.0.1:9/v1")


READERS: dict[str, Callable[[str], Any]] = {
    "keys in an error": secrets.without_secrets,
    "keys in a traceback": secrets.blotted,
    "keys in a reply": secrets.without_known,
    "thoughts": without_thoughts,
    "fences": lambda text: FENCE.sub("", text),
    "breaks": lambda text: untrusted_text.AROUND_A_BREAK.sub("", text),
    "a value of one line": lambda text: untrusted_text.one_line(text, 600, ("labor", "record")),
    "a value of lines": lambda text: untrusted_text.lines(text, ("labor", "record")),
    "a reply that is shown again": lambda text: untrusted_text.quoted(ChooseLabor, text),
    "slips in JSON": compact._mended,
    "sentences": persona_checks.count_sentences,
    "a persona": lambda text: persona_checks.checks(text, occupation="Registered nurses", sex="Female", age=34),
    "a prompt": lambda text: prompt_parser.find("", [text]),
    "a prompt in tags": lambda text: prompt_parser._tagged(text),
    "control characters": visible,
    "a shock": shocks.parse,
    "a body": lambda text: replies.readable(text.encode()),
    "a completion": completion,
    "choices": lambda text: multi_choice.folded(text.encode()),
    "the body of an error": lambda text: worded.worded(text.encode()),
    "a refusal": refusal,
    "parts of a request": lambda text: [part.search(text) for part in PARTS.values()],
    "numbers": partial(numbers_in, most=8),
    **{f"the text of {name}": kind.parse for name, kind in TEXTS.items()},
    **{
        f"{name}, {field}": answer_of(name, signature)
        for name in ADAPTERS
        for field, signature in (("labor", ChooseLabor), ("reasoning", COT), ("rates", RATES))
    },
}


def seconds(read: Callable[[str], Any], text: str) -> float:
    """Without the collector of garbage, which walks over all that other tests have left in this process."""
    gc.disable()
    try:
        began = time.process_time()
        with suppress(ValueError, lm15.LM15Error):
            read(text)
        return time.process_time() - began
    finally:
        gc.enable()


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("most", LENGTHS)
@pytest.mark.parametrize("reader", READERS)
def test_the_time_to_read_a_text_grows_with_its_length(reader: str, most: int) -> None:
    read = READERS[reader]
    for shape, unit in SHAPES.items():
        for end in ENDS if most < 1_000_000 else ENDS[:1]:
            grows(read, partial(repeated, unit, end), shape, most)


def repeated(unit: str, end: str, length: int) -> str:
    return (unit * (length // len(unit) + 1))[:length] + end


def grows(read: Callable[[str], Any], text: Callable[[int], str], shape: str, most: int) -> None:
    """Assert that time grows in proportion. Short texts first, so that what is quadratic fails soon."""
    for length in (most // 4, most):
        short = seconds(read, text(length // 16))
        long = seconds(read, text(length))
        told = f"{shape}: {short:.2f} s for {length // 16} characters, {long:.2f} for {length}"
        assert long < 64 * short + FLOOR, told


@pytest.mark.slow
def test_what_is_quadratic_is_found() -> None:
    with pytest.raises(AssertionError, match="blanks"):
        grows(lambda text: re.search(r"\s*x", text), lambda length: " " * length, "blanks", 40_000)


# -- what is read in linear time is what the plain patterns read ----------------------------------------------------

PLAIN_TAGGED = re.compile(r"^<(\w+)>\n(.*?)\n</\1>$", re.MULTILINE | re.DOTALL)
PLAIN_FENCE = re.compile(r"\A```\w*\s*|\s*```\Z")
PLAIN_BREAK = re.compile(r"[ \t]*\n\s*")
PLAIN_END = re.compile(r"[.!?]+[\"')]*(?=\s+[\"'(]*[A-Z]|\s*$)")

tagged = st.lists(st.sampled_from(["<a>", "</a>", "<b>", "</b>", "", "x", "<a> ", " </b>"]), max_size=14).map("\n".join)
loose = st.text(st.sampled_from(" \t\n`ab.!?'\"(A"), max_size=30)


@given(tagged)
def test_a_prompt_in_tags_reads_as_by_one_pattern(text: str) -> None:
    plain = {name: value.strip() for name, value in PLAIN_TAGGED.findall(text)}
    assert prompt_parser._tagged(text) == plain


@given(loose)
def test_breaks_fences_and_ends_of_sentences_are_found_as_by_plain_patterns(text: str) -> None:
    assert untrusted_text.AROUND_A_BREAK.sub("|", text) == PLAIN_BREAK.sub("|", text)
    assert FENCE.sub("|", text.strip()) == PLAIN_FENCE.sub("|", text.strip())
    assert bool(persona_checks.SENTENCE_END.search(text.strip())) == bool(PLAIN_END.search(text.strip()))


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()), st.sampled_from(["", ",", "\n"]))
def test_valid_json_is_unchanged(value: dict[str, Any], comma: str) -> None:
    text = json.dumps(value)
    assert json.loads(compact._mended(text)) == value
    if value:
        assert json.loads(compact._mended(f"{text[:-1]}{comma}}}")) == value


@given(st.text(st.sampled_from("{}[]()\"'a:1, \\\n"), max_size=200), st.sampled_from(sorted(ADAPTERS)))
def test_a_reply_is_a_value_or_the_one_error(text: str, name: str) -> None:
    for signature in (ChooseLabor, COT, RATES):
        answer_of(name, signature)(text)


@pytest.mark.slow
@given(st.text(max_size=80) | st.from_regex(shocks.SHOCK, fullmatch=True))
def test_a_shock_is_a_shock_or_the_one_error(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(shocks.parse(text), shocks.Shock)
        return
    with pytest.raises(ValueError, match=r"\A--shock [^\n]*\Z"):
        shocks.parse(text)
