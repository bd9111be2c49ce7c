"""What every membership attack keeps to: run over the registered ones, and over one's own.

In the spirit of scikit-learn's `check_estimator`: each check takes an attack and a kind of answers
that it reads, and asserts. `test_conformance.py` runs them, and shows that they can fail.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.text.scoring import TokenScores
from unlearn.stages.verify.membership.answers import Answers, ReferenceLogits
from unlearn.stages.verify.membership.arrays import Floats, Ints
from unlearn.stages.verify.membership.attack import AnswerKind, AnswerScore, Attack
from unlearn.stages.verify.membership.attacks import Attacked, Samples, run_attack
from unlearn.stages.verify.membership.calibrated import MIN_REFERENCES
from unlearn.stages.verify.membership.row_scores import (
    RowScores,
    of_classes,
    of_numbers,
    of_tokens,
)
from unlearn.stages.verify.membership.statistics import auc
from unlearn.stages.verify.membership.views import View, of_shard_models

#: Shards and classes are spread evenly over the rows of a sample, so that matching leaves every
#: weight at 1.
MODELS, CLASSES, TOKENS = 6, 3, 7
ROWS = MODELS * CLASSES * 2

#: The pinned scale of the numbers that are predicted.
OUTPUTS = Outputs(centre=50.0, scale=4.0)

Check = Callable[[Attack, AnswerKind], None]


def check_declaration(attack: Attack, kind: AnswerKind) -> None:
    """Check that it has a name for settings and a label for people, and reads what it says."""
    assert attack.name.isidentifier()
    assert attack.name == attack.name.lower()
    assert attack.label.strip() == attack.label != ""
    assert kind in attack.needs
    assert len(set(attack.needs)) == len(attack.needs)
    if isinstance(attack.score, AnswerScore):
        assert not attack.is_calibrated
        assert not attack.allows_for_difficulty


def check_a_score_for_each_row(attack: Attack, kind: AnswerKind) -> None:
    """Check shapes and types, of samples of different sizes."""
    view = viewed([answers(kind, logits(rows, rows)) for rows in (ROWS, 5, 17)])
    found = view.scores(attack)

    assert [scores.shape for scores in found] == [(ROWS,), (5,), (17,)]
    assert {scores.dtype for scores in found} == {np.dtype(np.float64)}


def check_scores_are_finite(attack: Attack, kind: AnswerKind) -> None:
    """Check answers that are all but certain, right and wrong, and reference models that agree."""
    certain = np.tile([[-800.0], [-30.0], [0.0], [30.0], [800.0]], (2, MODELS))
    alike = answers(kind, certain, home=np.zeros(10, dtype=np.int64))

    for scores in viewed([alike, alike, alike]).scores(attack):
        assert np.isfinite(scores).all()


def check_one_row(attack: Attack, kind: AnswerKind) -> None:
    """Check that samples of one row each have scores, and an AUC where one row may be told."""
    one, two, three = (answers(kind, logits(1, seed)) for seed in (1, 2, 3))
    scores = viewed([one, two, three]).scores(attack)
    found = run(attack, one, two, three, min_rows=1)

    assert [of.shape for of in scores] == [(1,)] * 3
    assert np.isfinite(scores).all()
    assert found is not None
    assert found.forgotten.value in (0.0, 0.5, 1.0)
    assert found.forgotten.wide[0] <= found.forgotten.value <= found.forgotten.wide[1]


def check_rows_may_stand_in_any_order(attack: Attack, kind: AnswerKind) -> None:
    """Check that permuting a sample's rows permutes its scores, and leaves the others alone."""
    raw = logits(ROWS, 4)
    order = np.random.default_rng(5).permutation(ROWS)
    others = [answers(kind, logits(ROWS, seed)) for seed in (6, 7)]
    straight = viewed([answers(kind, raw), *others]).scores(attack)
    moved = viewed(
        [answers(kind, raw[order], home=homes(ROWS)[order], rows=order), *others]
    ).scores(attack)

    assert moved[0] == pytest.approx(straight[0][order], rel=1e-9)
    assert len(np.unique(straight[0])) > ROWS / 3, "equal scores may stand in any order"
    for before, after in zip(straight[1:], moved[1:], strict=True):
        assert after == pytest.approx(before, rel=1e-9)


def check_higher_means_member(attack: Attack, kind: AnswerKind) -> None:
    """Check that a model that is surer of the right answer scores no row lower, and some higher."""
    # The right answer is the likeliest: some attacks do not know which one is right.
    raw = np.abs(logits(ROWS, 8)) + 1
    own = np.zeros_like(raw)
    own[np.arange(ROWS), homes(ROWS)] = 2
    others = [answers(kind, logits(ROWS, seed)) for seed in (9, 10)]
    before = viewed([answers(kind, raw), *others]).scores(attack)[0]
    after = viewed([answers(kind, raw + own), *others]).scores(attack)[0]

    assert np.all(after >= before)
    assert np.mean(after > before) > 0.9
    assert auc(after, before, np.ones(ROWS), np.ones(ROWS)) > 0.6


