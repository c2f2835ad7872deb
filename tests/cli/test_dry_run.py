"""The estimates of a dry run, compared with the cost of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SMALL = ("--llm", "rules", "--num-agents", "5", "--max-timesteps", "8", "--two-timescale", "2", "--seed", "7")

RUNS = {
    "rational": (),
    "cot": ("--prompt-algo", "cot", "--adapter", "json"),
    "one worker": ("--worker-type", "ONE_LLM", "--bracket-setting", "US_FED"),
    "fixed workers": ("--worker-type", "FIXED"),
    "no planner": ("--planner-type", "SAEZ", "--percent-ego", "50", "--percent-alt", "50"),
    "nobody": ("--worker-type", "FIXED", "--planner-type", "US_FED"),
    "warmup": ("--warmup", "5", "--history-len", "3"),
    "warmup for ever": ("--warmup", "50", "--max-timesteps", "3"),
    "one year": ("--max-timesteps", "1"),
    "bounded": ("--scenario", "bounded", "--strategy", "worker=cot"),
    "bounded, one": ("--scenario", "bounded", "--worker-type", "ONE_LLM"),
    "bounded, others": ("--scenario", "bounded", "--percent-ego", "40", "--percent-adv", "60"),
    "democratic": ("--scenario", "democratic"),
    "democratic, one": ("--scenario", "democratic", "--worker-type", "ONE_LLM", "--platforms"),
    "democratic, fixed": ("--scenario", "democratic", "--worker-type", "FIXED"),
    "platforms": ("--scenario", "democratic", "--platforms", "--bracket-setting", "US_FED"),
    "rankings, binding": (
        *("--scenario", "democratic", "--platforms", "--binding-platforms", "--election-rule", "condorcet"),
        *("--prompt-algo", "cot", "--adapter", "json"),
    ),
    "sets": ("--scenario", "democratic", "--election-rule", "approval", "--num-agents", "12", "--max-timesteps", "3"),
    "the lot": ("--scenario", "democratic", "--platforms", "--election-rule", "sortition"),
    "the lot, fixed": (
        *("--scenario", "democratic", "--worker-type", "FIXED", "--platforms", "--binding-platforms"),
        *("--election-rule", "sortition"),
    ),
    "many on a ballot": ("--scenario", "democratic", "--num-agents", "30", "--max-timesteps", "3"),
    "long": ("--two-timescale", "1", "--max-timesteps", "40", "--num-agents", "2"),
}

TAKEN = """
select case when signature in ('SetTaxRates', 'GovernAsLeader') then 'governing' else signature end as signature,
       count(*) as calls, sum(prompt_tokens) as prompt_tokens, sum(completion_tokens) as completion_tokens
from lm_calls group by 1
"""


def forecast(cli: Any, *args: str) -> dict[str, Any]:
    result = cli("run", *args, "--dry-run", "--json")
    assert result.code == 0, result.err
    made: dict[str, Any] = json.loads(result.out)
    return made


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("name", RUNS)
def test_the_cost_of_a_run_lies_within_the_estimate(cli, name: str) -> None:
    args = (*SMALL, *RUNS[name], "--db", "a.duckdb")
    said = forecast(cli, *args)
    assert list(Path().iterdir()) == [], "a dry run writes nothing"
    assert cli("run", *args).code == 0
    taken = {row.pop("signature"): row for row in cli.sql(TAKEN, "a.duckdb")}
    lines = {("governing" if "SetTax" in key else key): line for key, line in said["signatures"].items()}
    assert set(taken) <= set(lines)
    for signature, line in lines.items():
        for what, (low, high) in line.items():
            assert low <= taken.get(signature, {}).get(what, 0) <= high, (signature, what)
    for what in ("calls", "prompt_tokens", "completion_tokens"):
        low, high = said["total"][what]
        assert low <= sum(row[what] for row in taken.values()) <= high
    assert said["total"]["cost_usd"] == [0, 0]


def test_the_estimate_is_narrow_if_nothing_is_uncertain(cli) -> None:
    said = forecast(cli, *SMALL)
    assert said["signatures"]["ChooseLabor"]["calls"] == [40, 40]
    assert said["signatures"]["SetTaxRates"]["calls"] == [4, 4]
    low, high = said["total"]["prompt_tokens"]
    assert 0 < low < high < 4 * low


def test_a_model_is_priced_and_neither_called_nor_asked_for_a_key(cli) -> None:
    cheap, dear = (forecast(cli, *SMALL, "--llm", name) for name in ("gpt-4o-mini", "gpt-4o"))
    assert cheap["total"]["calls"] == [45, 45], "with the preflight"
    low, high = cheap["total"]["cost_usd"]
    assert 0 < low < high
    assert dear["total"]["cost_usd"][0] == pytest.approx(low * 10 / 0.6, rel=0.05)
    tokens_in, tokens_out = (cheap["total"][what][1] for what in ("prompt_tokens", "completion_tokens"))
    assert high == pytest.approx((tokens_in * 0.15 + tokens_out * 0.6) / 1e6)
    assert cheap["repairs"]["calls"] == [0, 90]
    assert cheap["repairs"]["cost_usd"][1] > 2 * high - 1e-9


def test_time_is_rounds_of_concurrency_at_the_stated_latency(cli) -> None:
    args = ("--llm", "rules", "--num-agents", "10", "--max-timesteps", "6", "--two-timescale", "3")
    for concurrency, rounds in (("1", 62), ("4", 20), ("64", 8)):
        said = forecast(cli, *args, "--concurrency", concurrency, "--latency", "0.5")
        assert said["wall_seconds"] == [rounds * 0.5, rounds * 0.5]


def test_the_table_explains_the_estimate(cli) -> None:
    result = cli("run", *SMALL, "--llm", "some/model", "--dry-run", "--max-tokens", "10", "--latency", "2")
    assert result.code == 0
    for words in ("ChooseLabor", "40", "total", "Repairs", "2 s an answer", "No price is known for some/model"):
        assert words in result.out
    assert "--max-tokens 10: the run will stop" in result.out
    assert not cli.exists("economist.duckdb")
    assert not cli.exists("logs")


@pytest.mark.parametrize("model", ["human", "gpt-4o-mini"])
def test_a_dry_run_asks_no_model_of_a_role(cli, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    result = cli("run", *SMALL, "--role-llm", f"planner={model}", "--dry-run")
    assert result.code == 0, result.err
    assert "tax_schedule" not in result.err
    assert "as if rules answered them" in result.out


def test_a_dry_run_refuses_what_a_run_would_refuse(cli) -> None:
    for bad in (("--num-agents", "0"), ("--prompt-algo", "nope"), ("--program", "worker=nowhere.json")):
        result = cli("run", *SMALL, *bad, "--dry-run")
        assert (result.code, result.err.strip().count("\n")) == (2, 0)


def test_json_is_for_dry_runs(cli) -> None:
    result = cli("run", *SMALL, "--json")
    assert (result.code, "--dry-run" in result.err) == (2, True)
