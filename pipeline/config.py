"""The settings of a run, defined once for the command line, the TOML run file and the `runs` table.

`RunConfig` is a plain dataclass that pydantic validates in `build`. `llm-economist --help` imports this module, and
importing pydantic would take longer than the rest of the help.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from annotated_types import Ge, Gt, Le

from pipeline.config_checks import check
from pipeline.config_texts import plain
from pipeline.economy.laws.cpi import CPI_U
from pipeline.fixed_rates import with_planner
from pipeline.laws import law_schedule, with_law
from pipeline.scenarios import SCENARIOS
from pipeline.shocks import Shock, parse
from programs.plugins import CALLBACK, ELECTION_RULE, TAX_LAW, WELFARE_FUNCTION, Kind, check_name
from programs.urls import shown as shown_urls

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

    from signatures.types import TaxSchedule

ROLES = ("worker", "planner", "voter", "persona")
"""The roles that a model plays; each has its own strategy and its own program."""

PLACEMENT = ("processes", "engine", "shards", "ray_address")
"""Settings that say where questions are answered. They affect neither the questions nor the results."""

TELEMETRY = ("otel", "mlflow", "trace_content")
"""Settings that say where a run is reported while it is played. They are never stored, so that a resumed run sends
nothing to an address that another person gave."""

POPULATION = (
    *("scenario", "num_agents", "agent_mix", "min_wage", "taste_spread", "elasticity_of_labor", "participation_cost"),
    *("dollars_of", "worker_type", "economy", "utility", "gamma", "spending"),
    *("percent_ego", "percent_alt", "percent_adv"),
)
"""Settings that, with the seed, determine the people and the economy that they live in, before any shock."""

Scenario = Literal["rational", "bounded", "democratic"]
WorkerType = Literal["LLM", "FIXED", "ONE_LLM"]
PlannerType = Literal[
    "LLM",
    "US_FED",
    "SAEZ",
    "SAEZ_2002",
    "SAEZ_MEASURED",
    "SAEZ_THREE",
    "SAEZ_FLAT",
    "UNIFORM",
    "FREE_MARKET",
    "RATES",
    "ORACLE_GRID",
    "ORACLE",
]
Welfare = Literal["inverse_income", "paper", "utilitarian", "rawlsian", "atkinson", "equality_productivity"]
ElectionRule = Literal["plurality", "approval", "borda", "irv", "condorcet", "sortition", "median_voter"]

OWN_PARTS: Mapping[str, tuple[Kind, tuple[str, ...]]] = {
    "planner_type": (TAX_LAW, get_args(PlannerType)),
    "welfare": (WELFARE_FUNCTION, get_args(Welfare)),
    "election_rule": (ELECTION_RULE, get_args(ElectionRule)),
}
"""Settings that name a built-in part, or one of the user's own (docs/extending.md), with the built-in names."""

Percent = Annotated[float, Ge(0), Le(100)]
Count = Annotated[int, Ge(1), Le(100_000_000)]
Seed = Annotated[int, Ge(0), Le(2**63 - 1)]
Whole = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0), Le(1e9)]
Hourly = Annotated[float, Ge(0.01), Le(1_000)]