def check_swapping_the_samples_mirrors_the_auc(attack: Attack, kind: AnswerKind) -> None:
    """Check that members against non-members give 1 - AUC where they change places."""
    one, other = (answers(kind, logits(ROWS, seed, shift)) for seed, shift in ((11, 1), (12, 0)))
    members = answers(kind, logits(ROWS, 13))
    there, back = run(attack, one, members, other), run(attack, other, members, one)

    assert there is not None
    assert back is not None
    assert there.forgotten.value == pytest.approx(1 - back.forgotten.value, abs=1e-12)
    assert abs(there.forgotten.value - 0.5) > 0.05, "one half would be its own mirror image"


def check_ties_count_half(attack: Attack, kind: AnswerKind) -> None:
    """Check samples that are the same, and one of which half ties and half wins."""
    same = answers(kind, logits(ROWS, 14))
    found = run(attack, same, same, same)
    assert found is not None
    assert found.forgotten.value == pytest.approx(0.5, abs=1e-12)

    level = np.full((ROWS, MODELS), 1.0)
    half = level.copy()
    surer = np.arange(ROWS) < ROWS // 2
    half[surer, homes(ROWS)[surer]] += 3
    tied = answers(kind, level)
    found = run(attack, answers(kind, half), tied, tied)
    assert found is not None
    assert found.forgotten.value == pytest.approx(0.75, abs=1e-12)


def check_constant_answers_tell_nothing(attack: Attack, kind: AnswerKind) -> None:
    """Check models that say the same of every row: AUC .5, and no doubt about it."""
    # A probability of one half, or no error at all: means over reference models are exact, and tie.
    same = answers(kind, np.full((ROWS, MODELS), 800.0 if kind == "numbers" else 0.0))
    found = run(attack, same, same, same, population=same)

    assert found is not None
    assert found.forgotten.value == 0.5
    assert found.forgotten.wide == found.forgotten.narrow == (0.5, 0.5)
    assert found.result.control.auc == found.result.negative_control.auc == 0.5


def check_votes_are_not_attacked(attack: Attack, kind: AnswerKind) -> None:
    """Check that there is no result where the answers are votes."""
    one = answers(kind, logits(ROWS, 15))

    assert run(attack, one, one, one, probable=False) is None


def check_references_are_needed_or_not(attack: Attack, kind: AnswerKind) -> None:
    """Check that calibrated attacks, and they alone, need three models that never saw a row."""
    for models, enough in ((1, False), (3, False), (4, True)):
        one, two, three = (answers(kind, logits(ROWS, seed, models=models)) for seed in (1, 2, 3))
        made = run(attack, one, two, three) is not None
        assert made == (enough or not attack.is_calibrated)


def check_a_reference_counts_as_often_as_it_was_drawn(attack: Attack, kind: AnswerKind) -> None:
    """Check that weights change calibrated attacks alone, and that weights of 1 change nothing."""
    parts = [with_references(answers(kind, logits(ROWS, seed)), seed) for seed in (16, 17, 18)]
    view = viewed(parts)
    plain = np.concatenate(view.scores(attack))
    count = view.reference_count(attack)
    even = np.concatenate(view.scores(attack, np.ones(count)))
    uneven = np.concatenate(view.scores(attack, np.arange(count, dtype=float)))

    assert even == pytest.approx(plain, rel=1e-9)
    assert np.array_equal(uneven, plain) != attack.is_calibrated


CHECKS: tuple[Check, ...] = (
    check_declaration,
    check_a_score_for_each_row,
    check_scores_are_finite,
    check_one_row,
    check_rows_may_stand_in_any_order,
    check_higher_means_member,
    check_swapping_the_samples_mirrors_the_auc,
    check_ties_count_half,
    check_constant_answers_tell_nothing,
    check_votes_are_not_attacked,
    check_references_are_needed_or_not,
    check_a_reference_counts_as_often_as_it_was_drawn,
)


def check_attack(attack: Attack) -> None:
    """Run every check on an attack, for each kind of answers that it reads."""
    for kind in attack.needs:
        for check in CHECKS:
            check(attack, kind)


def homes(rows: int, models: int = MODELS) -> Ints:
    """Return the shard of each row, evenly."""
    return np.arange(rows) % models


def logits(rows: int, seed: int, shift: float = 0.0, models: int = MODELS) -> Floats:
    """Return every model's logits of the right answers: rows differ, and models a little.

    Parameters
    ----------
    rows, models
        The shape.
    seed
        Draws.
    shift
        What the row's own model adds.
    """
    draw = np.random.default_rng(seed)
    found: Floats = draw.normal(0, 1.5, (rows, 1)) + draw.normal(0, 0.5, (rows, models))
    found[np.arange(rows), homes(rows, models)] += shift
    return found


