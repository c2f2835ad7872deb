"""Every setting of a run, once: the command line, the TOML run file and the `runs` table are made from these fields.

A plain dataclass, validated by pydantic in `build`: `llm-economist --help` reads this file, and importing pydantic
alone would take longer than the rest of the help.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from pipeline.economy.cpi import CPI_U
from pipeline.scenarios import SCENARIOS
from pipeline.shocks import Shock, parse
from programs.calls.optional_parts import parse_omitted
from programs.text_files import each_once
from programs.urls import each_url, is_url
from programs.urls import shown as shown_urls

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

MOST_WORKER_YEARS = 1_200_000_000
"""Workers x years of one run at most: so many questions have a number of their own (pipeline/agents/call_trace.py)."""

ROLES = ("worker", "planner", "voter", "persona")
"""Who is asked: each role has its own strategy and its own program."""

WHERE = ("processes", "engine", "shards", "ray_address")
"""Settings that say where questions are answered: they change nothing of what is asked, or of what comes of it."""

Scenario = Literal["rational", "bounded", "democratic"]
WorkerType = Literal["LLM", "FIXED", "ONE_LLM"]
PlannerType = Literal[
    "LLM", "US_FED", "SAEZ", "SAEZ_THREE", "SAEZ_FLAT", "UNIFORM", "FREE_MARKET", "ORACLE_GRID", "ORACLE"
]
Welfare = Literal["inverse_income", "paper", "utilitarian", "rawlsian", "atkinson", "equality_productivity"]
ElectionRule = Literal["plurality", "approval", "borda", "irv", "condorcet", "sortition", "median_voter"]
Percent = Annotated[float, Ge(0), Le(100)]
Count = Annotated[int, Ge(1), Le(100_000_000)]
Seed = Annotated[int, Ge(0), Le(2**63 - 1)]
Whole = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0), Le(1e9)]
Hourly = Annotated[float, Ge(0.01), Le(1_000)]


def setting(default: Any, help: str) -> Any:
    """A field with its help text. Defaults are never changed, so a shared dict is safe."""
    return field(default_factory=lambda: default, metadata={"description": help})


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A run's settings. Field names are the flags (`--num-agents`), the TOML keys and the JSON in `runs.config`."""

    scenario: Scenario = setting("rational", "the game that is played")
    num_agents: Count = setting(5, "number of workers")
    max_timesteps: Count = setting(1000, "years to simulate")
    two_timescale: Count = setting(25, "years between two changes of the tax schedule")
    history_len: Count = setting(50, "years that a worker remembers")
    llm: str | None = setting(
        None,
        "model: an OpenAI name, any provider/model of DSPy, smollm2 or gguf:FILE (in this process), rules, "
        "or engine:module:Class "
        "(default: the only one at --base-url, else gpt-4o-mini with a key, else rules)",
    )
    base_url: str | None = setting(
        None, "an OpenAI-compatible server to ask instead of the provider, or several, separated by commas"
    )
    role_llm: dict[str, str] = setting({}, "model by role where it is not --llm, e.g. worker=rules,planner=gpt-4o")
    prompt_algo: str = setting("io", "prompt strategy of every role: one of `llm-economist strategies`, or module:Name")
    strategy: dict[str, str] = setting({}, "strategy by role, e.g. worker=cot,planner=io")
    program: dict[str, str] = setting({}, "saved program by role, e.g. worker=FILE.json")
    examples: str | None = setting(None, "database whose decisions the strategy knn chooses from (default: --db)")
    adapter: Literal["chat", "json", "xml", "compact"] = setting("compact", "format of prompts and replies")
    worker_type: WorkerType = setting("LLM", "who the workers are; FIXED draws hours once from 40-60")
    planner_type: PlannerType = setting("LLM", "who sets the tax rates")
    archetypes: Count | None = setting(
        None, "ask one of each of so many groups of like workers, formed anew every tax year, and not everybody"
    )
    archetype_samples: Annotated[int, Ge(1), Le(20)] = setting(
        1, "answers to each archetype's question, spread over its members (with --archetypes)"
    )
    percent_ego: Percent = setting(100, "percent of workers who want their own utility")
    percent_alt: Percent = setting(0, "percent of workers who want social welfare")
    percent_adv: Percent = setting(0, "percent of workers who want the opposite of social welfare")
    agent_mix: Literal["us_income", "uniform", "acs"] | None = setting(
        None, "where wages come from (default: us_income in rational, acs where there are personas)"
    )
    min_wage: Hourly = setting(0.01, "dollars an hour to which lower wages are raised, e.g. 7.25 (docs/population.md)")
    dollars_of: int | None = setting(
        None,
        f"year, {min(CPI_U)} to {max(CPI_U)}, in whose dollars all money is stated (default: each amount in those "
        "of its own year; docs/population.md)",
    )
    bracket_setting: Literal["flat", "three", "US_FED"] = setting("three", "tax brackets")
    platforms: bool = setting(False, "candidates stand and propose before the vote (democratic)")
    binding_platforms: bool = setting(False, "what the winner proposed becomes law (with --platforms)")
    election_rule: ElectionRule = setting("plurality", "how a leader is elected (democratic)")
    warmup: Whole = setting(0, "years before the first change of the tax schedule")
    elasticity: tuple[Annotated[float, Ge(0), Le(100)], ...] = setting(
        (0.4,), "elasticity of taxable income for SAEZ: one, or one per bracket"
    )
    uniform_rate: Percent = setting(50, "the rate of planner UNIFORM, in percent")
    shock: tuple[str, ...] = setting(
        (), "what happens from a year on, as often as needed, e.g. 'year=25: wages*0.8 where age > 50' (docs/shocks.md)"
    )
    economy: Literal["weekly", "v1"] = setting("weekly", "units of effort: per week, or as in v1")
    welfare: Welfare = setting("inverse_income", "the planner's objective")
    inequality_aversion: Annotated[float, Ge(0), Le(100)] = setting(
        1.0, "aversion to inequality of the welfare function atkinson: 0 is none, 1 takes the geometric mean"
    )
    satisfaction: Literal["report", "objective"] = setting(
        "report",
        "what dissatisfaction with the tax policy is for: reported next to welfare, or, as in the paper, part of the "
        "objective, where it halves a year's utility (docs/satisfaction.md)",
    )
    seed: Seed = setting(42, "seed of everything random")
    name: str = setting("", "name of the run (default: made from the settings)")
    log_dir: str = setting("logs", "folder of the run's text log")
    db: str = setting("economist.duckdb", "DuckDB file of the traces")
    timeout: Positive = setting(30, "seconds before a model call counts as failed")
    temperature: Annotated[float, Ge(0), Le(2)] = setting(0.7, "sampling temperature")
    max_output_tokens: Count = setting(500, "longest reply of a model, in tokens (raise it for models that think)")
    omit: str = setting("", "parts of a request that are never sent, e.g. seed,temperature (docs/endpoints.md)")
    concurrency: Count = setting(64, "model calls in flight at once, at most")
    rpm: Count | None = setting(None, "requests a minute to each model, at most (docs/endpoints.md)")
    tpm: Count | None = setting(None, "tokens a minute to and from each model, at most")
    processes: Annotated[int, Ge(1), Le(1000)] = setting(
        1, "processes of this machine that answer the workers' questions, each with its part of them (docs/cluster.md)"
    )
    engine: Literal["local", "ray"] = setting(
        "local", "where questions are answered: on this machine, or on a Ray cluster (extra: ray)"
    )
    shards: Annotated[int, Ge(1), Le(100_000)] | None = setting(
        None, "parts of the population, each answered for by a Ray actor (default: one a CPU; with --engine ray)"
    )
    ray_address: str | None = setting(
        None, "the Ray cluster, e.g. auto or HOST:6379 (default: RAY_ADDRESS, else a cluster of this machine alone)"
    )
    max_cost_usd: Positive | None = setting(None, "stop before this cost of the whole run is passed")
    max_tokens: Count | None = setting(None, "stop before this many tokens of the whole run are passed")
    prices: str | None = setting(
        None, "TOML file of prices in dollars per million tokens (default: prices.toml here, if there is one)"
    )
    use_multithreading: bool = setting(False, "kept from v1; years are always concurrent (--concurrency)")
    wandb: bool = setting(False, "log years to Weights & Biases (extra: wandb)")
    debug: bool = setting(False, "log every model call that failed, and why")
    given: frozenset[str] | None = None
    """No setting: of a stored run, what the user named himself (programs/trust.py); None: all settings are his own."""

    def __post_init__(self) -> None:
        for flag, roles in (("--strategy", self.strategy), ("--program", self.program), ("--role-llm", self.role_llm)):
            for role in roles:
                if role not in ROLES:
                    raise ValueError(f"{flag}: unknown role {role!r}: choose one of {', '.join(ROLES)}")
        if self.llm is not None and not self.llm.strip():
            raise ValueError("--llm is empty; expected the name of a model, e.g. gpt-4o-mini or rules, or no --llm")
        parse_omitted(self.omit)
        if self.base_url is not None and not all(map(is_url, each_url(self.base_url) or ("",))):
            raise ValueError("--base-url is not a URL like http://127.0.0.1:8000/v1")  # shown it might tell a password
        total = self.percent_ego + self.percent_alt + self.percent_adv
        if abs(total - 100) > 1e-6:
            raise ValueError(
                f"--percent-ego {self.percent_ego:g} + --percent-alt {self.percent_alt:g} + --percent-adv "
                f"{self.percent_adv:g} = {total:g}; they must add to 100"
            )
        if self.scenario == "democratic" and self.planner_type != "LLM":
            raise ValueError(
                f"--planner-type {self.planner_type} with --scenario democratic: there the leader is elected; "
                "use --planner-type LLM, or another scenario"
            )
        if self.platforms and self.scenario != "democratic":
            raise ValueError(f"--platforms needs --scenario democratic, not {self.scenario}")
        if self.binding_platforms and not self.platforms:
            raise ValueError("--binding-platforms needs --platforms: without them nobody promises anything")
        if len(self.elasticity) != 1 and len(self.elasticity) != _edges(self.bracket_setting):
            raise ValueError(
                f"--elasticity has {len(self.elasticity)} values; "
                f"--bracket-setting {self.bracket_setting} wants 1 or {_edges(self.bracket_setting)}"
            )
        if (self.num_agents + 1) * self.max_timesteps > MOST_WORKER_YEARS:
            raise ValueError(
                f"--num-agents {self.num_agents} for --max-timesteps {self.max_timesteps}: a run holds "
                f"{MOST_WORKER_YEARS:,} workers x years at most; take fewer of either"
            )
        if self.dollars_of is not None and self.dollars_of not in CPI_U:
            raise ValueError(
                f"--dollars-of {self.dollars_of}: expected a year whose consumer prices are known, "
                f"{min(CPI_U)} to {max(CPI_U)}"
            )
        self._check_archetypes()
        self._check_divided()
        for shock in self.shocks:
            self._check(shock)

    def _check_archetypes(self) -> None:
        """ValueError where nobody can answer for others in this run."""
        if self.archetypes is None:
            if self.archetype_samples > 1:
                raise ValueError(f"--archetype-samples {self.archetype_samples} needs --archetypes")
            return
        if self.scenario == "democratic":
            raise ValueError(
                f"--archetypes {self.archetypes} with --scenario democratic: nobody votes or stands for others; "
                "use rational or bounded"
            )
        if self.worker_type != "LLM":
            raise ValueError(
                f"--archetypes {self.archetypes} needs --worker-type LLM, not {self.worker_type}: nobody else is asked"
            )
        kinds = sum(percent > 0 for percent in (self.percent_ego, self.percent_alt, self.percent_adv))
        if self.archetypes < kinds:
            raise ValueError(
                f"--archetypes {self.archetypes}: its workers want {kinds} things; expected at least {kinds}"
            )

    def _check_divided(self) -> None:
        """ValueError where questions can't be divided among processes or shards as the settings say."""
        if self.engine == "local":
            for flag, value in (("--shards", self.shards), ("--ray-address", self.ray_address)):
                if value is not None:
                    raise ValueError(f"{flag} {value} needs --engine ray (on one machine: --processes 2)")
        elif self.processes > 1:
            raise ValueError(f"--processes {self.processes} with --engine ray: its processes are --shards")
        if not self.divided:
            return
        how = "--engine ray" if self.engine == "ray" else f"--processes {self.processes}"
        for flag, cap in (("--max-cost-usd", self.max_cost_usd), ("--max-tokens", self.max_tokens)):
            if cap is not None:
                raise ValueError(f"{flag} {cap} with {how}: only one process can keep a cap; use --processes 1")
        parts = self.shards or self.processes
        for flag, limit in (("--concurrency", self.concurrency), ("--rpm", self.rpm), ("--tpm", self.tpm)):
            if limit is not None and limit < parts:
                raise ValueError(f"{flag} {limit} is divided among {parts}; expected at least {parts}, or fewer parts")

    @property
    def divided(self) -> bool:
        """Whether other processes than the run's own answer its questions."""
        return self.engine == "ray" or self.processes > 1

    def undivided(self) -> RunConfig:
        """The same settings where one process, on whatever machine, answers all questions."""
        return replace(self, processes=1, engine="local", shards=None, ray_address=None)

    def _check(self, shock: Shock) -> None:
        """ValueError where a shock cannot happen in this run."""
        if shock.first >= self.max_timesteps:
            raise ValueError(f"--shock {shock.text!r}: the run has years 0 to {self.max_timesteps - 1}")
        if shock.change == "=" and len(shock.amounts) != self.brackets:
            raise ValueError(
                f"--shock {shock.text!r}: {len(shock.amounts)} rates; the law has {self.brackets} brackets"
            )

    @property
    def shocks(self) -> tuple[Shock, ...]:
        """`shock` as values, in the order in which they take effect."""
        return tuple(map(parse, self.shock))

    @property
    def brackets(self) -> int:
        """Brackets of the law: two planners have their own, whatever `bracket_setting` says."""
        own = {"US_FED": "US_FED", "SAEZ_THREE": "three"}.get(self.planner_type, self.bracket_setting)
        return _edges(own)

    @property
    def satisfaction_counts(self) -> bool:
        """Whether dissatisfaction with the tax policy lowers the objective."""
        return SCENARIOS[self.scenario].satisfaction and self.satisfaction == "objective"

    def public(self) -> dict[str, Any]:
        """The settings as stored and shown: a URL loses its credentials and its query."""
        shown = {name: value for name, value in asdict(self).items() if name in NAMES}
        if self.base_url is not None:
            shown["base_url"] = shown_urls(self.base_url)
        return shown

    def strategy_of(self, role: str) -> str:
        """The strategy name of `role`: its own, else everybody's."""
        return self.strategy.get(role, self.prompt_algo)


