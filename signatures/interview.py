"""The interview signature: any question to an agent about one year of a finished run."""

import dspy

from signatures.types import AnswerText, Identity, OutsideText


class AnswerInterview(dspy.Signature):
    """The year described here is over. Answer a question about it, in the first person, as the one you were in it.

    You know what you were told and remembered then, what you did in the year and what came of it, and nothing else.
    At most 1000 characters."""

    objective: str = dspy.InputField()
    tax_schedule: str = dspy.InputField(desc="marginal rates in the year")
    last_year: str = dspy.InputField(desc="what you were told of the year before")
    identity: Identity = dspy.InputField()
    record: str = dspy.InputField(desc="what you remembered; value is your objective's, without others' taxes")
    phase: str = dspy.InputField(desc="what you had to do: explore or exploit")
    this_year: str = dspy.InputField(desc="what you did in the year, and what came of it")
    question: OutsideText = dspy.InputField()
    answer: AnswerText = dspy.OutputField()