def answers(
    kind: AnswerKind, raw: Floats, home: Ints | None = None, rows: Ints | None = None
) -> Answers:
    """Return models' answers from logits of the right ones: residuals where numbers are predicted.

    Parameters
    ----------
    kind
        The kind of answers.
    raw
        Shape (rows, models).
    home
        The shard of each row; by turns where it is not given.
    rows
        Each row's number, which its class follows from; in order where it is not given.
    """
    count, models = raw.shape
    if kind == "numbers":
        raw = residuals_of(raw)
    home = homes(count, models) if home is None else home
    rows = np.arange(count) if rows is None else rows
    targets = rows // models % CLASSES if kind == "classes" else np.zeros(count, dtype=np.int64)
    own = raw[np.arange(count), home]
    return Answers(
        home,
        targets,
        np.arange(count),
        raw,
        row_scores(kind, own, targets),
        row_scores(kind, raw.mean(axis=1), targets),
    )


def row_scores(kind: AnswerKind, own: Floats, targets: Ints) -> RowScores:
    """Return one model's answers as attacks read them, from its logits or residuals."""
    if kind == "numbers":
        truth = OUTPUTS.unscaled(np.linspace(-2, 2, len(own)))
        return of_numbers(truth + own * OUTPUTS.scale, truth, OUTPUTS)
    right = expit(own)
    if kind == "classes":
        wrong = expit(-own)
        probabilities = np.repeat(wrong[:, None] / (CLASSES - 1), CLASSES, axis=1)
        probabilities[np.arange(len(own)), targets] = right
        return of_classes(probabilities, targets)
    # Every token is as likely as the answer is on the whole, but for a pattern of its own.
    pattern = np.linspace(1.5, 0.5, TOKENS)
    logprobs = np.maximum(np.log(np.maximum(right, 1e-300)), -700)[:, None] * pattern
    flat = logprobs.ravel()
    ends = np.arange(1, len(own) + 1) * TOKENS
    tokens = TokenScores(flat, np.full(len(flat), -2.0), np.ones(len(flat)), flat > -0.7, ends)
    return of_tokens(tokens, ["an answer of some words"] * len(own))


def residuals_of(raw: Floats) -> Floats:
    """Return residuals that are the smaller, the surer a classifier with these logits would be."""
    found: Floats = np.where(raw > 500, 0.0, np.exp(-np.clip(raw, -20, 20) / 2))
    return found


def with_references(found: Answers, seed: int) -> Answers:
    """Return answers with those of reference models, half of which never saw each row."""
    draw = np.random.default_rng(seed)
    count = 12
    of_rows = found.logits.mean(axis=1, keepdims=True) + draw.normal(0, 1, (len(found), count))
    usable = np.argsort(draw.random((len(found), count)), axis=1) < count // 2
    return Answers(
        found.home,
        found.targets,
        found.groups,
        found.logits,
        found.of_home,
        found.of_final,
        references=ReferenceLogits(of_rows, usable),
    )


def with_online_references(found: Answers) -> Answers:
    """Return answers with those of models that were trained on the row or not, as many of each.

    There are enough of them where there are enough shards, too.
    """
    count = MIN_REFERENCES if found.logits.shape[1] > MIN_REFERENCES else MIN_REFERENCES - 1
    others = found.logits.sum(axis=1) - found.of_home.logits
    level = (others / max(1, found.logits.shape[1] - 1))[:, None]
    # Models with and without the row vary alike, so that the ratio grows with the model's answer.
    noise = np.sin(level * np.arange(1, count + 1))
    logits = np.concatenate([level + 1 + noise, level - 1 + noise], axis=1)
    held = np.zeros(logits.shape, dtype=bool)
    held[:, :count] = True
    return replace(found, online=ReferenceLogits(logits, ~held, held=held))


def viewed(
    samples: Sequence[Answers], *, population: Answers | None = None, probable: bool = True
) -> View:
    """Return the shard models under attack, with a population where none is given."""
    one, two, three = samples
    if population is None:
        kind: AnswerKind = "numbers" if one.of_home.residuals else "classes"
        population = answers(kind, logits(4 * ROWS, 99, models=one.logits.shape[1]))
    if one.references is not None:
        population = with_references(population, 99)
    every = [with_online_references(found) for found in (one, two, three, population)]
    return of_shard_models(every[0], every[1], every[2], every[3], probable=probable)


def run(
    attack: Attack,
    forgotten: Answers,
    members: Answers,
    others: Answers,
    *,
    population: Answers | None = None,
    min_rows: int = 5,
    probable: bool = True,
) -> Attacked | None:
    """Make an attack, with intervals and controls, as `verify` does."""
    view = viewed([forgotten, members, others], population=population, probable=probable)
    halves = np.arange(len(others)) % 2 == 0
    samples = Samples(forgotten, members, others, halves)
    return run_attack(view, samples, attack, np.random.default_rng(0), min_rows=min_rows)
