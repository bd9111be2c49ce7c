"""What a language model knows of rows: memorisation, truth and utility, as aggregates.

The model is evaluated once and the results are kept by row; this module returns only means.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from unlearn.stages.final_model.text_ensemble import LanguageEnsemble
from unlearn.stages.rows.holdout import fewest
from unlearn.stages.text.metrics import (
    exact_memorisation,
    extraction_strength,
    has_words,
    model_utility,
    perplexity,
    rouge_l_recall,
    truth_ratio,
    truth_told,
)
from unlearn.stages.text.scoring import TokenScores
from unlearn.stages.verify.membership.arrays import Floats
from unlearn.stages.verify.membership.text_answers import answer_texts
from unlearn.stages.verify_report.quality import Knowledge, KnowledgeOfRows, Utility

#: Texts that are generated for ROUGE-L at most, and the tokens of each: generating costs most.
_MOST_GENERATED, _MOST_TOKENS = 100, 200

#: Maximum number of rows of each kind on which a model is evaluated.
MOST_ROWS = 500


def knowledge_of(scores: TokenScores) -> Knowledge:
    """Return what answers say of what a model knows, without truth ratio and generation.

    Parameters
    ----------
    scores
        Of one row after another, at least one.
    """
    parts = scores.slices
    return Knowledge(
        rows=len(scores),
        tokens=len(scores.logprobs),
        extraction_strength=_mean(extraction_strength(scores.right[part]) for part in parts),
        exact_memorisation=_mean(exact_memorisation(scores.right[part]) for part in parts),
        answer_probability=float(np.exp(scores.mean_logprobs).mean()),
        perplexity=perplexity(scores.logprobs),
    )


def measure_knowledge(
    model: LanguageEnsemble,
    rows: pa.Table,
    *,
    scores: TokenScores | None = None,
    ratios: Floats | None = None,
    told: Callable[[float], float] = truth_told,
    min_rows: int = 1,
    generate: bool = True,
) -> Knowledge:
    """Ask a model all that `Knowledge` says.

    Parameters
    ----------
    model
        The model.
    rows
        At least one row.
    scores, ratios
        What it said of them before: `LanguageEnsemble.row_scores`, and `truth_ratios`. It is asked
        where they are not given.
    told
        The transformation of a truth ratio: `truth_told` or `truth_hidden`.
    min_rows
        With fewer rows that have wrong answers there is no truth ratio, and with fewer whose
        answers have words no ROUGE-L.
    generate
        Whether texts are generated for ROUGE-L.
    """
    found = knowledge_of(
        model.row_scores(rows, model.encoder.answer_column) if scores is None else scores
    )
    ratios = truth_ratios(model, rows) if ratios is None else ratios
    enough = len(ratios) >= max(min_rows, 1)
    truth = _mean(told(float(ratio)) for ratio in ratios) if enough else None
    recall = rouge_recall(model, rows, min_rows) if generate else Recall()
    return found.model_copy(update={"truth_ratio": truth} | recall.as_knowledge())


def truth_ratios(model: LanguageEnsemble, rows: pa.Table) -> Floats:
    """Return the truth ratio of every row that has what it takes, shape (such rows,).

    That is text in each column of the role `perturbed`, and the right answer in other words; where
    there is no column `paraphrase`, in its own words.
    """
    layout = model.encoder.layout
    perturbed = layout.columns("perturbed")
    right = layout.column("paraphrase") or layout.column("completion")
    if not perturbed or right is None:
        return np.zeros(0)
    columns = [right, *perturbed]
    texts = [rows[name].to_pylist() for name in columns]
    whole = [all(row) for row in zip(*texts, strict=True)]
    kept = rows.filter(pa.array(whole, pa.bool_()))
    if kept.num_rows == 0:
        return np.zeros(0)
    chances = [np.exp(model.row_scores(kept, name).mean_logprobs) for name in columns]
    return np.array(
        [truth_ratio(float(own), list(wrong)) for own, *wrong in zip(*chances, strict=True)]
    )


@dataclass(frozen=True)
class Recall:
    """The mean ROUGE-L recall of generated answers, by words and by their stems."""

    plain: float | None = None
    stemmed: float | None = None

    def as_knowledge(self) -> dict[str, float | None]:
        """Return the fields of `Knowledge`."""
        return {"rouge_l": self.plain, "rouge_l_stemmed": self.stemmed}


def rouge_recall(model: LanguageEnsemble, rows: pa.Table, min_rows: int = 1) -> Recall:
    """Return the mean ROUGE-L recall of what a model generates; none for rows without prompts."""
    sample = {"": fewest(rows, _MOST_GENERATED)}
    return generated_recall(model, sample, min_rows).get("", Recall())


def generated_recall(
    model: LanguageEnsemble, samples: Mapping[str, pa.Table], min_rows: int = 1
) -> dict[str, Recall]:
    """Return the mean ROUGE-L recall on each of some samples, all texts being generated together.

    Parameters
    ----------
    model
        The model.
    samples
        Rows by name, at least one each.
    min_rows
        Of fewer rows whose answers have a word that ROUGE sees there is no mean.

    Returns
    -------
    dict
        By name; empty for rows without prompts.
    """
    layout = model.encoder.layout
    if not layout.has_prompts or not samples:
        return {}
    rows = pa.concat_tables(list(samples.values()))
    # More words than the longest true answer has add nothing to a recall worth the time.
    longest = int(model.encoder.encode(rows, model.encoder.answer_column).sequences.counted.max())
    said = model.generate(rows, min(longest, _MOST_TOKENS))
    recalls = np.array(
        [
            [rouge_l_recall(answer, true, stemmed=stemmed) for stemmed in (False, True)]
            if has_words(true)
            else [np.nan, np.nan]
            for answer, true in zip(said, answer_texts(rows, layout), strict=True)
        ]
    )
    ends = np.cumsum([sample.num_rows for sample in samples.values()])
    parts = {
        name: part[~np.isnan(part[:, 0])]
        for name, part in zip(samples, np.split(recalls, ends[:-1]), strict=True)
    }
    least = max(min_rows, 1)
    return {
        name: Recall(*map(float, part.mean(axis=0)))
        for name, part in parts.items()
        if len(part) >= least
    }


def utility_of(parts: Sequence[Knowledge]) -> float:
    """Return the utility that the knowledge of several sets of rows gives; see `model_utility`."""
    values = [
        value
        for found in parts
        for value in (found.answer_probability, found.rouge_l, found.truth_ratio)
    ]
    return model_utility([value for value in values if value is not None])


def language_utility(model: LanguageEnsemble, holdout: pa.Table, min_rows: int) -> Utility:
    """Return a language model's quality in the terms of all reports.

    The accuracy is the share of answer tokens that are the likeliest, the log loss the mean of a
    token, in nats.

    Parameters
    ----------
    model
        The model, of at least one member.
    holdout
        Rows that it was not trained on; large sets are sampled.
    min_rows
        With fewer rows only these two numbers are given.
    """
    rows = fewest(holdout, MOST_ROWS)
    if rows.num_rows == 0:
        return Utility(rows=0)
    scores = model.row_scores(rows, model.encoder.answer_column)
    enough = rows.num_rows >= min_rows and scores.finite
    known = None
    if enough:
        known = measure_knowledge(model, rows, scores=scores, min_rows=min_rows)
    return Utility(
        rows=rows.num_rows,
        accuracy=float(scores.right.mean()),
        log_loss=float(-scores.logprobs.mean()) if scores.finite else None,
        language=known,
    )


def forgotten_beside_unseen(
    model: LanguageEnsemble, forgotten: pa.Table, unseen: Knowledge | None, min_rows: int
) -> KnowledgeOfRows:
    """Return a model's memorisation of forgotten rows and of unseen rows.

    After an exact forgetting both are on one level.

    Parameters
    ----------
    model
        The model.
    forgotten
        All forgotten rows.
    unseen
        What `language_utility` found on unseen rows.
    min_rows
        Fewer rows than this are a person: None in their place.
    """
    rows, found = fewest(forgotten, MOST_ROWS), None
    if rows.num_rows >= min_rows:
        scores = model.row_scores(rows, model.encoder.answer_column)
        if scores.finite:
            found = measure_knowledge(model, rows, scores=scores, min_rows=min_rows)
    return KnowledgeOfRows(forgotten=found, holdout=unseen)


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))
