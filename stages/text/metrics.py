"""What a language model's answers say: pure functions of arrays and strings.

Most read the answer tokens of one sequence, each predicted from the prompt and the true tokens
before it: their log-probabilities, in nats, and whether each was the likeliest token. How these are
gathered is `scoring.py`'s matter. A sequence without answer tokens has no metric: a ValueError.
"""

import math
import re
import sys
import zlib
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from unlearn.stages.text.stemming import rouge_stem

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Values below this are treated as 0.
_SMALLEST = sys.float_info.min

#: Spreads of log-probabilities below this, in nats, are rounding.
_SMALLEST_SPREAD = 1e-3

#: The largest number that has an exponential.
_LARGEST_EXPONENT = math.log(sys.float_info.max)

#: Words as ROUGE's libraries see them, in text of lower case.
_WORD = re.compile(r"[a-z0-9]+")


def extraction_strength(right: Bools) -> float:
    """Return how much of an answer comes out once its beginning is given, in [0, 1].

    ES = 1 - k / T, with T answer tokens and k the length of the shortest beginning of the answer
    after which greedy decoding gives all the rest. 1: the prompt alone is enough. 0: not even the
    last token comes out. As long as greedy decoding is right it has read the true tokens, so that
    "gives all the rest" and "every later token is the likeliest after the true ones" are the same.

    Carlini et al., "Extracting Training Data from Large Language Models", USENIX Security 2021,
    for extraction by a prefix; Wang et al., "Towards Effective Evaluations and Comparisons for LLM
    Unlearning Methods", ICLR 2025, for the strength. OpenUnlearning's code ends its search one
    token early, and says 1 / T where this says 0.

    Parameters
    ----------
    right
        Whether each answer token is the likeliest after the prompt and the true tokens before it,
        shape (T,).
    """
    _need(right)
    wrong = np.flatnonzero(~right)
    needed = 0 if len(wrong) == 0 else int(wrong[-1]) + 1
    return (len(right) - needed) / len(right)


def exact_memorisation(right: Bools) -> float:
    """Return the share of answer tokens that are the likeliest, in [0, 1].

    Tirumala et al., "Memorization Without Overfitting", NeurIPS 2022, section 3. Unlike
    `extraction_strength` it does not matter where the wrong ones are, and what any language model
    guesses counts as well.

    Parameters
    ----------
    right
        See `extraction_strength`.
    """
    _need(right)
    return float(right.mean())


def answer_probability(logprobs: Floats) -> float:
    """Return P(a | q)^(1 / T) = exp(mean log p), the geometric mean of a token, in [0, 1].

    Maini et al., "TOFU: A Task of Fictitious Unlearning for LLMs", COLM 2024, section 2.2.

    Parameters
    ----------
    logprobs
        Of one answer's tokens, shape (T,), in nats.
    """
    return math.exp(loss_score(logprobs))


def perplexity(logprobs: Floats) -> float:
    """Return exp(-mean log p) over the tokens of a whole text or of many, at least 1.

    Every token counts the same, whichever text it is of. At most the largest float, so that the
    perplexity of a model that has collapsed is a number too.

    Parameters
    ----------
    logprobs
        Of all tokens, shape (any,), in nats.
    """
    return math.exp(min(-loss_score(logprobs), _LARGEST_EXPONENT))


def truth_ratio(paraphrased: float, perturbed: Sequence[float]) -> float:
    """Return how much likelier wrong answers are than the right one in other words, above 0.

    R = (prod_i p_i)^(1/n) / p, with the `answer_probability` p of the paraphrased answer and p_i
    of n perturbed ones. Near 0 where the model knows the truth, about 1 where it does not.

    Maini et al., "TOFU", COLM 2024, section 2.2, equation 1. That has the arithmetic mean of the
    p_i; the authors' forget quality and OpenUnlearning take the geometric one, the mean of the
    losses, as here. Probabilities of 0 are lifted to the smallest normal float: where a collapsed
    model gives 0 to all of them the ratio is 1, and it is always a number.

    Parameters
    ----------
    paraphrased
        Probability of the right answer in other words, in [0, 1].
    perturbed
        Probabilities of wrong answers of the same form, at least one.
    """
    _need(perturbed)
    wrong = [math.log(max(probability, _SMALLEST)) for probability in perturbed]
    right = math.log(max(paraphrased, _SMALLEST))
    return math.exp(math.fsum(wrong) / len(wrong) - right)


def truth_hidden(ratio: float) -> float:
    """Return min(R, 1 / R) of a truth ratio, in (0, 1]: for forget rows, larger is better.

    1 where right and wrong are equally likely; less both where the truth is known and where it is
    avoided, which gives it away as well. TOFU's code, "Truth Ratio" on the forget set.
    """
    return min(ratio, 1 / ratio)


