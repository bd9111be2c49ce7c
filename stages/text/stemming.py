"""Stems of English words, as the library `rouge_score` has them.

Porter, "An algorithm for suffix stripping", Program 14, 1980, with the changes of the stemmer of
NLTK, which that library takes: published figures of stemmed ROUGE are by these stems.
"""

from functools import cache
from itertools import pairwise

#: Shorter words stay as they are in `rouge_score`.
_SHORTEST = 4

_VOWELS = frozenset("aeiou")

#: Words whose stems the rules would get wrong.
_IRREGULAR = {
    "skies": "sky",
    "sky": "sky",
    "dying": "die",
    "lying": "lie",
    "tying": "tie",
    "news": "news",
    "innings": "inning",
    "inning": "inning",
    "outings": "outing",
    "outing": "outing",
    "cannings": "canning",
    "canning": "canning",
    "howe": "howe",
    "proceed": "proceed",
    "exceed": "exceed",
    "succeed": "succeed",
}

#: Suffixes and what takes their place, of which the first that a word ends with counts: if what is
#: before it has at least one vowel with a consonant behind it.
_SECOND = (
    ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"),
    ("bli", "ble"), ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"),
    ("ization", "ize"), ("ation", "ate"), ("ator", "ate"), ("alism", "al"), ("iveness", "ive"),
    ("fulness", "ful"), ("ousness", "ous"), ("aliti", "al"), ("iviti", "ive"), ("biliti", "ble"),
    ("fulli", "ful"),
)  # fmt: skip
_THIRD = (
    ("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""),
    ("ness", ""),
)  # fmt: skip
#: The same, if there are at least two of them; `ion` only behind s or t.
_FOURTH = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou",
    "ism", "ate", "iti", "ous", "ive", "ize",
)  # fmt: skip


@cache
def rouge_stem(word: str) -> str:
    """Return what stands for a word in stemmed ROUGE.

    Parameters
    ----------
    word
        Of a-z and 0-9.

    Examples
    --------
    >>> [rouge_stem(word) for word in ("relational", "hopping", "studied", "was")]
    ['relat', 'hop', 'studi', 'was']
    """
    if len(word) < _SHORTEST or word in _IRREGULAR:
        return _IRREGULAR.get(word, word)
    for step in (_plural, _participle, _ending_in_y, _double_suffix, _third, _fourth, _last):
        word = step(word)
    return word


def _plural(word: str) -> str:
    if word.endswith("ies"):
        return word[:-1] if len(word) == _SHORTEST else word[:-2]
    if word.endswith("sses"):
        return word[:-2]
    return word if word.endswith("ss") else word.removesuffix("s")


def _participle(word: str) -> str:
    if word.endswith("ied"):
        return word[:-1] if len(word) == _SHORTEST else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for suffix in ("ed", "ing"):
        stem = word.removesuffix(suffix)
        if stem != word and not all(_consonants(stem)):
            return _mended(stem)
    return word


def _mended(stem: str) -> str:
    """Return what is left without `ed` or `ing`, with the e that it had, or one letter of two."""
    if stem.endswith(("at", "bl", "iz")):
        return stem + "e"
    if _ends_double(stem):
        return stem if stem[-1] in "lsz" else stem[:-1]
    return stem + "e" if _measure(stem) == 1 and _ends_short(stem) else stem


def _ending_in_y(word: str) -> str:
    stem = word[:-1]
    return stem + "i" if word.endswith("y") and len(stem) > 1 and _consonants(stem)[-1] else word


def _double_suffix(word: str) -> str:
    if word.endswith("alli") and _measure(word[:-4]) > 0:
        return _double_suffix(word[:-2])
    found = _replaced(word, _SECOND)
    if found is not None:
        return found
    return word[:-1] if word.endswith("logi") and _measure(word[:-3]) > 0 else word


def _third(word: str) -> str:
    return _replaced(word, _THIRD) or word


def _replaced(word: str, rules: tuple[tuple[str, str], ...]) -> str | None:
    """Return a word by the first rule that it ends with; None where it ends with none."""
    for suffix, other in rules:
        if word.endswith(suffix):
            stem = word[: -len(suffix)]
            return stem + other if _measure(stem) > 0 else word
    return None


def _fourth(word: str) -> str:
    for suffix in _FOURTH:
        if word.endswith(suffix):
            stem = word[: -len(suffix)]
            goes = _measure(stem) > 1 and (suffix != "ion" or stem[-1] in "st")
            return stem if goes else word
    return word


def _last(word: str) -> str:
    stem = word.removesuffix("e")
    if stem != word:
        count = _measure(stem)
        word = stem if count > 1 or (count == 1 and not _ends_short(stem)) else word
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word


def _consonants(word: str) -> list[bool]:
    """Tell of each letter whether it is a consonant; y is one unless it follows one."""
    found: list[bool] = []
    for letter in word:
        is_y = letter == "y" and bool(found)
        found.append(not found[-1] if is_y else letter not in _VOWELS)
    return found


def _measure(word: str) -> int:
    """Return how often a consonant follows a vowel: Porter's m."""
    flags = _consonants(word)
    return sum(not one and other for one, other in pairwise(flags))


def _ends_double(word: str) -> bool:
    return word[-1:] == word[-2:-1] and len(word) > 1 and _consonants(word)[-1]


def _ends_short(word: str) -> bool:
    """Tell whether a word ends as in `hop`: where it is one syllable, an e behind it is silent."""
    flags = _consonants(word)
    if len(word) == 2:  # noqa: PLR2004 - a vowel and a consonant, as in `at`
        return flags == [False, True]
    return flags[-3:] == [True, False, True] and word[-1] not in "wxy"
