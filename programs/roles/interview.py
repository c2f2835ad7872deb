"""The interview program: not optimized, not saved, and without a choice of strategy."""

from typing import Any

import dspy

from signatures.interview import AnswerInterview


class Interviewee(dspy.Module):
    """Answers any question about a year directly; `answer`: the type of the answer, if it is not text."""

    def __init__(self, answer: Any = None) -> None:
        super().__init__()
        typed = AnswerInterview if answer is None else AnswerInterview.with_updated_fields("answer", type_=answer)
        self.answer_interview = dspy.Predict(typed)