NAMES = frozenset(one.name for one in fields(RunConfig) if one.metadata)
"""The names of all settings."""


def by_role(text: str) -> dict[str, str]:
    """`worker=cot,planner=io` as a dict. ValueError on an entry without `=`, or a role given twice."""
    pairs: list[tuple[str, str]] = []
    for entry in filter(None, text.split(",")):
        role, separator, value = entry.partition("=")
        if not separator or not value:
            raise ValueError(f"{entry!r} is not role=value, e.g. worker=cot,planner=io")
        pairs.append((role.strip(), value.strip()))
    return each_once(pairs)


def build(settings: Mapping[str, Any]) -> RunConfig:
    """A `RunConfig`, or a ValueError whose one line names the flag, the value and what was expected."""
    from pydantic import ValidationError

    for name, value in settings.items():
        if name not in NAMES and not (name == "given" and (value is None or isinstance(value, frozenset))):
            raise ValueError(f"unknown setting {name!r}: the settings are the flags of `llm-economist run --help`")
    try:
        return _validator().validate_python({name: _plain(name, value) for name, value in settings.items()})
    except ValidationError as error:
        raise ValueError(_one_line(error)) from None


def _edges(setting: str) -> int:
    """How many brackets a setting has. Imported here because numpy would slow down `--help`."""
    from pipeline.economy.tax import BRACKETS

    return len(BRACKETS[setting])


@cache
def _validator() -> TypeAdapter[RunConfig]:
    from pydantic import TypeAdapter

    return TypeAdapter(RunConfig)


def _plain(name: str, value: Any) -> Any:
    """Text from the command line as the value it stands for: roles by `=`, several numbers by commas."""
    if name in ("strategy", "program", "role_llm") and isinstance(value, str):
        try:
            return by_role(value)
        except ValueError as error:
            raise ValueError(f"--{name.replace('_', '-')}: {error}") from None
    if name == "omit" and isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if name == "shock":
        return (value,) if isinstance(value, str) else value
    if name == "elasticity":
        return (
            tuple(value.replace(",", " ").split())
            if isinstance(value, str)
            else value
            if isinstance(value, list | tuple)
            else (value,)
        )
    return value


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return message
    name = str(first["loc"][0])
    flag = f"--{name.replace('_', '-')}"
    return f"{flag} {first['input']!r}: {message[0].lower()}{message[1:]}"
