"""The compact format: a static system part, plain lines, one JSON object back, and no number out of prose."""

from __future__ import annotations

import copy
import gc
import json
import time
import weakref
from typing import Annotated, Any, Literal

import dspy
import pytest
from dspy import lm15
from dspy.utils.exceptions import AdapterParseError
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from support.village import CallRecorder, Scripted, ask, inputs_of, module_of, scripted_lm

from pipeline.agents.roles import QUESTIONS
from programs.adapters.repairing import CompactAdapter
from programs.engines.rules.prompt_parser import FORMATS
from signatures.planner import SetTaxRates, for_brackets
from signatures.voter import StandForOffice
from signatures.worker import ChooseLabor, JudgeTaxPolicy

every_question = pytest.mark.parametrize("question", QUESTIONS)
every_strategy = pytest.mark.parametrize("strategy", ["io", "cot"])

CHANGES = for_brackets(SetTaxRates, 3)
STANDING = for_brackets(StandForOffice, 3)
REASONED = dspy.ChainOfThought(ChooseLabor).predict.signature
BALLOT = module_of("CastVote").predictors()[0].signature
PERSONA = module_of("WritePersona").predictors()[0].signature


LONG = 100_000


class Facts(BaseModel):
    wage: float


def parsed(signature: Any, reply: str) -> dict[str, Any]:
    fields: dict[str, Any] = CompactAdapter().parse(signature, reply)
    return fields


def sent(module: dspy.Module, inputs: dict[str, Any], **context: Any) -> lm15.Request:
    """The request that `rules` gets."""
    lineage = CallRecorder()
    ask(module, inputs, adapter="compact", lineage=lineage, **context)
    return lineage.attempts[0].request


# The prompt


@every_strategy
@every_question
def test_the_user_part_holds_the_values_alone_in_the_order_of_the_signature(question: str, strategy: str) -> None:
    module, inputs = module_of(question, strategy), inputs_of(question)
    (message,) = sent(module, inputs).messages
    lines = [
        f"{name}:\n{value}" if "\n" in str(value) else f"{name}: {value}"
        for name, value in ((name, inputs[name]) for name in module.predictors()[0].signature.input_fields)
    ]
    assert message.text == "\n".join(lines)


@every_strategy
@every_question
def test_the_system_part_does_not_depend_on_what_is_told(question: str, strategy: str) -> None:
    module = module_of(question, strategy)
    first = sent(module, inputs_of(question)).system
    other = CompactAdapter().format(module.predictors()[0].signature, [], dict.fromkeys(inputs_of(question), "x"))
    assert other[0] == {"role": "system", "content": first}


def test_the_system_part_is_put_together_once_per_signature() -> None:
    adapter = CompactAdapter()
    assert adapter.format_system_message(ChooseLabor) is adapter.format_system_message(ChooseLabor)


def test_words_that_an_optimizer_changes_in_place_are_in_the_next_prompt() -> None:
    tuned, adapter = ChooseLabor.with_updated_fields("labor").with_instructions("Work."), CompactAdapter()
    assert adapter.format_system_message(tuned).startswith("Work.\n\nYou are given:\nobjective\n")
    tuned.instructions = "Work more."
    tuned.input_fields["objective"].json_schema_extra["desc"] = "what\nyou want"
    tuned.output_fields["labor"].json_schema_extra["desc"] = "shifts"
    system = adapter.format_system_message(tuned)
    assert system.startswith("Work more.\n\nYou are given:\nobjective: what you want\n")
    assert system.endswith('{"labor": n}\nlabor: shifts (a whole number from 0 to 100)')
    assert parsed(tuned, "40 shifts") == parsed(tuned, "40 hours") == {"labor": 40}
    with pytest.raises(AdapterParseError):
        parsed(tuned, "40 minutes")


def test_a_signature_that_is_no_longer_used_is_released() -> None:
    adapter, ballot = CompactAdapter(), ChooseLabor.with_instructions("Vote.")
    adapter.format(ballot, [], {})
    adapter.parse(ballot, "40")
    gone = weakref.ref(ballot)
    del ballot
    gc.collect()
    assert gone() is None


def test_demonstrations_are_questions_and_answers_like_the_question_itself() -> None:
    module = module_of("StandForOffice")
    demo = {**dict.fromkeys(inputs_of("StandForOffice"), "as shown"), "stand": True, "rate_changes": (10, 0, -10)}
    module.predictors()[0].demos = [demo, {"identity": "You.", "stand": False}]
    partial, no, whole, yes, question = sent(module, inputs_of("StandForOffice")).messages
    assert whole.text == "tax_schedule: as shown\nlast_rebate: as shown\nidentity: as shown\nrecord: as shown"
    assert (yes.role, yes.text) == ("assistant", '{"stand": true, "rate_changes": [10, 0, -10]}')
    assert partial.text.endswith("\nidentity: You.")
    assert json.loads(no.text)["stand"] is False
    assert question.text.startswith("tax_schedule: 30%")


