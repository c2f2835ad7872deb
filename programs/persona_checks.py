"""Check a persona against its census record.

The checks call no model. Strategies use them as a reward, and `evals/metrics/registry.py` uses them as a metric.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import takewhile
from typing import NamedTuple

SHORTEST, LONGEST = 40, 450
"""Characters of a persona."""

TOO_ALIKE = 0.8
"""Share of common words (`similarity`) from which two personas count as the same."""


class Check(NamedTuple):
    """One check, whether it passed, and if not, what is wrong, in words."""

    name: str
    passed: bool
    complaint: str


def checks(text: str, *, occupation: str, sex: str, age: int, neighbours: Sequence[str] = ()) -> list[Check]:
    """All checks of a persona `text`. `neighbours`: others' personas; without any, that check is omitted.

    `occupation` is a census group ("Registered nurses"), `sex` "Male" or "Female", `age` in years.

    >>> nurse = dict(occupation="Registered nurses", sex="Female", age=34)
    >>> text = "You are a 34-year-old man who runs a bakery in Ohio. You save a little."
    >>> [check.name for check in checks(text, **nurse) if not check.passed]
    ['occupation', 'sex']
    """
    sentences, length = count_sentences(text), len(text)
    found = [
        Check("occupation", names_job(text, occupation), f"it names no job from the group '{occupation}'"),
        Check("age", tells_age(text, age), f"it does not say that the person is {age} years old"),
        Check("sex", tells_sex(text, sex), f"it does not say that the person is a {NOUNS[sex][0]}, or says otherwise"),
        Check("second person", addresses_you(text), "it does not speak to the person as you, from beginning to end"),
        Check("sentences", 2 <= sentences <= 3, f"it has {sentences} sentences, not two or three"),
        Check("length", SHORTEST <= length <= LONGEST, f"it has {length} characters, not {SHORTEST} to {LONGEST}"),
    ]
    if neighbours:
        nearest = max(similarity(text, other) for other in neighbours)
        complaint = f"{nearest:.0%} of its words are those of a neighbour's persona"
        found.append(Check("distinctness", nearest < TOO_ALIKE, complaint))
    return found


def words(text: str) -> list[str]:
    """The words of `text`, in lower case; numbers count."""
    return re.findall(r"[a-z0-9]+", text.lower())


def similarity(one: str, other: str) -> float:
    """Words that two texts have in common, as a share of all that either has (Jaccard 1901).

    >>> similarity("You save.", "You spend.")
    0.3333333333333333
    """
    a, b = set(words(one)), set(words(other))
    return len(a & b) / len(a | b) if a | b else 1.0


SENTENCE_END = re.compile(r"(?<![.!?])[.!?]++[\"')\u201d\u2019]*+(?=\s++[\"'(\u201c\u2018]*+[A-Z]|\s*+$)")


def count_sentences(text: str) -> int:
    """The number of sentences in `text`; a period within a number or an abbreviation such as U.S. does not end one.

    >>> count_sentences("You earn $34.60 an hour. You live in the U.S. with a dog!")
    2
    """
    return len(SENTENCE_END.findall(text.strip())) or int(bool(text.strip()))


# -- the job ----------------------------------------------------------------------------------------------------

EMPTY = frozenset(
    """
    all and including non of or other related than the to with
    career community first hand home human information life line middle miscellaneous occupation occupations person
    personal public school service services special support technical top worker workers
    """.split()  # noqa: SIM905
)
"""Words of census groups that identify no job, or that any persona may contain."""

EVERYDAY: Mapping[str, tuple[str, ...]] = {
    "art and design": ("artist",),
    "physicians": ("doctor",),
    "religious": ("pastor", "priest", "minister", "rabbi", "imam", "chaplain", "church", "parish"),
    "law enforcement": ("police", "officer", "detective", "sheriff", "deputy"),
    "firefighting": ("firefighter", "fireman"),
    "protective": ("guard", "security"),
    "executives": ("director", "chief", "ceo"),
    "management": ("manager",),
    "postsecondary": ("professor", "lecturer", "college", "university"),
    "motor vehicle": ("driver",),
    "food and beverage serving": ("barista", "bartender", "counter"),
    "food preparation": ("dishwasher", "kitchen", "chef"),
    "housekeeping": ("housekeeper",),
    "cleaning": ("janitor", "cleaner", "custodian", "maid"),
    "grounds": ("gardener", "landscaper"),
    "personal appearance": ("hairdresser", "barber", "stylist", "manicurist"),
    "child care": ("childcare", "nanny", "babysitter", "daycare"),
    "legal support": ("paralegal",),
    "nursing": ("caregiver",),
    "personal care": ("caregiver",),
    "mathematical science": ("statistician", "mathematician", "actuary"),
    "extraction": ("miner", "driller", "oil"),
    "agricultural": ("farm", "farmer", "farmhand", "rancher"),
    "air transportation": ("pilot", "flight"),
    "rail and water": ("railroad", "train", "sailor", "ship"),
    "production": ("factory", "plant", "manufacturing"),
    "textile": ("tailor", "seamstress", "sewing", "upholsterer"),
    "life and physical scientists": ("biologist", "chemist", "physicist"),
    "social scientists": ("economist", "psychologist", "sociologist"),
    "entertainers": ("actor", "actress", "musician", "dancer", "athlete", "coach"),
}
"""Everyday names of jobs by the words of census groups."""


def names_job(text: str, occupation: str) -> bool:
    """Whether `text` has a word of the census group, in any form, or an everyday name of its jobs.

    What a group excludes ("Retail sales workers except cashiers") does not count.

    >>> names_job("You are a nurse.", "Registered nurses"), names_job("You sell shoes.", "Retail sales workers")
    (True, False)
    """
    stems = _job_stems(occupation)
    return any(_akin(word, stem) for word in set(words(text)) for stem in stems)


@cache
def _job_stems(occupation: str) -> tuple[str, ...]:
    named = occupation.lower().partition(" except ")[0]
    everyday = [name for group, names in EVERYDAY.items() if group in named for name in names]
    own = [word for word in words(named) if word not in EMPTY]
    return tuple(dict.fromkeys(map(_stem, (*own, *everyday))))


ENDINGS = frozenset(
    """
    al ant ation e er erman erwoman ial ian ing ion ist ive man ment or person r ry sman sperson swoman woman y
    """.split()  # noqa: SIM905
) | {""}
"""Endings in which two forms of a word may differ: nurse and nursing, sale and salesman."""


def _stem(word: str) -> str:
    """`word` in the singular."""
    for ending, singular in (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("s", "")):
        if word.endswith(ending) and not word.endswith(("ss", "us", "is")):
            return word.removesuffix(ending) + singular
    return word


def _akin(word: str, stem: str) -> bool:
    """Whether `word` is a form of `stem`: they share at least four letters, and differ only in their endings."""
    word = _stem(word)
    if word == stem or word in EMPTY or len(stem) < 4 or word[:4] != stem[:4]:
        return word == stem
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(word, stem, strict=False)))
    return {word[common:], stem[common:]} <= ENDINGS


# -- age and sex ------------------------------------------------------------------------------------------------

ONES = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEENS = (
    *("ten", "eleven", "twelve", "thirteen", "fourteen"),
    *("fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
DECADES = {20: "twenties", 30: "thirties", 40: "forties", 50: "fifties", 60: "sixties", 70: "seventies", 80: "eighties"}
PARTS = {"early": range(5), "mid": range(3, 8), "middle": range(3, 8), "late": range(6, 10)}
"""The years of a decade that its early, middle and late part may include."""

STATED_AGE = re.compile(r"(?:^You are |^You're |\baged? )(\d{1,3})\b|\b(\d{1,3})[- ]years?[- ]olds?\b")
DECADE = re.compile(r"\b(?:(early|mid|middle|late)[- ]+)?(?:(\d)0'?s|(" + "|".join(DECADES.values()) + r"))\b")
TEENAGER = re.compile(r"\bteen(?:s|ager|aged)?\b|\b(?:early|mid|late)[- ]teens\b")


def tells_age(text: str, age: int) -> bool:
    """Whether `text` states the age: the number, in figures or words, or the right part of the right decade.

    The first age in figures counts as the person's; later ones may be those of children.

    >>> tells_age("You are a woman in your early forties.", 42), tells_age("You are 24 years old.", 42)
    (True, False)
    """
    stated = STATED_AGE.search(text)
    if stated:
        return int(stated[1] or stated[2]) == age
    plain = text.lower()
    if re.search(rf"\b{in_words(age).replace('-', '[- ]')}\b", plain) or re.search(
        rf"(?<![$\d,.]){age}(?![\d,.]*\d)", plain
    ):
        return True
    if age < 20 and TEENAGER.search(plain):
        return True
    decade = DECADE.search(plain)
    if decade is None:
        return False
    tens = int(decade[2]) * 10 if decade[2] else next(tens for tens, name in DECADES.items() if name == decade[3])
    return age // 10 * 10 == tens and age % 10 in PARTS.get(decade[1] or "", range(10))


def in_words(number: int) -> str:
    """A number from 10 to 99 in words.

    >>> in_words(16), in_words(40), in_words(42)
    ('sixteen', 'forty', 'forty-two')
    """
    if number < 20:
        return TEENS[number - 10]
    return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")


NOUNS: Mapping[str, tuple[str, ...]] = {
    "Male": ("man", "male", "gentleman", "guy"),
    "Female": ("woman", "female", "lady", "gal"),
}
KIN: Mapping[str, tuple[str, ...]] = {
    "Male": ("father", "dad", "grandfather", "husband", "widower"),
    "Female": ("mother", "mom", "grandmother", "wife", "widow"),
}
"""Other words for a man or a woman, unless they refer to someone else ("your mother", "with a wife")."""


def tells_sex(text: str, sex: str) -> bool:
    """Whether `text` calls the person a man or a woman, as `sex` says, and never the other.

    >>> tells_sex("You are a mother of two.", "Female"), tells_sex("You are a man whose mother is ill.", "Male")
    (True, True)
    """
    said, other = set(words(text)), next(each for each in NOUNS if each != sex)
    kin = re.search(rf"\b(?:you are|as) an? (?:[\w-]+ ){{0,4}}(?:{'|'.join(KIN[sex])})\b", text, re.IGNORECASE)
    return (not said.isdisjoint(NOUNS[sex]) or kin is not None) and said.isdisjoint(NOUNS[other])


# -- the form ---------------------------------------------------------------------------------------------------


def addresses_you(text: str) -> bool:
    """Whether `text` begins by addressing the person, and is nowhere in the first person.

    >>> addresses_you("You are a cook. You save."), addresses_you("I am a cook."), addresses_you("She is a cook.")
    (True, False, False)
    """
    first = re.split(r"(?<=[.!?])\s", text.strip(), maxsplit=1)[0]
    return bool(re.search(r"\byou(?:r|'re)?\b", first, re.IGNORECASE)) and not re.search(
        r"\b(?:I|I'm|my|My|me)\b", text
    )
