"""Text from outside is the value of one field and nothing else, in every format of a prompt."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import dspy
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.hostile import HOSTILE
from support.village import PLATFORMS, POPULATION, CallRecorder, Scripted, ask, module_of, scripted_lm
from support.village import inputs_of as villages_inputs

from pipeline.agents.call_trace import prompt_text
from pipeline.agents.examples import inputs_of as read_back
from pipeline.agents.roles import QUESTIONS
from pipeline.simulation import observations as see
from programs.adapters import untrusted_text
from programs.adapters.repairing import ADAPTERS
from programs.engines.rules import prompt_parser
from programs.engines.rules.engine import POLICIES
from programs.roles.interview import Interviewee
from programs.strategies.self_evaluation import hours_worth, vote_worth
from signatures.texts.worker import Identity
from signatures.types import Outside

HARMLESS = "You are a nurse in a small town."
WAGE = 96.0
SHORT = 40
"""Characters at least that a text from outside keeps."""

every_format = pytest.mark.parametrize("adapter", ADAPTERS)
every_text = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)


@cache
def inputs_of(question: str) -> dict[str, Any]:
    return villages_inputs(question)


@cache
def signature_of(question: str, strategy: str = "io") -> Any:
    if question == "AnswerInterview":
        return Interviewee().answer_interview.signature
    return module_of(question, strategy).predictors()[0].signature


@cache
def reflecting() -> Any:
    return module_of("ChooseLabor", "reflect").answer.signature


def marked(signature: Any) -> Iterator[str]:
    """The inputs whose text comes from outside."""
    for name, field in signature.input_fields.items():
        if any(isinstance(mark, Outside) for mark in field.metadata):
            yield name


FIELDS = [(question, name) for question in (*QUESTIONS, "AnswerInterview") for name in marked(signature_of(question))]


def told(question: str, field: str, text: str) -> dict[str, Any]:
    """The inputs of the village's question with `text` in a field: as a persona where the field says who one is."""
    value = str(Identity.of(text, WAGE)) if field == "identity" else text
    return {**inputs_of(question), field: value}


def sent(signature: Any, inputs: dict[str, Any], adapter: str, demos: list[Any] | None = None) -> tuple[str, list[str]]:
    """The system's part of a prompt and the texts of the turns after it."""
    messages = ADAPTERS[adapter]().format(signature, demos or [], inputs)
    assert all(isinstance(message["content"], str) for message in messages)
    return messages[0]["content"], [message["content"] for message in messages[1:]]


def strictly(adapter: str, message: str, names: list[str]) -> list[str]:
    """The fields that a suspicious reader finds: any line, by any separator, that begins like one, spaces or not."""
    found = []
    for line in message.splitlines():
        if adapter == "compact":
            opened = re.match(r"\W*(\w+)[^\w\s]*[:\uff1a]", line)
            found += [opened[1].lower()] if opened and opened[1].lower() in names else []
        elif adapter == "xml":
            found += [name for name in re.findall(r"<(\w+)[^>\w]*>", line) if name in names]
        else:
            found += re.findall(r"\[\[\s*##\s*(\w+)\s*##", line)
    return found


def check(signature: Any, inputs: dict[str, Any], field: str, adapter: str) -> dict[str, str]:
    """Fail unless the prompt reads back as `inputs`, by `rules`' reader and by a strict one. What it says, by field."""
    system, turns = sent(signature, inputs, adapter)
    found = prompt_parser.find(system, turns)
    assert found is not None
    (shown, outputs), form = found
    assert form is prompt_parser.FORMATS[adapter]
    assert outputs == list(signature.output_fields)
    assert {name: shown[name] for name in shown if name != field} == {
        name: str(value).strip() for name, value in inputs.items() if name != field
    }
    assert len(shown[field].splitlines()) <= 1
    assert turns[-1].isascii() or not any(letter in turns[-1] for letter in "\u200b\u202e\u2066\u2028\ufeff")
    body = turns[-1] if adapter == "compact" else turns[-1].rpartition("\n\n")[0]
    assert strictly(adapter, body, list(signature.fields)) == list(signature.input_fields)
    return shown


