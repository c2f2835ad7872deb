"""`llm-economist optimize worker,planner`: tune several roles of one game, in three ways, and compare them.

`alone`: each role by itself while rules answer for the others, as `optimize ROLE --metric episode` does. `joint`: one
candidate changes all roles. `alternating`: each role in turn is tuned against the others as tuned so far, until a round
brings no role a gain; the prompts are then best responses to each other, within the limits of this search. All are
judged on the same held-out economies, in which the model answers for all of these roles.

Each search is a study of its own, and repeating the command resumes them in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import dspy
from rich.markup import escape

from evals.compare.statistics import Interval
from evals.datasets.episodes import economies
from evals.datasets.simulated import Dataset
from evals.optimize.candidates import Candidate, apply, candidate_of, shown
from evals.optimize.plan import Plan, capped
from evals.optimize.progress import TrialProgress, silence
from evals.optimize.result import change
from evals.optimize.study_end import end_told
from evals.optimize.trials import Trial
from evals.optimize.tuning import Models, Outcome, Tuning
from evals.output.console import Console
from pipeline.agents.agents import Usage
from pipeline.agents.roles import MAIN_QUESTION
from pipeline.code_version import code_version
from pipeline.config import RunConfig
from pipeline.errors import UsageError
from pipeline.stackelberg import Stackelberg, rules_but
from pipeline.store.columns import as_json, now
from pipeline.store.writer import Store
from pipeline.studies.study import Study, study_name
from programs.adapters.repairing import ADAPTERS
from programs.dspy_versions import left_alone

METHODS = {
    "alone": "each role against rules",
    "joint": "all roles at once",
    "alternating": "each role against the others as tuned so far",
}
ROUNDS = 3
"""Rounds of alternating searches at most."""

SLACK = 1.25
"""Allowed growth of a game's cost through tuning: demonstrations make prompts longer."""


class Interrupted(Exception):
    """A search was interrupted; its study has the status."""


@dataclass(frozen=True)
class Step:
    """One role's search in a round of alternating ones, with its score on the economies to choose on."""

    round: int
    role: str
    before: float
    after: float


@dataclass(frozen=True)
class Judged:
    """A game on the economies to choose on and on the held-out ones, and its change there from the untuned game."""

    name: str
    candidate: Candidate
    dev: Trial
    test: Trial
    change: Interval


@dataclass
class Findings:
    """What the searches found: the games, the untuned one first; the rounds; and why the rounds ended."""

    games: list[Judged] = field(default_factory=list)
    rounds: list[Step] = field(default_factory=list)
    ending: str = ""
    bought: int = 0
    stopped: str | None = None

    @property
    def best(self) -> Judged:
        """The game that does best on the economies to choose on; the first of equals, which changes least."""
        return max(self.games, key=lambda game: game.dev.score)


