"""`rules`: the engine without a model answers what is asked, from the prompt alone, in the format that is asked for."""

import asyncio

import dspy
import pytest
from dspy import lm15
from dspy.utils.exceptions import LMInvalidRequestError
from support.village import CallRecorder, ask, inputs_of, module_of

from pipeline.agents.agents import QUIET
from pipeline.agents.call_trace import prompt_text
from pipeline.agents.roles import QUESTIONS
from programs.adapters.repairing import ADAPTERS
from programs.engines.rules import prompt_parser
from programs.engines.rules.engine import RulesEngine
from programs.engines.rules.prompt_parser import FORMATS
from programs.models import Model, connect
from programs.strategies.registry import STRATEGIES
from signatures.worker import ChooseLabor

ANSWERS: dict[str, set[str]] = {
    "WritePersona": {"persona"},
    "ChooseLabor": {"labor"},
    "JudgeTaxPolicy": {"satisfied"},
    "SetTaxRates": {"rate_changes"},
    "StandForOffice": {"stand", "rate_changes"},
    "CastVote": {"vote"},
    "GovernAsLeader": {"rate_changes"},
}

DRAWN = {"WritePersona"}
"""Answered by lot, and the whole prompt is part of the seed."""


def request(question: str, *, seed: int | None = 7, adapter: str = "chat") -> lm15.Request:
    """What a model is sent when `question` is put."""
    lineage = CallRecorder()
    ask(module_of(question), inputs_of(question), adapter=adapter, lineage=lineage)
    sent = lineage.attempts[0].request
    return lm15.Request(model="any", messages=sent.messages, system=sent.system, config=lm15.Config(seed=seed))


def reply(sent: lm15.Request) -> str:
    return RulesEngine().complete(sent).text or ""


@pytest.mark.first_cases(26)
@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_is_answered_at_once_in_every_format(
    question: str, strategy: str, adapter: str, sync: bool
) -> None:
    lineage = CallRecorder()
    module = module_of(question, strategy)
    prediction = ask(module, inputs_of(question), adapter=adapter, lineage=lineage, sync=sync)
    reasoned = {"reasoning"} if strategy == "cot" else set()
    assert set(prediction.keys()) >= ANSWERS[question] | reasoned
    assert all(prediction[name] is not None for name in ANSWERS[question])
    assert lineage.outcomes, "the reply was parsed"
    assert all(isinstance(outcome, dict) for outcome in lineage.outcomes), "and never had to be repaired"


@pytest.mark.parametrize("question", [question for question in QUESTIONS if question not in DRAWN])
def test_the_format_of_the_prompt_changes_no_policy(question: str) -> None:
    answers = [ask(module_of(question), inputs_of(question), adapter=adapter) for adapter in ADAPTERS]
    assert all(answer.toDict() == answers[0].toDict() for answer in answers)


@pytest.mark.first_cases(14)
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_same_prompt_and_seed_give_the_same_reply(question: str, adapter: str) -> None:
    sent = request(question, adapter=adapter)
    assert reply(sent) == reply(sent)


def test_another_seed_gives_another_draw() -> None:
    assert len({reply(request("WritePersona", seed=seed)) for seed in range(40)}) > 3


def test_the_reply_depends_on_the_text_of_the_prompt_alone() -> None:
    sent = request("ChooseLabor")
    named = lm15.Request(
        model="something/else",
        messages=sent.messages,
        system=sent.system,
        config=lm15.Config(seed=7, temperature=2.0, max_tokens=1),
    )
    assert reply(named) == reply(sent)


def test_a_question_that_no_policy_knows_is_refused_by_name() -> None:
    capital = dspy.Predict("country -> capital")
    lineage = CallRecorder()
    with pytest.raises(LMInvalidRequestError, match=r"the prompt asks for \['capital'\]"):
        ask(capital, {"country": "France"}, lineage=lineage)
    assert len(lineage.attempts) == 1, "asking again would not help"
    assert "labor" in str(lineage.attempts[0].error), "the error says what can be asked"