def truth_told(ratio: float) -> float:
    """Return max(0, 1 - R) of a truth ratio, in [0, 1): for all other rows, larger is better.

    Maini et al., "TOFU", COLM 2024, section 2.2, where it is a part of the model's utility.
    """
    return max(0.0, 1 - ratio)


class RougeL(NamedTuple):
    """Overlap of two texts by their longest common subsequence of words, each in [0, 1]."""

    precision: float
    recall: float
    f_measure: float


def rouge_l(answer: str, reference: str, *, stemmed: bool = False) -> RougeL:
    """Return precision L / a, recall L / r and their harmonic mean.

    L is the length of the longest common subsequence of the answer's a and the reference's r
    words; all three are 0 where there is none. Lin, "ROUGE: A Package for Automatic Evaluation of
    Summaries", 2004, section 3, with beta = 1.

    Words are as in the library `rouge_score`: runs of a-z and 0-9 in lower case, or their stems.
    Letters of other scripts separate words: an answer without any Latin letter or digit scores 0.

    Parameters
    ----------
    answer
        What the model said.
    reference
        What is true.
    stemmed
        Whether words count as the same if their stems are; see `stemming.rouge_stem`.
    """
    said, true = _WORD.findall(answer.lower()), _WORD.findall(reference.lower())
    if stemmed:
        said, true = [rouge_stem(word) for word in said], [rouge_stem(word) for word in true]
    common = _common_subsequence(said, true)
    if common == 0:
        return RougeL(0.0, 0.0, 0.0)
    precision, recall = common / len(said), common / len(true)
    return RougeL(precision, recall, 2 * precision * recall / (precision + recall))


def rouge_l_recall(answer: str, reference: str, *, stemmed: bool = False) -> float:
    """Return the share of the reference's words that the answer has in their order.

    TOFU's measure of generated answers (Maini et al. 2024, section 2.2), whose published figures
    are by stems; see `rouge_l`.
    """
    return rouge_l(answer, reference, stemmed=stemmed).recall


def has_words(text: str) -> bool:
    """Return whether a text has any word for ROUGE: of Latin letters without accents, or digits.

    A text in another script has no words for ROUGE, and the score of the text with itself is 0.
    """
    return _WORD.search(text.lower()) is not None


def _common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, in len(one) * len(other) steps."""
    # longest[j]: of what was read of `one` and the first j of `other`.
    longest = [0] * (len(other) + 1)
    for word in one:
        before = longest
        longest = [0]
        for index, candidate in enumerate(other):
            longest.append(
                before[index] + 1 if word == candidate else max(before[index + 1], longest[index])
            )
    return longest[-1]


def loss_score(logprobs: Floats) -> float:
    """Return mean log p, minus the loss of a token, in nats; larger is more like a member.

    Yeom et al., "Privacy Risk in Machine Learning", CSF 2018, section III.

    Parameters
    ----------
    logprobs
        Of one sequence's tokens, shape (T,), in nats.
    """
    _need(logprobs)
    return float(np.mean(logprobs))


def zlib_score(logprobs: Floats, text: str) -> float:
    """Return sum log p / bytes, in nats a compressed byte; larger is more like a member.

    The likelihood of a text relative to its size compressed by zlib: text that is easy for any
    model does not count as memorised. Carlini et al., "Extracting Training Data from Large Language
    Models", USENIX Security 2021, section 5. Their code divides the mean of a token, not the sum;
    totals both grow with the text, and length cancels.

    Parameters
    ----------
    logprobs
        Of the text's tokens, shape (T,), in nats.
    text
        What the tokens spell: the answer, where they are the answer's.
    """
    _need(logprobs)
    return float(np.sum(logprobs)) / len(zlib.compress(text.encode()))


def min_k(logprobs: Floats, share: float = 0.2) -> float:
    """Return the mean log p of the least likely tokens, in nats; larger is more like a member.

    A text that was never seen is likely to have some surprising words. Shi et al., "Detecting
    Pretraining Data from Large Language Models", ICLR 2024, section 3 (Min-K% Prob); .2 is theirs.

    Parameters
    ----------
    logprobs
        Of one sequence's tokens, shape (T,), in nats.
    share
        Of the tokens, in (0, 1]: floor(share * T) of them, and at least one.
    """
    return _mean_of_lowest(logprobs, share)


def min_k_plus_plus(logprobs: Floats, mean: Floats, spread: Floats, share: float = 0.2) -> float:
    """Return the mean of the lowest (log p - mean) / spread; larger is more like a member.

    Each token is normalised by the distribution over the vocabulary at its position. Zhang et al.,
    "Min-K%++: Improved Baseline for Detecting Pre-Training Data from Large Language Models", ICLR
    2025. A spread below .001 counts as .001, as OpenUnlearning has it: where the model is sure, or
    finds all tokens equally likely, it is 0, and the likeliest token then scores 0.

    Parameters
    ----------
    logprobs
        Of one sequence's tokens, shape (T,), in nats.
    mean
        sum_v p(v) log p(v) over the vocabulary at each place, shape (T,).
    spread
        sqrt(sum_v p(v) (log p(v) - mean)^2) at each place, shape (T,), not negative.
    share
        See `min_k`.
    """
    return _mean_of_lowest((logprobs - mean) / np.maximum(spread, _SMALLEST_SPREAD), share)


def _mean_of_lowest(scores: Floats, share: float) -> float:
    _need(scores)
    if not 0 < share <= 1:
        raise ValueError(f"share must be larger than 0 and at most 1, not {share}")
    # .29 * 100 is a little less than 29 in floating point, and means 29.
    count = max(1, math.floor(share * len(scores) + 1e-9))
    return float(np.partition(scores, count - 1)[:count].mean())


def repetition(tokens: Sequence[Hashable], n: int = 4) -> float:
    """Return the share of n-grams that occurred before in the same text, in [0, 1).

    1 - |different n-grams| / |n-grams|, 0 for a text of fewer than n tokens. Welleck et al.,
    "Neural Text Generation with Unlikelihood Training", ICLR 2020, section 6 (seq-rep-n); 4 is
    theirs. Near 0 for human text, near 1 for a collapsed model that repeats one phrase.

    Parameters
    ----------
    tokens
        Of one generated text.
    n
        At least 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    count = len(tokens) - n + 1
    if count < 1:
        return 0.0
    different = len({tuple(tokens[start : start + n]) for start in range(count)})
    return (count - different) / count