def setting(default: Any, help: str) -> Any:
    """A field with its help text. Nothing mutates a default, so a shared dict is safe."""
    return field(default_factory=lambda: default, metadata={"description": help})


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A run's settings. Field names are also the flags (`--num-agents`), the TOML keys and the JSON keys in
    `runs.config`."""

    scenario: Scenario = setting(
        "rational", "workers without personas (rational), with personas (bounded), or with personas and elections"
    )
    num_agents: Count = setting(5, "number of workers")
    max_timesteps: Count = setting(1000, "years to simulate")
    two_timescale: Count = setting(25, "length of a tax year: years between changes of the tax schedule")
    history_len: Count = setting(50, "number of past years that a worker remembers")
    llm: str | None = setting(
        None,
        "model: an OpenAI name, any provider/model of DSPy, smollm2 or gguf:FILE (in this process), rules, "
        "or engine:module:Class "
        "(default: the only model at --base-url, else gpt-4o-mini if OPENAI_API_KEY is set, else rules)",
    )
    base_url: str | None = setting(
        None, "URL of an OpenAI-compatible server to use instead of the provider, or several, separated by commas"
    )
    role_llm: dict[str, str] = setting(
        {},
        "model of single roles instead of --llm, e.g. worker=rules,planner=gpt-4o; with planner=human you "
        "answer in the terminal",
    )
    prompt_algo: str = setting("io", "prompt strategy of every role: one of `llm-economist strategies`, or module:Name")
    strategy: dict[str, str] = setting(
        {}, "prompt strategy of single roles instead of --prompt-algo, e.g. worker=cot,planner=io"
    )
    program: dict[str, str] = setting({}, "optimized program of single roles, e.g. worker=FILE.json")
    examples: str | None = setting(
        None, "database from whose decisions the strategy knn takes its examples (default: --db)"
    )
    layout: dict[str, str] = setting(
        {}, "layout of the observations in the prompts of single roles, e.g. planner=steady (docs/optimizing.md)"
    )
    adapter: Literal["chat", "json", "xml", "compact"] = setting("compact", "format of prompts and replies")
    exploration: bool = setting(
        True, "tell workers to explore in most years; --no-exploration tells them to exploit in every year"
    )
    exploitation: bool = setting(
        True,
        "tell workers to exploit in the last year of a tax year and the last tenth of the run; --no-exploitation tells "
        "them to explore in every year",
    )
    worker_type: WorkerType = setting(
        "LLM", "workers whose hours a model chooses: all, one (ONE_LLM), or none (FIXED: 40 to 60 hours, drawn once)"
    )
    planner_type: str = setting("LLM", "who sets the tax rates: a model, or a baseline (docs/yardsticks.md)")
    archetypes: Count | None = setting(
        None, "number of groups of similar workers, regrouped every tax year; the model answers once per group"
    )
    archetype_samples: Annotated[int, Ge(1), Le(20)] = setting(
        1, "answers that the model gives per archetype, spread over its members (with --archetypes)"
    )
    percent_ego: Percent = setting(100, "percent of workers who maximize their own utility")
    percent_alt: Percent = setting(0, "percent of workers who maximize social welfare")
    percent_adv: Percent = setting(0, "percent of workers who minimize social welfare")
    agent_mix: Literal["us_income", "uniform", "acs"] | None = setting(
        None, "distribution of wages (default: us_income in scenario rational, else acs; docs/population.md)"
    )
    min_wage: Hourly = setting(
        0.01, "minimum wage in dollars an hour; lower wages are raised to it, e.g. 7.25 (docs/population.md)"
    )
    dollars_of: int | None = setting(
        None,
        f"state all amounts in dollars of this year, {min(CPI_U)} to {max(CPI_U)} (default: no adjustment for "
        "inflation; docs/population.md)",
    )
    taste_spread: Annotated[float, Ge(0), Le(1)] = setting(
        0.0,
        "spread of the workers' taste for leisure: standard deviation of the logarithm of a factor on the cost of "
        "effort, which each worker is told in words (docs/population.md)",
    )
    elasticity_of_labor: tuple[Annotated[float, Ge(0), Le(2)], ...] = setting(
        (),
        "mean and standard deviation of the workers' own elasticities of hours with respect to the net wage, "
        "e.g. 0.4,0.1 (default: 0.4 for all; docs/population.md)",
    )
    participation_cost: Annotated[float, Ge(0), Le(1e6)] = setting(
        0.0,
        "mean fixed cost of work in dollars a year: each worker has its own, drawn from an exponential distribution, "
        "which it loses if it works at all (docs/population.md)",
    )
    bracket_setting: Literal["flat", "three", "US_FED"] = setting("three", "tax brackets")
    brackets: tuple[float, ...] = setting(
        (), "lower edges of the tax brackets in dollars a year, instead of --bracket-setting, e.g. 0,14600,60000"
    )
    law: str | None = setting(
        None,
        "tax law that never changes or, with --planner-type LLM, the first one: a name from `llm-economist laws`, a "
        "TOML file, edges=rates like 0=10,60000=22, or module:Name (docs/laws.md)",
    )
    platforms: bool = setting(False, "candidates propose rate changes before the vote (scenario democratic)")
    binding_platforms: bool = setting(False, "the winner's proposal becomes law (with --platforms)")
    ballot_order: Literal["drawn", "listed"] = setting(
        "drawn", "order of the candidates on a ballot: drawn for each voter, or the same for all"
    )
    election_rule: str = setting("plurality", "voting rule by which a leader is elected (scenario democratic)")
    warmup: Whole = setting(0, "years before the first change of the tax schedule")
    elasticity: tuple[Annotated[float, Ge(0), Le(100)], ...] = setting(
        (0.4,),
        "elasticity of taxable income for --planner-type SAEZ, and for SAEZ_MEASURED until it is measured: one value, "
        "or one per bracket",
    )
    uniform_rate: Percent = setting(50, "tax rate in percent for --planner-type UNIFORM")
    rates: tuple[Annotated[float, Ge(-100), Le(100)], ...] = setting(
        (),
        "tax rates in percent that never change, one per bracket, e.g. 30/40/60; sets --planner-type RATES",
    )
    spending: Annotated[float, Ge(0), Le(1e9)] = setting(
        0.0, "dollars a year per person that public spending takes off the rebate, which may become negative"
    )
    shock: tuple[str, ...] = setting(
        (), "shock to the economy, e.g. 'year=25: wages*0.8 where age > 50'; can be repeated (docs/shocks.md)"
    )
    economy: Literal["weekly", "v1", "calibrated"] = setting(
        "weekly",
        "cost of effort: weekly; as in v1 (docs/v1.md); or calibrated, each worker's own, inverted from its income "
        "under the law of the data's year (docs/population.md)",
    )
    utility: Literal["linear", "crra"] = setting(
        "linear",
        "utility of consumption: linear, so that hours do not depend on the rebate, or crra, with income effects "
        "(docs/laws.md)",
    )
    gamma: Annotated[float, Ge(0), Le(10)] | None = setting(
        None,
        "how fast the worth of a dollar falls with consumption, with --utility crra: 0 not at all, 1 the logarithm",
    )
    welfare: str = setting("inverse_income", "the planner's objective")
    inequality_aversion: Annotated[float, Ge(0), Le(100)] = setting(
        1.0, "inequality aversion of --welfare atkinson: 0 gives the mean of utilities, 1 the geometric mean"
    )
    satisfaction: Literal["report", "objective"] = setting(
        "report",
        "report satisfaction with the tax policy separately from welfare, or, as in the paper, let dissatisfaction "
        "halve a worker's utility in the objective (docs/satisfaction.md)",
    )
    seed: Seed = setting(42, "random seed")
    name: str = setting("", "name of the run (default: made from the settings)")
    log_dir: str = setting("logs", "folder of the run's text log")
    db: str = setting("economist.duckdb", "DuckDB file that stores runs and their model calls")
    timeout: Positive = setting(30, "seconds before a model call counts as failed")
    temperature: Annotated[float, Ge(0), Le(2)] = setting(0.7, "sampling temperature")
    max_output_tokens: Count = setting(500, "most tokens in a reply (raise it for reasoning models)")
    omit: str = setting("", "request parameters that are never sent, e.g. seed,temperature (docs/endpoints.md)")
    concurrency: Count = setting(64, "most model calls in flight at once")
    rpm: Count | None = setting(None, "most requests per minute to each model (docs/endpoints.md)")
    tpm: Count | None = setting(None, "most tokens per minute, sent and received, for each model")
    processes: Annotated[int, Ge(1), Le(1000)] = setting(
        1, "processes on this machine among which the workers' questions are divided (docs/cluster.md)"
    )
    engine: Literal["local", "ray"] = setting(
        "local", "where questions are answered: on this machine, or on a Ray cluster (needs the extra ray)"
    )
    shards: Annotated[int, Ge(1), Le(100_000)] | None = setting(
        None, "parts of the population, one Ray actor each (with --engine ray; default: one per CPU)"
    )
    ray_address: str | None = setting(
        None, "address of the Ray cluster, e.g. auto or HOST:6379 (default: RAY_ADDRESS, else a new local cluster)"
    )
    max_cost_usd: Positive | None = setting(None, "stop before the run costs more than this many dollars")
    max_tokens: Count | None = setting(None, "stop before the run uses more than this many tokens")
    prices: str | None = setting(
        None, "TOML file of prices in dollars per million tokens (default: prices.toml in this folder, if it exists)"
    )
    use_multithreading: bool = setting(False, "v1 flag without effect: calls are always concurrent (see --concurrency)")
    wandb: bool = setting(False, "log each year to Weights & Biases (needs the extra wandb)")
    trackio: bool = setting(
        False, "log each year to Trackio, by default on this machine (needs the extra trackio; same as --wandb trackio)"
    )
    otel: str | None = setting(
        None,
        "send OpenTelemetry spans to this OTLP receiver; without an address to OTEL_EXPORTER_OTLP_ENDPOINT "
        "(needs the extra otel; docs/telemetry.md)",
    )
    mlflow: str | None = setting(
        None,
        "log to this MLflow store; without an address to MLFLOW_TRACKING_URI, else sqlite:///mlflow.db "
        "(needs the extra mlflow; docs/telemetry.md)",
    )
    trace_content: bool = setting(False, "also send prompts and replies (with --otel or --mlflow)")
    debug: bool = setting(False, "log every failed model call with its error")
    callback: tuple[str, ...] = setting(
        (), "function called with every year, or dspy callback: module:Name; can be repeated (docs/extending.md)"
    )
    given: frozenset[str] | None = None
    """Not a setting. For a stored run, the values that the user confirmed (programs/trust.py); None: all of them."""

    def __post_init__(self) -> None:
        by_role = {"--strategy": self.strategy, "--program": self.program, "--role-llm": self.role_llm}
        for flag, roles in {**by_role, "--layout": self.layout}.items():
            for role in roles:
                if role not in ROLES:
                    raise ValueError(f"{flag}: unknown role {role!r}: choose one of {', '.join(ROLES)}")
        for name, (kind, builtin) in OWN_PARTS.items():
            check_name(kind, getattr(self, name), builtin)
        for callback in self.callback:
            check_name(CALLBACK, callback, ())
        check(self)

    @property
    def divided(self) -> bool:
        """Whether processes other than the run's own answer its questions."""
        return self.engine == "ray" or self.processes > 1

    def undivided(self) -> RunConfig:
        """The same settings with one process that answers all questions."""
        return replace(self, processes=1, engine="local", shards=None, ray_address=None)

    @property
    def shocks(self) -> tuple[Shock, ...]:
        """The parsed `shock` texts, in the order in which they take effect."""
        return tuple(map(parse, self.shock))

    @property
    def own_law(self) -> TaxSchedule | None:
        """The schedule of `law`; None without one."""
        return None if self.law is None else law_schedule(self.law, self.dollars_of)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The lower edges of the brackets, in dollars a year: those of `law`, of `brackets` or of `bracket_setting`."""
        from pipeline.economy.laws.dollars import brackets_in  # numpy would slow down `--help`

        if (law := self.own_law) is not None:
            return law.thresholds
        return self.brackets or brackets_in(self.bracket_setting, self.dollars_of)

    @property
    def bracket_count(self) -> int:
        """The number of brackets; US_FED and SAEZ_THREE have their own, whatever the settings are."""
        from pipeline.economy.tax import BRACKETS

        own = {"US_FED": "US_FED", "SAEZ_THREE": "three"}.get(self.planner_type)
        return len(self.thresholds if own is None else BRACKETS[own])

    @property
    def income_effects(self) -> bool:
        """Whether hours depend on the rebate; a gamma of 0 is linear utility."""
        return bool(self.gamma)

    @property
    def lowest_rate(self) -> float:
        """The lowest rate in percent that a planner may set: -100 if its first law has a negative one, or if work has a
        fixed cost, with which it can be best to pay for work (Saez 2002); else 0."""
        from pipeline.economy.tax import lowest_rate
        from signatures.types import LEAST_RATE

        if self.participation_cost:
            return LEAST_RATE
        return lowest_rate(self.rates if self.own_law is None else self.own_law.rates)

    @property
    def satisfaction_counts(self) -> bool:
        """Whether dissatisfaction with the tax policy lowers the objective."""
        return SCENARIOS[self.scenario].satisfaction and self.satisfaction == "objective"

    def public(self) -> dict[str, Any]:
        """The settings as stored and shown, with URLs stripped of credentials and queries, without `TELEMETRY`."""
        shown = {name: value for name, value in asdict(self).items() if name in STORED}
        if self.base_url is not None:
            shown["base_url"] = shown_urls(self.base_url)
        return shown

    def strategy_of(self, role: str) -> str:
        """The strategy name of `role`: its own, else `prompt_algo`."""
        return self.strategy.get(role, self.prompt_algo)


NAMES = frozenset(one.name for one in fields(RunConfig) if one.metadata)
"""All names of settings."""

STORED = NAMES - set(TELEMETRY)
"""Names of the settings that the `runs` table keeps."""


def build(settings: Mapping[str, Any]) -> RunConfig:
    """Make a validated `RunConfig`. ValueError in one line names the flag, the value and what was expected."""
    from pydantic import ValidationError

    for name, value in settings.items():
        if name not in NAMES and not (name == "given" and (value is None or isinstance(value, frozenset))):
            raise ValueError(f"unknown setting {name!r}: see the flags in `llm-economist run --help`")
    given = with_law(with_planner({name: plain(name, value) for name, value in settings.items()}))
    try:
        return _validator().validate_python(given)
    except ValidationError as error:
        raise ValueError(_one_line(error)) from None


@cache
def _validator() -> TypeAdapter[RunConfig]:
    from pydantic import TypeAdapter

    return TypeAdapter(RunConfig)


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return message
    name = str(first["loc"][0])
    flag = f"--{name.replace('_', '-')}"
    return f"{flag} {first['input']!r}: {message[0].lower()}{message[1:]}"
