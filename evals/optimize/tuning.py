"""Tune one program: judge it, tune it, select the best on dev, and judge both once on held-out examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

import dspy
from dspy.utils import exceptions as dspy_errors

from evals.metrics.registry import EPISODE, Metric, as_dspy
from evals.optimize.candidates import BlindedExample, Candidate, apply, candidate_of
from evals.optimize.metric_adapters import with_feedback, with_hidden_labels
from evals.optimize.optimizers import Optimizer, Task
from evals.optimize.progress import silence
from evals.optimize.trials import Trial, Trials
from pipeline.agents.budget import Capped
from pipeline.errors import UsageError
from pipeline.studies.dspy_callbacks import StudyCallbacks
from pipeline.studies.study import Study
from pipeline.studies.study_budget import Reservation
from programs.models import without_secrets

SLACK = 1.25
"""Allowed growth of a program's cost through tuning: demonstrations make prompts longer."""


@dataclass(frozen=True)
class Models:
    """The model that is tuned for, and its helpers: `teacher` gives demonstrations, `reflection` writes
    instructions."""

    lm: dspy.LM
    teacher: dspy.LM
    reflection: dspy.LM


@dataclass
class Outcome:
    """The result. The tests are missing if the budget ended before them.

    `stopped`: why the budget ended it early. `cut_short`: why the optimizer had to stop.
    """

    before: Trial
    best: Trial
    test_before: Trial | None = None
    test_after: Trial | None = None
    stopped: str | None = None
    cut_short: str | None = None

    @property
    def changed(self) -> bool:
        """Whether any candidate scored higher on dev than the original program."""
        return self.best is not self.before


