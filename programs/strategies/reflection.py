"""The reflection strategy: a draft, a critique of it, and a final answer."""

from __future__ import annotations

import json
from typing import Any

import dspy
from pydantic_core import to_jsonable_python

from signatures.types import OutsideText

LONGEST_CRITIQUE = 300
"""Maximum characters of a critique in the final prompt, which must stay short."""

CRITIQUE = """Criticise a draft answer to the task below, in one or two sentences.

Compare it with the record and the figures given: say what would be better, or that the draft stands.

The task: {task}"""


class Reflection(dspy.Module):
    """Three calls: `draft` asks the question, `critique` judges the draft, `answer` asks again and shows both.

    After Madaan et al. 2023 (Self-Refine), arXiv 2303.17651, with one round.
    """

    def __init__(self, signature: type[dspy.Signature]) -> None:
        super().__init__()
        drafted = signature.append("draft", dspy.InputField(desc="your first thought"), OutsideText)
        self.draft = dspy.Predict(signature)
        self.critique = dspy.Predict(_critique_of(drafted))
        self.answer = dspy.Predict(drafted.append("critique", dspy.InputField(desc="of the draft"), OutsideText))

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        draft = self._text(await self.draft.acall(**inputs))
        critique = (await self.critique.acall(**inputs, draft=draft)).critique[:LONGEST_CRITIQUE]
        return await self.answer.acall(**inputs, draft=draft, critique=critique)

    def forward(self, **inputs: Any) -> dspy.Prediction:
        draft = self._text(self.draft(**inputs))
        critique = self.critique(**inputs, draft=draft).critique[:LONGEST_CRITIQUE]
        return self.answer(**inputs, draft=draft, critique=critique)

    def _text(self, draft: dspy.Prediction) -> str:
        """A draft as the model sees it: one line of JSON, or the value alone if there is only one."""
        values = {name: draft[name] for name in self.draft.signature.output_fields}
        said = next(iter(values.values())) if len(values) == 1 else values
        return said if isinstance(said, str) else json.dumps(to_jsonable_python(said))


def _critique_of(drafted: type[dspy.Signature]) -> type[dspy.Signature]:
    """The signature that shows a task's inputs and a draft, and asks for a critique."""
    fields: dict[str, Any] = {name: (field.annotation, field) for name, field in drafted.input_fields.items()}
    fields["critique"] = (str, dspy.OutputField())
    task, name = CRITIQUE.format(task=drafted.instructions), f"Critique{drafted.__name__}"
    question: type[dspy.Signature] = dspy.make_signature(fields, task, name)
    return question
