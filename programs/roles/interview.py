"""The mind of an agent that is interviewed: outside of the programs that are tuned and saved, and asked in one way."""

import dspy

from signatures.interview import AnswerInterview


class Interviewee(dspy.Module):
    """Answers any question about a year, at once."""

    def __init__(self) -> None:
        super().__init__()
        self.answer_interview = dspy.Predict(AnswerInterview)
