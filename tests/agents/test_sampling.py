"""Strategies that ask more than once: what they keep, what they cost, and what is traced of it."""

from __future__ import annotations

import asyncio
import json
from hashlib import blake2b
from typing import Any

import dspy
import pytest
from dspy import lm15
from dspy.predict import refine as dspys_refine
from dspy.utils.exceptions import AdapterParseError
from hypothesis import given
from hypothesis import strategies as st
from support.models.scripted_hours import hours
from support.stores.trace_of_a_question import REQUEST, trace
from support.village import PLATFORMS, CallRecorder, Scripted, ask, inputs_of, module_of, scripted_lm

from evals.testing.openai_server import Loopback, completion
from pipeline.agents.roles import QUESTIONS
from pipeline.store.call_rows import BRANCH_ATTEMPTS, MOST_ATTEMPTS
from programs.adapters.repairing import REPAIRS
from programs.strategies.few_shot import NearestShots
from programs.strategies.reflection import LONGEST_CRITIQUE
from programs.strategies.registry import MOST, STRATEGIES, strategy
from programs.strategies.sampling import GivenUp, LoopCalls, consensus
from programs.strategies.self_evaluation import GOOD_ENOUGH, reward
from signatures.worker import ChooseLabor

# -- what every strategy keeps ------------------------------------------------------------------------------------


@pytest.mark.first_cases(27)
@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("question", QUESTIONS)
def test_every_strategy_asks_every_question_in_as_many_calls_as_documented(name: str, question: str) -> None:
    lineage = CallRecorder()
    answer = ask(module_of(question, name), inputs_of(question), lineage=lineage)
    least, most = STRATEGIES[name].calls(STRATEGIES[name].count or 1)
    assert least <= len(lineage.attempts) <= most
    for field in module_of(question).signature.output_fields:
        assert field in answer


@pytest.mark.parametrize("name", STRATEGIES)
def test_an_optimizer_which_asks_synchronously_gets_the_same_answer(name: str) -> None:
    later, now = (ask(module_of("ChooseLabor", name), inputs_of("ChooseLabor"), sync=s) for s in (False, True))
    assert later.labor == now.labor


@pytest.mark.parametrize("name", ["sc", "best_of_n", "refine", "reflect", "knn"])
def test_the_predictors_of_a_strategy_can_be_tuned(name: str) -> None:
    module = module_of("ChooseLabor", name)
    assert module.predictors()
    for predictor in module.predictors():
        predictor.demos = [dspy.Example(record="MARK", labor=40, critique="good", draft="40")]
    engine = Scripted([hours(40, "so"), hours(40, "so"), hours(40, "so"), hours(40, "so"), hours(40, "so")])
    if name == "reflect":
        engine.lines[1] = "[[ ## critique ## ]]\nFine.\n\n[[ ## completed ## ]]"
    ask(module, inputs_of("ChooseLabor"), lm=scripted_lm(engine))
    asked = [request for request in engine.requests if "advice" not in str(request.system)]
    assert asked
    assert all(any("MARK" in (m.text or "") for m in request.messages) for request in asked)


def test_a_count_belongs_to_a_name() -> None:
    lineage = CallRecorder()
    ask(module_of("ChooseLabor", "sc@7"), inputs_of("ChooseLabor"), lineage=lineage)
    assert len(lineage.attempts) == 7


@pytest.mark.parametrize("name", ["sc@0", "sc@", "sc@x", f"sc@{MOST + 1}", "io@2", "sc@-1", "@3"])
def test_a_count_that_cannot_be_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ValueError, match=r"strategy .*@|unknown strategy '@3'|takes no count") as refused:
        strategy(name)
    assert "\n" not in str(refused.value)


# -- self-consistency ---------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 100), min_size=1, max_size=9))
def test_the_consensus_on_hours_is_the_median_of_the_answers(said: list[int]) -> None:
    agreed = consensus([{"labor": each} for each in said])["labor"]
    assert agreed in said
    assert 2 * sum(each < agreed for each in said) <= len(said)
    assert 2 * sum(each > agreed for each in said) <= len(said)


