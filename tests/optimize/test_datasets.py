"""Examples sampled from simulated economies: exact, with the prompts of a run, and no population in two splits."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import dspy
import numpy as np
import pytest
from dspy.teleprompt import LabeledFewShot
from pydantic import TypeAdapter
from support.village import module_of

from evals.datasets import simulated
from evals.datasets.exact_answers import HIDDEN, bare, game
from evals.datasets.from_traces import TraceLocation
from evals.datasets.simulated import Dataset, divide, economy_seeds, sampled
from evals.datasets.supported_answers import supported
from evals.metrics.exploration import tried_here
from evals.metrics.labor import Work
from pipeline.agents.roles import MAIN_QUESTION, QUESTIONS
from pipeline.config import RunConfig, build
from pipeline.economy.population import draw_population
from pipeline.errors import UsageError
from pipeline.simulation.world import create
from programs.adapters.repairing import ADAPTERS

SIZES = (9, 4, 4)
CONFIGS = {
    "ChooseLabor": build({}),
    "ChooseLabor bounded": build({"scenario": "bounded", "percent_ego": 60, "percent_alt": 40}),
    "SetTaxRates": build({"welfare": "rawlsian"}),
    "SetTaxRates seven": build({"bracket_setting": "US_FED", "scenario": "democratic"}),
    "CastVote": build({}),
    "WritePersona": build({}),
}


@pytest.fixture(scope="module")
def made() -> dict[str, Dataset]:
    return {name: sampled(name.split()[0], config, sizes=SIZES, seed=1) for name, config in CONFIGS.items()}


def splits(data: Dataset) -> list[list[dspy.Example]]:
    return [data.train, data.dev, data.test]


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("name", CONFIGS)
def test_splits_have_the_sizes_asked_for_and_share_no_population(made: dict[str, Dataset], name: str) -> None:
    assert [len(split) for split in splits(made[name])] == list(SIZES)
    seeds = [{example.economy_seed for example in split} for split in splits(made[name])]
    people = [{_people(game(name.split()[0], CONFIGS[name]), seed) for seed in each} for each in seeds]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert seeds[i].isdisjoint(seeds[j])
        assert people[i].isdisjoint(people[j])
    assert len(set.union(*seeds)) >= sum(SIZES) / simulated.STATES


def _people(config: RunConfig, seed: int) -> tuple[float, ...]:
    return tuple(create(replace(config, seed=seed)).population.wage.tolist())


@pytest.mark.parametrize("name", CONFIGS)
def test_inputs_and_labels_are_the_fields_of_the_signature(made: dict[str, Dataset], name: str) -> None:
    question = name.split()[0]
    predictor = module_of(question, brackets=7 if "seven" in name else 3).predictors()[0]
    signature = predictor.signature
    for example in made[name].train:
        assert set(example.inputs().keys()) == set(signature.input_fields)
        labels = {key: value for key, value in example.labels().items() if key not in HIDDEN}
        assert set(labels) == (set() if question == "WritePersona" else set(signature.output_fields))
        for field, value in labels.items():
            kind = str if field == "vote" else signature.output_fields[field].annotation
            TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize("format", ADAPTERS)
@pytest.mark.parametrize("name", CONFIGS)
def test_the_truth_that_judges_an_answer_is_never_in_the_prompt(
    made: dict[str, Dataset], name: str, format: str
) -> None:
    question = name.split()[0]
    example = made[name].train[0]
    marked = example.copy(truth={"secret": "zanzibar"}, economy_seed=8_675_309)
    module = module_of(question, brackets=7 if "seven" in name else 3)
    if question != "WritePersona":
        module = LabeledFewShot(k=1).compile(module, trainset=[marked])
        assert module.predictors()[0].demos
    (predictor,) = module.predictors()
    messages = ADAPTERS[format]().format(predictor.signature, predictor.demos, dict(marked.inputs()))
    text = "\n".join(str(message["content"]) for message in messages)
    assert str(next(iter(marked.inputs().values()))) in text
    assert "zanzibar" not in text
    assert "8675309" not in text


def test_an_example_without_a_truth_is_shown_in_full(made: dict[str, Dataset]) -> None:
    example = bare(made["ChooseLabor"].train[0])
    assert not set(HIDDEN) & set(example.keys())
    assert example.labor == made["ChooseLabor"].train[0].labor
    assert bare(example) == example
    assert set(example.inputs().keys()) == set(made["ChooseLabor"].train[0].inputs().keys())


def test_examples_vary_in_year_phase_wage_schedule_and_record() -> None:
    states = sampled("ChooseLabor", build({}), sizes=(100, 0, 0), seed=3).train
    assert {state.phase for state in states} == {"explore", "exploit"}
    assert len({state.truth["wage"] for state in states}) > 50
    assert len({state.tax_schedule for state in states}) > 40
    first = [state for state in states if state.record == "no years yet"]
    assert 0.02 < len(first) / len(states) < 0.25
    assert all(state.truth["year"] == 0 and state.last_rebate == "none yet" for state in first)
    tried = [state.record.count("(") for state in states]
    assert len(set(tried)) > 8, "some have hardly worked, others tried a lot"


def test_only_workers_for_their_own_utility_are_asked_for_hours(made: dict[str, Dataset]) -> None:
    for state in made["ChooseLabor bounded"].train:
        assert state.objective.startswith("Maximize your utility")


def test_the_same_seed_gives_the_same_data_and_another_seed_another(made: dict[str, Dataset]) -> None:
    again = sampled("ChooseLabor", CONFIGS["ChooseLabor"], sizes=SIZES, seed=1)
    assert again.hash == made["ChooseLabor"].hash
    assert [e.toDict() for e in again.test] == [e.toDict() for e in made["ChooseLabor"].test]
    other = sampled("ChooseLabor", CONFIGS["ChooseLabor"], sizes=SIZES, seed=2)
    assert other.hash != again.hash
    mine = {e.economy_seed for split in splits(again) for e in split}
    assert mine.isdisjoint({e.economy_seed for split in splits(other) for e in split})


@pytest.mark.slow
def test_the_hash_is_the_same_in_another_process() -> None:
    program = (
        "from evals.datasets.simulated import sampled; from pipeline.config import build; "
        "print(sampled('CastVote', build({}), sizes=(2, 1, 1), seed=1).hash)"
    )
    told = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={"PYTHONHASHSEED": "99", "HOME": "/nowhere"},
    )
    assert told.stdout.split() == [sampled("CastVote", build({}), sizes=(2, 1, 1), seed=1).hash]


def test_the_hash_covers_every_field(made: dict[str, Dataset]) -> None:
    data = made["ChooseLabor"]
    for field, value in (("labor", 101), ("record", "other"), ("truth", {}), ("economy_seed", 0)):
        changed = [data.train[0].copy(**{field: value}), *data.train[1:]]
        assert simulated.dataset(data.question, [changed, data.dev, data.test]).hash != data.hash
    assert simulated.dataset(data.question, [data.dev, data.train, data.test]).hash != data.hash


def test_seeds_of_example_economies_differ_from_those_of_runs() -> None:
    seeds = economy_seeds(0)
    drawn = [next(seeds) for _ in range(1000)]
    assert len(set(drawn)) == 1000
    assert min(drawn) >= 2**32
    assert max(drawn) < 2**53


def test_every_role_has_a_question_with_an_answer() -> None:
    for role, question in MAIN_QUESTION.items():
        assert QUESTIONS[question][0] == role


@pytest.mark.parametrize("question", ["JudgeTaxPolicy", "GovernAsLeader", "Nonsense"])
def test_what_has_no_exact_answer_is_refused(question: str) -> None:
    with pytest.raises(UsageError, match=rf"{question} has no exact answer.*ChooseLabor, SetTaxRates, CastVote"):
        sampled(question, build({}), sizes=(1, 0, 0), seed=0)


def test_settings_under_which_a_question_is_never_asked_are_refused() -> None:
    selfless = build({"percent_ego": 0, "percent_alt": 100, "num_agents": 2, "max_timesteps": 2})
    with pytest.raises(UsageError, match=r"100 economies with these settings never asked ChooseLabor"):
        sampled("ChooseLabor", selfless, sizes=(1, 0, 0), seed=0)


@pytest.mark.parametrize("sizes", [(0, 0, 0), (5, -1, 0)])
def test_invalid_sizes_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="expected the numbers of states"):
        sampled("ChooseLabor", build({}), sizes=sizes, seed=0)


def places(*sizes: int) -> dict[int, list[TraceLocation]]:
    return {group: [TraceLocation(group, 0, agent) for agent in range(size)] for group, size in enumerate(sizes)}


@pytest.mark.parametrize(
    ("groups", "sizes"),
    [((50, 10, 10), (50, 10, 10)), ((10, 50, 10), (50, 10, 10)), ((5,) * 30, (60, 40, 40)), ((3, 3), (0, 0, 4))],
)
def test_groups_are_never_split(groups: tuple[int, ...], sizes: tuple[int, int, int]) -> None:
    parts = divide(places(*groups), sizes, np.random.default_rng(0))
    assert tuple(map(len, parts)) == sizes
    owners = [{place.run_id for place in part} for part in parts]
    assert sum(map(len, owners)) == len(set.union(*owners)), "no group is in two parts"
    assert all(len(set(part)) == len(part) for part in parts)


def test_too_few_examples_are_refused_with_their_number() -> None:
    with pytest.raises(
        UsageError, match=r"selects 60 states of 2 economies.*expected 40 train, 5 dev, 5 test: ask for"
    ):
        divide(places(30, 30), (40, 5, 5), np.random.default_rng(0))


def test_populations_of_different_seeds_share_no_person() -> None:
    wages = [
        set(draw_population("us_income", 5, np.random.default_rng([seed, 1]), demographics=False).wage.tolist())
        for seed in range(20)
    ]
    assert len(set.union(*wages)) == 100


def test_an_answer_that_the_prompt_supports_is_in_the_record_to_exploit_and_new_to_explore() -> None:
    states = sampled("ChooseLabor", build({}), sizes=(60, 0, 0), seed=2).train
    found = [(state, supported(state, state)) for state in states]
    for state, one in found:
        tried = [round(hours) for hours in tried_here(state.record)]
        if one is None:
            assert not tried if state.phase == "exploit" else state.labor in tried
            continue
        surplus = Work.of(state.truth).surplus()
        assert (one.labor in tried) == (state.phase == "exploit")
        assert surplus[one.labor] == max(surplus[hours] for hours in (tried or [one.labor])) or state.phase == "explore"
        assert {**one} == {**state, "labor": one.labor}
    assert {state.phase for state, one in found if one is not None} == {"explore", "exploit"}
    assert any(one is not None and one.labor != state.labor for state, one in found)


def test_other_questions_keep_their_exact_answers(made: dict[str, Dataset]) -> None:
    for state in made["SetTaxRates"].train:
        assert supported(state, state) is state
