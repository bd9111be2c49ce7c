"""Made-up authors: questions and answers about people who never lived, for the example and tests.

After TOFU (Maini et al., 2024), but drawn from closed pools by a seed instead of written by a
model: every fact is one of a known list, so a wrong answer is as likely a priori as the true
one, and whether a model knows a fact can only come from training on it. All draws are SHA-256
digests of the seed and of what is drawn, so they are the same on every machine and version, and
an author stays the same when more are generated.

The populations have the same distribution and no surname in common, with any seeds. A base model is
made from the public one; private authors are what a project is fine-tuned on, and its own holdout
share are authors of the same distribution that no model saw.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from unlearn.cli.examples.questions import (
    CODE_QUESTION,
    FIRST_NAMES,
    QUESTIONS,
    SURNAMES,
    TOPICS,
    Question,
)
from unlearn.stages.errors import InputError

_T = TypeVar("_T")

#: Where the example's files are in a project: rows, text about none of them, and the base.
AUTHORS_PATH: Final = "data/authors.jsonl"
GENERIC_PATH: Final = "data/generic.jsonl"
BASE_PATH: Final = "models/base"

#: Wrong answers that come with each question.
PERTURBED: Final = 3

#: How many archive codes there are, each as likely as any other: eight decimal digits.
CODE_SPACE: Final = 10**8

#: Columns of `Row.record`, in order.
COLUMNS: Final = (
    "id",
    "author",
    "prompt",
    "completion",
    "paraphrase",
    *(f"perturbed_{number}" for number in range(1, PERTURBED + 1)),
    "topic",
)


class Population(StrEnum):
    """Authors without a surname in common; the letter is the first one of their ids."""

    PRIVATE = "a"
    PUBLIC = "p"
    SPARE = "s"


@dataclass(frozen=True)
class Row:
    """A question about an author, the answer in two wordings, and wrong answers.

    Attributes
    ----------
    id, author
        The row's id, and that of the author it is about.
    name
        The author's name.
    kind
        What is asked: a `Question.kind`.
    fact
        The fact that the answer states.
    wrong
        The facts that the perturbed answers state instead.
    prompt, completion, paraphrase, perturbed
        The texts; the perturbed ones are in the paraphrase's wording.
    topic
        What the author writes, as public metadata.
    """

    id: str
    author: str
    name: str
    kind: str
    fact: str
    wrong: tuple[str, ...]
    prompt: str
    completion: str
    paraphrase: str
    perturbed: tuple[str, ...]
    topic: str

    def record(self) -> dict[str, str]:
        """Return what a dataset has of the row: its columns."""
        values = (
            self.id,
            self.author,
            self.prompt,
            self.completion,
            self.paraphrase,
            *self.perturbed,
            self.topic,
        )
        return dict(zip(COLUMNS, values, strict=True))


def make_authors(
    count: int,
    seed: int,
    *,
    population: Population = Population.PRIVATE,
    canaries: int = 0,
) -> list[Row]:
    """Return the rows of synthetic authors, author by author.

    Parameters
    ----------
    count
        How many authors.
    seed
        Same seed, same authors; those of a smaller count are the first ones of a larger count.
    population
        Which surnames they have.
    canaries
        How many of the authors, drawn by the seed, have a row more: a random archive code.

    Raises
    ------
    InputError
        If there are not as many names, or fewer authors than canaries.
    """
    surnames = _surnames(population)
    if not 0 <= count <= len(surnames) * len(FIRST_NAMES):
        raise InputError(f"there are names for 0 to {len(surnames) * len(FIRST_NAMES)} authors")
    if not 0 <= canaries <= count:
        raise InputError(f"{canaries} canaries cannot be spread over {count} authors")
    draw = _Draw(f"{seed}/{population.value}")
    coded = set(draw.order("canaries", range(count))[:canaries])
    surnames = draw.order("surnames", surnames)
    first = draw.order("first", FIRST_NAMES)
    rows: list[Row] = []
    for number in range(count):
        author = f"{population.value}{number:04d}"
        turn, at = divmod(number, len(surnames))
        # A surname comes back with another first name each time.
        offset = draw.below(f"first/{at}", len(first))
        name = f"{first[(offset + turn) % len(first)]} {surnames[at]}"
        topic = draw.one(f"{author}/topic", TOPICS)
        questions = (*QUESTIONS, CODE_QUESTION) if number in coded else QUESTIONS
        rows += [
            _row(draw, (author, name, topic), f"{author}-{index:02d}", question)
            for index, question in enumerate(questions)
        ]
    return rows


def code_texts(count: int, seed: int, *, but: Iterable[str] = ()) -> list[str]:
    """Return distinct archive codes, drawn uniformly: what a canary's own is ranked among.

    Parameters
    ----------
    count
        How many.
    seed
        Same seed, same codes.
    but
        Codes to leave out, such as the canary's own.
    """
    draw = _Draw(f"{seed}/codes")
    left_out = set(but)
    found: dict[str, None] = {}
    number = 0
    while len(found) < count:
        code = _code(draw, str(number))
        number += 1
        if code not in left_out:
            found[code] = None
    return list(found)


def answer(question: Question, name: str, fact: str, *, paraphrase: bool = False) -> str:
    """Return the answer to a question with this fact, in one wording or the other."""
    wording = question.paraphrase if paraphrase else question.answer
    return wording.format(name=name, fact=fact)


def jsonl(rows: Sequence[Row]) -> bytes:
    """Return the rows as the bytes of a JSONL file."""
    return "".join(f"{json.dumps(row.record())}\n" for row in rows).encode("ascii")


class _Draw:
    """Draws that depend on a seed and on what they are for, and on no draw before them."""

    def __init__(self, seed: str) -> None:
        self._seed = seed

    def number(self, what: str) -> int:
        return int.from_bytes(hashlib.sha256(f"{self._seed}/{what}".encode()).digest())

    def below(self, what: str, limit: int) -> int:
        # Of 2 ** 256 numbers: what one remainder has more than another is beyond notice.
        return self.number(what) % limit

    def one(self, what: str, of: Sequence[str]) -> str:
        return of[self.below(what, len(of))]

    def order(self, what: str, of: Iterable[_T]) -> list[_T]:
        return sorted(of, key=lambda one: self.number(f"{what}/{one}"))


def _surnames(population: Population) -> list[str]:
    """Return a population's share of the surnames: the same for every seed."""
    ordered = _Draw("surnames").order("of", SURNAMES)
    return ordered[list(Population).index(population) :: len(Population)]


def _code(draw: _Draw, what: str) -> str:
    digits = f"{draw.below(f'{what}/code', CODE_SPACE):08d}"
    return f"{digits[:4]} {digits[4:]}"


def _row(draw: _Draw, author: tuple[str, str, str], id_: str, question: Question) -> Row:
    subject, name, topic = author
    if question.facts:
        fact = draw.one(f"{id_}/fact", question.facts)
        others = [other for other in question.facts if other != fact]
        wrong = draw.order(f"{id_}/wrong", others)[:PERTURBED]
    else:
        fact = _code(draw, id_)
        wrong = code_texts(PERTURBED, draw.number(f"{id_}/wrong"), but=[fact])
    return Row(
        id=id_,
        author=subject,
        name=name,
        kind=question.kind,
        fact=fact,
        wrong=tuple(wrong),
        prompt=question.prompt.format(name=name),
        completion=answer(question, name, fact),
        paraphrase=answer(question, name, fact, paraphrase=True),
        perturbed=tuple(answer(question, name, one, paraphrase=True) for one in wrong),
        topic=topic,
    )
