"""Every attempt at a model becomes one row, with an id that says where it belongs."""

import itertools
import json
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import pytest
from dspy import lm15
from dspy.utils.exceptions import AdapterParseError
from hypothesis import given
from hypothesis import strategies as st
from support.stores.trace_of_a_question import REQUEST, trace
from support.village import Scripted, ask, inputs_of, module_of, scripted_lm

from pipeline.agents.call_trace import Trace, kind, prompt_text, request_key
from pipeline.agents.roles import QUESTIONS
from pipeline.config import build
from pipeline.config_checks import MOST_WORKER_YEARS
from pipeline.store.call_rows import MOST_ATTEMPTS, RUN_STRIDE, SIGNATURES
from programs.adapters.repairing import REPAIRS
from programs.calls.protocols import Attempt
from programs.models import Model


def succeeded(text: str = "40", **usage: int) -> Attempt:
    response = lm15.Response(
        id=None,
        model="any",
        message=lm15.Message.assistant(text),
        finish_reason="stop",
        usage=lm15.Usage(**usage),
    )
    return Attempt(REQUEST, response, None, started_at=1_700_000_000.0, latency_ms=12.5)


def failed(error: Exception) -> Attempt:
    return Attempt(REQUEST, None, error, started_at=1_700_000_000.0, latency_ms=12.5)


def ids(attempts: int = 1, **places: Any) -> list[int]:
    """The call ids of one question that took so many attempts."""
    question = trace(**places)
    for _ in range(attempts):
        question.attempted(succeeded())
    return [call.call_id for call in question.calls]


# Call ids


def test_ids_grow_with_year_question_agent_and_attempt_and_never_meet() -> None:
    places = itertools.product(range(3), SIGNATURES, [None, *range(5)])
    every = [
        call_id
        for year, signature, agent in places
        for call_id in ids(attempts=4, year=year, signature=signature, agent=agent)
    ]
    assert every == sorted(set(every))


def test_runs_have_ids_of_their_own() -> None:
    assert max(ids(run_id=1, year=999, signature=SIGNATURES[-1], agent=4)) < min(ids(run_id=2, agent=None))


def test_a_thousand_years_of_a_million_agents_fit_into_one_run() -> None:
    (last,) = ids(run_id=0, year=999, signature=SIGNATURES[-1], agent=999_999, num_agents=1_000_000)
    assert last + MOST_ATTEMPTS < RUN_STRIDE
    assert RUN_STRIDE * 900_000 < 2**63, "and so many runs into a BIGINT"


