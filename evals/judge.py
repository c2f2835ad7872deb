"""A metric in the forms in which DSPy's optimizers call it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dspy

from evals.asked import Shown
from evals.metrics import Metric, Score
from pipeline.study import Study

GOOD = 0.98
"""Score from which an answer may serve as a demonstration."""


class Judge:
    """Scores answers by `metric`. `seen` is told of every score that counts for a candidate.

    `telling`: scores come with their feedback, for optimizers that read it.
    """

    def __init__(
        self,
        metric: Metric,
        study: Study,
        *,
        telling: bool = False,
        seen: Callable[[Shown, dspy.Prediction | None, float], None] | None = None,
    ) -> None:
        self.metric, self.study, self.telling, self.seen = metric, study, telling, seen

    def __call__(
        self, example: Shown, prediction: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None
    ) -> Any:
        """A score; with `trace`, whether the answer may serve as a demonstration; with `pred_name`, also feedback."""
        score = self.score(example, prediction)
        if pred_name is not None:
            return dspy.Prediction(score=score.score, feedback=score.feedback)
        if trace is not None:
            return score.score >= GOOD
        if self.seen is not None:
            self.seen(example, prediction, score.score)
        return dspy.Prediction(score=score.score, feedback=score.feedback) if self.telling else score.score

    def score(self, example: Shown, prediction: Any) -> Score:
        try:
            return self.metric.judge(example.whole, prediction or None)
        except Exception as error:  # a metric that fails must not count as an answer of no worth
            self.study.halt(error)
            raise
