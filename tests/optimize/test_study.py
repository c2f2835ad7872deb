"""A study's calls are stored, distinguished, paid for once and within the allowance, for any threads and optimizers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy import lm15
from support.models.pupil import NEARNESS, Pupil, example
from support.village import Scripted, inputs_of, scripted_lm

from evals.metrics.registry import Metric, as_dspy
from evals.optimize.candidates import Question, question_of, shown
from evals.optimize.metric_adapters import with_hidden_labels
from pipeline.agents.budget import Budget, Capped
from pipeline.agents.roles import PROGRAMS
from pipeline.errors import ModelError, StoreError
from pipeline.store.writer import Store
from pipeline.studies.call_tree import Evaluated
from pipeline.studies.dspy_callbacks import StudyCallbacks
from pipeline.studies.study import Halted, Study, study_name
from pipeline.studies.study_budget import Reservation, StudyBudget
from programs.adapters.repairing import ADAPTERS
from programs.calls.prices import Price, Prices
from programs.models import Model, connect
from programs.strategies.registry import strategy

CASES = shown([example(i) for i in range(12)], ["labor"])
HOURS = "[[ ## labor ## ]]\n{}\n\n[[ ## completed ## ]]"
ROW = {"study": "worker-test-1", "role": "worker", "question": "ChooseLabor", "strategy": "io"}


def student(strategy_name: str = "io") -> Question:
    return question_of("ChooseLabor", PROGRAMS["worker"](strategy(strategy_name), 3))


@contextmanager
def study_of(path: Path, *, prices: Prices | None = None, seed: int = 1, **caps: Any) -> Iterator[Study]:
    """A study of its own name in the database at `path`."""
    price = prices.of("scripted") if prices else None
    with Store(str(path)) as store:
        allowance = StudyBudget(Budget(model="scripted", price=price), **caps)
        yield Study(store, ROW, "labor", seed, allowance, prices or Prices())


@contextmanager
def asking(
    study: Study, engine: Any, *, threads: int = 1, retries: int = 0, told: Callable[[Evaluated], None] | None = None
) -> Iterator[StudyCallbacks]:
    """A phase of the study that asks `engine`."""
    phase = StudyCallbacks(study, Question, told or (lambda evaluated: None))
    lm = scripted_lm(engine, retries=retries)
    with phase.open(lm=lm, adapter=ADAPTERS["chat"](), threads=threads):
        yield phase


def evaluate(
    study: Study,
    engine: Any,
    program: dspy.Module,
    *,
    cases: int = 12,
    threads: int = 1,
    retries: int = 0,
    metric: Metric = NEARNESS,
) -> list[Evaluated]:
    """Judge a program on the first `cases` cases, as optimizers do; what was told of it."""
    told: list[Evaluated] = []
    with asking(study, engine, threads=threads, retries=retries, told=told.append):
        dspy.Evaluate(devset=CASES[:cases], metric=as_dspy(with_hidden_labels(metric, study)), num_threads=threads)(
            program
        )
    return told


def answer_all(study: Study, engine: Any, cases: int) -> None:
    with asking(study, engine):
        for case in CASES[:cases]:
            student()(**case.inputs())


def calls_of(path: Path) -> list[dict[str, Any]]:
    with Store(str(path)) as store:
        return store.rows("SELECT * FROM lm_calls ORDER BY call_id DESC")


# What is told apart


def test_identical_requests_are_paid_for_once(tmp_path: Path) -> None:
    engine = Pupil()
    with study_of(tmp_path / "a.duckdb") as study, asking(study, engine):
        said = [student()(**CASES[0].inputs()).labor for _ in range(3)]
    assert len(engine.requests) == 1
    assert len(set(said)) == 1


def test_other_examples_rollouts_and_temperatures_are_other_requests(tmp_path: Path) -> None:
    engine = Pupil()
    with study_of(tmp_path / "a.duckdb") as study, asking(study, engine):
        for config in ({}, {"rollout_id": 1}, {"rollout_id": 2}, {"temperature": 0.3}):
            student().choose_labor(**CASES[0].inputs(), config=config)
        student()(**CASES[1].inputs())
    seeds = [request.config.seed for request in engine.requests]
    assert len(set(seeds)) == len(seeds) == 5


def test_samples_of_one_question_differ_and_are_the_same_the_next_time(tmp_path: Path) -> None:
    engine = Pupil()
    with study_of(tmp_path / "a.duckdb") as study, asking(study, engine):
        many = student("sc@4")
        first, second = (many(**CASES[0].inputs()).labor for _ in range(2))
        completions = student().choose_labor(**CASES[1].inputs(), config={"n": 3}).completions.labor
    assert first == second
    assert len({request.config.seed for request in engine.requests}) == len(engine.requests) == 4 + 3
    assert len(set(completions)) == 3


def test_a_repetition_after_a_failure_is_the_same_request(tmp_path: Path) -> None:
    engine = Scripted([lm15.ServerError("busy", retry_after=0.01), HOURS.format(40)])
    engine.supported_params = frozenset({"seed"})  # type: ignore[attr-defined]
    with study_of(tmp_path / "a.duckdb") as study, asking(study, engine, retries=2):
        assert student()(**CASES[0].inputs()).labor == 40
    assert engine.requests[0].config.seed == engine.requests[1].config.seed
    assert [call["status"] for call in calls_of(tmp_path / "a.duckdb")] == ["server_error", "ok"]


def test_each_study_has_its_own_seed(tmp_path: Path) -> None:
    seeds = []
    for number, seed in enumerate((1, 1, 2)):
        engine = Pupil()
        with study_of(tmp_path / f"{number}.duckdb", seed=seed) as study, asking(study, engine):
            student()(**CASES[0].inputs())
        seeds.append(engine.requests[0].config.seed)
    assert seeds[0] == seeds[1] != seeds[2]


def test_threads_that_ask_the_same_wait_for_one_reply(tmp_path: Path) -> None:
    engine = Pupil(before=lambda number: time.sleep(0.05))
    with study_of(tmp_path / "a.duckdb") as study, asking(study, engine, threads=8):
        parallel = dspy.Parallel(num_threads=8, disable_progress_bar=True)
        said = parallel([(student(), CASES[i % 2]) for i in range(16)])
    assert len(engine.requests) == 2
    assert len({answer.labor for answer in said}) <= 2


def test_a_thread_that_waited_for_a_failed_reply_makes_its_own_call(tmp_path: Path) -> None:
    def fail_once(number: int) -> None:
        time.sleep(0.05)
        if number == 0:
            raise lm15.ServerError("busy", retry_after=0.01)

    engine = Pupil(before=fail_once)
    with study_of(tmp_path / "a.duckdb") as study, asking(study, engine, threads=2, retries=2):
        said = dspy.Parallel(num_threads=2, disable_progress_bar=True)([(student(), CASES[0])] * 2)
    assert [answer.labor for answer in said] == [said[0].labor] * 2
    assert len(engine.requests) == 2


# What is stored


def test_every_attempt_is_a_row_of_the_study(tmp_path: Path) -> None:
    path, engine = tmp_path / "a.duckdb", Scripted(["no idea", HOURS.format(140), HOURS.format(40), "Sure."])
    with study_of(path) as study, asking(study, engine):
        student()(**CASES[0].inputs())
        dspy.settings.lm("Propose something.")
    rows = calls_of(path)
    assert [row["status"] for row in rows] == ["parse_error", "parse_error", "ok", "ok"]
    assert {row["study"] for row in rows} == {"worker-test-1"}
    assert all(row["run_id"] is None and row["year"] is None and row["agent"] is None for row in rows)
    assert [row["call_id"] for row in rows] == [-1, -2, -3, -4]
    said = [(row["role"], row["signature"]) for row in rows]
    assert said == [("worker", "ChooseLabor")] * 3 + [("optimizer", "Text")]
    assert json.loads(rows[2]["parsed"]) == {"labor": 40}
    assert "case 0" in rows[0]["prompt"]
    assert len({row["request_key"] for row in rows}) == 4


def test_a_program_that_was_changed_asks_the_same_question(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with study_of(path) as study, asking(study, Pupil()):
        tuned = student("cot")
        tuned.choose_labor.predict.signature = tuned.choose_labor.predict.signature.with_instructions("Be brief.")
        tuned(**CASES[0].inputs())
    assert [(row["signature"], row["role"]) for row in calls_of(path)] == [("ChooseLabor", "worker")]


def test_a_study_that_is_opened_again_has_its_replies(tmp_path: Path) -> None:
    path, engine = tmp_path / "a.duckdb", Pupil()
    said = []
    for _ in range(2):
        with study_of(path) as study, asking(study, engine):
            said.append([student("sc@3")(**case.inputs()).labor for case in CASES[:4]])
            spent = study.allowance.calls, study.usage.tokens
    assert said[0] == said[1]
    assert len(engine.requests) == 12 == len(calls_of(path))
    assert spent == (12, 12 * 110)


def test_studies_do_not_share_replies(tmp_path: Path) -> None:
    engine = Pupil()
    with Store(str(tmp_path / "a.duckdb")) as store:
        for name in ("one", "two"):
            row = {**ROW, "study": name}
            with asking(Study(store, row, "labor", 1, StudyBudget(Budget(model="scripted"))), engine):
                student()(**CASES[0].inputs())
    assert len(engine.requests) == 2
    assert [(row["call_id"], row["study"]) for row in calls_of(tmp_path / "a.duckdb")] == [(-1, "one"), (-2, "two")]


def test_the_name_of_a_study_is_made_of_what_it_is() -> None:
    one = {"role": "worker", "optimizer": "labeled", "seed": 1}
    assert study_name(one) == study_name(dict(reversed(one.items())))
    assert study_name(one) != study_name({**one, "seed": 2})
    assert study_name(one).startswith("worker-labeled-")


def test_an_evaluation_reports_all_scores_and_its_cost(tmp_path: Path) -> None:
    engine = Scripted(["no idea"] * 3 + [HOURS.format(40)] * 2)
    with study_of(tmp_path / "a.duckdb") as study:
        (done,) = evaluate(study, engine, student(), cases=3)
    assert done.scores[0] == 0.0
    assert [answer.get("labor") for answer in done.predictions] == [None, 40, 40]
    assert (done.taken.calls, done.taken.unparsed, done.taken.tokens) == (5, 3, 5 * 1010)


# What may be spent


@pytest.mark.first_cases(3)
@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("most", [1, 5, 9])
def test_calls_never_pass_their_cap(threads: int, most: int, tmp_path: Path) -> None:
    engine = Pupil(before=lambda number: time.sleep(0.01))
    with study_of(tmp_path / "a.duckdb", max_calls=most) as study:
        with pytest.raises(Capped, match=f"--budget {most} is used up"):
            evaluate(study, engine, student(), threads=threads)
        assert study.allowance.calls == most
    assert len(engine.requests) == most == len(calls_of(tmp_path / "a.duckdb"))


@pytest.mark.parametrize("threads", [1, 8])
def test_dollars_never_pass_their_cap_and_are_used(threads: int, tmp_path: Path) -> None:
    prices = Prices({"scripted": Price(input=1000.0, output=1000.0, longest=200)})  # a reply costs 0.11, at most 0.8
    engine = Pupil(before=lambda number: time.sleep(0.01))
    with study_of(tmp_path / "a.duckdb", prices=prices, max_cost_usd=2.0) as study:
        with pytest.raises(Capped, match="--max-cost-usd 2 is used up"):
            evaluate(study, engine, student("sc@3"), threads=threads)
        spent = study.allowance.estimator.spent.dollars
    assert len(engine.requests) * 0.11 == pytest.approx(spent)
    assert 1.0 < spent <= 2.0


def test_reserved_calls_remain_available(tmp_path: Path) -> None:
    engine = Pupil()
    with study_of(tmp_path / "a.duckdb", max_calls=5) as study:
        with (
            study.allowance.holding_back(Reservation(calls=3)),
            pytest.raises(Capped, match="the last comparison needs"),
        ):
            answer_all(study, engine, 12)
        assert len(engine.requests) == 2
        answer_all(study, engine, 5)
    assert len(engine.requests) == 5


def test_an_attempt_that_failed_counts_as_a_call(tmp_path: Path) -> None:
    engine = Scripted([lm15.ServerError("busy", retry_after=0.0)] * 3)
    with study_of(tmp_path / "a.duckdb", max_calls=2) as study, pytest.raises(Capped):
        evaluate(study, engine, student(), retries=4)
    assert len(engine.requests) == 2


# How it ends


def test_an_abandoned_thread_gets_no_more_replies(tmp_path: Path) -> None:
    engine, go = Pupil(), threading.Event()

    def later() -> None:
        go.wait(5)
        student()(**CASES[1].inputs())

    with study_of(tmp_path / "a.duckdb") as study, ThreadPoolExecutor() as pool:
        with asking(study, engine):
            left = pool.submit(copy_context().run, later)
            student()(**CASES[0].inputs())
        go.set()
        with pytest.raises(Capped, match="has ended"):
            left.result(5)
    assert len(engine.requests) == 1


def test_a_pending_reply_at_the_end_is_stored(tmp_path: Path) -> None:
    path, started = tmp_path / "a.duckdb", threading.Event()

    def slow(number: int) -> None:
        started.set()
        time.sleep(0.2)

    with study_of(path) as study, ThreadPoolExecutor() as pool, asking(study, Pupil(before=slow)):
        pool.submit(copy_context().run, lambda: student()(**CASES[0].inputs()))
        started.wait(5)
    assert [row["status"] for row in calls_of(path)] == ["ok"]


@pytest.mark.parametrize("threads", [1, 4])
def test_a_model_that_cannot_be_used_halts_the_study(threads: int, tmp_path: Path) -> None:
    def refuse(number: int) -> None:
        if number >= 2:
            raise lm15.AuthError("wrong key")

    with study_of(tmp_path / "a.duckdb") as study, pytest.raises(Halted) as halted:
        evaluate(study, Pupil(before=refuse), student(), threads=threads)
    assert isinstance(halted.value.error, ModelError)
    assert "the key was refused" in str(halted.value.error)


def test_an_unreachable_server_halts_the_study_without_scoring_examples(tmp_path: Path) -> None:
    engine = Scripted([HOURS.format(40)] + [lm15.TransportError("no route", retry_after=0.0)] * 99)
    with study_of(tmp_path / "a.duckdb") as study, pytest.raises(Halted, match="cannot be reached"):
        evaluate(study, engine, student(), retries=2)
    assert len(engine.requests) == 1 + 3


def test_a_refused_prompt_scores_zero_and_does_not_halt_the_study(tmp_path: Path) -> None:
    engine = Scripted([lm15.ContextLengthError("too long"), HOURS.format(40)])
    with study_of(tmp_path / "a.duckdb") as study:
        (done,) = evaluate(study, engine, student(), cases=2)
    assert done.scores[0] == 0.0
    assert done.predictions[1].labor == 40


class Broken(Question):
    def forward(self, **inputs: Any) -> dspy.Prediction:
        return inputs["nothing"]


def test_a_strategy_with_a_bug_halts_the_study(tmp_path: Path) -> None:
    broken = Broken("ChooseLabor", PROGRAMS["worker"](strategy("io"), 3))
    with study_of(tmp_path / "a.duckdb") as study, pytest.raises(Halted, match=r"strategy io failed \(KeyError"):
        evaluate(study, Pupil(), broken)


def test_a_metric_with_a_bug_halts_the_study(tmp_path: Path) -> None:
    def divide(case: dspy.Example, answer: dspy.Prediction | None) -> Any:
        return 1 / 0

    with study_of(tmp_path / "a.duckdb") as study, pytest.raises(Halted, match="division by zero"):
        evaluate(study, Pupil(), student(), metric=replace(NEARNESS, judge=divide))


def test_a_store_that_fails_halts_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(call: Any) -> None:
        raise StoreError("the disk is full")

    with study_of(tmp_path / "a.duckdb") as study:
        monkeypatch.setattr(study.store, "post", full)
        with pytest.raises(Halted) as halted:
            evaluate(study, Pupil(), student())
    assert isinstance(halted.value.error, StoreError)


def test_the_modules_of_a_vote_are_found_in_its_trace() -> None:
    vote = question_of("CastVote", PROGRAMS["voter"](strategy("cot"), 3))
    with dspy.context(lm=connect(Model("rules")), adapter=ADAPTERS["chat"](), trace=[]):
        chosen = vote(**inputs_of("CastVote")).vote
        trace = list(dspy.settings.trace)
    assert chosen in ("worker 0", "worker 2", "worker 4", "abstain")
    assert [predictor for predictor, *_ in trace] == vote.predictors()