@pytest.mark.parametrize("num_agents", [1, 1_000_000, 100_000_000])
def test_the_largest_run_that_is_accepted_has_ids_for_all_its_questions(num_agents: int) -> None:
    years = min(MOST_WORKER_YEARS // (num_agents + 1), 100_000_000)
    build({"num_agents": num_agents, "max_timesteps": years})
    agent = num_agents - 1
    (last,) = ids(run_id=0, year=years - 1, signature=SIGNATURES[-1], agent=agent, num_agents=num_agents)
    interviews = 10**8
    assert last + MOST_ATTEMPTS < RUN_STRIDE - interviews * MOST_ATTEMPTS


def test_a_run_with_too_many_agent_years_is_refused_before_it_begins() -> None:
    with pytest.raises(ValueError, match="1,200,000,000 workers x years; reduce one of them"):
        build({"num_agents": 1_000_000, "max_timesteps": 10_000})


def test_a_question_never_has_more_attempts_than_ids() -> None:
    assert (Model("any").retries + 1) * (REPAIRS + 1) < MOST_ATTEMPTS


def test_the_same_question_has_the_same_ids_whenever_it_is_put() -> None:
    assert ids(attempts=3, year=7, agent=2) == ids(attempts=3, year=7, agent=2)


places = st.tuples(st.integers(0, 2000), st.sampled_from(SIGNATURES), st.none() | st.integers(0, 99))


@given(one=places, other=places)
def test_two_questions_share_no_id(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    names = ("year", "signature", "agent")
    first, second = (
        set(ids(attempts=2, num_agents=100, **dict(zip(names, place, strict=True)))) for place in (one, other)
    )
    assert (first == second) if one == other else not (first & second)


def test_every_question_of_a_year_has_its_place_in_the_order() -> None:
    assert set(QUESTIONS) < set(SIGNATURES)
    assert SIGNATURES.index("StandForOffice") < SIGNATURES.index("CastVote") < SIGNATURES.index("GovernAsLeader")
    assert SIGNATURES.index("SetTaxRates") < SIGNATURES.index("ChooseLabor") < SIGNATURES.index("JudgeTaxPolicy")


# Sampling seeds


def test_every_agent_year_question_and_attempt_has_a_seed_of_its_own() -> None:
    seeds = []
    for year, signature, agent in itertools.product(range(10), ("ChooseLabor", "JudgeTaxPolicy"), [None, *range(20)]):
        question = trace(year=year, signature=signature, agent=agent)
        for _ in range(3):
            seeds.append(question.sampling_seed(REQUEST))
            question.attempted(succeeded())
    assert len(set(seeds)) == len(seeds) == 10 * 2 * 21 * 3


def test_seeds_are_the_same_when_the_run_is_played_again_and_others_in_another_run() -> None:
    assert trace(year=3).sampling_seed(REQUEST) == trace(year=3, run_id=9).sampling_seed(REQUEST)
    assert trace(year=3).sampling_seed(REQUEST) != trace(year=3, seed=43).sampling_seed(REQUEST)


@given(seed=st.integers(0, 2**63), year=st.integers(0, 10_000), agent=st.none() | st.integers(0, 10**6))
def test_a_seed_is_one_that_servers_take(seed: int, year: int, agent: int | None) -> None:
    assert 0 <= trace(seed=seed, year=year, agent=agent).sampling_seed(REQUEST) < 2**31


# The text of a prompt


def test_a_prompt_is_kept_whole_each_message_under_its_role() -> None:
    assert prompt_text(REQUEST) == "### system\nBe brief.\n\n### user\nHow long?"


def test_a_prompt_without_system_and_with_a_repair_keeps_the_order() -> None:
    messages = (lm15.Message.user("How long?"), lm15.Message.assistant("Long."), lm15.Message.user("A number."))
    text = prompt_text(lm15.Request(model="any", messages=messages))
    assert text == "### user\nHow long?\n\n### assistant\nLong.\n\n### user\nA number."


def test_the_prompt_of_a_question_begins_with_the_system_and_ends_with_the_reminder() -> None:
    asked = trace()
    ask(module_of("ChooseLabor"), inputs_of("ChooseLabor"), lineage=asked)
    prompt = asked.calls[0].prompt
    assert prompt.startswith("### system\nYour input fields are:")
    assert prompt.count("\n### user\n") == 1
    assert prompt.endswith("ending with the marker for `[[ ## completed ## ]]`.")
    assert inputs_of("ChooseLabor")["record"] in prompt


# What goes wrong, in a word


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (lm15.RateLimitError("x"), "rate_limit"),
        (lm15.TimeoutError("x"), "timeout"),
        (lm15.ServerError("x"), "server_error"),
        (lm15.TransportError("x"), "connection"),
        (lm15.AuthError("x"), "auth"),
        (lm15.BillingError("x"), "billing"),
        (lm15.ContextLengthError("x"), "context_length"),
        (lm15.InvalidRequestError("x"), "invalid_request"),
        (ZeroDivisionError("x"), "error"),
        (lm15.LM15Error("x"), "error"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_errors_have_short_names(error: Exception, word: str) -> None:
    assert kind(error) == word
    asked = trace()
    asked.attempted(failed(error))
    assert asked.calls[0].status == word
    assert (asked.calls[0].error or "").split()[0] == "x"


def test_an_error_is_kept_short_on_one_line_and_without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "made up for this test")
    asked = trace()
    asked.attempted(failed(lm15.AuthError("no\n  entry with made up for this test or sk-abcdefgh123 " + "x" * 1000)))
    (call,) = asked.calls
    assert call.error is not None
    assert call.error.startswith("no entry with *** or *** xxx")
    assert len(call.error) == 300


# Rows


def test_a_reply_is_a_row_with_its_tokens_its_price_and_its_time() -> None:
    asked = trace(run_id=2, year=3, agent=4)
    asked.attempted(succeeded("40 hours", input_tokens=1000, output_tokens=100, cache_read_tokens=400))
    (call,) = asked.calls
    assert (call.run_id, call.year, call.agent) == (2, 3, 4)
    assert (call.response, call.status, call.error) == ("40 hours", "ok", None)
    assert (call.prompt_tokens, call.completion_tokens, call.cached_tokens) == (1000, 100, 400)
    assert call.cost_usd == pytest.approx(600 * 0.15e-6 + 400 * 0.075e-6 + 100 * 0.6e-6)
    assert (call.temperature, call.sampling_seed, call.latency_ms) == (0.7, 3, 12.5)
    assert call.started_at == datetime.fromtimestamp(1_700_000_000, UTC).replace(tzinfo=None)
    assert asked.answered_by == call.call_id


def test_a_failed_attempt_is_a_row_without_reply_and_price() -> None:
    asked = trace()
    asked.attempted(failed(lm15.ServerError("down")))
    (call,) = asked.calls
    assert (call.response, call.parsed, call.cost_usd, call.prompt_tokens) == (None, None, None, None)
    assert asked.answered_by is None


def test_failures_in_a_row_are_counted_and_forgotten_after_a_success() -> None:
    asked, counts = trace(), []
    for attempt in (failed(lm15.ServerError("x")), failed(lm15.ServerError("x")), succeeded()):
        asked.attempted(attempt)
        counts.append(asked.failures)
    assert counts == [1, 2, 0]


def test_a_question_that_was_never_put_has_no_answer() -> None:
    asked = trace()
    asked.parsed({"labor": 40})
    asked.unparsed("why")
    assert asked.answered_by is None
    assert asked.calls == []


def test_the_fields_of_an_answer_are_kept_as_json() -> None:
    asked = trace(signature="StandForOffice")
    asked.attempted(succeeded())
    asked.parsed({"stand": True, "rate_changes": (10, 0, -10), "reasoning": "fair — “enough”"})
    assert json.loads(asked.calls[0].parsed or "") == {
        "stand": True,
        "rate_changes": [10, 0, -10],
        "reasoning": "fair — “enough”",
    }


def labor_row(*lines: str | Exception, retries: int = 3) -> Trace:
    """The trace of a worker's question to a model that says `lines`."""
    asked, lm = trace(), scripted_lm(Scripted(list(lines)), retries=retries)
    ask(module_of("ChooseLabor"), inputs_of("ChooseLabor"), lm=lm, lineage=asked)
    return asked


def said(labor: int) -> str:
    return f"[[ ## labor ## ]]\n{labor}\n\n[[ ## completed ## ]]"


def test_a_question_with_a_retry_and_a_repair_is_three_rows_in_order() -> None:
    asked = labor_row(lm15.RateLimitError("busy", retry_after=0.001), said(140), said(40))
    assert [call.status for call in asked.calls] == ["rate_limit", "parse_error", "ok"]
    assert [call.attempt for call in asked.calls] == [0, 1, 2]
    assert [call.parsed for call in asked.calls] == [None, None, '{"labor": 40}']
    first = asked.calls[0].call_id
    assert [call.call_id for call in asked.calls] == [first, first + 1, first + 2]
    assert asked.calls[1].response == said(140), "the reply that failed is kept"
    assert "less than or equal to 100" in (asked.calls[1].error or "")
    assert "could not be used" in asked.calls[2].prompt
    assert asked.answered_by == first + 2


def test_a_question_whose_last_repair_failed_has_no_answer() -> None:
    asked, lm = trace(), scripted_lm(Scripted([said(140)] * (REPAIRS + 1)))
    with pytest.raises(AdapterParseError):
        ask(module_of("ChooseLabor"), inputs_of("ChooseLabor"), lm=lm, lineage=asked)
    assert [call.status for call in asked.calls] == ["parse_error"] * (REPAIRS + 1)
    assert asked.answered_by is None


@given(st.text(max_size=20), st.lists(st.text(max_size=9), min_size=1, max_size=3), st.booleans())
def test_a_request_keeps_its_key_from_version_to_version(system: str, said: list[str], held: bool) -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}} if held else None
    config = lm15.Config(temperature=0.7, max_tokens=9, seed=4, stop=("x",), response_format=form)
    messages = tuple(lm15.Message.user(f"{text}.") for text in said)
    request = lm15.Request(model="m", messages=messages, system=f"{system}.", config=config)
    told = ["m", f"{system}.", *(f"user: {text}." for text in said)]
    text = json.dumps([told, [0.7, 9, 4, None, ["x"], form]], sort_keys=True)
    assert request_key("m", request) == blake2b(text.encode(), digest_size=8).hexdigest()
