"""The description of a program that `refine` shows to a model when it asks for advice.

DSPy shows the source code of the program and of its score. Here both are fixed texts, because otherwise a change of the
code would change the prompt, and stored replies to it could not be reused. `lineage` in them is the recorder of the
calls.
"""

PROGRAM = '''class _Attempt(dspy.Module):
    """One answer; a failure is an answer of no worth, so that it is neither printed nor lost."""

    def __init__(self, signature: type[dspy.Signature]) -> None:
        super().__init__()
        self.answer = dspy.Predict(signature)

    def forward(self, **inputs: Any) -> dspy.Prediction:
        try:
            answer = self.answer(**inputs)
        except NO_ANSWER as error:
            answer = dspy.Prediction(failure=error)
        lineage = current_lineage()
        answer._call = lineage.answered_by if lineage is not None else None  # no field: nobody is to be shown it
        return answer
'''

SCORE = '''def worth(inputs: Mapping[str, Any], answer: dspy.Prediction) -> float:
    """How good an answer is as far as the asked one can know, from 0 to 1; -1 for none."""
    return -1.0 if "failure" in answer else reward(inputs, answer)
'''
