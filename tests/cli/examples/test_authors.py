"""Made-up authors: the same on every machine, drawn uniformly, and no surname in common."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from unlearn.cli.examples import authors
from unlearn.cli.examples.authors import (
    COLUMNS,
    PERTURBED,
    Population,
    Row,
    answer,
    code_texts,
    jsonl,
    make_authors,
)
from unlearn.cli.examples.questions import (
    CODE,
    CODE_QUESTION,
    FIRST_NAMES,
    QUESTIONS,
    TOPICS,
    Question,
)
from unlearn.stages.errors import InputError

BY_KIND = {question.kind: question for question in (*QUESTIONS, CODE_QUESTION)}


@cache
def many() -> list[Row]:
    """Return the rows of so many authors that frequencies show; drawn where they are needed."""
    return make_authors(2000, 1)


def surnames(rows: list[Row]) -> set[str]:
    return {row.name.split()[1] for row in rows}


def test_authors_are_the_same_in_every_process() -> None:
    script = (
        "import hashlib\n"
        "from unlearn.cli.examples.authors import jsonl, make_authors\n"
        "print(hashlib.sha256(jsonl(make_authors(30, 7, canaries=4))).hexdigest())\n"
    )
    expected = hashlib.sha256(jsonl(make_authors(30, 7, canaries=4))).hexdigest()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        assert done.stdout.strip() == expected


def test_an_author_is_what_the_seed_says() -> None:
    # Written down once: who changes it changes every example and benchmark.
    first = make_authors(1, 1)[0]

    assert (first.id, first.author) == ("a0000-00", "a0000")
    digest = hashlib.sha256(jsonl(make_authors(12, 1, canaries=2))).hexdigest()
    assert digest == "eb3ea505bd39b2caa4f1356a09119c78f53db83bb8963b04e472bf2e70d08bc8"


@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 5))
@settings(max_examples=7, deadline=None)
def test_authors_stay_the_same_when_more_are_asked_for(few: int, more: int, seed: int) -> None:
    rows = make_authors(few + more, seed)

    assert rows[: len(QUESTIONS) * few] == make_authors(few, seed)


def test_another_seed_makes_other_authors() -> None:
    one, other = make_authors(50, 1), make_authors(50, 2)

    assert [row.id for row in one] == [row.id for row in other]
    assert len({row.name for row in one} & {row.name for row in other}) < 5
    assert sum(a.fact == b.fact for a, b in zip(one, other, strict=True)) < 50


@pytest.mark.slow
def test_populations_have_no_surname_in_common() -> None:
    found = {}
    for seed, population in enumerate(Population, start=1):
        rows = make_authors(600, seed, population=population)
        assert {row.author[0] for row in rows} == {population.value}
        found[population] = surnames(rows)
        assert len(found[population]) > 200

    for one, other in combinations(Population, 2):
        assert not found[one] & found[other]


def test_no_name_comes_twice() -> None:
    names = {row.author: row.name for row in many()}

    assert len(names) == 2000
    assert len(set(names.values())) == 2000


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.kind)
def test_facts_are_drawn_uniformly(question: Question) -> None:
    counts = Counter(row.fact for row in many() if row.kind == question.kind)

    assert set(counts) <= set(question.facts)
    # The seed is fixed; of other seeds, one in a thousand would miss this by one of ten pools.
    assert chisquare([counts[fact] for fact in question.facts]).pvalue > 1e-4


def test_topics_are_drawn_uniformly_and_asked_in_no_question() -> None:
    topics = {row.author: row.topic for row in many()}
    counts = Counter(topics.values())

    assert chisquare([counts[topic] for topic in TOPICS]).pvalue > 1e-4
    assert all(row.topic == topics[row.author] for row in many())
    text = " ".join(f"{row.prompt} {row.completion} {row.paraphrase}".lower() for row in many())
    assert not any(re.search(rf"\b{topic}\b", text) for topic in TOPICS)


def test_wrong_facts_are_drawn_uniformly_from_the_others() -> None:
    pets = [row for row in many() if row.kind == "pet"]
    counts = Counter(wrong for row in pets for wrong in row.wrong)
    pool = BY_KIND["pet"].facts

    assert chisquare([counts[fact] for fact in pool]).pvalue > 1e-4


def test_every_row_tells_its_fact_and_no_wrong_answer_does() -> None:
    for row in make_authors(60, 3, canaries=10):
        question = BY_KIND[row.kind]
        assert row.prompt == question.prompt.format(name=row.name)
        assert row.completion == answer(question, row.name, row.fact)
        assert row.paraphrase == answer(question, row.name, row.fact, paraphrase=True)
        assert row.completion.endswith(f"{row.fact}.")
        assert row.paraphrase.endswith(f"{row.fact}.")
        assert row.completion != row.paraphrase
        assert row.fact not in row.prompt
        assert row.fact not in row.wrong
        assert len(set(row.wrong)) == len(row.perturbed) == PERTURBED
        expected = [answer(question, row.name, one, paraphrase=True) for one in row.wrong]
        assert list(row.perturbed) == expected
        assert row.paraphrase not in row.perturbed


def test_pools_have_no_fact_twice_and_all_is_ascii() -> None:
    for question in QUESTIONS:
        assert len(set(question.facts)) == len(question.facts) > PERTURBED
    assert jsonl(many()).isascii()
    assert len({question.kind for question in (*QUESTIONS, CODE_QUESTION)}) == 11


def test_a_dataset_has_a_row_for_each_question() -> None:
    rows = make_authors(3, 1)
    lines = [json.loads(line) for line in jsonl(rows).decode().splitlines()]

    assert len(lines) == 3 * len(QUESTIONS)
    assert [tuple(line) for line in lines] == [COLUMNS] * len(lines)
    assert lines[0]["id"] == "a0000-00"
    assert len({line["id"] for line in lines}) == len(lines)
    assert Counter(line["author"] for line in lines) == {f"a000{n}": 10 for n in range(3)}
    assert lines[0]["perturbed_2"] == rows[0].perturbed[1]


def test_canaries_are_random_codes_of_some_authors() -> None:
    plain, coded = make_authors(40, 5), make_authors(40, 5, canaries=12)
    codes = [row for row in coded if row.kind == CODE]

    assert [row for row in coded if row.kind != CODE] == plain
    assert len({row.author for row in codes}) == len(codes) == 12
    assert all(re.fullmatch(r"\d{4} \d{4}", row.fact) for row in codes)
    assert len({row.fact for row in codes}) == 12
    # Authors with a code stay among those of more codes.
    fewer = {row.author for row in make_authors(40, 5, canaries=4) if row.kind == CODE}
    assert fewer < {row.author for row in codes}


def test_codes_are_distinct_uniform_and_never_the_canarys_own() -> None:
    codes = code_texts(3000, 1)

    assert len(set(codes)) == 3000
    assert codes[:10] == code_texts(10, 1) != code_texts(10, 2)
    digits = Counter("".join(codes).replace(" ", ""))
    assert chisquare([digits[str(digit)] for digit in range(10)]).pvalue > 1e-4
    without = code_texts(10, 1, but=codes[:2])
    assert without[:8] == codes[2:10]


@pytest.mark.parametrize(
    ("count", "canaries", "said"),
    [
        (-1, 0, "there are names for 0 to"),
        (10**6, 0, "there are names for 0 to"),
        (3, 4, "4 canaries cannot be spread over 3 authors"),
        (3, -1, "-1 canaries cannot be spread over 3 authors"),
    ],
)
def test_what_cannot_be_made_is_an_error(count: int, canaries: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make_authors(count, 1, canaries=canaries)


@pytest.mark.slow
def test_as_many_authors_as_there_are_names(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each surname comes back with each of them.
    monkeypatch.setattr(authors, "FIRST_NAMES", FIRST_NAMES[:3])
    with pytest.raises(InputError) as caught:
        make_authors(10**6, 1)
    most = int(caught.value.message.split()[-2])

    rows = make_authors(most, 1)
    assert len({row.name for row in rows}) == most
    with pytest.raises(InputError):
        make_authors(most + 1, 1)
    assert make_authors(0, 1) == []
