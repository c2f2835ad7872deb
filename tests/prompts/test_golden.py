"""Every prompt as the model sees it, one file per signature and strategy, and how long prompts may get.

A changed prompt is meant to show up in the diff of tests/golden:
UPDATE_GOLDEN=1 uv run pytest tests/prompts/test_golden.py
"""

import json
from dataclasses import replace
from itertools import takewhile
from typing import Any

import dspy
import numpy as np
import pytest
from support.golden import GOLDEN, compare
from support.village import ECONOMY, PERSONA, SETTING, CallRecorder, ask, inputs_of, module_of

from pipeline.agents.call_trace import prompt_text
from pipeline.agents.roles import QUESTIONS
from pipeline.economy.equilibrium import settle
from pipeline.economy.tax import US_FED
from pipeline.simulation import observations as see
from pipeline.simulation.elections.rules import ELECTION_RULES, MOST_CANDIDATES
from pipeline.simulation.memory import PlannerMemory, WorkerMemory
from programs.roles.interview import Interviewee
from programs.roles.voter import ballot
from signatures.texts.ballot import BallotRules, candidate_name
from signatures.texts.numbers import money
from signatures.texts.objective import WELFARE_WORDS
from signatures.texts.planner import RateChanges
from signatures.texts.worker import Identity, LastRebate, YearSummary
from signatures.types import TaxSchedule

DSPYS = ("json", "xml")
INTERVIEWS = {"chat": "AnswerInterview.txt", "compact": "AnswerInterview.compact-adapter.txt"}
SHORT = ("io", "cot")
"""Strategies that ask once and show nothing else: the bounds on prompts are theirs."""

WRITTEN = (*SHORT, "reflect")
"""Strategies with prompts of their own; the others ask in the words of `io` or `cot`."""

WORKER_TOKENS, PLANNER_TOKENS = 700, 1200
"""What a prompt may come to at any horizon, in tokens of four characters."""

SHORT_WORKER_TOKENS, SHARED = 500, 0.6
"""The same for a worker without a persona who is asked in the compact format, and how much of it others get, too."""


def prompts(module: dspy.Module, inputs: dict[str, Any], adapter: str = "chat") -> list[str]:
    """What the model is sent to answer one question, each text once, with the schema that its reply is held to."""
    lineage = CallRecorder()
    ask(module, inputs, adapter=adapter, lineage=lineage)
    texts = []
    for attempt in lineage.attempts:
        text = prompt_text(attempt.request)
        if attempt.request.config.response_format:
            text += f"\n\n### response format\n{json.dumps(attempt.request.config.response_format, indent=1)}"
        texts.append(text)
    return list(dict.fromkeys(texts))


@pytest.mark.parametrize("strategy", WRITTEN)
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_prompt_is_the_one_on_file(question: str, strategy: str) -> None:
    texts = prompts(module_of(question, strategy), inputs_of(question))
    compare(f"{question}.{strategy}.txt", "\n\n".join(texts))


@pytest.mark.parametrize("adapter", DSPYS)
@pytest.mark.parametrize("question", ["ChooseLabor", "SetTaxRates"])
def test_the_prompt_in_another_format_is_the_one_on_file(question: str, adapter: str) -> None:
    texts = prompts(module_of(question), inputs_of(question), adapter=adapter)
    compare(f"{question}.io.{adapter}-adapter.txt", "\n\n".join(texts))


@pytest.mark.parametrize("strategy", SHORT)
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_compact_prompt_is_the_one_on_file(question: str, strategy: str) -> None:
    texts = prompts(module_of(question, strategy), inputs_of(question), adapter="compact")
    compare(f"{question}.{strategy}.compact-adapter.txt", "\n\n".join(texts))