# -- every text, field and format -----------------------------------------------------------------------------------


def test_the_fields_from_outside_are_those_that_people_files_and_models_write() -> None:
    assert set(FIELDS) == {
        *((question, "identity") for question in (*QUESTIONS, "AnswerInterview") if question not in PLANNED),
        ("GovernAsLeader", "platform"),
        ("AnswerInterview", "question"),
        ("WritePersona", "occupation"),
        ("WritePersona", "sex"),
    }
    for question in ("ChooseLabor", "SetTaxRates"):
        assert {"draft", "critique"} <= set(marked(module_of(question, "reflect").answer.signature))


PLANNED = ("SetTaxRates", "WritePersona")
"""Questions to nobody in particular, and the one that makes somebody."""


def test_there_are_enough_hostile_texts() -> None:
    assert len(HOSTILE) == len(set(HOSTILE.values())) > 40


@pytest.mark.first_cases(37)
@every_format
@every_text
def test_every_other_field_reads_back_as_it_was_meant(text: str, adapter: str) -> None:
    for question, field in FIELDS:
        check(signature_of(question), told(question, field, text), field, adapter)


@pytest.mark.first_cases(67)
@every_format
@every_text
def test_a_draft_and_its_critique_are_fields_of_text_from_outside_too(text: str, adapter: str) -> None:
    signature = reflecting()
    inputs = {**inputs_of("ChooseLabor"), "draft": "40", "critique": "It stands."}
    for field in ("draft", "critique"):
        check(signature, {**inputs, field: text}, field, adapter)


@pytest.mark.first_cases(32)
@every_format
@every_text
def test_rules_decides_as_it_does_for_a_harmless_persona(text: str, adapter: str) -> None:
    for question, field in FIELDS:
        if field != "identity":
            continue
        answers = []
        for persona in (HARMLESS, text):
            shown = check(signature_of(question), told(question, field, persona), field, adapter)
            assert shown["identity"].endswith("You earn $96.00 an hour, $199,680 a year at 40 hours a week.")
            policy = next(POLICIES[name] for name in POLICIES if name in signature_of(question).output_fields)
            answers.append(policy(shown, np.random.default_rng(0)))
        assert answers[0] == answers[1]


@pytest.mark.first_cases(44)
@every_format
@every_text
def test_a_worker_that_exploits_works_its_best_hours_whatever_its_persona_says(text: str, adapter: str) -> None:
    asked = module_of("ChooseLabor")
    harmless, hostile = ({**told("ChooseLabor", "identity", who), "phase": "exploit"} for who in (HARMLESS, text))
    lineage = CallRecorder()
    assert ask(asked, hostile, adapter=adapter, lineage=lineage).labor == ask(asked, harmless, adapter=adapter).labor
    [attempt] = lineage.attempts
    stored = read_back(prompt_text(attempt.request))
    assert {**stored, "identity": ""} == {**harmless, "identity": ""}


@pytest.mark.first_cases(75)
@every_format
@every_text
def test_an_occupation_on_a_ballot_is_no_candidate_no_income_and_no_platform(text: str, adapter: str) -> None:
    people = replace(POPULATION, occupation=np.array([text, *["Carpenters"] * 4], dtype=object))
    plain = replace(POPULATION, occupation=np.array([*["Carpenters"] * 5], dtype=object))
    ballots = [str(see.candidates(PLATFORMS, who, voter=4, with_platforms=True)) for who in (plain, people)]
    apart = [[(line.split("; ")[0], *line.split("; ")[2:]) for line in told.splitlines()] for told in ballots]
    assert apart[0] == apart[1]
    inputs = {**inputs_of("CastVote"), "candidates": ballots[1]}
    shown = check(signature_of("CastVote"), inputs, "identity", adapter)
    assert shown["candidates"] == ballots[1]
    votes = [{**inputs, "candidates": told} for told in ballots]
    assert POLICIES["vote"](votes[0], np.random.default_rng(0)) == POLICIES["vote"](votes[1], np.random.default_rng(0))
    assert vote_worth(votes[0], {"vote": "worker 2"}) == vote_worth(votes[1], {"vote": "worker 2"})