def test_an_additional_field_on_either_side_is_shown_and_asked_for() -> None:
    hinted = REASONED.append("hint_", dspy.InputField(desc="from an earlier run"))
    request = sent(dspy.Predict(hinted), {**inputs_of("ChooseLabor"), "hint_": "work less"})
    assert "\nphase\nhint_: from an earlier run\n" in request.system
    assert request.messages[-1].text.endswith("\nphase: explore\nhint_: work less")
    assert '\n{"reasoning": "...", "labor": n}\n' in request.system


def test_values_other_than_text_are_shown_as_json_and_history_as_turns() -> None:
    class Ask(dspy.Signature):
        """Answer."""

        history: dspy.History = dspy.InputField()
        ages: list[int] = dspy.InputField()
        facts: Facts = dspy.InputField()
        content: bool = dspy.OutputField()

    past = dspy.History(messages=[{"ages": [1], "facts": Facts(wage=2), "content": True}])
    _, *turns = CompactAdapter().format(Ask, [], {"history": past, "ages": [20, 30], "facts": Facts(wage=9.5)})
    assert [turn["content"] for turn in turns] == [
        'ages: [1]\nfacts: {"wage": 2.0}',
        '{"content": true}',
        'ages: [20, 30]\nfacts: {"wage": 9.5}',
    ]


def test_it_can_be_made_without_arguments_and_copied() -> None:
    again = copy.deepcopy(CompactAdapter().__class__())
    assert again.format_system_message(ChooseLabor) == CompactAdapter().format_system_message(ChooseLabor)


# The reply


@pytest.mark.parametrize(
    "reply",
    [
        '{"labor": 40}',
        '```json\n{"labor": 40}\n```',
        'Sure! {"labor": 40} Good luck.',
        '{"labor": 40}\n{"labor": 40}',
        '{"labor": "40"}',
        '{"labor": 40.0, "note": "as last year"}',
        "{'labor': +40,}",
        "{labor: 40}",
        *("40", "40.", "40.0", "**40**", "```\n40\n```", "labor: 40", "**labor:** 40", "Labor = 40", "40 hours a week"),
        '{"labor": "40 hours"}',
    ],
)
def test_a_reply_that_means_forty_hours_is_forty_hours(reply: str) -> None:
    (labor,) = parsed(ChooseLabor, reply).values()
    assert labor == 40
    assert type(labor) is int


@pytest.mark.parametrize(
    "reply",
    [
        "I am a teacher of 40 years and would rather not answer.",
        *("40-50", "about 40", "40 or 50", "not 40 hours", "40 minutes", "40 hours or 50 hours", "$40", "40%", "[40]"),
        *('{"labor": 40 or 50}', '{"labor": 40} or {"labor": 50}', '{"labor": 4', '{"labor": 4 0}', '{"labor": ~40}'),
        *('{"labor": "about 40"}', '{"labor": [40]}', '{"labor": true}', '{"labor": null}', '{"hours": 40}', "{40}"),
        *('{"labor": 40.5}', "40.5", "-5", "101", "true", ""),
    ],
)
def test_no_number_is_taken_out_of_what_is_no_answer(reply: str) -> None:
    with pytest.raises(AdapterParseError):
        parsed(ChooseLabor, reply)


@given(st.integers(0, 100), st.text("abcdefghij -", min_size=1), st.text("abcdefghij -"))
def test_a_number_with_words_before_it_is_prose(number: int, before: str, after: str) -> None:
    if before.strip(" "):
        with pytest.raises(AdapterParseError):
            parsed(ChooseLabor, f"{before} {number} {after}")


@pytest.mark.parametrize(
    ("signature", "reply", "fields"),
    [
        (CHANGES, "[+10, 0, -10]", {"rate_changes": (10, 0, -10)}),
        (CHANGES, '{"rate_changes": [10.0, 0, -10]}', {"rate_changes": (10, 0, -10)}),
        (CHANGES, '{"rate_changes": "[10, 0, -10]"}', {"rate_changes": (10, 0, -10)}),
        (STANDING, '{"stand": True, "rate_changes": None}', {"stand": True, "rate_changes": None}),
        (STANDING, '{"stand": false}', {"stand": False, "rate_changes": None}),
        (BALLOT, "**worker 2**.", {"vote": "worker 2"}),
        (BALLOT, '{"vote": "abstain"}', {"vote": "abstain"}),
        (JudgeTaxPolicy, "satisfied: No.", {"satisfied": False}),
        (
            REASONED,
            '{"reasoning": "First\n{"labor": 30}?", "labor": 40}'.replace('{"labor": 30}', '{\\"labor\\": 30}'),
            {"reasoning": 'First\n{"labor": 30}?', "labor": 40},
        ),
    ],
)
def test_other_values_are_read_as_they_are_meant(signature: Any, reply: str, fields: dict[str, Any]) -> None:
    assert parsed(signature, reply) == fields


