"""A reply that cannot be used is sent back with the reason, a few times, and everything is reported."""

import asyncio
from typing import Any

import dspy
import pytest
from dspy import lm15
from dspy.utils.exceptions import AdapterParseError, LMServerError
from support.village import CallRecorder, Scripted, ask, inputs_of, module_of, scripted_lm

from pipeline.agents.agents import QUIET
from programs.adapters.repairing import ADAPTERS, REPAIRS
from programs.engines.rules.prompt_parser import FORMATS

every_adapter = pytest.mark.parametrize("adapter", ADAPTERS)
both_calls = pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])


def reply(adapter: str, **fields: Any) -> str:
    """A reply with these fields in the format of `adapter`."""
    return FORMATS[adapter].write(fields)


def put(question: str, *lines: str | Exception, adapter: str = "chat", sync: bool = False) -> tuple[Any, ...]:
    """Put `question` to a model that says `lines`; the prediction (or the error), the engine and the lineage."""
    engine, lineage = Scripted(list(lines)), CallRecorder()
    module, lm = module_of(question), scripted_lm(engine)
    try:
        said: Any = ask(module, inputs_of(question), lm=lm, adapter=adapter, lineage=lineage, sync=sync)
    except Exception as error:
        said = error
    return said, engine, lineage


@both_calls
@every_adapter
def test_a_usable_reply_takes_one_request(adapter: str, sync: bool) -> None:
    said, engine, lineage = put("ChooseLabor", reply(adapter, labor=35), adapter=adapter, sync=sync)
    assert said.labor == 35
    assert len(engine.requests) == len(lineage.attempts) == 1
    assert lineage.outcomes == [{"labor": 35}]


@both_calls
@every_adapter
def test_an_unusable_reply_is_sent_back_with_the_reason_and_the_next_one_counts(adapter: str, sync: bool) -> None:
    bad, good = reply(adapter, labor=140), reply(adapter, labor=40)
    said, engine, lineage = put("ChooseLabor", bad, good, adapter=adapter, sync=sync)
    assert said.labor == 40
    first, second = engine.requests
    assert second.system == first.system
    assert second.messages[: len(first.messages)] == first.messages
    echoed, correction = second.messages[len(first.messages) :]
    assert (echoed.role, echoed.text) == ("assistant", bad)
    assert correction.role == "user"
    assert "could not be used" in correction.text
    assert "less than or equal to 100" in correction.text
    why, fields = lineage.outcomes
    assert "less than or equal to 100" in why
    assert fields == {"labor": 40}


@every_adapter
def test_each_repair_carries_the_latest_reason_only(adapter: str) -> None:
    lines = [reply(adapter, labor=101), reply(adapter, labor=-5), reply(adapter, labor=50)]
    said, engine, _ = put("ChooseLabor", *lines, adapter=adapter)
    assert said.labor == 50
    last = engine.requests[-1].messages
    assert len(last) == len(engine.requests[0].messages) + 2
    assert "greater than or equal to 0" in last[-1].text
    assert "101" not in last[-1].text


@both_calls
@every_adapter
def test_after_the_last_repair_the_question_has_failed(adapter: str, sync: bool) -> None:
    lines = [reply(adapter, labor=101 + k) for k in range(REPAIRS + 2)]
    said, engine, lineage = put("ChooseLabor", *lines, adapter=adapter, sync=sync)
    assert isinstance(said, AdapterParseError)
    assert len(engine.requests) == REPAIRS + 1
    assert all(isinstance(why, str) for why in lineage.outcomes)
    assert len(lineage.outcomes) == REPAIRS + 1