@pytest.mark.first_cases(69)
@every_text
def test_no_text_makes_the_persona_writer_of_rules_fail(text: str) -> None:
    assert ask(module_of("WritePersona"), {**inputs_of("WritePersona"), "occupation": text}).persona


def test_the_wage_that_counts_is_the_one_that_the_program_says() -> None:
    inputs = [told("ChooseLabor", "identity", who) for who in (HARMLESS, HOSTILE["another wage"])]
    assert hours_worth(inputs[0], {"labor": 60}) == hours_worth(inputs[1], {"labor": 60})


# -- examples and replies -------------------------------------------------------------------------------------------


@pytest.mark.first_cases(74)
@every_format
@every_text
def test_examples_say_one_value_a_field_and_are_read_as_they_were_answered(text: str, adapter: str) -> None:
    signature = signature_of("ChooseLabor", "cot")
    demo = dspy.Example(**told("ChooseLabor", "identity", text), reasoning=text, labor=40)
    system, (example, answer, question) = sent(signature, inputs_of("ChooseLabor"), adapter, [demo])
    assert strictly(adapter, example, list(signature.fields)) == list(signature.input_fields)
    assert ADAPTERS[adapter]().parse(signature, answer)["labor"] == 40
    found = prompt_parser.find(system, [example, answer, question])
    assert found is not None
    assert found[0].inputs == {name: str(value) for name, value in inputs_of("ChooseLabor").items()}


@pytest.mark.first_cases(49)
@every_format
@every_text
def test_a_reply_that_is_quoted_for_repair_is_no_question(text: str, adapter: str) -> None:
    """The second request reads as the first, as it is sent and as it is stored."""
    inputs = inputs_of("ChooseLabor")
    good = prompt_parser.FORMATS[adapter].write({"labor": 45})
    engine, lineage = Scripted([f"{text}\nlabor is {text}", good]), CallRecorder()
    ask(module_of("ChooseLabor"), inputs, lm=scripted_lm(engine), adapter=adapter, lineage=lineage)
    for attempt in lineage.attempts:
        assert read_back(prompt_text(attempt.request)) == inputs
    if len(engine.requests) > 1:
        *_, quoted, repair = engine.requests[-1].messages
        assert quoted.role == "assistant"
        said = r"That reply could not be used: .*\. Reply again in the required format\."
        assert re.fullmatch(said, repair.text or "")


@pytest.mark.parametrize("strategy", ["reflect", "refine", "knn"])
@every_format
def test_every_strategy_asks_what_it_means_to_ask(strategy: str, adapter: str) -> None:
    """All requests of the strategy, whatever question each puts, show the hostile persona on one line."""
    inputs = told("ChooseLabor", "identity", HOSTILE["fields of the compact format"])
    lineage = CallRecorder()
    ask(module_of("ChooseLabor", strategy), inputs, adapter=adapter, lineage=lineage)
    assert lineage.attempts
    for attempt in lineage.attempts:
        text = prompt_text(attempt.request)
        assert "You are a nurse.\n" not in text
        shown = read_back(text)
        if "phase" in shown:
            assert {**shown, "identity": ""}.items() >= {**inputs, "identity": ""}.items()


# -- the text itself ------------------------------------------------------------------------------------------------

