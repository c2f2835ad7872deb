"""Adapt metrics to a study: they see the exact answer of an example, and an error in a metric halts the study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dspy

from evals.metrics.registry import Metric, Score
from evals.optimize.candidates import BlindedExample
from pipeline.studies.study import Study


def with_hidden_labels(metric: Metric, study: Study) -> Metric:
    """`metric` for examples as optimizers see them. If it fails, the study halts, because nothing can be judged."""

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
    """`metric` in the form for SIMBA, with its feedback; `seen` receives every score."""

    def judged(example: BlindedExample, prediction: Any) -> dspy.Prediction:
        score, feedback = metric.judge(example, prediction)
        seen(example, prediction, score)
        return dspy.Prediction(score=score, feedback=feedback)

    return judged
