"""A survey from a TOML file: typed questions, each a table `[questions.NAME]`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import UsageError
from programs.text_files import read_toml
from signatures.texts.survey import Kind, SurveyQuestion
from signatures.types import AnswerText

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

QUESTIONS = "1 to 50 questions, each a table [questions.NAME]"


def _text(pattern: str, expected: str) -> AfterValidator:
    """Text without surrounding spaces that matches `pattern`. ValueError says what was expected."""

    def checked(text: str) -> str:
        if not re.fullmatch(pattern, text.strip()):
            raise ValueError(f"{text[:40]!r}: expected {expected}")
        return text.strip()

    return AfterValidator(checked)


def _tables(value: Any) -> Any:
    if not isinstance(value, dict) or not 1 <= len(value) <= 50:
        raise ValueError(f"expected {QUESTIONS}")
    return value


Label = Annotated[str, _text(r"[^;()\x00-\x1f\x7f]{1,80}", "1 to 80 characters in one line, without ; ( )")]
"""A choice: one line without the marks that divide choices."""


class SurveyEntry(BaseModel):
    """A question of the file: `ask`, its `type`, and `choices` of a choice or `low` and `high` of a number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ask: Annotated[str, _text(r"[^\x00-\x1f\x7f]{1,1000}", "1 to 1,000 characters in one line")]
    type: Kind = "text"
    choices: Annotated[tuple[Label, ...], Field(max_length=20)] = ()
    low: Annotated[float, Field(allow_inf_nan=False)] | None = None
    high: Annotated[float, Field(allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("choices belong to type = 'choice', which needs them, e.g. choices = ['lower', 'higher']")
        if self.type == "choice" and not 2 <= len(set(self.choices)) == len(self.choices):
            raise ValueError("a choice needs at least two different choices")
        bounds = [bound for bound in (self.low, self.high) if bound is not None]
        if len(bounds) != (2 if self.type == "number" else 0) or bounds != sorted(set(bounds)):
            raise ValueError("low and high belong to type = 'number', which needs both, low below high")
        return self

    @property
    def question(self) -> SurveyQuestion:
        """The question as an agent reads it."""
        if self.low is None or self.high is None:
            return SurveyQuestion(self.ask, self.type, self.choices)
        return SurveyQuestion(self.ask, self.type, low=self.low, high=self.high)

    @property
    def answer(self) -> Any:
        """The type of the answer: pydantic refuses any other."""
        match self.type:
            case "yes/no":
                return bool
            case "choice":
                return Literal[self.choices]
            case "number":
                return Annotated[float, Field(ge=self.low, le=self.high, allow_inf_nan=False)]
            case _:
                return AnswerText


class Survey(BaseModel):
    """The file: a `name`, under which answers are stored, and `questions` by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, _text(r"[\w .-]{1,60}", "1 to 60 letters, digits, spaces, dots or hyphens")]
    questions: Annotated[
        dict[Annotated[str, _text(r"\w{1,40}", "a name of 1 to 40 letters, digits or underscores")], SurveyEntry],
        BeforeValidator(_tables),
    ]


def read_survey(path: str) -> Survey:
    """The survey in a file. UsageError in one line names the file, the question and what was expected."""
    try:
        return Survey.model_validate(read_toml(path))
    except OSError as error:
        raise UsageError(f"--survey {path} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise UsageError(f"--survey {path}: {_one_line(error.errors()[0])}") from error
    except ValueError as error:
        raise UsageError(f"--survey {path} is not TOML: {' '.join(str(error).split())[:200]}") from error


def _one_line(first: ErrorDetails) -> str:
    """Where in the file what is wrong, and what was expected."""
    where = ".".join(str(part) for part in first["loc"] if part != "[key]")
    match first["type"]:
        case "missing":
            return f"{where} is missing" + (f"; expected {QUESTIONS}" if where == "questions" else "")
        case "extra_forbidden":
            allowed = SurveyEntry.model_fields if len(first["loc"]) > 1 else Survey.model_fields
            return f"unknown key {where}; expected {', '.join(allowed)}"
        case "model_type":
            return f"{where}: expected a table [{where}] with the key ask"
        case "literal_error":
            return f"{where}: expected {first['ctx']['expected']}, not {first['input']!r}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message[0].lower()}{message[1:]}"
