"""Benchmarks measure what they name; no test asserts a speed."""

import json
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.models import tiny_model

from evals.bench import years
from evals.bench.command import BENCHMARKS
from evals.bench.decisions import WAYS

TINY = {
    "decisions": ("--decisions", "6", "--rounds", "1"),
    "memory": ("--num-agents", "200", "--max-timesteps", "2"),
    "prompts": ("--max-timesteps", "14"),
    "store": ("--num-agents", "3", "--max-timesteps", "2", "--rounds", "1"),
    "views": ("--decisions", "2000", "--calls", "200"),
}


@pytest.fixture
def figures(cli: CommandLine, request: pytest.FixtureRequest) -> dict[str, float]:
    result = cli("bench", request.param, *TINY[request.param], "--json")
    assert result.code == 0, result.err
    found: dict[str, float] = json.loads(result.out)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("figures", ["decisions"], indirect=True)
def test_every_way_of_asking_is_timed_against_bare_dspy_and_bare_openai(figures: dict[str, float]) -> None:
    ours = [f"{strategy}_{adapter}" for strategy, adapter in WAYS]
    assert {f"{way}_x" for way in [*ours, "http_io_compact", "http_io_chat"]} <= set(figures)
    assert all(value > 0 for value in figures.values())
    assert figures["sc_compact_x"] > figures["io_compact_x"], "five samples are more than one answer"
    assert figures["io_chat_x"] == pytest.approx(figures["io_chat_ms"] / figures["bare_dspy_ms"])


@pytest.mark.slow
@pytest.mark.parametrize("figures", ["prompts"], indirect=True)
def test_prompts_are_short_and_share_a_prefix(figures: dict[str, float]) -> None:
    assert figures["compact_rational_ChooseLabor_prompt_tokens"] < figures["chat_rational_ChooseLabor_prompt_tokens"]
    assert figures["chat_rational_ChooseLabor_prompt_tokens"] < 560
    assert figures["compact_rational_ChooseLabor_shared"] > 0.6
    asked = {name.split("_")[2] for name in figures if name.startswith("compact_democratic")}
    assert asked >= {"ChooseLabor", "JudgeTaxPolicy", "StandForOffice", "CastVote", "GovernAsLeader"}


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("figures", ["store", "views"], indirect=True)
def test_what_traces_cost_is_measured(figures: dict[str, float]) -> None:
    assert all(value > 0 for value in figures.values())


@pytest.mark.slow
@pytest.mark.parametrize("figures", ["memory"], indirect=True)
def test_memory_grows_with_agents_above_a_fixed_base(figures: dict[str, float]) -> None:
    assert 50 < figures["everybody_asked_20_mb"] < 2000
    slope = (figures["archetypes_2000_mb"] - figures["archetypes_200_mb"]) * 1e6 / 1800
    assert figures["archetypes_bytes_per_agent"] == pytest.approx(slope)


@pytest.mark.slow
def test_a_local_models_time_is_divided_into_prompt_and_reply(cli: CommandLine, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    file = tiny_model.write(tmp_path / "tiny.gguf")
    result = cli("bench", "local", "--llm", f"gguf:{file}", "--num-agents", "2", "--max-timesteps", "2", "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert found["decisions"] == 4
    assert 0 < found["computed_tokens"] < found["prompt_tokens"], "the questions of two workers share a prefix"
    assert 0 < found["prompt_s"] + found["reply_s"] <= found["decision_s"]


@pytest.mark.slow
def test_a_year_is_compared_with_the_latency_of_its_rounds() -> None:
    found = years.measure(years=1, cases=[(3, 0), (70, 50)])
    assert found["70_agents_50_ms_x"] == pytest.approx(found["70_agents_50_ms_s"] / 0.05)
    assert found["70_agents_50_ms_x"] >= 1
    assert "3_agents_0_ms_x" not in found


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["speed"], f"bench 'speed': choose one of {', '.join(BENCHMARKS)}"),
        (["views", "--rounds", "2"], "--rounds does not apply to bench views; its sizes are --decisions, --calls"),
        (["local", "--llm", "rules"], "bench local: --llm 'rules' is not a local model; give smollm2 or gguf:FILE"),
        (["local", "--llm", "gguf:none.gguf"], "--llm gguf:none.gguf cannot be read"),
        (["store", "--decisions", "2"], "its sizes are --num-agents, --max-timesteps, --rounds"),
    ],
)
def test_unknown_benchmarks_and_sizes_are_refused(args: list[str], said: str, cli: CommandLine) -> None:
    result = cli("bench", *args)
    assert result.code == 2
    assert said in result.err