def test_the_consensus_on_words_is_what_most_say_and_the_first_of_equals() -> None:
    assert consensus([{"vote": name} for name in ("b", "a", "a")]) == {"vote": "a"}
    assert consensus([{"vote": name} for name in ("b", "a")]) == {"vote": "b"}
    assert consensus([{"satisfied": verdict} for verdict in (True, False, False)]) == {"satisfied": False}


def test_a_platform_is_that_of_those_who_stand() -> None:
    stand, sit = {"stand": True, "rate_changes": (20, 0, 0)}, {"stand": False, "rate_changes": None}
    assert consensus([sit, stand, stand]) == stand
    assert consensus([stand, sit, sit]) == sit


def test_the_median_of_five_samples_is_the_answer_with_the_reasoning_of_its_sample() -> None:
    engine = Scripted([hours(h, f"because {h}") for h in (10, 90, 40, 35, 80)])
    answer = ask(module_of("ChooseLabor", "sc"), inputs_of("ChooseLabor"), lm=scripted_lm(engine))
    assert (answer.labor, answer.reasoning) == (40, "because 40")


def test_a_sample_that_fails_is_left_out_and_all_failing_is_a_failure() -> None:
    lines: list[str | Exception] = [hours(h, "so") for h in (30, 50, 70)]
    engine = Scripted([lm15.InvalidRequestError("no"), *lines, lm15.InvalidRequestError("no")])
    assert ask(module_of("ChooseLabor", "sc"), inputs_of("ChooseLabor"), lm=scripted_lm(engine)).labor == 50
    hopeless = Scripted(["no"] * 99)
    with pytest.raises(AdapterParseError):
        ask(module_of("ChooseLabor", "sc"), inputs_of("ChooseLabor"), lm=scripted_lm(hopeless))


def test_branches_have_seeds_and_numbers_of_their_own_whichever_ends_first() -> None:
    seeds, numbers = set(), set()
    for i in range(MOST + 1):
        branch = trace().branch(i)
        seeds.add(branch.sampling_seed(REQUEST))
        numbers |= set(branch.attempts)
    assert len(seeds) == MOST + 1
    assert len(numbers) == (MOST + 1) * BRANCH_ATTEMPTS <= MOST_ATTEMPTS
    first = trace().branch(0).sampling_seed(REQUEST)
    assert first == trace().sampling_seed(REQUEST), "the first sample is the only one of io"


class Slow:
    """An engine that answers the samples of a question in the reverse of the order in which it is asked."""

    supported_params = frozenset({"seed"})

    def __init__(self, count: int) -> None:
        self.left = count

    async def complete(self, request: lm15.Request) -> lm15.Response:
        self.left -= 1
        await asyncio.sleep(0.01 * self.left)
        text = hours(int(request.config.seed or 0) % 101, f"seed {request.config.seed}")
        message = lm15.Message.assistant(text)
        return lm15.Response(id=None, model="slow", message=message, finish_reason="stop", usage=lm15.Usage())


def test_samples_are_drawn_at_once_and_traced_in_their_own_order() -> None:
    line = trace()
    answer = ask(module_of("ChooseLabor", "sc"), inputs_of("ChooseLabor"), lm=scripted_lm(Slow(5)), lineage=line)
    assert [call.attempt for call in line.calls] == [i * BRANCH_ATTEMPTS for i in range(5)]
    kept = next(call for call in line.calls if call.call_id == line.answered_by)
    assert json.loads(kept.parsed or "")["labor"] == answer.labor
    said = sorted(json.loads(call.parsed or "")["labor"] for call in line.calls)
    assert answer.labor == said[2]


def test_stored_samples_are_used_again_by_number() -> None:
    first = trace(model="scripted")
    ask(module_of("ChooseLabor", "sc"), inputs_of("ChooseLabor"), lm=scripted_lm(Slow(5)), lineage=first)
    again = trace(model="scripted", recorded=list(first.calls), offline=True)
    hopeless = scripted_lm(Scripted([]))
    hopeless._engine_spec.inner.supported_params = frozenset({"seed"})
    hopeless._async_engine_spec.inner.supported_params = frozenset({"seed"})
    ask(module_of("ChooseLabor", "sc"), inputs_of("ChooseLabor"), lm=hopeless, lineage=again)
    assert [call.call_id for call in again.calls] == [call.call_id for call in first.calls]
    assert again.answered_by == first.answered_by