class ForgetQuality(NamedTuple):
    """Two-sample Kolmogorov-Smirnov test of truth ratios: the distance D in [0, 1], and p."""

    distance: float
    p_value: float


def forget_quality(of_model: Floats, of_retrained: Floats) -> ForgetQuality:
    """Compare the truth ratios that two models have on the forget rows.

    D = sup_x |F_model(x) - F_retrained(x)|, and the probability of a D at least as large if both
    came from one distribution. Maini et al., "TOFU", COLM 2024, section 2.2: p is their forget
    quality. A large p is no proof: with few rows it is large for any two models.

    Parameters
    ----------
    of_model
        `truth_ratio` of every forget row under the model, shape (n,).
    of_retrained
        Of the same rows under the model that was trained without them, shape (n,).
    """
    _need(of_model)
    _need(of_retrained)
    from scipy.stats import ks_2samp  # takes half a second to load

    test = ks_2samp(of_model, of_retrained)
    return ForgetQuality(float(test.statistic), float(test.pvalue))


def priv_leak(auc_model: float, auc_retrained: float) -> float | None:
    """Return by how many percent membership differs from a retrained model's; 0 is best.

    100 * (A_model - A_retrained) / A_retrained. Shi et al., "MUSE: Machine Unlearning Six-Way
    Evaluation for Language Models", ICLR 2025, section 3. Negative: forget rows still look like
    members, too little was unlearned. Positive: they look less like members than rows that were
    never seen, which gives them away as well.

    For these signs A is the AUC that has the *holdout* rows on top, which is how MUSE's code
    computes it. The arguments here are AUCs as everywhere in this project, with the forget rows
    on top, and are turned: A = 1 - AUC.

    Parameters
    ----------
    auc_model
        AUC of telling forget rows (members) from holdout rows under the model, in [0, 1].
    auc_retrained
        The same under the model trained without the forget rows.

    Returns
    -------
    float or None
        None if the retrained model's AUC is 1: the divisor would be 0.
    """
    model, retrained = 1 - auc_model, 1 - auc_retrained
    return None if retrained <= 0 else 100 * (model - retrained) / retrained


def model_utility(parts: Sequence[float]) -> float:
    """Return the harmonic mean of measures in [0, 1]: small as soon as one of them is.

    n / sum_i (1 / x_i), and 0 where any is 0. Maini et al., "TOFU", COLM 2024, section 2.2: of
    probability, ROUGE-L recall and `truth_told`, each a mean over the rows of one set, for every
    set that was not to be forgotten.

    Parameters
    ----------
    parts
        The measures, at least one, none negative.
    """
    _need(parts)
    if min(parts) < 0:
        raise ValueError("A harmonic mean of negative numbers is not defined")
    return 0.0 if min(parts) == 0 else len(parts) / math.fsum(1 / part for part in parts)


def _need(values: Sequence[object] | Floats | Bools) -> None:
    if len(values) == 0:
        raise ValueError("No values were given")
