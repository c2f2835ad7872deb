"""Settings: which values are refused, with which message, and what is shown of them."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, fields
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.agents.roles import PROGRAMS
from pipeline.config import NAMES, OWN_PARTS, ROLES, TELEMETRY, RunConfig, build, by_role
from pipeline.economy.baselines import BASELINES, FIXED, MEASURED
from pipeline.economy.laws.cpi import CPI_U
from pipeline.economy.population import POPULATIONS
from pipeline.economy.tax import BRACKETS
from pipeline.economy.utility import ECONOMIES
from pipeline.economy.wages import MIN_WAGE
from pipeline.economy.welfare import WELFARE
from pipeline.scenarios import SCENARIOS
from pipeline.simulation.elections.rules import ELECTION_RULES
from programs.adapters.repairing import ADAPTERS


def test_defaults_are_those_of_the_first_release() -> None:
    defaults = build({})
    assert (defaults.num_agents, defaults.max_timesteps, defaults.two_timescale, defaults.history_len) == (
        5,
        1000,
        25,
        50,
    )
    assert (defaults.scenario, defaults.bracket_setting, defaults.seed) == ("rational", "three", 42)
    assert (defaults.worker_type, defaults.planner_type, defaults.prompt_algo) == ("LLM", "LLM", "io")
    assert (defaults.percent_ego, defaults.percent_alt, defaults.percent_adv) == (100, 0, 0)
    assert (defaults.platforms, defaults.warmup, defaults.elasticity) == (False, 0, (0.4,))
    assert (defaults.min_wage, defaults.dollars_of) == (MIN_WAGE, None)


BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "percentages too low": ({"percent_ego": 50}, ["--percent-ego 50", "= 50", "must add to 100"]),
    "percentages too high": ({"percent_alt": 10}, ["--percent-alt 10", "= 110", "must add to 100"]),
    "negative percentage": (
        {"percent_ego": -50, "percent_alt": 150},
        ["--percent-ego -50", "greater than or equal to 0"],
    ),
    "no number": ({"percent_ego": math.nan}, ["--percent-ego nan", "less than or equal to 100"]),
    "zero agents": ({"num_agents": 0}, ["--num-agents 0", "greater than or equal to 1"]),
    "half an agent": ({"num_agents": 2.5}, ["--num-agents 2.5", "valid integer"]),
    "agents in words": ({"num_agents": "five"}, ["--num-agents 'five'", "valid integer"]),
    "negative years": ({"max_timesteps": -5}, ["--max-timesteps -5", "greater than or equal to 1"]),
    "no tax year": ({"two_timescale": 0}, ["--two-timescale 0", "greater than or equal to 1"]),
    "no memory": ({"history_len": 0}, ["--history-len 0", "greater than or equal to 1"]),
    "negative warmup": ({"warmup": -1}, ["--warmup -1", "greater than or equal to 0"]),
    "negative seed": ({"seed": -1}, ["--seed -1", "greater than or equal to 0"]),
    "two elasticities of three": ({"elasticity": "0.1,0.2"}, ["--elasticity", "2 values", "three needs 1 or 3"]),
    "three elasticities of one": (
        {"elasticity": [0.1, 0.2, 0.3], "bracket_setting": "flat"},
        ["--elasticity", "3 values", "flat needs 1 or 1"],
    ),
    "no elasticity": ({"elasticity": ()}, ["--elasticity", "0 values"]),
    "elasticity in words": ({"elasticity": "high"}, ["--elasticity 'high'", "valid number"]),
    "negative elasticity": ({"elasticity": -1}, ["--elasticity -1", "greater than or equal to 0"]),
    "rate above 100": ({"uniform_rate": 101}, ["--uniform-rate 101", "less than or equal to 100"]),
    "dollars of an age without an index": ({"dollars_of": 1776}, ["--dollars-of 1776", "2018 to 2025"]),
    "dollars of the future": ({"dollars_of": max(CPI_U) + 1}, [f"--dollars-of {max(CPI_U) + 1}", "2018 to 2025"]),
    "dollars of half a year": ({"dollars_of": 2024.5}, ["--dollars-of 2024.5", "valid integer"]),
    "dollars in words": ({"dollars_of": "abc"}, ["--dollars-of 'abc'", "valid integer"]),
    "a wage below zero": ({"min_wage": -1}, ["--min-wage -1", "greater than or equal to 0.01"]),
    "no wage": ({"min_wage": 0}, ["--min-wage 0", "greater than or equal to 0.01"]),
    "a wage that is no number": ({"min_wage": math.nan}, ["--min-wage nan", "less than or equal to 1000"]),
    "a wage without end": ({"min_wage": 1e9}, ["--min-wage 1000000000.0", "less than or equal to 1000"]),
    "hot sampling": ({"temperature": 3}, ["--temperature 3", "less than or equal to 2"]),
    "no time": ({"timeout": 0}, ["--timeout 0", "greater than 0"]),
    "nothing to spend": ({"max_cost_usd": 0}, ["--max-cost-usd 0", "greater than 0"]),
    "no tokens": ({"max_tokens": 0}, ["--max-tokens 0", "greater than or equal to 1"]),
    "no concurrency": ({"concurrency": 0}, ["--concurrency 0", "greater than or equal to 1"]),
    "unknown scenario": ({"scenario": "feudal"}, ["--scenario 'feudal'", "'rational', 'bounded' or 'democratic'"]),
    "unknown brackets": ({"bracket_setting": "four"}, ["--bracket-setting 'four'", "'flat', 'three' or 'US_FED'"]),
    "unknown planner": ({"planner_type": "ROBIN_HOOD"}, ["--planner-type 'ROBIN_HOOD'", "'ORACLE'"]),
    "unknown worker": ({"worker_type": "TWO_LLM"}, ["--worker-type 'TWO_LLM'", "'ONE_LLM'"]),
    "unknown welfare": ({"welfare": "pareto"}, ["--welfare 'pareto'", "'rawlsian'"]),
    "planner with a typo": (
        {"planner_type": "SAEZ_FLATT"},
        ["--planner-type 'SAEZ_FLATT'", "did you mean 'SAEZ_FLAT'?"],
    ),
    "unknown callback": ({"callback": "wandb"}, ["--callback 'wandb'", "module:Name"]),
    "two rates of three": ({"rates": "30/40"}, ["--rates 30/40 has 2 rates", "three needs 3"]),
    "rate of a law above 100": ({"rates": "30/40/101"}, ["--rates '30/40/101'", "from -100 to 100", "30/40/60"]),
    "rates in words": ({"rates": "high"}, ["--rates 'high'", "30/40/60"]),
    "no rate between slashes": ({"rates": "30//60"}, ["--rates '30//60'", "30/40/60"]),
    "a rate that is no number": ({"rates": [30, 40, math.nan]}, ["--rates [30, 40, nan]", "from -100 to 100"]),
    "rates and another planner": (
        {"rates": "30/40/60", "planner_type": "SAEZ"},
        ["--rates 30/40/60", "--planner-type SAEZ", "give one of the two"],
    ),
    "rates and a model": ({"rates": "30/40/60", "planner_type": "LLM"}, ["--planner-type LLM", "give one of the two"]),
    "planner RATES without rates": ({"planner_type": "RATES"}, ["--planner-type RATES needs --rates"]),
    "rates in a democracy": (
        {"rates": "30/40/60", "scenario": "democratic"},
        ["--planner-type RATES", "--scenario democratic"],
    ),
    "unknown mix": ({"agent_mix": "mars"}, ["--agent-mix 'mars'", "'us_income', 'uniform' or 'acs'"]),
    "unknown rule": ({"election_rule": "lot"}, ["--election-rule 'lot'", "'plurality'", "'median_voter'"]),
    "neither yes nor no": ({"platforms": "maybe"}, ["--platforms 'maybe'", "valid boolean"]),
    "unknown key": ({"num_agent": 5}, ["unknown setting 'num_agent'", "llm-economist run --help"]),
    "unknown role": ({"strategy": "boss=cot"}, ["unknown role 'boss'", "worker, planner, voter, persona"]),
    "unknown role with a program": ({"program": {"boss": "x.json"}}, ["unknown role 'boss'", "worker, planner"]),
    "a role without a strategy": ({"strategy": "worker="}, ["'worker='", "role=value"]),
    "a strategy without a role": ({"strategy": "cot"}, ["'cot'", "role=value", "worker=cot"]),
    "platforms without an election": ({"platforms": True}, ["--platforms", "--scenario democratic", "not rational"]),
    "promises that nobody makes": (
        {"scenario": "democratic", "binding_platforms": True},
        ["--binding-platforms needs --platforms"],
    ),
    "an appointed leader": (
        {"scenario": "democratic", "planner_type": "SAEZ"},
        ["--planner-type SAEZ", "--scenario democratic", "use --planner-type LLM"],
    ),
}


@pytest.mark.parametrize(("settings", "said"), BAD.values(), ids=BAD)
def test_a_bad_setting_is_refused_in_one_line_that_names_it(settings: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refusal:
        build(settings)
    for words in said:
        assert words in str(refusal.value)


@pytest.mark.parametrize("flag", ["strategy", "program"])
@pytest.mark.parametrize("value", ["boss=cot", "worker=", "cot"])
def test_an_error_on_a_role_names_its_flag(flag: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"--{flag}"):
        build({flag: value})


def test_a_seed_that_the_store_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="--seed"):
        build({"seed": 2**63})


@pytest.mark.parametrize("planner", list(BASELINES))
def test_no_planner_without_a_model_can_govern_a_democracy(planner: str) -> None:
    with pytest.raises(ValueError, match=f"--planner-type {planner} does not fit --scenario democratic"):
        build({"scenario": "democratic", "planner_type": planner})


@given(ego=st.floats(0, 100), share=st.floats(0, 1))
def test_any_percentages_that_sum_to_100_are_accepted(ego: float, share: float) -> None:
    alt = (100 - ego) * share
    build({"percent_ego": ego, "percent_alt": alt, "percent_adv": 100 - ego - alt})


@given(st.tuples(*[st.integers(0, 100)] * 3).filter(lambda percents: sum(percents) != 100))
def test_percentages_with_any_other_sum_are_refused(percents: tuple[int, int, int]) -> None:
    ego, alt, adv = percents
    with pytest.raises(ValueError, match=f"--percent-ego {ego} .* --percent-adv {adv} = {sum(percents)}; they must"):
        build({"percent_ego": ego, "percent_alt": alt, "percent_adv": adv})


def test_text_from_a_command_line_and_values_from_a_file_mean_the_same() -> None:
    text = {"strategy": "worker=cot, planner=io", "elasticity": "0.18 0.11,0.57", "num_agents": "7", "platforms": "no"}
    values = {"strategy": {"worker": "cot", "planner": "io"}, "elasticity": [0.18, 0.11, 0.57], "num_agents": 7}
    assert build(text) == build(values)
    assert build({"elasticity": 0.3}) == build({"elasticity": "0.3"})


def test_roles_are_read_from_pairs() -> None:
    assert by_role("worker=a=b.json,voter=io") == {"worker": "a=b.json", "voter": "io"}
    assert by_role("") == {}


def test_a_role_has_its_own_strategy_or_the_common_one() -> None:
    config = build({"prompt_algo": "cot", "strategy": "planner=io"})
    assert [config.strategy_of(role) for role in ROLES] == ["cot", "io", "cot", "cot"]


def test_settings_do_not_change_once_built() -> None:
    with pytest.raises(FrozenInstanceError):
        build({}).seed = 1  # type: ignore[misc]


# -- what is shown ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:secret@example.org:8000/v1?key=secret#secret", "http://example.org:8000/v1"),
        ("https://secret@example.org/v1", "https://example.org/v1"),
        ("https://me:sec@ret@example.org/v1", "https://example.org/v1"),
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
    ],
)
def test_a_shown_url_has_no_credentials_and_no_query(url: str, shown: str) -> None:
    config = build({"base_url": url})
    assert config.public()["base_url"] == shown
    assert config.base_url == url


def test_a_base_url_without_a_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="--base-url"):
        build({"base_url": "me:secret@example.org/v1"})


def test_an_invalid_base_url_is_refused() -> None:
    with pytest.raises(ValueError, match="--base-url"):
        build({"base_url": "http://[::1/v1"})


def test_all_other_settings_are_shown_as_they_are_and_can_be_built_again() -> None:
    config = build({"strategy": "worker=cot", "elasticity": "0.1 0.2 0.3", "max_cost_usd": 2, "name": "café"})
    shown = json.loads(json.dumps(config.public()))
    assert set(shown) == NAMES - set(TELEMETRY)
    assert build(shown) == config


# -- choices and what they choose from ----------------------------------------------------------------------------


def choices(name: str) -> set[str]:
    """What the Literal of a setting allows, or the built-in names where users can bring parts of their own."""
    if name in OWN_PARTS:
        return set(OWN_PARTS[name][1])
    hint = get_type_hints(RunConfig)[name]
    return {value for part in get_args(hint) for value in (get_args(part) or [part])} - {type(None)}


def test_every_choice_exists_and_everything_that_exists_can_be_chosen() -> None:
    assert choices("scenario") == set(SCENARIOS)
    assert choices("planner_type") == {"LLM", FIXED, MEASURED, *BASELINES}
    assert choices("welfare") == set(WELFARE)
    assert choices("bracket_setting") == set(BRACKETS)
    assert choices("agent_mix") == set(POPULATIONS)
    assert choices("economy") == set(ECONOMIES)
    assert choices("election_rule") == set(ELECTION_RULES)
    assert choices("adapter") == set(ADAPTERS)
    assert set(ROLES) == set(PROGRAMS)
    for scenario in SCENARIOS.values():
        assert scenario.agent_mix in POPULATIONS


@pytest.mark.parametrize("setting", sorted(BRACKETS))
def test_as_many_elasticities_as_brackets_are_taken(setting: str) -> None:
    brackets = len(BRACKETS[setting])
    assert build({"bracket_setting": setting, "elasticity": [0.4] * brackets}).elasticity == (0.4,) * brackets
    with pytest.raises(ValueError, match=f"needs 1 or {brackets}"):
        build({"bracket_setting": setting, "elasticity": [0.4] * (brackets + 1)})


def test_every_setting_has_a_help_text() -> None:
    for field in (one for one in fields(RunConfig) if one.name in NAMES):
        assert len(field.metadata["description"]) > 5, field.name
