"""Every optimizer on a model that can be taught: what it finds, stores and spends, and that it is reproducible."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy import lm15
from support.models.pupil import KEYWORD, NEARNESS, Pupil, example
from support.village import inputs_of, scripted_lm

from evals.optimize.candidates import as_text, question_of, shown
from evals.optimize.optimizers import OPTIMIZERS, optimizer
from evals.optimize.trials import Trial
from evals.optimize.tuning import Models, Outcome, Tuning
from pipeline.agents.budget import Budget
from pipeline.agents.roles import PROGRAMS
from pipeline.errors import UsageError
from pipeline.store.writer import Store
from pipeline.studies.study import Study
from pipeline.studies.study_budget import StudyBudget
from programs.adapters.repairing import ADAPTERS
from programs.strategies.registry import strategy

SPLITS = {"train": (0, 6), "dev": (6, 10), "test": (10, 15)}
BUDGET = 100


def tune(
    name: str,
    path: Path,
    engine: Any,
    *,
    budget: int = BUDGET,
    threads: int = 1,
    strategy_name: str = "io",
    **other: Any,
) -> tuple[Outcome, list[Trial], Study]:
    """Tune the worker by optimizer `name`, in a study of that name in the database at `path`."""
    lm = scripted_lm(engine)
    splits = {split: shown(map(example, range(*ends)), ["labor"]) for split, ends in SPLITS.items()}
    row = {"study": name, "role": "worker", "question": "ChooseLabor", "optimizer": name, "metric": "nearness"}
    with Store(str(path)) as store:
        allowance = StudyBudget(Budget(model="scripted"), max_calls=budget)
        study = Study(store, {**row, "strategy": strategy_name, "adapter": "chat"}, "labor", 5, allowance)
        tuning = Tuning(
            study,
            question_of("ChooseLabor", PROGRAMS["worker"](strategy(strategy_name), 3)),
            Models(lm, lm, lm.copy(temperature=1.0)),
            ADAPTERS["chat"](),
            splits,
            ("labor",),
            NEARNESS,
            OPTIMIZERS[name],
            seed=5,
            demos=2,
            threads=threads,
            **other,
        )
        return tuning.run(), tuning.trials.all, study


def trials_of(path: Path, study: str) -> list[dict[str, Any]]:
    with Store(str(path)) as store:
        return store.rows("SELECT * FROM optimizer_trials WHERE study = ? ORDER BY trial", [study])


def in_words(outcome: Outcome, trials: list[Trial]) -> str:
    """All that an optimization came to."""
    told = [(trial.split, trial.scores, trial.text, trial.calls, trial.unparsed) for trial in trials]
    return json.dumps([told, outcome.best.text, outcome.stopped])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "layouts"])  # it tunes no prompt
def test_an_optimizer_improves_the_score_and_resumes_after_an_interruption(name: str, tmp_path: Path) -> None:
    engine, path = Pupil(), tmp_path / "a.duckdb"
    outcome, trials, study = tune(name, path, engine)
    assert outcome.best.score > outcome.before.score + 0.2
    assert outcome.test_before is not None
    assert outcome.test_after is not None
    assert outcome.test_after.score > outcome.test_before.score + 0.2
    assert len(engine.requests) == study.allowance.calls <= BUDGET
    assert outcome.best.split == "dev"
    assert outcome.best.score == max(trial.score for trial in trials if len(trial.scores) == 4 and trial.split == "dev")
    _stored(path, name, trials)
    again, half = Pupil(), len(engine.requests) // 2
    _forget(path, but=half)
    random.seed(3)  # nothing hangs on Python's global state, on threads, or on how much is stored already
    assert in_words(*tune(name, path, again, threads=4)[:2]) == in_words(outcome, trials)
    assert len(again.requests) == len(engine.requests) - half


def _forget(path: Path, *, but: int) -> None:
    """As if the study had been killed after its first calls."""
    with Store(str(path)) as store:
        store.connection.execute("DELETE FROM lm_calls WHERE call_id < ?", [-but])
        store.connection.execute("UPDATE studies SET status = 'running'")


def _stored(path: Path, name: str, trials: list[Trial]) -> None:
    """Every trial is a row with its prompt and score, and no prompt has what examples hide."""
    rows = trials_of(path, name)
    assert [(row["trial"], row["split"], row["score"], row["scores"]) for row in rows] == [
        (trial.number, trial.split, trial.score, trial.scores) for trial in trials
    ]
    for row, trial in zip(rows, trials, strict=True):
        assert json.loads(row["program"]) == json.loads(as_text(trial.candidate))
        instruction, demos = trial.candidate["choose_labor"]
        assert instruction.splitlines()[0] in row["prompt"]
        assert row["prompt"].count("### assistant") == len(demos)
        assert (row["optimizer"], row["metric"], row["strategy"], row["adapter"]) == (name, "nearness", "io", "chat")
        assert row["examples"] == len(trial.scores)
    with Store(str(path)) as store:
        hidden = "SELECT count(*) FROM lm_calls WHERE prompt LIKE '%12345%' OR prompt LIKE '%economy_seed%'"
        assert store.one(hidden) == 0
        assert store.one("SELECT count(*) FROM optimizer_trials WHERE prompt LIKE '%12345%'") == 0
        assert store.one("SELECT count(DISTINCT call_id) = count(*) FROM lm_calls")


@pytest.mark.slow
@pytest.mark.parametrize("strategy_name", ["reflect", "sc@2"])
def test_a_strategy_of_several_parts_is_tuned_part_by_part(strategy_name: str, tmp_path: Path) -> None:
    outcome, trials, _ = tune("copro", tmp_path / "a.duckdb", Pupil(), strategy_name=strategy_name, budget=240)
    assert outcome.test_after is not None
    assert outcome.best.score > outcome.before.score + 0.2
    assert any(KEYWORD in instruction for instruction, _ in outcome.best.candidate.values())
    assert {len(trial.candidate) for trial in trials} == {3 if strategy_name == "reflect" else 1}


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(("budget", "threads"), [(30, 1), (43, 4)])
def test_a_budget_is_never_passed_and_the_best_so_far_is_kept(budget: int, threads: int, tmp_path: Path) -> None:
    engine, path = Pupil(), tmp_path / "a.duckdb"
    outcome, trials, study = tune("copro", path, engine, budget=budget, threads=threads)
    assert len(engine.requests) == study.allowance.calls <= budget
    assert outcome.test_before is not None, "what was kept for the comparison sufficed"
    assert outcome.best.score == max(trial.score for trial in trials if trial.split == "dev")
    if outcome.stopped:
        assert f"--budget {budget} is used up" in outcome.stopped


def test_a_budget_that_is_too_small_is_refused_with_a_sufficient_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--budget 3 is used up: not enough for 4 dev examples"):
        tune("labeled", tmp_path / "a.duckdb", Pupil(), budget=3)
    with pytest.raises(UsageError, match=r"give (\d+) or more") as refused:
        tune("labeled", tmp_path / "b.duckdb", Pupil(), budget=18)
    enough = int(str(refused.value).partition("give ")[2].split()[0].replace(",", ""))
    assert tune("labeled", tmp_path / "b.duckdb", Pupil(), budget=enough)[0].test_after is not None


@pytest.mark.slow
def test_a_larger_budget_resumes_from_the_calls_of_a_smaller_one(tmp_path: Path) -> None:
    path, engine = tmp_path / "a.duckdb", Pupil()
    tune("bootstrap_rs", path, engine, budget=45)
    first = len(engine.requests)
    _, _, study = tune("bootstrap_rs", path, engine, budget=BUDGET)
    assert study.bought == len(engine.requests) - first
    assert len(engine.requests) <= BUDGET
    whole = Pupil()
    tune("bootstrap_rs", tmp_path / "b.duckdb", whole)
    assert len(engine.requests) <= len(whole.requests) + first


def test_without_an_improvement_the_program_is_unchanged(tmp_path: Path) -> None:
    class Stubborn(Pupil):
        def complete(self, request: lm15.Request) -> lm15.Response:
            message = lm15.Message.assistant("[[ ## labor ## ]]\n40\n\n[[ ## completed ## ]]")
            return replace(super().complete(request), message=message)

    outcome, _, _ = tune("bootstrap_rs", tmp_path / "a.duckdb", Stubborn())
    assert not outcome.changed
    assert outcome.test_before is outcome.test_after is not None


def test_unusable_proposals_end_the_search_but_not_the_study(tmp_path: Path) -> None:
    class Wordless(Pupil):
        def complete(self, request: lm15.Request) -> lm15.Response:
            response = super().complete(request)
            if "labor" in (request.messages[-1].text or "").rpartition("Respond with")[2]:
                return response
            message = lm15.Message.assistant("I would rather not.")
            return replace(response, message=message)

    outcome, _, _ = tune("copro", tmp_path / "a.duckdb", Wordless())
    assert outcome.cut_short is not None
    assert "could not be parsed" in outcome.cut_short
    assert outcome.test_after is not None


def test_without_labels_no_answer_is_taken_from_the_examples(tmp_path: Path) -> None:
    outcome, trials, _ = tune("bootstrap_rs", tmp_path / "a.duckdb", Pupil(), labelled=False)
    given = [demo for trial in trials for _, demos in trial.candidate.values() for demo in demos]
    assert all(demo.augmented for demo in given)
    assert outcome.test_after is not None


def test_an_unknown_optimizer_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="labeled, bootstrap, bootstrap_rs, mipro, simba, copro, gepa"):
        optimizer("adam")


def test_an_optimizer_whose_package_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.optimize.optimizers.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="uv sync --extra optimize"):
        optimizer("mipro")


def test_examples_as_optimizers_see_them_have_no_truth_in_them() -> None:
    whole = example(3)
    (seen,) = shown([whole], ["labor"])
    assert set(seen.keys()) == {*inputs_of("ChooseLabor"), "labor"}
    assert "12345" not in repr(seen)
    assert seen.whole is whole
    assert seen.copy().whole is whole
    assert seen.labels().toDict() == {"labor": whole.labor}
    assert isinstance(seen.inputs(), dspy.Example)
