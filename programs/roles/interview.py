"""The interview program: not optimized, not saved, and without a choice of strategy."""

import dspy

from signatures.interview import AnswerInterview


class Interviewee(dspy.Module):
    """Answers any question about a year directly."""

    def __init__(self) -> None:
        super().__init__()
        self.answer_interview = dspy.Predict(AnswerInterview)