@dataclass
class Tuning:
    """An optimization. `splits`: examples of train, dev and test. `outputs`: the fields of a usable answer.

    `accepted`: the score above which an answer may become a demonstration; for whole economies, the untuned program's
    mean if that is lower.
    """

    study: Study
    student: dspy.Module
    models: Models
    adapter: dspy.Adapter
    splits: dict[str, list[BlindedExample]]
    outputs: tuple[str, ...]
    metric: Metric
    optimizer: Optimizer
    seed: int = 0
    demos: int = 4
    threads: int = 1
    labelled: bool = True
    on_trial: Callable[[Trial, Trials], None] = lambda trial, trials: None
    accepted: float = 0.9
    trials: Trials = field(init=False)

    def __post_init__(self) -> None:
        self.trials = Trials(self.study, self.student, self.adapter, self.splits, self.outputs)
        self.trials.on_trial = lambda trial: self.on_trial(trial, self.trials)
        self.metric = with_hidden_labels(self.metric, self.study)

    def run(self) -> Outcome:
        """Run all phases of the study. UsageError if its budget is too small for a result."""
        allowance = self.study.allowance
        with silence():
            before = self._judge_before()
            if self.metric.question == EPISODE:  # whole economies rarely come near the optimum
                self.accepted = min(self.accepted, before.score)
            outcome = Outcome(before, before)
            for_test = _share(before, 2 * len(self.splits["test"]))
            for_dev = _share(before, self.optimizer.finalists * len(self.splits["dev"]))
            with allowance.holding_back(for_test + for_dev):
                self._tune(outcome, self._answers(before, for_test + for_dev))
            with allowance.holding_back(for_test):
                self._judge_finalists(outcome)
            outcome.best = self.trials.best
            self._judge_at_last(outcome)
        return outcome

    def _phase(self) -> StudyCallbacks:
        return StudyCallbacks(self.study, type(self.student), self.trials.evaluated)

    def judge(self, candidate: Candidate, split: str) -> Trial:
        """The trial of a candidate on a whole split, in its own phase."""
        examples = self.splits[split]
        phase = self._phase()
        with phase.open(lm=self.models.lm, adapter=self.adapter, threads=self.threads):
            self._evaluate(candidate, examples)
        trial = self.trials.find(candidate, examples)
        assert trial is not None
        return trial

    def _evaluate(self, candidate: Candidate, examples: list[BlindedExample]) -> None:
        program = self.student.deepcopy()
        apply(candidate, program)
        dspy.Evaluate(devset=examples, metric=as_dspy(self.metric), num_threads=self.threads)(program)

    def _judge_before(self) -> Trial:
        try:
            return self.judge(candidate_of(self.student), "dev")
        except Capped as cap:
            examples = len(self.splits["dev"])
            raise UsageError(f"{cap}: not enough for {examples} dev examples; raise it, or shrink --sizes") from cap

    def _answers(self, before: Trial, kept: Reservation) -> int:
        """The estimated number of program answers that the budget leaves for tuning, from the cost of the first
        trial."""
        allowance, took = self.study.allowance, _share(before, len(before.scores), slack=1)
        caps = (
            (allowance.max_calls, took.calls, kept.calls, "--budget"),
            (allowance.max_cost_usd, took.dollars, kept.dollars, "--max-cost-usd"),
            (allowance.max_tokens, took.tokens, kept.tokens, "--max-tokens"),
        )
        left = []
        for cap, spent, held, flag in caps:
            if cap is not None and spent:
                left.append((cap - spent - held) * len(before.scores) / spent)
                if left[-1] < len(before.scores):
                    raise UsageError(
                        f"{flag} {cap:g}: judging the program before and after takes {_number(spent + held)}, and each "
                        f"candidate {_number(spent)}; give {_number(2 * spent + held)} or more, or shrink --sizes"
                    )
        return int(min(left, default=100 * len(before.scores)))

    def _tune(self, outcome: Outcome, answers: int) -> None:
        phase = self._phase()
        try:
            with phase.open(lm=self.models.lm, adapter=self.adapter, threads=self.threads):
                for program in self.optimizer.tune(self._task(phase, answers)):
                    self._evaluate(candidate_of(program), self.splits["dev"])
        except Capped as cap:
            outcome.stopped = str(cap)
        except (dspy_errors.AdapterParseError, dspy_errors.LMInvalidRequestError) as error:
            self.study.check()
            kind = "could not be parsed" if isinstance(error, dspy_errors.AdapterParseError) else "was refused"
            outcome.cut_short = f"a proposal {kind} ({without_secrets(str(error))[:120]})"

    def _task(self, phase: StudyCallbacks, answers: int) -> Task:
        def seen(example: BlindedExample, answer: dspy.Prediction | None, score: float) -> None:
            assert phase.asked is not None
            self.trials.seen(phase.asked, example, answer, score)

        return Task(
            student=self.student.deepcopy(),
            train=self.splits["train"],
            dev=self.splits["dev"],
            judge=as_dspy(self.metric, threshold=self.accepted),
            with_feedback=with_feedback(self.metric, seen),
            lm=self.models.lm,
            teacher=self.models.teacher,
            reflection=self.models.reflection,
            seed=self.seed,
            demos=self.demos,
            answers=answers,
            threads=self.threads,
            labelled=self.labelled,
        )

    def _judge_finalists(self, outcome: Outcome) -> None:
        """Judge on dev the best candidates that were judged only on training examples."""
        for trial in self.trials.settle()[: self.optimizer.finalists]:
            try:
                self.judge(trial.candidate, "dev")
            except Capped as cap:
                outcome.stopped = str(cap)
                return

    def _judge_at_last(self, outcome: Outcome) -> None:
        """Judge the original and the best program on the test examples, unused so far, if there are any."""
        if not self.splits["test"]:
            return
        try:
            outcome.test_before = self.judge(outcome.before.candidate, "test")
            outcome.test_after = self.judge(outcome.best.candidate, "test")
        except Capped as cap:
            outcome.stopped = str(cap)


def _share(trial: Trial, examples: int, *, slack: float = SLACK) -> Reservation:
    """The expected cost of judging `examples` examples, from the cost of a trial."""
    each = examples / len(trial.scores) * slack
    return Reservation(ceil(trial.calls * each), trial.cost_usd * each, ceil(trial.tokens * each))


def _number(amount: float) -> str:
    return f"{amount:,}" if isinstance(amount, int) else f"{amount:.4g}"