# -- best of n, refine --------------------------------------------------------------------------------------------


def best_hours() -> int:
    inputs = inputs_of("ChooseLabor")
    return max(range(101), key=lambda h: reward(inputs, {"labor": h}))


@pytest.mark.parametrize("name", ["best_of_n", "refine"])
def test_a_good_answer_ends_the_search(name: str) -> None:
    engine = Scripted([hours(best_hours())])
    assert ask(module_of("ChooseLabor", name), inputs_of("ChooseLabor"), lm=scripted_lm(engine)).labor == best_hours()


def test_the_best_of_n_is_kept_and_its_call_is_named() -> None:
    engine, line = Scripted([hours(0), hours(30), hours(99)]), trace()
    answer = ask(module_of("ChooseLabor", "best_of_n"), inputs_of("ChooseLabor"), lm=scripted_lm(engine), lineage=line)
    assert answer.labor == 30
    assert [call.call_id for call in line.calls].index(line.answered_by) == 1


def test_an_attempt_that_cannot_be_parsed_is_not_the_last_word(capsys: pytest.CaptureFixture[str]) -> None:
    engine = Scripted(["no", "no", "no", hours(30), hours(0)])
    answer = ask(module_of("ChooseLabor", "best_of_n"), inputs_of("ChooseLabor"), lm=scripted_lm(engine))
    assert answer.labor == 30
    assert capsys.readouterr().out == ""


def test_if_no_attempt_can_be_parsed_that_is_a_failure() -> None:
    with pytest.raises(AdapterParseError):
        ask(module_of("ChooseLabor", "best_of_n"), inputs_of("ChooseLabor"), lm=scripted_lm(Scripted(["no"] * 9)))


def test_the_advice_is_asked_with_fixed_texts_so_that_stored_replies_fit_after_a_change_of_the_code() -> None:
    search = module_of("ChooseLabor", "refine").search
    shown = (search.module_code + search.reward_fn_code).encode()
    assert blake2b(shown, digest_size=8).hexdigest() == "b358adb52a89ef3e", "stored runs were asked with other texts"


def test_refine_advises_itself_after_an_answer_that_falls_short() -> None:
    advice = '[[ ## discussion ## ]]\nToo few.\n\n[[ ## advice ## ]]\n{"answer": "Work MORE."}\n\n[[ ## completed ## ]]'
    engine = Scripted([hours(5), advice, hours(best_hours())])
    answer = ask(module_of("ChooseLabor", "refine"), inputs_of("ChooseLabor"), lm=scripted_lm(engine))
    assert answer.labor == best_hours()
    assert "Work MORE." in (engine.requests[2].messages[-1].text or "")


