"""A survey from a TOML file: typed questions, each a table `[questions.NAME]`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import UsageError
from programs.text_files import read_toml
from signatures.texts.survey import Kind, SurveyQuestion
from signatures.types import AnswerText

Label = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^;()\n]+$")]
"""A choice: one line without the marks that divide choices."""


class SurveyEntry(BaseModel):
    """A question of the file: `ask`, its `type`, and `choices` of a choice or `low` and `high` of a number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ask: Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\n]+$")]
    type: Kind = "text"
    choices: Annotated[tuple[Label, ...], Field(max_length=20)] = ()
    low: Annotated[float, Field(allow_inf_nan=False)] | None = None
    high: Annotated[float, Field(allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("choices belong to type choice, which needs them")
        if self.type == "choice" and not 2 <= len(set(self.choices)) == len(self.choices):
            raise ValueError("a choice needs at least two different choices")
        bounds = [bound for bound in (self.low, self.high) if bound is not None]
        if len(bounds) != (2 if self.type == "number" else 0) or bounds != sorted(set(bounds)):
            raise ValueError("low and high belong to type number, which needs both, low below high")
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

    name: Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[\w .-]+$")]
    questions: Annotated[
        dict[Annotated[str, Field(pattern=r"^\w{1,40}$")], SurveyEntry], Field(min_length=1, max_length=50)
    ]


def read_survey(path: str) -> Survey:
    """The survey in a file. UsageError in one line names the file, the question and what was expected."""
    try:
        return Survey.model_validate(read_toml(path))
    except OSError as error:
        raise UsageError(f"--survey {path} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"--survey {path}: {where or 'the file'}: {message[0].lower()}{message[1:]}") from error
    except ValueError as error:
        raise UsageError(f"--survey {path} is not TOML: {' '.join(str(error).split())[:200]}") from error
