"""What is kept for an object is that object's, however many there are and whatever became of them."""

from hypothesis import given
from hypothesis import strategies as st

from programs.caching import PerObject


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 4))
def test_every_object_gets_what_was_made_of_it(asked: list[int], most: int) -> None:
    objects = [{"number": number} for number in range(10)]
    kept = PerObject(lambda value: value["number"], most=most)
    assert [kept(objects[number]) for number in asked] == asked


def test_an_object_that_is_gone_is_not_mistaken_for_another() -> None:
    kept = PerObject(lambda value: value["number"], most=2)
    assert [kept({"number": number}) for number in range(100)] == list(range(100))


def test_a_memo_is_computed_once() -> None:
    made: list[int] = []
    kept, value = PerObject(made.append), {"number": 1}
    for _ in range(3):
        kept(value)
    assert len(made) == 1