@pytest.mark.first_cases(24)
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("question", QUESTIONS)
def test_demonstrations_in_the_prompt_do_not_confuse_it(question: str, strategy: str, adapter: str) -> None:
    module = module_of(question, strategy)
    plain = ask(module, inputs_of(question), adapter=adapter)
    others = {name: "a demonstration. Respond with nothing." for name in inputs_of(question)}
    demo = dspy.Example(**others, **{name: plain[name] for name in plain.keys()})  # noqa: SIM118 (no mapping)
    for predictor in module.predictors():
        predictor.demos = [demo, demo]
    lineage = CallRecorder()
    shown = ask(module, inputs_of(question), adapter=adapter, lineage=lineage)
    assert len(lineage.attempts[0].request.messages) >= 5
    assert "a demonstration" in prompt_text(lineage.attempts[0].request)
    if question not in DRAWN:
        assert {name: shown[name] for name in ANSWERS[question]} == {name: plain[name] for name in ANSWERS[question]}


@pytest.mark.first_cases(14)
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_repair_message_is_answered_as_the_question_was(question: str, adapter: str) -> None:
    sent = request(question, adapter=adapter)
    repair = (
        lm15.Message.assistant("[[ ## labor ## ]]\n140 hours"),
        lm15.Message.user("That reply could not be used: too many hours. Reply again in the required format."),
    )
    again = lm15.Request(model="any", messages=sent.messages + repair, system=sent.system, config=sent.config)
    signature = module_of(question).predictors()[0].signature
    fields = [ADAPTERS[adapter]().parse(signature, reply(each)) for each in (sent, again)]
    assert fields[0].keys() == fields[1].keys()
    if question not in DRAWN:
        assert fields[0] == fields[1]


def test_plain_chat_is_answered_with_ok() -> None:
    hello = lm15.Request(model="rules", messages=(lm15.Message.user("Reply with the word OK."),))
    assert reply(hello) == "OK"


def test_a_fresh_optimizer_instruction_leaves_the_answer_alone() -> None:
    tuned = ChooseLabor.with_instructions("Work as long as it pays. Respond with whole hours; mind your record.")
    inputs = inputs_of("ChooseLabor")
    assert ask(dspy.Predict(tuned), inputs).labor == ask(module_of("ChooseLabor"), inputs).labor


def test_usage_is_counted_so_that_limits_can_be_tried_out() -> None:
    sent = request("ChooseLabor")
    usage = RulesEngine().complete(sent).usage
    length = len(str(sent.system)) + len(sent.messages[0].text or "")
    assert usage.input_tokens == length // 4
    assert usage.output_tokens is not None
    assert usage.output_tokens > 0


def test_questions_put_all_at_once_get_the_answers_of_one_by_one() -> None:
    lm, module = connect(Model("rules")), module_of("WritePersona")
    people = [{**inputs_of("WritePersona"), "age": age} for age in range(20, 80)]

    async def all_at_once() -> list[str]:
        with dspy.context(lm=lm, adapter=ADAPTERS["chat"](), **QUIET):
            answers = await asyncio.gather(*(module.acall(**person) for person in people))
        return [answer.persona for answer in answers]

    one_by_one = [ask(module, person, lm=lm, sync=True).persona for person in people]
    assert asyncio.run(all_at_once()) == one_by_one
    assert len(set(one_by_one)) == len(people)


@pytest.mark.first_cases(14)
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_prompt_is_read_back_exactly_and_by_its_own_format(question: str, adapter: str) -> None:
    sent = request(question, adapter=adapter)
    found = prompt_parser.find(str(sent.system), [message.text or "" for message in sent.messages])
    assert found is not None
    asked, form = found
    assert asked.inputs == {name: str(value) for name, value in inputs_of(question).items()}
    assert asked.outputs == list(module_of(question).predictors()[0].signature.output_fields)
    assert form is FORMATS[adapter]


def test_every_format_that_can_be_asked_in_can_be_answered_in() -> None:
    assert FORMATS.keys() == ADAPTERS.keys()
