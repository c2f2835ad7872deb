"""The persona signature: describe a person from a census record."""

import dspy

from signatures.types import OutsideName, PersonaText


class WritePersona(dspy.Signature):
    """Describe this person to themselves in two or three sentences, in the second person ("You are ...").

    Name age, sex and a job from the occupation group; then career stage, economic background, attitude to
    money and risk, circumstances and temper, as plausible for such a person. At most 450 characters."""

    occupation: OutsideName = dspy.InputField(desc="census occupation group")
    sex: OutsideName = dspy.InputField()
    age: int = dspy.InputField()
    wage: str = dspy.InputField()
    persona: PersonaText = dspy.OutputField()
