"""Hours and changes of rates as models write them: every format reads the same text as the same value."""

from __future__ import annotations

from typing import Any

import pytest
from dspy.utils.exceptions import AdapterParseError
from hypothesis import given
from hypothesis import strategies as st

from programs.adapters.repairing import ADAPTERS
from programs.engines.rules.prompt_parser import FORMATS
from signatures.planner import SetTaxRates, for_brackets
from signatures.worker import ChooseLabor

every_adapter = pytest.mark.parametrize("adapter", ADAPTERS)
CHANGES = for_brackets(SetTaxRates, 3)


def read(adapter: str, signature: Any, **fields: Any) -> Any:
    """The value of the only field, or None where the reply is refused."""
    try:
        return next(iter(ADAPTERS[adapter]().parse(signature, FORMATS[adapter].write(fields)).values()))
    except AdapterParseError:
        return None


@every_adapter
@pytest.mark.parametrize(
    "said",
    ["33", "33 hours", "**33**", "33 hours per week", "33 hrs", "33.0", '"33"', "33 h", "33h", "33 hours a week",
     "33 hrs/week", "33 hours weekly", "**33 hours**", "33.", "`33`", "+33", "**33** hours", "33 Hours/wk"],
)  # fmt: skip
def test_thirty_three_hours_are_read_in_every_wording(adapter: str, said: str) -> None:
    assert read(adapter, ChooseLabor, labor=said) == 33


@every_adapter
@pytest.mark.parametrize(
    "said",
    ["about 33", "~33", "30-35", "30 to 35", "30 or 35", "33 minutes", "33 hours a day", "33%", "$33", "33.5", "133",
     "-3", "33 40", "[33]", "33 hours or 40", "33 of 100", "33/100", "true", "null", "", "not 33", "3 3",
     "33 a week", "33 week"],
)  # fmt: skip
def test_what_is_ambiguous_or_something_else_is_refused(adapter: str, said: str) -> None:
    assert read(adapter, ChooseLabor, labor=said) is None


@pytest.mark.slow
@given(
    st.from_regex(
        r"[*\"]{0,2}[0-9]{1,3}(\.[05])? ?(h|hrs|hours?|minutes|%|-5| a week|/week)?[*\"]{0,2}", fullmatch=True
    )
)
def test_all_formats_read_the_same_hours(said: str) -> None:
    assert len({read(adapter, ChooseLabor, labor=said) for adapter in ADAPTERS}) == 1


@every_adapter
@pytest.mark.parametrize(
    "said", [["10%", "0 %", "**-10**"], ["+10 pp", "0", "-10 percentage points"], [10.0, "0%", -10]]
)
def test_a_list_of_changes_with_units(adapter: str, said: list[Any]) -> None:
    assert read(adapter, CHANGES, rate_changes=said) == (10, 0, -10)