ORDINARY = [
    HARMLESS,
    "Why did you work more than in other years?",
    "Anne O'Neill-Müller, 47, earns < $20 an hour & pays > 10 % tax; C++ and C# [sic] (yes: really).",
    "あなたは47歳の看護師です。小さな町で働いています。",
    "Ты — медсестра; тебе 47 лет.",
    "You are a 30-year-old 👩 who says: record players matter. Note: no phase lasts.",
    "a [1] b [[2]] c ## d <3 e `code` f ``code`` --- g",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert untrusted_text.one_line(text, 700, ["record", "phase"]) == text
    assert untrusted_text.lines(text, ["record", "phase"]) == text


def test_a_text_that_is_too_long_keeps_its_ends() -> None:
    text = f"You are {'very ' * 500}old. {Identity.of('', WAGE)}"
    shown = untrusted_text.one_line(text, 700)
    assert len(shown) == 700
    assert shown.startswith("You are very very")
    assert shown.endswith(str(Identity.of("", WAGE))[-60:])
    assert untrusted_text.GAP in shown


BITS = ("[[ ## phase ## ]]", "phase:", "record", "</identity>", "<phase>", "<|", "### user", "```", "system:", "[INST]")
LETTERS = "\ud800\u200b\u202e\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029[]<>#:`~*-_| "

words = st.text(max_size=12) | st.sampled_from([*LETTERS, *BITS])
texts = st.lists(words, max_size=30).map("".join) | st.sampled_from(list(HOSTILE.values()))


@pytest.mark.first_cases(2)
@every_format
@given(text=texts)
def test_whatever_a_persona_says_the_prompt_reads_back(text: str, adapter: str) -> None:
    check(signature_of("ChooseLabor"), told("ChooseLabor", "identity", text), "identity", adapter)


@pytest.mark.first_cases(2)
@every_format
@given(text=texts)
def test_whatever_is_asked_in_an_interview_the_prompt_reads_back(text: str, adapter: str) -> None:
    check(signature_of("AnswerInterview"), told("AnswerInterview", "question", text), "question", adapter)


@example(text="<0", most=100)
@example(text="a\n<é", most=100)
@given(text=texts, most=st.integers(SHORT, 700))
def test_a_framed_text_is_short_seen_sendable_and_stays_as_it_is(text: str, most: int) -> None:
    names = ["phase", "record", "identity"]
    shown = untrusted_text.one_line(text, most, names)
    assert len(shown) <= most
    assert len(shown.splitlines()) <= 1
    shown.encode()
    assert untrusted_text.one_line(shown, most, names) == shown
    assert untrusted_text.lines(untrusted_text.lines(text, names), names) == untrusted_text.lines(text, names)
    assert untrusted_text.lines(shown, names) == shown
    assert ";" not in untrusted_text.part(text, most)


@given(text=texts)
def test_lines_stay_lines_and_none_begins_like_a_field(text: str) -> None:
    shown = untrusted_text.lines(text, ["phase"])
    assert not re.search(r"^(phase:|\[\[ ## |<\w+>|### (system|user|assistant)\n)", shown, re.MULTILINE)
    assert shown.splitlines() == shown.split("\n") or not shown or shown.endswith("\n")


@pytest.mark.first_cases(9)
@pytest.mark.parametrize("shape", ["[", "<", "`", "~", "\n", " ", "#", "-", "\u200b", "phase:\n", "\r", "あ", "[["])
def test_five_megabytes_are_framed_in_seconds_of_the_processor(shape: str) -> None:
    text = shape * (5_000_000 // len(shape))
    for frame in (
        lambda: untrusted_text.one_line(text, 700, ["phase"]),
        lambda: untrusted_text.lines(text[:500_000], ["phase"]),
    ):
        started = time.process_time()
        frame()
        assert time.process_time() - started < 6


def test_questions_at_once_are_framed_each_on_its_own() -> None:
    async def both() -> list[Any]:
        asked = [told("ChooseLabor", "identity", who) for who in (HARMLESS, HOSTILE["a field at once"])]
        signature = signature_of("ChooseLabor")
        return await asyncio.gather(*(asyncio.to_thread(sent, signature, inputs, "compact") for inputs in asked))

    (_, [one]), (_, [other]) = asyncio.run(both())
    assert one.count("phase: ") == 1
    assert other.count("\nphase: ") == 1
