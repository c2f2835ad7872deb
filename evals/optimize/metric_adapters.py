"""A metric as a study needs it: it sees the truth behind an example, and a metric that fails is no bad answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dspy

from evals.metrics.registry import Metric, Score
from evals.optimize.candidates import BlindedExample
from pipeline.studies.study import Study


def with_hidden_labels(metric: Metric, study: Study) -> Metric:
    """`metric` for examples as optimizers see them. If it fails, the study is halted: nothing can be judged then."""

    def judge(example: BlindedExample, prediction: dspy.Prediction | None) -> Score:
        try:
            return metric.judge(example.whole, prediction)
        except Exception as error:
            study.halt(error)
            raise

    return replace(metric, judge=judge)


def with_feedback(
    metric: Metric, seen: Callable[[BlindedExample, dspy.Prediction | None, float], None]
) -> Callable[[BlindedExample, Any], dspy.Prediction]:
    """`metric` as SIMBA takes it, with its feedback; `seen` is told of every score."""

    def judged(example: BlindedExample, prediction: Any) -> dspy.Prediction:
        score, feedback = metric.judge(example, prediction)
        seen(example, prediction, score)
        return dspy.Prediction(score=score, feedback=feedback)

    return judged