@pytest.mark.parametrize("rule", ["approval", "condorcet"])
@pytest.mark.parametrize("adapter", ["chat", "json"])
def test_a_ballot_of_several_names_is_the_one_on_file(rule: str, adapter: str) -> None:
    form = ELECTION_RULES[rule].form or "name"
    texts = prompts(module_of("CastVote", form=form), inputs_of("CastVote", rule=rule), adapter=adapter)
    compare(f"CastVote.io.{form}.{adapter}-adapter.txt", "\n\n".join(texts))


@pytest.mark.parametrize("adapter", ["chat", "compact"])
def test_the_prompt_of_an_interview_is_the_one_on_file_and_short(adapter: str) -> None:
    (text,) = prompts(Interviewee().answer_interview, inputs_of("AnswerInterview"), adapter)
    compare(INTERVIEWS[adapter], text)
    assert len(text) / 4 < WORKER_TOKENS


def test_no_file_is_left_from_a_prompt_that_is_gone() -> None:
    asked = {f"{question}.{strategy}.txt" for question in QUESTIONS for strategy in WRITTEN}
    asked |= {
        f"{question}.io.{adapter}-adapter.txt" for question in ("ChooseLabor", "SetTaxRates") for adapter in DSPYS
    }
    asked |= {f"{question}.{strategy}.compact-adapter.txt" for question in QUESTIONS for strategy in SHORT}
    asked |= {
        f"CastVote.io.{form}.{adapter}-adapter.txt" for form in ("set", "ranking") for adapter in ("chat", "json")
    }
    asked |= set(INTERVIEWS.values())
    assert {file.name for file in GOLDEN.iterdir() if file.is_file()} == asked


# What is said once


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_input_reaches_the_model_word_for_word(question: str) -> None:
    (text,) = prompts(module_of(question), inputs_of(question))
    for name, value in inputs_of(question).items():
        assert f"[[ ## {name} ## ]]\n{value}\n" in text


def test_what_all_agents_share_comes_first_so_that_prefixes_can_be_cached() -> None:
    first = inputs_of("ChooseLabor")
    second = {**first, "identity": str(Identity.of(None, 12.5)), "record": "no years yet"}
    (one,), (other,) = (prompts(module_of("ChooseLabor"), inputs) for inputs in (first, second))
    shared = one.partition(first["identity"])[0]
    assert other.startswith(shared)
    assert all(first[name] in shared for name in ("objective", "tax_schedule", "last_rebate"))


# Budgets: the longest prompts that a run can come to