@pytest.mark.parametrize(
    ("signature", "reply"),
    [
        (CHANGES, "10, 0, -10"),
        (CHANGES, '{"rate_changes": [10, 0'),
        (STANDING, "true"),
        (REASONED, "40"),
        (REASONED, '{"labor": 40}'),
        (BALLOT, "I vote for worker 2"),
        (PERSONA, "I am sorry, but I cannot help with a request of this kind."),
    ],
)
def test_several_fields_or_any_text_need_the_object(signature: Any, reply: str) -> None:
    with pytest.raises(AdapterParseError):
        parsed(signature, reply)


@pytest.mark.parametrize(
    "reply",
    [
        "a" * LONG,
        "4" + " " * LONG + "!",
        "{" + "'" * LONG,
        '{"' + "a:" * LONG,
        "{" * LONG,
        "*" * LONG + "x",
        "," * LONG,
    ],
)
def test_a_long_reply_takes_no_longer_than_its_length(reply: str) -> None:
    started = time.process_time()
    with pytest.raises(AdapterParseError):
        parsed(ChooseLabor, reply)
    assert time.process_time() - started < 2


def test_constraints_of_a_field_are_kept_although_its_type_knows_nothing_of_them() -> None:
    class Rate(dspy.Signature):
        """Name a rate."""

        state: str = dspy.InputField()
        rate: float = dspy.OutputField(ge=0, le=50)
        steps: Annotated[list[int], Field(min_length=2)] = dspy.OutputField()

    assert parsed(Rate, '{"rate": 12.5, "steps": [1, 2]}') == {"rate": 12.5, "steps": [1, 2]}
    for reply in ('{"rate": 51, "steps": [1, 2]}', '{"rate": 5, "steps": [1]}'):
        with pytest.raises(AdapterParseError):
            parsed(Rate, reply)


OUTPUTS = {
    "ChooseLabor": st.fixed_dictionaries({"labor": st.integers(0, 100)}),
    "JudgeTaxPolicy": st.fixed_dictionaries({"satisfied": st.booleans()}),
    "SetTaxRates": st.fixed_dictionaries({"rate_changes": st.tuples(*[st.sampled_from([-20, -10, 0, 10, 20])] * 3)}),
    "CastVote": st.fixed_dictionaries({"vote": st.sampled_from(["worker 0", "worker 4", "abstain"])}),
    "WritePersona": st.fixed_dictionaries({"persona": st.text(st.characters(codec="utf-8"), min_size=40)}),
}


@pytest.mark.first_cases(1)
@given(data=st.data(), reasoning=st.text(st.characters(codec="utf-8")))
@pytest.mark.parametrize("question", OUTPUTS)
def test_what_is_written_is_read_back_exactly(question: str, data: st.DataObject, reasoning: str) -> None:
    fields = {"reasoning": reasoning, **data.draw(OUTPUTS[question])}
    if "persona" in fields:
        fields["persona"] = fields["persona"].strip()[:450].strip().ljust(40, ".")
    signature = module_of(question, "cot").predictors()[0].signature
    assert parsed(signature, FORMATS["compact"].write(fields)) == fields


def test_a_failed_reply_is_reported_and_repaired_like_one_of_any_format() -> None:
    engine, lineage = Scripted(["between 30 and 40", '{"labor": 35}']), CallRecorder()
    said = ask(
        module_of("ChooseLabor"),
        inputs_of("ChooseLabor"),
        lm=scripted_lm(engine),
        adapter="compact",
        lineage=lineage,
    )
    assert said.labor == 35
    assert lineage.outcomes == ['it holds no JSON object with "labor"', {"labor": 35}]
    assert [message.text for message in engine.requests[1].messages[1:]] == [
        "between 30 and 40",
        'That reply could not be used: it holds no JSON object with "labor". Reply again in the required format.',
    ]


@pytest.mark.parametrize("literal", [Literal["a"], Literal["a", "b"], Literal["a", "b"] | None])
def test_a_choice_can_be_named_bare(literal: Any) -> None:
    signature = dspy.Signature({"asked": (str, dspy.InputField()), "said": (literal, dspy.OutputField())}, "Choose.")
    assert parsed(signature, "`a`") == {"said": "a"}