def test_advice_that_fails_is_logged_and_not_printed(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    engine = Scripted([hours(5), *["no advice"] * (REPAIRS + 1), hours(best_hours())])
    with caplog.at_level("DEBUG", logger="llm_economist"):
        answer = ask(module_of("ChooseLabor", "refine"), inputs_of("ChooseLabor"), lm=scripted_lm(engine))
    assert answer.labor == best_hours()
    assert "Attempt failed" in caplog.text
    assert capsys.readouterr().out == ""
    assert not hasattr(dspys_refine, "print"), "DSPy's own module is as it was"


# -- what an answer is worth --------------------------------------------------------------------------------------


@pytest.mark.slow
@given(st.integers(0, 100))
def test_hours_are_worth_their_share_of_the_best_utility(labor: int) -> None:
    worth = reward(inputs_of("ChooseLabor"), {"labor": labor})
    assert 0 <= worth <= 1
    assert (worth == 1) == (labor == best_hours())


def test_hours_near_the_best_are_good_enough_and_idling_is_not() -> None:
    inputs = inputs_of("ChooseLabor")
    assert reward(inputs, {"labor": best_hours() + 1}) >= GOOD_ENOUGH
    assert reward(inputs, {"labor": 0}) < 0.5


def test_who_wants_welfare_goes_by_the_record() -> None:
    inputs = {**inputs_of("ChooseLabor"), "objective": "Maximize social welfare = the mean utility of all workers"}
    tried = {labor: reward(inputs, {"labor": labor}) for labor in (40, 45, 50, 55, 60)}
    assert max(tried.values()) == 1
    assert reward(inputs, {"labor": 7}) == 0.5


@pytest.mark.parametrize("question", ["SetTaxRates", "GovernAsLeader", "StandForOffice", "CastVote"])
def test_every_decision_of_a_citizen_has_a_worth(question: str) -> None:
    answers: list[dict[str, Any]] = [
        {"rate_changes": c, "stand": True} for c in ((0, 0, 0), (20, 20, 20), (-20, 0, 10))
    ]
    if question == "CastVote":
        answers = [{"vote": f"worker {agent}"} for agent in PLATFORMS] + [{"vote": "abstain"}]
    worths = [reward(inputs_of(question), answer) for answer in answers]
    assert all(0 <= worth <= 1 for worth in worths)
    assert len(set(worths)) > 1


def test_a_leader_who_breaks_a_promise_is_worth_half() -> None:
    inputs = inputs_of("GovernAsLeader")
    free = {**inputs, "platform": "none"}
    broken, judged = ({"rate_changes": (10, 10, 10)}, reward(free, {"rate_changes": (10, 10, 10)}))
    assert reward(inputs, broken) == judged / 2
    assert reward({**inputs, "platform": "+10/+10/+10"}, broken) == judged


def test_a_persona_is_worth_the_checks_that_it_passes() -> None:
    inputs = inputs_of("WritePersona")
    good = "You are a 51-year-old woman and a lawyer. You save carefully."
    assert reward(inputs, {"persona": good}) == 1
    assert reward(inputs, {"persona": good.replace("woman", "man")}) == 5 / 6


def test_an_answer_that_cannot_be_judged_is_worth_one_half() -> None:
    assert reward({}, {"satisfied": True}) == 0.5


# -- reflection ---------------------------------------------------------------------------------------------------


def test_the_answer_sees_the_draft_and_a_critique_that_is_never_long() -> None:
    long = "word " * 500
    lines = [hours(70), f"[[ ## critique ## ]]\n{long}\n\n[[ ## completed ## ]]", hours(55)]
    engine = Scripted(list(lines))
    answer = ask(module_of("ChooseLabor", "reflect"), inputs_of("ChooseLabor"), lm=scripted_lm(engine))
    assert answer.labor == 55
    last = engine.requests[2].messages[-1].text or ""
    assert "[[ ## draft ## ]]\n70" in last
    assert len(long) > LONGEST_CRITIQUE >= last.count("word ") * 5


# -- nearest examples ---------------------------------------------------------------------------------------------


def example(wage: float, labor: int, phase: str = "explore") -> dict[str, Any]:
    pay = f"You are a worker. You earn ${wage:.2f} an hour, ${wage * 2080:,.0f} a year at 40 hours a week."
    return {**inputs_of("ChooseLabor"), "identity": pay, "phase": phase, "labor": labor}


def test_examples_are_those_of_the_nearest_situations_the_nearest_last() -> None:
    module = NearestShots(ChooseLabor, 2)
    module.learn([example(wage, round(wage)) for wage in (8, 20, 30, 60, 95)])
    chosen = module.nearest(example(31, 0))
    assert [demo["labor"] for demo in chosen] == [20, 30]


def test_examples_reach_the_prompt_and_an_empty_pool_changes_nothing() -> None:
    plain, near = Scripted([hours(40)]), Scripted([hours(40), hours(40)])
    ask(module_of("ChooseLabor"), inputs_of("ChooseLabor"), lm=scripted_lm(plain))
    module = module_of("ChooseLabor", "knn@1")
    ask(module, inputs_of("ChooseLabor"), lm=scripted_lm(near))
    assert near.requests[0].messages == plain.requests[0].messages
    module.learn([example(30, 77)])
    ask(module, inputs_of("ChooseLabor"), lm=scripted_lm(near))
    assert "77" in (near.requests[1].messages[1].text or "")


# -- the whole program --------------------------------------------------------------------------------------------

SMALL = ("--num-agents", "3", "--max-timesteps", "4", "--two-timescale", "2", "--scenario", "democratic", "--platforms")
DECIDED = "select year, agent, labor, satisfied, call_id from decisions order by all"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in ("io", "cot")])
def test_every_strategy_plays_the_same_whatever_the_concurrency_and_can_be_replayed(cli, name):
    for concurrency in ("1", "64"):
        args = ("run", *SMALL, "--llm", "rules", "--prompt-algo", name, "--concurrency", concurrency)
        assert cli(*args, "--db", f"{concurrency}.duckdb").code == 0
    assert cli.sql(DECIDED, "1.duckdb") == cli.sql(DECIDED, "64.duckdb")
    assert "every row is the same" in cli("replay", "1", "--db", "64.duckdb").out
    (orphans,) = cli.sql("select count(*) n from decisions anti join lm_calls using (call_id)", "64.duckdb")
    assert orphans["n"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in ("io", "cot")])
