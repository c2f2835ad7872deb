"""Check a request to `optimize` before anything is opened or paid for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dspy

from evals.datasets.episodes import economies
from evals.datasets.simulated import Dataset, mined, sampled
from evals.metrics.registry import EPISODE, METRICS, Metric
from evals.metrics.registry import metric as metric_of
from evals.optimize.candidates import Candidate, question_of
from evals.optimize.optimizers import Optimizer, optimizer
from evals.optimize.tuning import Models
from pipeline.agents.agents import named_model
from pipeline.agents.budget import Budget
from pipeline.agents.model_choice import choose_model, configure
from pipeline.agents.role_modules import terms_of, word
from pipeline.agents.roles import MAIN_QUESTION, PROGRAMS
from pipeline.config import PLACEMENT, TELEMETRY, RunConfig
from pipeline.errors import UsageError
from pipeline.simulation.own_parts import take_parts
from pipeline.stackelberg import rules_but
from pipeline.studies.study_budget import StudyBudget
from programs.calls import prices
from programs.calls.model_names import RULES
from programs.models import connect, is_remote
from programs.roles import saved_program
from programs.strategies.registry import strategy
from signatures.texts.layouts import PLAIN

REFLECTION_TOKENS = 2000
"""Maximum reply of the model that writes instructions; its temperature is 1, so that proposals differ."""

USUAL: Mapping[str, str] = {
    "worker": "regret",
    "planner": "welfare",
    "voter": "vote_quality",
    "persona": "fidelity",
}
"""The default metric of a role."""

USUAL_SIZES, FEWER = "60,40,100", "12,8,16"
"""Examples for training, development and test: states, and whole economies, which take many calls each."""

UNUSED = ("wandb", "trackio", *TELEMETRY, "log_dir", "name", "use_multithreading", "debug", "callback", *PLACEMENT)
"""Settings of a run that do not apply here."""


@dataclass(frozen=True)
class OptimizeRequest:
    """The request, apart from the settings of a run. `sizes`: examples for training, development and test."""

    role: str
    optimizer: str
    metric: str | None = None
    budget: int = 1000
    teacher_llm: str | None = None
    reflection_llm: str | None = None
    sizes: str | None = None
    from_sql: str | None = None
    demos: int = 4
    output: str | None = None


@dataclass(frozen=True)
class Plan:
    """A valid request. `model`, and `why` it was chosen; `path`: the file to write."""

    order: OptimizeRequest
    config: RunConfig
    model: str
    why: str
    optimizer: Optimizer
    metric: Metric
    prices: prices.Prices
    path: str

    @property
    def question(self) -> str:
        """The question that is tuned, by its signature's name."""
        return MAIN_QUESTION[self.order.role]

    @property
    def strategy(self) -> str:
        return self.config.strategy_of(self.order.role)

    @property
    def names(self) -> tuple[str, str, str]:
        """The model that the program is tuned for, the teacher, and the one that writes instructions."""
        return self.model, self.order.teacher_llm or self.model, self.order.reflection_llm or self.model

    def program(self) -> tuple[dspy.Module, list[str]]:
        """The role's program before tuning, and cautions on the file that it was loaded from."""
        role, path = self.order.role, self.config.program.get(self.order.role)
        made: dspy.Module = PROGRAMS[role](strategy(self.strategy), self.config.bracket_count)
        layout = self.config.layout.get(role, PLAIN)
        word(made, role, layout)
        known = {"strategy": self.strategy, "adapter": self.config.adapter, "model": self.model, "layout": layout}
        cautions = [] if path is None else saved_program.load(made, path, role=role, **known)
        terms_of(self.config).reword(made)
        return made, cautions

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The numbers of examples for training, development and test."""
        return sizes_in(self.order.sizes or (FEWER if self.episodes else USUAL_SIZES))

    @property
    def episodes(self) -> bool:
        """Whether whole economies are judged."""
        return self.metric.question == EPISODE

    def student(self) -> dspy.Module:
        """The module that an optimizer tunes: the question alone, or one that plays economies with it."""
        question = question_of(self.question, self.program()[0])
        return rules_but(**{self.order.role: question}) if self.episodes else question

    def named(self, candidate: Candidate) -> Candidate:
        """A candidate with its predictors named as in the role's program."""
        prefix = f"{self.order.role}." if self.episodes else ""
        return {name.removeprefix(prefix): state for name, state in candidate.items()}

    def dataset(self) -> Dataset:
        """States of stored runs if there is a query, else of simulated economies; or economies. UsageError."""
        sizes, seed = self.sizes, self.config.seed
        if self.episodes:
            return economies([self.order.role], self.config, sizes=sizes, seed=seed)
        if self.order.from_sql is not None:
            return mined(self.question, self.config.db, self.order.from_sql, sizes=sizes, seed=seed)
        return sampled(self.question, self.config, sizes=sizes, seed=seed)

    @property
    def labelled(self) -> bool:
        """Whether examples have the best answers."""
        return not self.episodes and self.order.role != "persona"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The fields of a usable answer."""
        return ("welfare",) if self.episodes else tuple(self.signature.output_fields)

    @property
    def signature(self) -> type[dspy.Signature]:
        """The signature of the question, typed to the number of brackets."""
        plain = PROGRAMS[self.order.role](dspy.Predict, self.config.bracket_count)
        declared: type[dspy.Signature] = question_of(self.question, plain).predictors()[0].signature
        return declared

    def models(self) -> Models:
        """The three models, connected. ValueError if a name cannot be a model."""
        lm = connected(self.config, self.model)
        teacher = lm if self.names[1] == self.model else connected(self.config, self.names[1])
        longest = max(REFLECTION_TOKENS, self.config.max_output_tokens)
        return Models(lm, teacher, connected(self.config, self.names[2], temperature=1.0, max_tokens=longest))

    def threads(self, models: Models) -> int:
        """Concurrent threads: a model in this process gains nothing from more than one, and an economy asks
        concurrently."""
        return self.config.concurrency if is_remote(models.lm) and not self.episodes else 1

    def allowance(self) -> StudyBudget:
        """The budget of the request. UsageError if dollars are capped and a model has no known price."""
        return capped(self.config, self.names, self.prices, budget=self.order.budget)


def connected(config: RunConfig, name: str, **other: Any) -> dspy.LM:
    """The model called `name` with the settings of `config`, or `other` ones. ValueError if it cannot exist."""
    return connect(replace(named_model(config, name), **other))


def capped(config: RunConfig, names: Sequence[str], priced: prices.Prices, *, budget: int | None = None) -> StudyBudget:
    """The budget for the models `names`, of which the first is the main one.

    UsageError if dollars are capped and a model has no known price.
    """
    known = {name: priced.of(name) for name in names}
    for name, price in known.items():
        if config.max_cost_usd is not None and price is None:
            raise UsageError(
                f"--max-cost-usd {config.max_cost_usd:g}: no price is known for {name}; give one in prices.toml or "
                f'with --prices FILE: [models."{name}"] with input = 0.1 and output = 0.4, in dollars per million '
                "tokens"
            )
    estimator = Budget(model=names[0], price=known[names[0]], others=known)
    return StudyBudget(estimator, budget, config.max_cost_usd, config.max_tokens)


def prepare(order: OptimizeRequest, settings: Mapping[str, Any]) -> Plan:
    """Check all that can be checked in advance. ValueError or UsageError gives the problem in one line."""
    if order.role not in MAIN_QUESTION:
        raise UsageError(f"role {order.role!r}: choose one of {', '.join(MAIN_QUESTION)}")
    if order.sizes is not None:
        sizes_in(order.sizes)
    config = configure(_of_role(order.role, settings))
    own = config.role_llm.get(order.role)
    model, why = (own, "--role-llm") if own else choose_model(config)
    how = config.strategy_of(order.role)
    path = order.output or f"{order.role}.{how.replace(':', '-').replace('@', '-')}.json"
    metric = _metric(order, config)
    plan = Plan(order, config, model, why, optimizer(order.optimizer), metric, prices.load(config.prices), path)
    if plan.optimizer.proposes and plan.names[2] == RULES:
        raise UsageError(
            f"--optimizer {order.optimizer} needs a model that writes instructions, which `rules` cannot do: give "
            "--reflection-llm NAME, or use labeled, bootstrap or bootstrap_rs"
        )
    if not plan.optimizer.proposes and not order.demos:
        raise UsageError(f"--demos 0: --optimizer {order.optimizer} changes only demonstrations; give 1 or more")
    if plan.optimizer.labels and not plan.labelled:
        raise UsageError(
            f"--optimizer {order.optimizer} needs labelled examples, and there are none for "
            f"{'whole economies' if plan.episodes else f'role {order.role}'}; use bootstrap_rs or gepa"
        )
    if plan.episodes and order.from_sql is not None:
        raise UsageError(
            "--from-sql selects stored states, but --metric episode plays whole economies; use one of them"
        )
    if how.partition("@")[0] == "knn" and order.optimizer != "labeled":
        raise UsageError(
            "strategy knn selects examples for each question: use --optimizer labeled, which gives it examples to "
            "select from, or strategy io with the other optimizers"
        )
    _check_output(path)
    return plan


def _of_role(role: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run, with `--strategy cot` and `--program FILE` applied to the role."""
    given = dict(settings)
    for name in given:
        if name in UNUSED:
            raise UsageError(f"--{name.replace('_', '-')} does not apply to optimize")
    for name in ("strategy", "program"):
        if isinstance(given.get(name), str) and "=" not in given[name]:
            given[name] = f"{role}={given[name]}"
    return given


