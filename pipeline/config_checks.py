"""Checks of settings that must fit each other; `pipeline.config` checks each setting by itself.

Every function raises ValueError in one line that names the flag, the value and what was expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, TypeAlias

from pipeline.economy.laws.cpi import CPI_U
from pipeline.fixed_rates import rates_as_text
from pipeline.shocks import Shock
from pipeline.telemetry_addresses import require, store_uri, traces_url
from programs.calls.model_names import HUMAN
from programs.calls.optional_parts import parse_omitted
from programs.urls import each_url, is_url

Settings: TypeAlias = Any
"""A `RunConfig`, which imports this module."""

MOST_WORKER_YEARS = 1_200_000_000
"""Maximum workers x years of a run: the number of questions for which there are call ids
(pipeline/agents/call_trace.py)."""


def check(config: Settings) -> None:
    """Check all settings that depend on others."""
    if config.layout:
        _check_layouts(config.layout)
    _check_brackets(config)
    _check_model(config)
    _check_people(config)
    _check_government(config)
    _check_elasticity(config)
    _check_utility(config)
    _check_size(config)
    _check_archetypes(config)
    _check_human(config)
    _check_divided(config)
    for shock in config.shocks:
        _check_shock(config, shock)
    _check_telemetry(config)


def _check_telemetry(config: Settings) -> None:
    """Before anything is paid for: the packages are installed, and the addresses are usable."""
    if config.otel is not None:
        traces_url(config.otel, "--otel")
        require("otel", "--otel")
    if config.mlflow is not None:
        store_uri(config.mlflow, "--mlflow")
        require("mlflow", "--mlflow")
    if config.trackio:
        require("trackio", "--trackio")
    if config.trace_content and config.otel is None and config.mlflow is None:
        raise ValueError("--trace-content needs --otel or --mlflow: it says what they are sent")


def _bracket_flag(config: Settings) -> str:
    """The flag and value that determine the brackets."""
    if config.law is not None:
        return f"--law {config.law}"
    return "--brackets" if config.brackets else f"--bracket-setting {config.bracket_setting}"


def _check_brackets(config: Settings) -> None:
    edges = config.brackets
    shown = ",".join(f"{edge:g}" for edge in edges)
    if edges and config.bracket_setting != "three":
        raise ValueError(f"--brackets {shown} and --bracket-setting {config.bracket_setting}: give one of the two")
    if edges and config.law is not None:
        raise ValueError(f"--brackets {shown} and --law {config.law}, which has its own brackets: give one of the two")
    if edges and not (edges[0] == 0 and all(low < high for low, high in pairwise(edges)) and edges[-1] < 1e12):
        raise ValueError(f"--brackets {shown}: expected ascending dollars from 0, e.g. 0,14600,60000")
    if config.rates and len(config.rates) != len(config.thresholds):
        raise ValueError(
            f"--rates {rates_as_text(config.rates)} has {len(config.rates)} rates; "
            f"{_bracket_flag(config)} needs {len(config.thresholds)}, one per bracket"
        )


def _check_model(config: Settings) -> None:
    if config.llm is not None and not config.llm.strip():
        raise ValueError("--llm is empty; expected the name of a model, e.g. gpt-4o-mini or rules; or omit --llm")
    parse_omitted(config.omit)
    if config.base_url is not None and not all(map(is_url, each_url(config.base_url) or ("",))):
        raise ValueError("--base-url is not a URL like http://127.0.0.1:8000/v1")  # its text may hold a password


def _check_people(config: Settings) -> None:
    total = config.percent_ego + config.percent_alt + config.percent_adv
    if abs(total - 100) > 1e-6:
        raise ValueError(
            f"--percent-ego {config.percent_ego:g} + --percent-alt {config.percent_alt:g} + --percent-adv "
            f"{config.percent_adv:g} = {total:g}; they must add to 100"
        )
    if config.economy == "calibrated" and config.taste_spread:
        raise ValueError(
            f"--taste-spread {config.taste_spread:g} does not fit --economy calibrated, which gives each worker the "
            "cost of effort that explains its income; leave one of them out"
        )
    if not (config.exploration or config.exploitation):
        raise ValueError(
            "--no-exploration and --no-exploitation: workers must be told to explore or to exploit; leave one out"
        )


def _check_government(config: Settings) -> None:
    if config.scenario == "democratic" and config.planner_type != "LLM":
        raise ValueError(
            f"--planner-type {config.planner_type} does not fit --scenario democratic, where the leader is elected; "
            "use --planner-type LLM, or another scenario"
        )
    if config.platforms and config.scenario != "democratic":
        raise ValueError(f"--platforms needs --scenario democratic, not {config.scenario}")
    if config.binding_platforms and not config.platforms:
        raise ValueError("--binding-platforms needs --platforms: without them candidates make no promises")


def _check_elasticity(config: Settings) -> None:
    given = ",".join(f"{value:g}" for value in config.elasticity_of_labor)
    if given and (len(config.elasticity_of_labor) > 2 or config.elasticity_of_labor[0] < 0.05):
        raise ValueError(
            f"--elasticity-of-labor {given}: expected a mean from 0.05 to 2 and a standard deviation, e.g. 0.4,0.1"
        )
    if given and config.elasticity != (0.4,):
        beliefs = ",".join(f"{value:g}" for value in config.elasticity)
        raise ValueError(
            f"--elasticity {beliefs} does not fit --elasticity-of-labor {given}: SAEZ then uses the workers' own "
            "elasticities; leave one of them out"
        )
    if len(config.elasticity) != 1 and len(config.elasticity) != len(config.thresholds):
        raise ValueError(
            f"--elasticity has {len(config.elasticity)} values; "
            f"{_bracket_flag(config)} needs 1 or {len(config.thresholds)}"
        )


LEAST_GAMMA = 0.001
"""A smaller gamma is as good as 0."""

POSITIVE = ("atkinson", "equality_productivity")
"""Welfare functions for which a utility below one dollar counts as one dollar, or as 0."""


def _check_utility(config: Settings) -> None:
    """ValueError for a gamma above 0 without crra, or for what has no meaning with income effects."""
    if config.utility == "linear":
        if config.income_effects:
            raise ValueError(f"--gamma {config.gamma:g} needs --utility crra")
        return
    if config.gamma is None:
        raise ValueError("--utility crra needs --gamma, e.g. --gamma 1 for the logarithm")
    if not config.income_effects:
        return
    crra = f"--utility crra --gamma {config.gamma:g}"
    if config.gamma < LEAST_GAMMA:
        raise ValueError(f"--gamma {config.gamma:g}: expected 0, or from {LEAST_GAMMA:g} to 10")
    if config.planner_type.startswith("SAEZ"):
        raise ValueError(
            f"--planner-type {config.planner_type} does not fit {crra}: its formula has no income effects; use ORACLE"
        )
    if (shown := config.layout.get("worker")) and _shows_effort(shown):
        raise ValueError(
            f"--layout worker={shown} does not fit {crra}, with which what hours bring depends on the others' taxes; "
            "use worker=present"
        )
    if config.participation_cost:
        raise ValueError(
            f"--participation-cost {config.participation_cost:g} does not fit {crra}: the cost is in dollars, whose "
            "worth would depend on consumption; leave one of them out"
        )
    if config.welfare in POSITIVE:
        raise ValueError(
            f"--welfare {config.welfare} does not fit {crra}, with which utilities can be negative; use utilitarian, "
            "whose aversion to inequality is then gamma, inverse_income or rawlsian"
        )


def _check_size(config: Settings) -> None:
    if (config.num_agents + 1) * config.max_timesteps > MOST_WORKER_YEARS:
        raise ValueError(
            f"--num-agents {config.num_agents} with --max-timesteps {config.max_timesteps}: a run can have at most "
            f"{MOST_WORKER_YEARS:,} workers x years; reduce one of them"
        )
    if config.dollars_of is not None and config.dollars_of not in CPI_U:
        raise ValueError(
            f"--dollars-of {config.dollars_of}: expected a year with known consumer prices, "
            f"{min(CPI_U)} to {max(CPI_U)}"
        )


def _check_archetypes(config: Settings) -> None:
    """ValueError if archetypes do not fit the other settings."""
    if config.archetypes is None:
        if config.archetype_samples > 1:
            raise ValueError(f"--archetype-samples {config.archetype_samples} needs --archetypes")
        return
    if config.scenario == "democratic":
        raise ValueError(
            f"--archetypes {config.archetypes} does not fit --scenario democratic, where every worker votes; "
            "use rational or bounded"
        )
    if config.economy == "calibrated":
        raise ValueError(
            f"--archetypes {config.archetypes} does not fit --economy calibrated, in which each worker has its own "
            "cost of effort; leave one of them out"
        )
    if config.elasticity_of_labor:
        given = ",".join(f"{value:g}" for value in config.elasticity_of_labor)
        raise ValueError(
            f"--archetypes {config.archetypes} does not fit --elasticity-of-labor {given}, with which each worker has "
            "its own elasticity; leave one of them out"
        )
    if config.participation_cost:
        raise ValueError(
            f"--archetypes {config.archetypes} does not fit --participation-cost {config.participation_cost:g}, with "
            "which each worker has its own cost of work; leave one of them out"
        )
    if config.taste_spread:
        raise ValueError(
            f"--archetypes {config.archetypes} does not fit --taste-spread {config.taste_spread:g}: an archetype "
            "stands for workers of one taste; leave one of them out"
        )
    if config.worker_type != "LLM":
        raise ValueError(f"--archetypes {config.archetypes} needs --worker-type LLM, not {config.worker_type}")
    kinds = sum(percent > 0 for percent in (config.percent_ego, config.percent_alt, config.percent_adv))
    if config.archetypes < kinds:
        raise ValueError(
            f"--archetypes {config.archetypes}: the run has {kinds} utility types; expected at least {kinds}"
        )


def _check_human(config: Settings) -> None:
    """ValueError if a person is to answer in a form or a place that no person can use."""
    if HUMAN not in (config.llm, *config.role_llm.values()):
        return
    if config.divided:
        raise ValueError("human answers in this terminal: use --processes 1 and no --engine")
    if config.adapter not in ("compact", "json"):
        raise ValueError(f"--adapter {config.adapter}: a person would have to type its marks; use compact or json")


def _check_divided(config: Settings) -> None:
    """ValueError if the settings for processes, shards and limits do not fit each other."""
    if config.engine == "local":
        for flag, value in (("--shards", config.shards), ("--ray-address", config.ray_address)):
            if value is not None:
                raise ValueError(f"{flag} {value} needs --engine ray (on one machine: --processes 2)")
    elif config.processes > 1:
        raise ValueError(f"--processes {config.processes} does not fit --engine ray; use --shards instead")
    if not config.divided:
        return
    how = "--engine ray" if config.engine == "ray" else f"--processes {config.processes}"
    for flag, cap in (("--max-cost-usd", config.max_cost_usd), ("--max-tokens", config.max_tokens)):
        if cap is not None:
            raise ValueError(f"{flag} {cap} does not fit {how}: a cap needs a single process; use --processes 1")
    parts = config.shards or config.processes
    for flag, limit in (("--concurrency", config.concurrency), ("--rpm", config.rpm), ("--tpm", config.tpm)):
        if limit is not None and limit < parts:
            raise ValueError(
                f"{flag} {limit} is divided among {parts} processes; expected at least {parts}, or fewer processes"
            )


def _check_shock(config: Settings, shock: Shock) -> None:
    """ValueError if a shock does not fit the run's years or brackets."""
    if shock.first >= config.max_timesteps:
        raise ValueError(f"--shock {shock.text!r}: the run has years 0 to {config.max_timesteps - 1}")
    if shock.change == "=" and len(shock.amounts) != config.bracket_count:
        raise ValueError(
            f"--shock {shock.text!r}: {len(shock.amounts)} rates; the law has {config.bracket_count} brackets"
        )


def _shows_effort(name: str) -> bool:
    """Whether a worker's layout tells the dollars that hours bring less the cost of effort."""
    from signatures.texts.layouts import layout

    return layout("worker", name).effort


def _check_layouts(layouts: Mapping[str, str]) -> None:
    """ValueError for a layout that its role does not have. The import is local: `--help` needs none of the texts."""
    from signatures.texts.layouts import layout

    for role, name in layouts.items():
        layout(role, name)