LONG_PERSONA = (PERSONA + " You have strong opinions, and time to voice them." * 20)[:449] + "."
LAW = TaxSchedule(thresholds=US_FED.thresholds, rates=(100, 100, 100, 100, 100, 100, 100))
OLD_LAWS = [LAW.changed(tuple(-10 * ((k // 2**j) % 2) for j in range(7))) for k in range(128)]
WAGE = 159.1
YEARS = 50
MILLIONS = 9_999_999
SETTINGS = [
    replace(SETTING, welfare=welfare, inequality_aversion=aversion)
    for welfare in WELFARE_WORDS
    for aversion in (1.0, 12.3456)
]
"""All that a model can be told to want."""


def full_memory(*, utility_type: str = "egotistical", laws: list[TaxSchedule]) -> WorkerMemory:
    """Fifty years of fifty different hours, late in a long run, under `laws` in turn."""
    memory = WorkerMemory(YEARS, 1)
    hours = np.random.default_rng(0).permutation(np.arange(50, 100))
    for year in range(YEARS):
        law = laws[year % len(laws)]
        outcome = settle(ECONOMY, law, [WAGE], [hours[year]])
        value = outcome.utility if utility_type == "egotistical" else np.array([-123.456 - year])
        memory.remember(
            year=9_950 + year,
            schedule=law,
            hours=outcome.labor,
            income=outcome.income,
            tax=outcome.tax,
            value=value,
        )
    return memory


def worker_inputs(utility_type: str, laws: list[TaxSchedule]) -> dict[str, Any]:
    record = str(see.worker_record(full_memory(utility_type=utility_type, laws=laws), 0, LAW))
    return {
        "objective": max((str(see.objective(utility_type, setting, MILLIONS)) for setting in SETTINGS), key=len),
        "tax_schedule": str(LAW),
        "last_rebate": str(LastRebate(123_456.0)),
        # only egotistical workers have a persona
        "identity": str(Identity.of(LONG_PERSONA if utility_type == "egotistical" else None, WAGE)),
        "record": record,
        "phase": "explore",
    }


def planner_inputs() -> dict[str, Any]:
    """A planner over seven brackets that has tried 200 schedules in a society of a million."""
    memory = PlannerMemory()
    tried = [LAW.changed(tuple(-10 * ((k // 3**j) % 3) for j in range(7))) for k in range(200)]
    for year, law in enumerate(tried):
        memory.remember(year=year, schedule=law, welfare=-1234.5678 - year, settled=True)
    earned = np.concatenate([np.full(150_000, edge + 5_000) for edge in LAW.thresholds])
    return {
        "objective": max((str(see.planner_objective(setting, MILLIONS, halved=True)) for setting in SETTINGS), key=len),
        "economy": str(
            see.economy_summary(
                LAW,
                income=earned,
                utility=-earned,
                hours=np.full(len(earned), 100.0),
                rebate=123_456.0,
                welfare=-1234.5678,
                satisfied=(MILLIONS - 1, MILLIONS),
            )
        ),
        "record": str(see.planner_record(memory)),
        "tax_schedule": str(LAW),
        "phase": "explore",
    }


both_lengths = pytest.mark.parametrize("adapter", ["chat", "compact"])


def tokens(question: str, strategy: str, inputs: dict[str, Any], adapter: str) -> float:
    texts = prompts(module_of(question, strategy, brackets=7), inputs, adapter)
    return max(len(text) for text in texts) / 4


@both_lengths
@pytest.mark.parametrize("strategy", SHORT)
@pytest.mark.parametrize("laws", [[LAW], OLD_LAWS], ids=["one law", "many laws"])
@pytest.mark.parametrize("utility_type", ["egotistical", "altruistic", "adversarial"])
def test_a_worker_is_asked_in_fewer_than_700_tokens(
    utility_type: str, laws: list[TaxSchedule], strategy: str, adapter: str
) -> None:
    inputs = worker_inputs(utility_type, laws)
    assert len(LONG_PERSONA) == 450
    assert len(np.unique(full_memory(laws=laws).hours)) == 50
    assert tokens("ChooseLabor", strategy, inputs, adapter) < WORKER_TOKENS


@pytest.mark.parametrize("laws", [[LAW], OLD_LAWS], ids=["one law", "many laws"])
@pytest.mark.parametrize("utility_type", ["egotistical", "altruistic", "adversarial"])
def test_a_worker_without_a_persona_is_asked_briefly_and_most_of_it_is_the_same_for_all(
    utility_type: str, laws: list[TaxSchedule]
) -> None:
    one = {**worker_inputs(utility_type, laws), "identity": str(Identity.of(None, WAGE))}
    other = {**one, "identity": str(Identity.of(None, 12.5)), "record": "no years yet"}
    (text,), (another,) = (prompts(module_of("ChooseLabor"), inputs, "compact") for inputs in (one, other))
    assert len(text) / 4 < SHORT_WORKER_TOKENS
    asked = text.partition("\n\n### response format")[0]
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(asked, another, strict=False)))
    assert shared / len(asked) >= SHARED


@both_lengths
@pytest.mark.parametrize("strategy", SHORT)
def test_a_worker_judges_in_fewer_than_700_tokens(strategy: str, adapter: str) -> None:
    told = str(YearSummary(hours=100, income=827_320.0, tax=413_660.0, rebate=123_456.0, utility=-123_456.0))
    inputs = {"tax_schedule": str(LAW), "identity": str(Identity.of(LONG_PERSONA, WAGE)), "this_year": told}
    assert tokens("JudgeTaxPolicy", strategy, inputs, adapter) < WORKER_TOKENS


@both_lengths
@pytest.mark.parametrize("strategy", SHORT)
def test_a_planner_is_asked_in_fewer_than_1200_tokens(strategy: str, adapter: str) -> None:
    assert tokens("SetTaxRates", strategy, planner_inputs(), adapter) < PLANNER_TOKENS


def leader_inputs() -> dict[str, Any]:
    worker = worker_inputs("egotistical", OLD_LAWS)
    platform = str(RateChanges.of([-20] * 7))
    own = {"identity": worker["identity"], "own_record": worker["record"], "platform": platform}
    return {**planner_inputs(), **own}


@both_lengths
@pytest.mark.parametrize("strategy", SHORT)
def test_a_leader_is_asked_in_fewer_than_1200_tokens(strategy: str, adapter: str) -> None:
    assert tokens("GovernAsLeader", strategy, leader_inputs(), adapter) < PLANNER_TOKENS


def test_records_are_as_long_after_two_thousand_years_as_after_two_hundred() -> None:
    lengths = []
    for years in (200, 2000):
        workers, planner = WorkerMemory(YEARS, 1), PlannerMemory()
        for year in range(years):
            law = OLD_LAWS[year // 10 % len(OLD_LAWS)]
            outcome = settle(ECONOMY, law, [WAGE], [40.0 + year % 60])
            columns = {"income": outcome.income, "tax": outcome.tax, "value": outcome.utility}
            workers.remember(year=1000 + year, schedule=law, hours=outcome.labor, **columns)
            planner.remember(year=1000 + year, schedule=law, welfare=-1234.5, settled=year % 10 == 9)
        lengths.append((len(str(see.worker_record(workers, 0, law))), len(str(see.planner_record(planner)))))
    (worker_then, planner_then), (worker_now, planner_now) = lengths
    assert worker_now == pytest.approx(worker_then, rel=0.05)
    assert planner_now == pytest.approx(planner_then, rel=0.05)


def vote_tokens(rule: str, adapter: str, strategy: str, *, first: int, platform: tuple[int, ...]) -> float:
    """What a voter is asked with a full ballot, whose agents are numbered from `first`."""
    agents = range(first, first + MOST_CANDIDATES)
    told = "\n".join(
        f"{candidate_name(agent)}; Registered nurses, female, 45; {money(WAGE * 40 * 52)} at 40 hours; "
        f"platform {RateChanges.of(platform)}"
        for agent in agents
    )
    form = ELECTION_RULES[rule].form or "name"
    worker = worker_inputs("egotistical", [LAW])
    citizen = {name: worker[name] for name in ("tax_schedule", "last_rebate", "identity", "record")}
    module = ballot(module_of("CastVote", strategy), [candidate_name(agent) for agent in agents], form)
    inputs = {**citizen, "ballot": str(BallotRules(form, ELECTION_RULES[rule].words)), "candidates": told}
    (text,) = prompts(module, inputs, adapter)
    return len(text.partition("\n\n### response format")[0]) / 4


@pytest.mark.parametrize("strategy", SHORT)
@pytest.mark.parametrize("rule", [name for name, rule in ELECTION_RULES.items() if rule.form])
def test_a_voter_with_a_full_ballot_is_asked_in_fewer_than_1200_tokens(rule: str, strategy: str) -> None:
    assert vote_tokens(rule, "chat", strategy, first=20, platform=()) < PLANNER_TOKENS


@pytest.mark.parametrize("adapter", ["chat", "json"])
@pytest.mark.parametrize("rule", [name for name, rule in ELECTION_RULES.items() if rule.form])
def test_no_ballot_is_longer_than_1700_tokens(rule: str, adapter: str) -> None:
    """Seven brackets, seven digits, thoughts before the answer, and the names said again in an escaped schema."""
    assert vote_tokens(rule, adapter, "cot", first=10**6, platform=(-20,) * 7) < 1700
