"""Check a request to `validate` before anything is opened or paid for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from evals.output.files import writable
from evals.validity.card import HEAD
from evals.validity.checks import CHECKS, SIZES, read_replies
from evals.validity.questionnaire import Panel, by_rule
from evals.validity.scores import Finding
from evals.validity.vignettes import shown_in
from pipeline.agents.model_choice import choose_model, configure
from pipeline.agents.roles import PROGRAMS
from pipeline.config import ROLES, RunConfig
from pipeline.errors import UsageError
from pipeline.printed_commands import command
from programs.calls import prices
from programs.calls.model_names import without_folder
from programs.engines.local_weights import public_name
from programs.roles import saved_program
from programs.strategies.registry import strategy
from signatures.texts.layouts import PLAIN

MATTERS = (
    *("adapter", "prompt_algo", "strategy", "program", "layout"),
    *("temperature", "max_output_tokens", "seed", "base_url"),
)
"""Settings that distinguish cards, apart from the model."""

OTHERS = ("llm", "db", "timeout", "concurrency", "max_cost_usd", "max_tokens", "prices")
"""Settings that do not distinguish cards."""


@dataclass(frozen=True)
class ValidateRequest:
    """The request, apart from the settings of a run. `output`: the card's file, or none."""

    size: str = "full"
    output: str | None = None


@dataclass(frozen=True)
class Plan:
    """A valid request. `model`, and `why` it was chosen; `cautions`: on saved programs."""

    order: ValidateRequest
    config: RunConfig
    model: str
    why: str
    prices: prices.Prices
    cautions: Sequence[str] = ()

    @property
    def full(self) -> bool:
        return SIZES[self.order.size]

    @property
    def differs(self) -> dict[str, Any]:
        """The relevant settings that differ from their defaults; a server without the secret parts of its URL."""
        public, usual = self.config.public(), RunConfig().public()
        return {name: public[name] for name in MATTERS if public[name] != usual[name]}

    @property
    def subject(self) -> str:
        """The model and its settings, which distinguish cards; a file by its name and checksum."""
        return ", ".join([public_name(self.model), *(f"{name} {_said(value)}" for name, value in self.differs.items())])

    @property
    def command(self) -> str:
        """The command that makes this card again, with the name of a model's file but not its folder."""
        words = ["validate", "--llm", without_folder(self.model)]
        for name, value in self.differs.items():
            words += [f"--{name.replace('_', '-')}", _said(value)]
        words += ["--size", self.order.size] if self.order.size != "full" else []
        words += ["-o", self.order.output] if self.order.output else []
        return command(*words)

    @property
    def questions(self) -> int:
        """The number of distinct questions, which may vary slightly with the planner's choices."""
        panel = Panel(by_rule(self.config.seed))
        judge(panel, full=self.full, layouts=self.config.layout)
        return len(panel.replies)


def judge(panel: Panel, *, full: bool, layouts: Mapping[str, str] = MappingProxyType({})) -> dict[str, Finding]:
    """All findings: of the checks by their names, then of each question's replies by its signature. `layouts`: of the
    observations, by role."""
    with shown_in(layouts):
        found = {name: check.find(panel, full) for name, check in CHECKS.items()}
        return found | read_replies(panel, full)


def _said(value: Any) -> str:
    return ",".join(f"{key}={each}" for key, each in value.items()) if isinstance(value, dict) else str(value)


def prepare(order: ValidateRequest, settings: Mapping[str, Any]) -> Plan:
    """Check all that can be checked in advance. UsageError gives the problem in one line."""
    for name in settings:
        if name not in (*MATTERS, *OTHERS):
            raise UsageError(f"--{name.replace('_', '-')} does not apply to validate, which asks its own questions")
    config = configure(settings)
    model, why = choose_model(config)
    if order.output is not None:
        _check_output(order.output, config.db)
    try:
        plan = Plan(order, config, model, why, prices.load(config.prices))
        return replace(plan, cautions=[caution for role in ROLES for caution in _tried(plan, role)])
    except ValueError as error:
        raise UsageError(str(error)) from error


def _tried(plan: Plan, role: str) -> list[str]:
    """Cautions on a role's program. ValueError if its strategy or its saved program cannot be used."""
    how, path = plan.config.strategy_of(role), plan.config.program.get(role)
    if how.partition("@")[0] == "knn":
        raise ValueError(
            f"strategy {how} of role {role} needs stored decisions, which a card does not have; use another strategy"
        )
    program = PROGRAMS[role](strategy(how), 1)
    if path is None:
        return []
    known = {"adapter": plan.config.adapter, "model": plan.model, "layout": plan.config.layout.get(role, PLAIN)}
    return saved_program.load(program, path, role=role, strategy=how, **known)


def _check_output(path: str, db: str) -> None:
    """Refuse a file that cannot be written, or that is not a card, before anything is paid for."""
    file = writable(path, not_over=db, flag="-o")
    if file.exists() and not file.read_bytes().startswith(HEAD.encode()):
        raise UsageError(f"-o {path} exists and is not a validity card; choose another name")


def identity(plan: Plan) -> dict[str, Any]:
    """The identity of a card's study: the same question in the same study is asked once."""
    config = plan.config
    programs = {
        role: saved_program.state_hash(saved_program.read(path)["predictors"]) for role, path in config.program.items()
    }
    return {
        "llm": plan.model,
        **{name: config.public()[name] for name in MATTERS if name not in ("prompt_algo", "layout")},
        **({"layout": config.layout} if config.layout else {}),
        "strategy": {role: config.strategy_of(role) for role in ROLES},
        "program": programs,
    }
