"""Stems against those of the public libraries."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer
from unlearn.stages.text.metrics import rouge_l_recall
from unlearn.stages.text.stemming import rouge_stem

PORTER = PorterStemmer()

#: Beginnings and endings, of which all rules have some.
STARTS = st.text("abcdeiloprstuvwxyz", max_size=6)
_ENDS = """
    s es ies sses ed ied eed ing ational ation tional enci anci izer bli abli alli entli eli ousli
    ization ator alism iveness fulness ousness aliti iviti biliti fulli logi icate ative alize iciti
    ical ful ness al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize e
    ll y ly at bl iz
"""
ENDS = st.sampled_from(_ENDS.split())
WORDS = st.lists(ENDS, max_size=3).map("".join)


def public_stem(word: str) -> str:
    """Return what `rouge_score` makes of a word."""
    return str(PORTER.stem(word)) if len(word) > 3 else word


@given(STARTS, WORDS)
def test_a_stem_is_the_public_stemmers(start: str, end: str) -> None:
    assert rouge_stem(start + end) == public_stem(start + end)


def test_the_stems_of_a_whole_page_are_the_public_stemmers() -> None:
    docs = Path(__file__).resolve().parents[3] / "docs"
    words = {
        word
        for page in docs.glob("*.md")
        for word in re.findall(r"[a-z0-9]+", page.read_text(encoding="utf-8").lower())
    }

    assert len(words) > 2_000
    assert {word: rouge_stem(word) for word in words} == {w: public_stem(w) for w in words}


@pytest.mark.parametrize("word", ["skies", "dying", "news", "inning", "succeed", "sky", "howe"])
def test_irregular_words(word: str) -> None:
    assert rouge_stem(word) == public_stem(word)


@given(st.lists(STARTS.flatmap(lambda s: WORDS.map(lambda e: s + e)), max_size=8))
def test_stemmed_recall_is_the_public_librarys(words: list[str]) -> None:
    answer, reference = " ".join(words), " ".join([*words[::2], "studies", *words[1:3]])
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    expected = scorer.score(target=reference, prediction=f"{answer} studied")["rougeL"].recall

    found = rouge_l_recall(f"{answer} studied", reference, stemmed=True)
    assert found == pytest.approx(expected)