def _metric(order: OptimizeRequest, config: RunConfig) -> Metric:
    name, question = order.metric or USUAL[order.role], MAIN_QUESTION[order.role]
    take_parts(config)
    found = metric_of(name, welfare=config.welfare)
    if found.question not in (question, EPISODE):
        fitting = [name for name, known in METRICS.items() if known.question in (question, EPISODE)]
        raise UsageError(f"--metric {name} judges {found.question}; for role {order.role} use {', '.join(fitting)}")
    return found


def sizes_in(text: str) -> tuple[int, int, int]:
    """`60,40,100` as three numbers. UsageError otherwise."""
    parts = text.replace(",", " ").split()
    if len(parts) != 3 or not all(part.isdecimal() and int(part) for part in parts):
        raise UsageError(f"--sizes {text!r}: expected examples for training, development and test, e.g. 60,40,100")
    train, dev, test = map(int, parts)
    return train, dev, test


def _check_output(path: str) -> None:
    """Refuse a file that cannot be written, or that is not a program file, before anything is paid for."""
    file = Path(path)
    if not file.absolute().parent.is_dir():
        raise UsageError(f"-o {path}: the folder {file.parent} does not exist; create it first")
    if file.exists():
        try:
            if saved_program.read(path)["format"] != saved_program.FORMAT:
                raise ValueError("DSPy wrote it")
        except ValueError as error:
            raise UsageError(f"-o {path} exists and is not a program file; choose another name") from error
