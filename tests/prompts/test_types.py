"""The values of questions and answers: valid, or not there at all."""

import json
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from support.village import module_of

from programs.adapters.repairing import ADAPTERS
from programs.engines.rules.prompt_parser import FORMATS
from programs.roles.voter import ballot
from signatures.planner import SetTaxRates, for_brackets
from signatures.types import (
    Demographics,
    Hours,
    PersonaText,
    TaxSchedule,
    approval_type,
    ranking_type,
    rate_changes_type,
)
from signatures.voter import StandForOffice

US_EDGES = (0, 11_600, 47_150, 100_525, 191_950, 243_725, 609_350)
CHANGES = (-20, -10, 0, 10, 20)


def schedule(*rates: float) -> TaxSchedule:
    return TaxSchedule(thresholds=US_EDGES[: len(rates)], rates=rates)


# The tax schedule


@pytest.mark.parametrize(
    ("thresholds", "rates", "said"),
    [
        ((), (), "starts at 0"),
        ((1, 90_000), (10, 20), "starts at 0"),
        ((0, 90_000, 90_000), (10, 20, 30), "ascend"),
        ((0, 90_000, 80_000), (10, 20, 30), "ascend"),
        ((0, 90_000), (10,), "2 brackets need as many rates, not 1"),
        ((0,), (10, 20), "1 brackets need as many rates, not 2"),
        ((0,), (-100.1,), "greater than or equal to -100"),
        ((0,), (100.1,), "less than or equal to 100"),
        ((0, float("nan")), (10, 20), "nan"),
        ((0,), (float("nan"),), "nan"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(
    thresholds: tuple[float, ...], rates: tuple[float, ...], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        TaxSchedule(thresholds=thresholds, rates=rates)


def test_a_schedule_cannot_be_changed_in_place_and_equals_its_like() -> None:
    law = schedule(10, 20)
    with pytest.raises(ValidationError, match="frozen"):
        law.rates = (0, 0)  # type: ignore[misc]
    assert law == schedule(10.0, 20.0)
    assert len({law, schedule(10, 20), schedule(20, 10)}) == 2


@given(
    rates=st.lists(st.floats(0, 100), min_size=1, max_size=7),
    data=st.data(),
)
def test_a_changed_schedule_moves_by_what_was_asked_within_0_and_100(rates: list[float], data: st.DataObject) -> None:
    steps = data.draw(st.tuples(*[st.sampled_from(CHANGES)] * len(rates)))
    before = schedule(*rates)
    after = before.changed(steps)
    assert after.thresholds == before.thresholds
    assert before.rates == tuple(rates)
    for old, step, new in zip(rates, steps, after.rates, strict=True):
        assert 0 <= new <= 100
        assert new == (old + step if 0 <= old + step <= 100 else (0 if step < 0 else 100))


def test_a_change_for_another_number_of_brackets_is_refused() -> None:
    with pytest.raises(ValueError, match="3 brackets need as many changes, not 2"):
        schedule(10, 20, 30).changed((10, 10))


def test_a_schedule_reads_as_one_line() -> None:
    assert str(schedule(25)) == "25% on every dollar"
    assert str(TaxSchedule(thresholds=(0, 90_000, 159_100), rates=(30, 40.5, 60))) == (
        "30% up to $90,000; 40.5% to $159,100; 60% above"
    )
    assert str(schedule(10, 12, 22, 24, 32, 35, 37)) == (
        "10% up to $11,600; 12% to $47,150; 22% to $100,525; 24% to $191,950; 32% to $243,725; "
        "35% to $609,350; 37% above"
    )


# What may be answered, through pydantic and through every adapter


def completion(adapter: str, field: str, value: Any) -> str:
    """A reply with `value` in `field` and nothing else."""
    return FORMATS[adapter].write({field: value})


def parsed(adapter: str, signature: type[dspy.Signature], field: str, value: Any) -> Any:
    return ADAPTERS[adapter]().parse(signature, completion(adapter, field, value))[field]


def signature_of(question: str) -> type[dspy.Signature]:
    return module_of(question).predictors()[0].signature


REFUSED_HOURS = [-1, 101, 1000, 40.5, "forty", "", None, [40], {}]
every_adapter = pytest.mark.parametrize("adapter", ADAPTERS)


@pytest.mark.parametrize("value", REFUSED_HOURS)
def test_hours_out_of_the_week_are_not_hours(value: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Hours).validate_python(value)


@every_adapter
@pytest.mark.parametrize("value", REFUSED_HOURS)
def test_an_answer_with_such_hours_is_refused(adapter: str, value: Any) -> None:
    with pytest.raises(AdapterParseError):
        parsed(adapter, signature_of("ChooseLabor"), "labor", value)


@pytest.mark.first_cases(2)
@every_adapter
@given(hours=st.integers(0, 100))
def test_all_whole_hours_of_a_week_are_accepted(adapter: str, hours: int) -> None:
    for value in (hours, float(hours), str(hours)):
        assert parsed(adapter, signature_of("ChooseLabor"), "labor", value) == hours


@every_adapter
def test_a_truth_value_is_not_an_hour(adapter: str) -> None:
    with pytest.raises(AdapterParseError):
        parsed(adapter, signature_of("ChooseLabor"), "labor", True)


REFUSED_CHANGES = [[10, 0], [10, 0, -10, 0], [], [10, 0, 5], [10, 0, -30], [10, 0, None], 10, None, "up", {"a": 10}]


@pytest.mark.parametrize("value", REFUSED_CHANGES)
def test_changes_for_other_brackets_or_by_other_steps_are_not_changes(value: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(rate_changes_type(3)).validate_python(value)


@every_adapter
@pytest.mark.parametrize("value", REFUSED_CHANGES)
def test_an_answer_with_such_changes_is_refused(adapter: str, value: Any) -> None:
    with pytest.raises(AdapterParseError):
        parsed(adapter, for_brackets(SetTaxRates, 3), "rate_changes", value)


@every_adapter
@pytest.mark.parametrize("brackets", [1, 3, 7])
def test_one_step_for_each_bracket_is_accepted(adapter: str, brackets: int) -> None:
    value = [CHANGES[j % 5] for j in range(brackets)]
    assert parsed(adapter, for_brackets(SetTaxRates, brackets), "rate_changes", value) == tuple(value)


@every_adapter
def test_a_platform_may_be_none_but_not_of_another_length(adapter: str) -> None:
    signature = for_brackets(StandForOffice, 3)
    reply = FORMATS[adapter].write({"stand": False, "rate_changes": None})
    assert ADAPTERS[adapter]().parse(signature, reply) == {"stand": False, "rate_changes": None}
    with pytest.raises(AdapterParseError):
        ADAPTERS[adapter]().parse(signature, reply.replace("null", "[10, 10]"))


def test_a_schema_of_seven_brackets_is_no_longer_than_one_of_one() -> None:
    one, seven = (json.dumps(TypeAdapter(rate_changes_type(n)).json_schema()) for n in (1, 7))
    assert len(one) == len(seven)
    assert '"minItems": 7' in seven
    assert '"maxItems": 7' in seven


@pytest.mark.parametrize("text", ["", "You are tired.", "x" * 39, " " * 60, "x" * 451, "You work. " * 200])
def test_a_persona_too_short_or_too_long_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PersonaText).validate_python(text)
    for adapter in ADAPTERS:
        with pytest.raises(AdapterParseError):
            parsed(adapter, signature_of("WritePersona"), "persona", text)


@every_adapter
@pytest.mark.parametrize("length", [40, 200, 450])
def test_a_persona_of_a_few_sentences_is_unchanged(adapter: str, length: int) -> None:
    text = ("You are a nurse of 40, earn $31.50 an hour and say: it's fine. " * 10)[: length - 1] + "."
    assert parsed(adapter, signature_of("WritePersona"), "persona", f"  {text} ") == text


@every_adapter
@pytest.mark.parametrize("aside", ["{so you say}", "[for now]", "<so far> & 'more'"])
def test_a_persona_with_brackets_in_its_text_is_unchanged(adapter: str, aside: str) -> None:
    text = f"You are a nurse in a small town, save what you can and are content {aside}."
    assert parsed(adapter, signature_of("WritePersona"), "persona", text) == text


def test_the_instruction_for_a_persona_asks_for_no_more_than_is_accepted() -> None:
    words = signature_of("WritePersona").instructions.split()
    asked = int(words[words.index("characters.") - 1])
    assert TypeAdapter(PersonaText).validate_python("x" * asked)


def test_demographics_are_those_of_a_working_adult() -> None:
    with pytest.raises(ValidationError):
        Demographics(occupation="Carpenters", sex="Male", age=15)
    with pytest.raises(ValidationError):
        Demographics(occupation="Carpenters", sex="male", age=40)  # type: ignore[arg-type]


# Ballots

NAMES = ("worker 3", "worker 8", "worker 12")
BAD_BALLOTS = [["worker 9"], ["worker 3", "abstain"], "worker 3", "", None, [3], [["worker 3"]], {"worker 3": 1}]


def vote(adapter: str, form: str, value: Any) -> Any:
    """What an adapter makes of a vote for those of `NAMES`."""
    (predictor,) = ballot(module_of("CastVote"), NAMES, form).predictors()
    return parsed(adapter, predictor.signature, "vote", value)


@every_adapter
@pytest.mark.parametrize("form", ["set", "ranking"])
@pytest.mark.parametrize("names", [[], ["worker 8"], ["worker 12", "worker 3"], ["worker 12", "worker 3", "worker 8"]])
def test_a_ballot_takes_any_number_of_names_in_their_order(adapter: str, form: str, names: list[str]) -> None:
    assert vote(adapter, form, names) == tuple(names)


@pytest.mark.parametrize("form", ["set", "ranking"])
@pytest.mark.parametrize(
    ("adapter", "value"),
    [
        (adapter, value)
        for adapter in ADAPTERS
        for value in BAD_BALLOTS
        if adapter != "xml" or not isinstance(value, str)
    ],
)
def test_a_ballot_with_anything_else_is_refused(adapter: str, form: str, value: Any) -> None:
    with pytest.raises(AdapterParseError):
        vote(adapter, form, value)


@pytest.mark.parametrize("form", ["set", "ranking"])
@pytest.mark.parametrize(("value", "names"), [("worker 3", ("worker 3",)), ("", ())])
def test_in_xml_one_name_without_brackets_is_a_list_of_one(form: str, value: str, names: tuple[str, ...]) -> None:
    assert vote("xml", form, value) == names


@every_adapter
def test_a_ranking_names_no_candidate_twice_and_in_a_set_it_does_not_matter(adapter: str) -> None:
    twice = ["worker 8", "worker 3", "worker 8"]
    assert vote(adapter, "set", twice) == ("worker 8", "worker 3")
    with pytest.raises(AdapterParseError, match="worker 8 appears in the ranking more than once"):
        vote(adapter, "ranking", twice)


@every_adapter
def test_a_ballot_of_one_name_takes_one_name_or_an_abstention(adapter: str) -> None:
    assert [vote(adapter, "name", said) for said in ("worker 12", "abstain")] == ["worker 12", "abstain"]
    for said in ("worker 9", ["worker 12", "worker 3"], "", None):
        with pytest.raises(AdapterParseError):
            vote(adapter, "name", said)


def test_the_schema_of_a_ballot_says_nothing_that_servers_refuse() -> None:
    for kind in (approval_type(NAMES), ranking_type(NAMES)):
        schema = TypeAdapter(kind).json_schema()
        assert schema == {"items": {"enum": list(NAMES), "type": "string"}, "maxItems": 3, "type": "array"}
