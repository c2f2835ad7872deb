"""Trials of a study: every judged candidate, as a row of `optimizer_trials`, and the best of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b

import dspy
import numpy as np

from evals.optimize.candidates import BlindedExample, Candidate, apply, as_text, candidate_of
from pipeline.agents.call_trace import storable
from pipeline.store.columns import now
from pipeline.studies.call_tree import Evaluated
from pipeline.studies.study import Study


@dataclass
class Trial:
    """A candidate on some examples of a split: `scores` in their order, 0 to 1.

    `answers`: its answers, if known. `unanswered`: examples without a usable answer. `unparsed`: replies that needed a
    repair. `calls`, `tokens`, `cost_usd`: the cost, stored replies included.
    """

    number: int
    split: str
    candidate: Candidate
    examples: list[BlindedExample]
    scores: list[float]
    answers: list[dspy.Prediction] = field(default_factory=list)
    unanswered: int = 0
    unparsed: int = 0
    calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0

    @property
    def score(self) -> float:
        return float(np.mean(self.scores))

    @property
    def answered(self) -> list[tuple[dspy.Example, dspy.Prediction]]:
        """Each example, with its exact answer, and the candidate's answer."""
        return [(example.whole, answer) for example, answer in zip(self.examples, self.answers, strict=True)]

    @cached_property
    def text(self) -> str:
        return as_text(self.candidate)


@dataclass
class Trials:
    """All trials of a study so far. `splits`: the examples of each. `on_trial` is called for every new one."""

    study: Study
    student: dspy.Module
    adapter: dspy.Adapter
    splits: dict[str, list[BlindedExample]]
    outputs: Sequence[str]
    on_trial: Callable[[Trial], None] = lambda trial: None
    all: list[Trial] = field(default_factory=list)
    _seen: dict[str, Trial] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._split_of = {id(example): name for name, examples in self.splits.items() for example in examples}
        query = "SELECT trial, split, program, created_at FROM optimizer_trials WHERE study = ?"
        self._before = {row["trial"]: row for row in self.study.store.rows(query, [self.study.name])}

    def evaluated(self, done: Evaluated) -> None:
        """Record a whole evaluation as a trial; a repeated evaluation is ignored."""
        examples = list(done.taken.examples)
        trial = Trial(
            number=len(self.all),
            split=self._split_of[id(examples[0])],
            candidate=candidate_of(done.taken.program),
            examples=examples,
            scores=list(done.scores),
            answers=list(done.predictions),
            unanswered=sum(not self._usable(answer) for answer in done.predictions),
            unparsed=done.taken.unparsed,
            calls=done.taken.calls,
            tokens=done.taken.tokens,
            cost_usd=done.taken.cost_usd,
        )
        known = self.find(trial.candidate, examples)
        if known is None:
            self._take(trial)

    def _usable(self, answer: dspy.Prediction | None) -> bool:
        return answer is not None and all(name in answer for name in self.outputs)

    def _take(self, trial: Trial) -> None:
        self.all.append(trial)
        self._store(trial)
        self.on_trial(trial)

    def seen(self, program: dspy.Module, example: BlindedExample, answer: dspy.Prediction | None, score: float) -> None:
        """Record one score of a candidate that is judged example by example; `settle` turns them into trials."""
        candidate = candidate_of(program)
        key = blake2b(as_text(candidate).encode(), digest_size=16).hexdigest()
        with self.study.changed:
            trial = self._seen.setdefault(key, Trial(-1, self._split_of[id(example)], candidate, [], []))
            trial.examples.append(example)
            trial.scores.append(score)
            trial.unanswered += not self._usable(answer)

    def settle(self) -> list[Trial]:
        """Turn the scores from `seen` into trials, the best first, with examples in the order of the split."""
        order = {id(example): i for examples in self.splits.values() for i, example in enumerate(examples)}
        settled = sorted(self._seen.values(), key=lambda trial: trial.text)
        self._seen = {}
        for trial in settled:
            pairs = sorted(zip(trial.examples, trial.scores, strict=True), key=lambda p: (order[id(p[0])], p[1]))
            trial.examples, trial.scores = [example for example, _ in pairs], [score for _, score in pairs]
            trial.number = len(self.all)
            self._take(trial)
        return sorted(settled, key=lambda trial: (-trial.score, -len(trial.scores), trial.text))

    def find(self, candidate: Candidate, examples: Sequence[BlindedExample]) -> Trial | None:
        """The trial of a candidate on exactly these examples."""
        text, wanted = as_text(candidate), list(map(id, examples))
        same = (trial for trial in self.all if trial.text == text and list(map(id, trial.examples)) == wanted)
        return next(same, None)

    @property
    def whole(self) -> list[Trial]:
        """Trials on the whole dev set, in order."""
        wanted = list(map(id, self.splits["dev"]))
        return [trial for trial in self.all if list(map(id, trial.examples)) == wanted]

    @property
    def best(self) -> Trial:
        """The trial with the highest mean on the whole dev set; the first in case of a tie, which changes least."""
        return max(self.whole, key=lambda trial: (trial.score, -trial.number))

    def prompt(self, candidate: Candidate) -> str:
        """What a model sees before the question: instruction and demonstrations of every predictor."""
        program = self.student.deepcopy()
        apply(candidate, program)
        inputs = self.splits["dev"][0].inputs().toDict()
        parts = []
        for name, predictor in program.named_predictors():
            messages = self.adapter.format(predictor.signature, predictor.demos, inputs)[:-1]
            parts += [f"## {name}", *(f"### {message['role']}\n{message['content']}" for message in messages)]
        return "\n\n".join(parts)

    def close(self) -> None:
        """Delete rows from an earlier pass of the study (with another budget) that this pass did not reach."""
        for number in self._before:
            if number >= len(self.all):
                self.study.store.replace("optimizer_trials", {"study": self.study.name, "trial": number}, [])

    def _store(self, trial: Trial) -> None:
        text, before = storable(trial.text), self._before.get(trial.number)
        same = before is not None and (before["split"], before["program"]) == (trial.split, text)
        shared = ("study", "role", "optimizer", "metric", "strategy", "adapter")
        row = {
            **{column: self.study.row[column] for column in shared},
            "trial": trial.number,
            "prompt": storable(self.prompt(trial.candidate)),
            "score": trial.score,
            "created_at": before["created_at"] if before is not None and same else now(),
            "split": trial.split,
            "examples": len(trial.scores),
            "scores": trial.scores,
            "unanswered": trial.unanswered,
            "unparsed": trial.unparsed,
            "calls": trial.calls,
            "cost_usd": trial.cost_usd,
            "program": text,
        }
        self.study.store.replace("optimizer_trials", {"study": self.study.name, "trial": trial.number}, [row])