@pytest.mark.first_cases(33)
@every_adapter
@pytest.mark.parametrize(
    ("question", "fields", "why"),
    [
        ("ChooseLabor", {"labor": 101}, "less than or equal to 100"),
        ("ChooseLabor", {"labor": -1}, "greater than or equal to 0"),
        ("ChooseLabor", {"labor": "plenty"}, "valid integer"),
        ("ChooseLabor", {"hours": 40}, "labor"),
        ("SetTaxRates", {"rate_changes": [10, 0]}, "at least 3 items"),
        ("SetTaxRates", {"rate_changes": [10, 0, 0, 0]}, "at most 3 items"),
        ("SetTaxRates", {"rate_changes": [10, 0, 15]}, "-20, -10, 0, 10 or 20"),
        ("SetTaxRates", {"rate_changes": [0.1, 0, 0]}, "-20, -10, 0, 10 or 20"),
        ("StandForOffice", {"stand": True, "rate_changes": [10]}, "at least 3 items"),
        ("StandForOffice", {"stand": "perhaps", "rate_changes": None}, "stand"),
        ("GovernAsLeader", {"rate_changes": None}, "rate_changes"),
        ("CastVote", {"vote": "worker 1"}, "'worker 0', 'worker 2', 'worker 4' or 'abstain'"),
        ("CastVote", {"vote": 7}, "'worker 0', 'worker 2', 'worker 4' or 'abstain'"),
        ("JudgeTaxPolicy", {"satisfied": "maybe"}, "valid boolean"),
        ("JudgeTaxPolicy", {"satisfied": "unknown"}, "valid boolean"),
        ("JudgeTaxPolicy", {"satisfied": "Not yes"}, "valid boolean"),
        ("WritePersona", {"persona": "You are tired."}, "at least 40 characters"),
    ],
)
def test_what_the_rule_refuses_is_refused_and_the_model_is_told_why(
    question: str, fields: dict[str, Any], why: str, adapter: str
) -> None:
    said, engine, lineage = put(question, *[reply(adapter, **fields)] * (REPAIRS + 1), adapter=adapter)
    assert isinstance(said, AdapterParseError)
    assert why in lineage.outcomes[0]
    assert why in engine.requests[1].messages[-1].text


LONG = "You are a carpenter who never stops talking. " * 45


@every_adapter
def test_a_persona_of_two_thousand_characters_is_refused_and_the_model_is_told_why(adapter: str) -> None:
    assert len(LONG) > 2000
    said, engine, lineage = put("WritePersona", *[reply(adapter, persona=LONG)] * (REPAIRS + 1), adapter=adapter)
    assert isinstance(said, AdapterParseError)
    assert len(engine.requests[1].messages[-2].text) <= 500, "what is sent back is bounded"
    assert len(engine.requests[1].messages[-1].text) < 400
    assert "at most 450 characters" in lineage.outcomes[0]


@every_adapter
def test_an_empty_reply_is_repaired_like_any_other(adapter: str) -> None:
    said, engine, lineage = put("ChooseLabor", "", reply(adapter, labor=20), adapter=adapter)
    assert said.labor == 20
    assert len(engine.requests) == 2
    assert all(message.text for message in engine.requests[1].messages), "providers refuse empty messages"
    assert "empty" in lineage.outcomes[0]


def test_prose_around_the_fields_is_no_failure() -> None:
    said, engine, _ = put("ChooseLabor", "Let me think.\n\n" + reply("chat", labor=45) + "\nGood luck!")
    assert said.labor == 45
    assert len(engine.requests) == 1


def test_the_error_is_one_line_without_links() -> None:
    _, _, lineage = put("ChooseLabor", reply("chat", labor=140), reply("chat", labor=40))
    why = lineage.outcomes[0]
    assert "\n" not in why
    assert "http" not in why
    assert len(why) <= 300


def test_errors_of_the_model_are_no_matter_for_repair() -> None:
    said, engine, lineage = put("ChooseLabor", lm15.ServerError("down"), reply("chat", labor=40))
    assert isinstance(said, LMServerError)
    assert len(engine.requests) == 1
    assert lineage.outcomes == []
    assert isinstance(lineage.attempts[0].error, lm15.ServerError)


def test_no_correction_leaks_into_the_next_question() -> None:
    engine = Scripted([reply("chat", labor=140), reply("chat", labor=40), reply("chat", labor=50)])
    lm, module = scripted_lm(engine), module_of("ChooseLabor")
    ask(module, inputs_of("ChooseLabor"), lm=lm, sync=True)
    ask(module, inputs_of("ChooseLabor"), lm=lm, sync=True)
    assert engine.requests[2].messages == engine.requests[0].messages


