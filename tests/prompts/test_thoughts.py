"""Thoughts are no answers: in every format they are dropped before the reply is read, and kept in the trace."""

from __future__ import annotations

import time
from typing import Any

import pytest
from dspy.utils.exceptions import AdapterParseError
from hypothesis import given
from hypothesis import strategies as st
from support.village import CallRecorder, Scripted, ask, inputs_of, module_of, scripted_lm

from programs.adapters.repairing import ADAPTERS, REPAIRS
from programs.adapters.thinking_blocks import without_thoughts
from programs.engines.rules.prompt_parser import FORMATS
from signatures.worker import ChooseLabor

every_adapter = pytest.mark.parametrize("adapter", ADAPTERS)

PAIRS = [
    ("<think>", "</think>"),
    ("<THINK>", "</Think>"),
    ("<thinking>", "</thinking>"),
    ('<think duration="3">', "</think >"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<analysis>", "</analysis>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|channel|>analysis ", "<|channel|>final <|constrain|>json<|message|>"),
    ("analysisWe think. ", "assistantfinal"),
]
every_spelling = pytest.mark.parametrize(("begin", "end"), PAIRS)
TAGS = PAIRS[:-3]
"""Those that may stand anywhere."""


def tempting(adapter: str) -> str:
    """A thought that would be an answer of 12 hours."""
    return f"A first idea would be\n{FORMATS[adapter].write({'labor': 12})}\nbut 13 {{ may do as well."


def answer(adapter: str, labor: int = 40) -> str:
    return FORMATS[adapter].write({"labor": labor})


def read(adapter: str, reply: str, signature: Any = ChooseLabor) -> Any:
    return ADAPTERS[adapter]().parse(signature, reply)["labor"]


@every_adapter
@every_spelling
def test_the_answer_follows_the_thought(adapter: str, begin: str, end: str) -> None:
    assert read(adapter, f"{begin}{tempting(adapter)}{end}{answer(adapter)}") == 40
    assert read(adapter, f"\n{begin}\n{tempting(adapter)}\n{end}\n\n{answer(adapter)}\n") == 40


@every_adapter
@every_spelling
def test_a_thought_that_does_not_end_is_no_answer(adapter: str, begin: str, end: str) -> None:
    for reply in (f"{begin}{tempting(adapter)}", f"{begin}{answer(adapter, 12)}", begin):
        with pytest.raises(AdapterParseError, match="ends within a thought"):
            read(adapter, reply)


@every_adapter
@pytest.mark.parametrize(("begin", "end"), TAGS)
def test_an_end_alone_ends_a_thought_that_began_with_the_reply(adapter: str, begin: str, end: str) -> None:
    assert read(adapter, f"{tempting(adapter)}{end}{answer(adapter)}") == 40


@every_adapter
@pytest.mark.parametrize(("begin", "end"), TAGS)
def test_several_thoughts_nested_ones_and_one_after_the_answer(adapter: str, begin: str, end: str) -> None:
    thought = f"{begin}{tempting(adapter)}{end}"
    assert read(adapter, f"{thought}{thought}{answer(adapter)}") == 40
    assert read(adapter, f"{begin}one {thought} two {tempting(adapter)}{end}{answer(adapter)}") == 40
    assert read(adapter, f"{answer(adapter)}\n{thought}") == 40
    assert read(adapter, f"{answer(adapter)}\n{begin}{tempting(adapter)}") == 40, "the answer was whole before"
    with pytest.raises(AdapterParseError, match="ends within a thought"):
        read(adapter, f"{begin}one {thought} {answer(adapter, 12)}")


@pytest.mark.parametrize("adapter", ["json", "compact"])
@pytest.mark.parametrize(("begin", "end"), TAGS)
def test_a_thought_stands_before_and_after_a_code_fence(adapter: str, begin: str, end: str) -> None:
    fenced, thought = f"```json\n{answer(adapter)}\n```", f"{begin}```json\n{answer(adapter, 12)}\n```{end}"
    assert read(adapter, f"{thought}\n{fenced}") == 40
    assert read(adapter, f"{fenced}\n{thought}") == 40


@every_adapter
def test_a_thought_alone_is_no_answer(adapter: str) -> None:
    with pytest.raises(AdapterParseError, match="empty or null"):
        read(adapter, f"<think>{tempting(adapter)}</think>")


@every_adapter
def test_a_field_that_is_called_as_thoughts_are_is_a_field(adapter: str) -> None:
    signature = module_of("ChooseLabor", "cot").predictors()[0].signature
    reply = FORMATS[adapter].write({"reasoning": "I like long weeks.", "labor": 40})
    fields = ADAPTERS[adapter]().parse(signature, reply)
    assert fields == {"reasoning": "I like long weeks.", "labor": 40}
    fields = ADAPTERS[adapter]().parse(signature, f"<think>{tempting(adapter)}</think>{reply}")
    assert fields == {"reasoning": "I like long weeks.", "labor": 40}


@pytest.mark.parametrize("adapter", ["json", "compact"])
def test_a_tag_in_a_text_of_a_whole_object_is_a_part_of_the_text(adapter: str) -> None:
    signature = module_of("ChooseLabor", "cot").predictors()[0].signature
    fields = {"reasoning": "I <think> 12 is little, </think> 40 is more. <think>", "labor": 40}
    for reply in (answer_of := FORMATS[adapter].write(fields), f"```json\n{answer_of}\n```"):
        assert ADAPTERS[adapter]().parse(signature, reply) == fields


@every_adapter
def test_the_model_is_told_why_and_its_thought_is_not_sent_back(adapter: str) -> None:
    lines = [f"<think>{tempting(adapter)}", f"<think>{tempting(adapter)}</think>{answer(adapter)}"]
    engine, lineage = Scripted(list(lines)), CallRecorder()
    lm, module = scripted_lm(engine), module_of("ChooseLabor")
    said = ask(module, inputs_of("ChooseLabor"), lm=lm, adapter=adapter, lineage=lineage)
    assert said.labor == 40
    assert lineage.outcomes == ["it ends within a thought, before any answer", {"labor": 40}]
    assert [attempt.response.text for attempt in lineage.attempts] == lines, "the trace has the whole reply"
    told = " ".join(message.text for message in engine.requests[1].messages)
    assert "A first idea" not in told
    assert "ends within a thought" in told
    assert len(engine.requests) <= REPAIRS


@pytest.mark.first_cases(3)
@every_adapter
@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "<reason ", "<", ">", "[THINK]", "<|channel|>final", "<|end|>", "a\n"]),
        max_size=12,
    )
)
def test_whatever_stands_around_it_no_thought_is_an_answer(adapter: str, around: list[str]) -> None:
    spoken = without_thoughts("".join(around) + "<think>12")
    assert spoken.cut_off
    assert "12" not in spoken.answer


@given(st.text())
def test_a_reply_without_thoughts_is_left_as_it_is(text: str) -> None:
    spoken = without_thoughts(text)
    assert spoken.thought or spoken.answer == text


LONG = 100_000


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    "part", ["<think>", "</think>", "<", "< ", "<a", "[", "<|", "<think ", "<|channel|>a", "analysis", "<\n/\n", "a:"]
)
def test_thoughts_are_found_in_time_linear_in_the_length(part: str) -> None:
    def seconds(times: int) -> float:
        started = time.process_time()
        without_thoughts(f"<{part * times}")
        return time.process_time() - started

    few, many = (min(seconds(times) for _ in range(3)) for times in (LONG // 20, LONG))
    assert many < 20 * 5 * few + 0.05