def test_every_strategy_plays_on_a_server_that_sometimes_talks_nonsense(cli, name):
    def sometimes(number, body):
        return completion("I would rather not say.", body) if number % 7 == 3 else None

    with Loopback(fault=sometimes) as server:
        args = ("run", *SMALL, "--llm", "gpt-4o-mini", "--base-url", server.url, "--prompt-algo", name)
        result = cli(*args, "--db", "a.duckdb")
    assert result.code == 0, result.err
    counts = {r["status"]: r["n"] for r in cli.sql("select status, count(*) n from lm_calls group by all", "a.duckdb")}
    assert set(counts) == {"ok", "parse_error"}
    sent = "select count(*) n from lm_calls where coalesce(choice, 0) = 0"
    assert cli.sql(sent, "a.duckdb") == [{"n": len(server.requests)}]


def test_roles_can_have_models_of_their_own_and_each_is_checked_and_traced(cli):
    with Loopback() as server:
        args = ("--llm", "gpt-4o-mini", "--role-llm", "planner=gpt-4o,worker=rules", "--base-url", server.url)
        result = cli(
            "run", "--num-agents", "3", "--max-timesteps", "4", "--two-timescale", "2", *args, "--db", "a.duckdb"
        )
    assert result.code == 0, result.err
    rows = cli.sql("select role, model, count(*) n from lm_calls group by all order by all", "a.duckdb")
    assert [(row["role"], row["model"], row["n"]) for row in rows] == [
        ("planner", "gpt-4o", 2),
        ("preflight", "gpt-4o", 1),
        ("preflight", "gpt-4o-mini", 1),
        ("worker", "rules", 12),
    ]
    (ids,) = cli.sql("select count(*) n, count(distinct call_id) d from lm_calls", "a.duckdb")
    assert ids["n"] == ids["d"]


def test_a_model_for_a_role_that_does_not_exist_is_refused(cli):
    result = cli("run", "--role-llm", "king=rules", "--llm", "rules")
    assert result.code == 2
    assert "--role-llm: unknown role 'king'" in result.err


def test_the_strategies_are_listed_with_their_cost(cli):
    listed = json.loads(cli("strategies", "--json").out)
    assert [(one["strategy"], one["calls"]) for one in listed][:3] == [("io", [1, 1]), ("cot", [1, 1]), ("sc", [5, 5])]
    printed = cli("strategies").out
    assert all(name in printed for name in STRATEGIES)


def test_a_reply_that_arrived_before_its_question_was_cancelled_still_reaches_the_thread() -> None:
    async def main() -> None:
        calls = LoopCalls()

        async def reply() -> str:
            calls.loop.call_soon(calls.give_up)  # before the thread hears of the reply
            return "said"

        assert await calls.loop.run_in_executor(None, calls.run, reply()) == "said"
        with pytest.raises(GivenUp):
            await calls.loop.run_in_executor(None, calls.run, reply())

    asyncio.run(main())