class Stubborn:
    """Gives every agent a bad reply at first, and then the hours that its own prompt names."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        asked, *rest = request.messages
        number = int((asked.text or "").partition("You are number ")[2].partition(".")[0])
        labor = number if rest and str(100 + number) in (rest[0].text or "") else 100 + number
        message = lm15.Message.assistant(reply("chat", labor=labor))
        return lm15.Response(id=None, model="stubborn", message=message, finish_reason="stop", usage=lm15.Usage())


def test_agents_asked_at_once_get_their_own_corrections() -> None:
    lm, module, inputs = scripted_lm(Stubborn()), module_of("ChooseLabor"), inputs_of("ChooseLabor")

    async def all_at_once() -> list[int]:
        with dspy.context(lm=lm, adapter=ADAPTERS["chat"](), **QUIET):
            answers = await asyncio.gather(
                *(module.acall(**{**inputs, "identity": f"You are number {number}."}) for number in range(1, 30))
            )
        return [answer.labor for answer in answers]

    assert asyncio.run(all_at_once()) == list(range(1, 30))


@every_adapter
def test_no_format_falls_back_to_a_silent_second_one(adapter: str) -> None:
    said, engine, _ = put("ChooseLabor", *["I would rather not say."] * (REPAIRS + 1), adapter=adapter)
    assert isinstance(said, AdapterParseError)
    assert len(engine.requests) == REPAIRS + 1
    first = engine.requests[0]
    assert all(request.system == first.system for request in engine.requests)
    assert all(request.messages[: len(first.messages)] == first.messages for request in engine.requests)


DEEP = 30_000


@pytest.mark.first_cases(8)
@every_adapter
@pytest.mark.parametrize(
    "reply",
    [
        "[" * DEEP,
        '{"labor":' * DEEP,
        '{"labor": ' + "[" * DEEP + "}",
        "[[ ## labor ## ]]\n" + "[" * DEEP,
        "<labor>" + "<a>" * DEEP + "</a>" * DEEP + "</labor>",
        "{" * 3_000,
    ],
    ids=["list", "objects", "in json", "in chat", "in xml", "braces"],
)
def test_a_reply_nested_too_deep_for_any_reader_is_a_failed_reply(reply: str, adapter: str) -> None:
    said, _, lineage = put("ChooseLabor", *[reply] * (REPAIRS + 1), adapter=adapter)
    assert isinstance(said, AdapterParseError)
    assert len(lineage.outcomes) == REPAIRS + 1


@every_adapter
def test_a_reason_does_not_repeat_the_reply(adapter: str) -> None:
    talk = "Let me think.\nA word\nin another line."
    _, engine, lineage = put("JudgeTaxPolicy", *[talk] * (REPAIRS + 1), adapter=adapter)
    assert "another" not in lineage.outcomes[0]
    assert "another" not in engine.requests[1].messages[-1].text


def test_json_holds_a_server_that_can_to_the_schema_of_the_answer() -> None:
    class Schooled(Scripted):
        supported_params = frozenset({"response_format"})
        supports_response_schema = True

    engine = Schooled([reply("json", rate_changes=[0, 0, 0])])
    ask(module_of("SetTaxRates"), inputs_of("SetTaxRates"), lm=scripted_lm(engine), adapter="json")
    form = engine.requests[0].config.response_format
    assert form is not None
    changes = form["schema"]["properties"]["rate_changes"]
    assert (changes["minItems"], changes["maxItems"]) == (3, 3)
    assert changes["items"]["enum"] == [-20, -10, 0, 10, 20]


def test_json_asks_a_server_that_cannot_in_words() -> None:
    _, engine, _ = put("ChooseLabor", reply("json", labor=40), adapter="json")
    assert engine.requests[0].config.response_format is None
    assert "JSON object" in engine.requests[0].messages[-1].text