@dataclass
class Together:
    """The searches of one request. `plans` by role; the first has what they share.

    `least`: calls that a search takes at least; `used`: by study, whether it is a search, and what it took.
    """

    plans: Mapping[str, Plan]
    console: Console
    findings: Findings = field(default_factory=Findings)
    least: int = 0
    used: dict[str, tuple[bool, Usage]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plan: Plan = next(iter(self.plans.values()))
        self.models: Models = self.plan.models()
        self.data: Dataset = economies(
            list(self.plans), self.plan.config, sizes=self.plan.sizes, seed=self.plan.config.seed
        )
        splits = {"train": self.data.train, "dev": self.data.dev, "test": self.data.test}
        self.splits = {name: shown(examples, []) for name, examples in splits.items()}

    @property
    def spent(self) -> int:
        """Calls of the searches so far, stored replies included."""
        return sum(usage.calls for search, usage in self.used.values() if search)

    # -- games ------------------------------------------------------------------------------------------------------

    def game(self, candidate: Candidate, *, free: tuple[str, ...], others: bool = True) -> Stackelberg:
        """The game with the prompts of `candidate`, of which an optimizer can change those of the roles in `free`.

        `others`: whether the model answers for the other tuned roles, too, and not rules.
        """
        made = {role: plan.program()[0] for role, plan in self.plans.items() if others or role in free}
        game = rules_but(**made)
        apply(candidate, game)
        for role in made:
            # DSPy's optimizers leave the predictors of a compiled module alone.
            left_alone(getattr(game, role), role not in free)
        return game

    # -- searches ---------------------------------------------------------------------------------------------------

    def run(self, store: Store) -> Findings:
        """All searches and the comparison. UsageError if the budget is too small, Interrupted at an interrupt."""
        roles = tuple(self.plans)
        untuned = candidate_of(self.game({}, free=roles))
        with self._comparison(store, untuned) as tuning:
            base = tuning.judge(untuned, "dev")
        budget = self._shares(base)
        found = {
            "alone": self._alone(store, untuned, budget),
            "joint": self._search(store, "joint", self.game(untuned, free=roles), budget).best.candidate,
            "alternating": self._alternating(store, untuned, budget),
        }
        self._compare(store, untuned, found)
        return self.findings

    def _shares(self, base: Trial) -> int:
        """The calls of each method, after what the comparison needs. UsageError if they are too few for one search."""
        plan = self.plan
        each, dev, test = base.calls / len(base.scores), len(self.splits["dev"]), len(self.splits["test"])
        judging = ceil(each * (dev * 4 + test * 4) * SLACK)
        self.least = ceil(each * dev * (2 + self.plan.optimizer.finalists) * SLACK * SLACK)
        searching, left = self.least * len(self.plans) * len(METHODS), plan.order.budget - judging
        if left < searching:
            raise UsageError(
                f"--budget {plan.order.budget}: an economy takes {each:.0f} calls, the comparison {judging:,}, and the "
                f"shortest searches {searching:,}; give --budget {judging + searching} or more, or smaller economies "
                "(--sizes, --num-agents, --max-timesteps)"
            )
        return left // len(METHODS)

    def _alone(self, store: Store, untuned: Candidate, budget: int) -> Candidate:
        """Each role tuned while rules answer for the others."""
        tuned = dict(untuned)
        for role in self.plans:
            student = self.game(untuned, free=(role,), others=False)
            tuned.update(self._search(store, f"alone, {role}", student, budget // len(self.plans)).best.candidate)
        return tuned

    def _alternating(self, store: Store, untuned: Candidate, budget: int) -> Candidate:
        """Each role in turn tuned against the others as tuned so far, until a round brings no gain."""
        current, before = dict(untuned), self.spent
        for number in range(1, ROUNDS + 1):
            gained = False
            for place, role in enumerate(self.plans):
                left, searches = budget - (self.spent - before), (ROUNDS - number + 1) * len(self.plans) - place
                if left < self.least:
                    self.findings.ending = f"the budget ended in round {number}"
                    return current
                student = self.game(current, free=(role,))
                share = max(self.least, left // searches)
                outcome = self._search(store, f"alternating, round {number}, {role}", student, share)
                self.findings.rounds.append(Step(number, role, outcome.before.score, outcome.best.score))
                gained |= outcome.changed
                current.update(outcome.best.candidate)
            if not gained:
                self.findings.ending = f"no role gained in round {number}: the prompts are best responses to each other"
                return current
        self.findings.ending = f"a role still gained in round {ROUNDS}, the last one"
        return current

    def _search(self, store: Store, name: str, student: Stackelberg, budget: int) -> Outcome:
        """Tune the free roles of `student`; the held-out economies are not used."""
        frozen = as_json({role: self._frozen(getattr(student, role)) for role in self.plans})
        with self._tuning(store, name, student, budget, others=frozen, test=False) as tuning:
            outcome = tuning.run()
            status = "stopped" if outcome.stopped else "finished"
            tuning.study.save(status, dev_before=outcome.before.score, dev_after=outcome.best.score)
            self.findings.stopped = self.findings.stopped or outcome.cut_short
        return outcome

    @staticmethod
    def _frozen(program: dspy.Module) -> Any:
        return [[p.signature.instructions, [dict(demo) for demo in p.demos]] for p in program.predictors()]

    def _compare(self, store: Store, untuned: Candidate, found: Mapping[str, Candidate]) -> None:
        """Judge every game on the economies to choose on, and on the held-out ones."""
        with self._comparison(store, untuned) as tuning:
            base: Trial | None = None
            for name, candidate in {"untuned": untuned, **found}.items():
                dev, test = tuning.judge(candidate, "dev"), tuning.judge(candidate, "test")
                base = base or test
                self.findings.games.append(Judged(name, candidate, dev, test, change(base.scores, test.scores)))
            best = self.findings.best
            figures = {"dev_before": self.findings.games[0].dev.score, "dev_after": best.dev.score}
            tuning.study.save(
                "finished", **figures, test_before=base.score if base else None, test_after=best.test.score
            )

    # -- studies ----------------------------------------------------------------------------------------------------

    def _comparison(self, store: Store, untuned: Candidate) -> AbstractContextManager[Tuning]:
        student = self.game(untuned, free=tuple(self.plans))
        return self._tuning(store, "comparison", student, self.plan.order.budget, test=True)

    @contextmanager
    def _tuning(
        self, store: Store, name: str, student: Stackelberg, budget: int, *, others: str = "", test: bool
    ) -> Iterator[Tuning]:
        """A study with what tunes `student`. Interrupted at an interrupt."""
        plan, ended = self.plan, False
        row = self._row(name, others)
        allowance = capped(self._left(row["study"]), plan.names, plan.prices, budget=budget)
        study = Study(store, row, "", plan.config.seed, allowance, plan.prices)
        self.used[study.name] = (name != "comparison", study.usage)
        study.questions = {
            list(each.signature.output_fields)[-1]: (role, MAIN_QUESTION[role]) for role, each in self.plans.items()
        }
        splits = self.splits if test else {**self.splits, "test": []}
        adapter = ADAPTERS[plan.config.adapter]()
        tuning = Tuning(
            study,
            student,
            self.models,
            adapter,
            splits,
            plan.outputs,
            plan.metric,
            plan.optimizer,
            seed=plan.config.seed,
            demos=plan.order.demos,
            labelled=False,
        )
        self.console.print(f"[bold]{escape(name)}[/bold]: study {study.name}", highlight=False, soft_wrap=True)
        with end_told(study, self.console), TrialProgress(self.console, study, budget) as progress, silence():
            tuning.on_trial = progress.on_trial
            yield tuning
            tuning.trials.close()
            ended = True
        self.findings.bought += study.bought
        if not ended:
            raise Interrupted

    def _left(self, study: str) -> RunConfig:
        """The settings with the caps on dollars and tokens that other studies than `study` leave."""
        others = [usage for name, (_, usage) in self.used.items() if name != study]
        config, dollars, tokens = self.plan.config, sum(u.cost_usd for u in others), sum(u.tokens for u in others)
        return replace(
            config,
            max_cost_usd=None if config.max_cost_usd is None else max(0.0, config.max_cost_usd - dollars),
            max_tokens=None if config.max_tokens is None else max(0, config.max_tokens - tokens),
        )

    def _row(self, name: str, others: str) -> dict[str, Any]:
        """The columns of `studies` that tell this study from all others."""
        plan = self.plan
        llm, teacher, reflection = plan.names
        identity = {
            "role": ",".join(self.plans),
            "question": plan.metric.question,
            "optimizer": plan.order.optimizer,
            "metric": plan.metric.name,
            "welfare": plan.config.welfare,
            "strategy": ",".join(each.strategy for each in self.plans.values()),
            "adapter": plan.config.adapter,
            "llm": llm,
            "teacher_llm": teacher,
            "reflection_llm": reflection,
            "seed": plan.config.seed,
            "data_hash": self.data.hash,
        }
        more = [name, others, plan.order.demos, plan.config.temperature, plan.config.max_output_tokens]
        return {
            "study": study_name({**identity, "beside": more}).replace(",", "+"),
            "created_at": now(),
            **identity,
            "config": as_json(plan.config.public()),
            "code_version": code_version(),
            "budget": plan.order.budget,
        }
