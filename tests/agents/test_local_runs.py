"""Runs with a local model, and what the command line says of its extra and its weights."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from support.models import tiny_model
from support.village import CallRecorder, ask, inputs_of, module_of

from programs.engines.local import LocalModel
from programs.models import Model, connect

pytest.importorskip("xllamacpp")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("models") / "tiny.gguf")


@pytest.fixture(scope="module")
def model(file: Path) -> LocalModel:
    return LocalModel(file)


# As a user sees it


RUN = ("run", "--num-agents", "2", "--max-timesteps", "2", "--two-timescale", "2", "--adapter", "json")


@pytest.mark.slow
def test_a_run_is_played_and_played_again_without_the_model(cli, file: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied.gguf"
    copied.write_bytes(file.read_bytes())
    result = cli(*RUN, "--llm", "gguf:copied.gguf", "--max-cost-usd", "0.01", "--db", "a.duckdb")
    assert result.code == 0, result.err
    rows = cli.sql("select distinct model, status, cost_usd from lm_calls where signature != 'Preflight'", "a.duckdb")
    assert rows == [{"model": "gguf:copied.gguf", "status": "ok", "cost_usd": 0.0}]
    (tokens,) = cli.sql("select min(prompt_tokens) p, min(completion_tokens) c from lm_calls", "a.duckdb")
    assert tokens["p"] > 0
    assert tokens["c"] > 0
    copied.unlink()
    assert cli("replay", "1", "--db", "a.duckdb").code == 0
    assert (
        "copied.gguf cannot be read"
        in cli("fork", "1", "--at", "1", "--allow-file", "copied.gguf", "--db", "a.duckdb").err
    )


@pytest.mark.slow
def test_a_run_is_the_same_whatever_the_concurrency(cli, file: Path) -> None:
    said = []
    for i, concurrency in enumerate(("1", "64")):
        assert cli(*RUN, "--llm", f"gguf:{file}", "--concurrency", concurrency, "--db", f"{i}.duckdb").code == 0
        said.append(cli.sql("select call_id, response from lm_calls order by call_id", f"{i}.duckdb"))
    assert said[0] == said[1]


@pytest.mark.parametrize("name", ["smollm2", "gguf:a.gguf"])
def test_without_the_extra_one_line_says_how_to_get_it(cli, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    result = cli(*RUN, "--llm", name)
    assert result.code == 2
    (line,) = result.err.splitlines()
    assert all(way in line for way in (name, "uv sync --extra local", "pip install 'llm-economist[local]'"))
    assert "not installed (uv sync --extra local, or pip install 'llm-economist[local]')" in cli("doctor").out


def test_a_file_that_is_missing_or_no_model_is_one_line(cli, file: Path) -> None:
    missing = cli(*RUN, "--llm", "gguf:missing.gguf")
    assert (missing.code, len(missing.err.splitlines())) == (2, 1)
    Path("broken.gguf").write_bytes(file.read_bytes()[:5000])
    broken = cli(*RUN, "--llm", "gguf:broken.gguf")
    assert (broken.code, len(broken.err.splitlines())) == (1, 1)
    assert "llama.cpp cannot load broken.gguf" in broken.err


def test_doctor_says_where_the_weights_are_and_tries_a_model_that_is_named(cli, file: Path, tmp_path: Path) -> None:
    tried = cli("doctor", "--llm", f"gguf:{file}")
    assert tried.code == 0
    assert "answers" in tried.out
    assert "models listed" not in tried.out, "there is no server to ask"


def test_doctor_says_whether_the_weights_are_here_and_whole(cli, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("programs.engines.local_weights.user_cache_dir", lambda name: str(tmp_path))
    assert "not downloaded yet" in cli("doctor").out
    weights = tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf"
    weights.write_bytes(b"GGUF")
    assert "is broken (4 of 98,362,432 bytes)" in cli("doctor").out
    with weights.open("r+b") as opened:
        opened.truncate(98_362_432)
    assert "(98,362,432 bytes)" in cli("doctor").out


def test_a_forecast_counts_one_question_at_a_time(cli) -> None:
    args = (*RUN, "--num-agents", "50", "--dry-run", "--json", "--latency", "1")
    alone, together = (json.loads(cli(*args, "--llm", name).out)["wall_seconds"] for name in ("smollm2", "engine:a:B"))
    assert alone[0] >= 100 > together[0]


# The real one


@pytest.mark.weights
def test_smollm2_answers_every_question_validly_and_without_memory() -> None:
    lm = connect(Model("smollm2"))
    said: dict[tuple[str, int], list[Any]] = {}
    for round in range(2):
        for question in ("ChooseLabor", "SetTaxRates", "JudgeTaxPolicy")[:: 1 - 2 * round]:
            for n in range(2):
                lineage = CallRecorder()
                ask(module_of(question), inputs_of(question), lm=lm, adapter="json", lineage=lineage)
                assert len(lineage.attempts) == 1
                said.setdefault((question, n), []).append(lineage.outcomes)
    assert all(first == second for first, second in said.values())


@pytest.mark.weights
def test_a_run_with_smollm2_is_the_same_whatever_the_concurrency(cli) -> None:
    said = []
    for i, concurrency in enumerate(("1", "64")):
        args = ("--llm", "smollm2", "--concurrency", concurrency, "--num-agents", "3", "--db", f"{i}.duckdb")
        assert cli(*RUN, *args).code == 0
        said.append(cli.sql("select call_id, response, status from lm_calls order by call_id", f"{i}.duckdb"))
    assert said[0] == said[1]
    assert {row["status"] for row in said[0]} == {"ok"}
