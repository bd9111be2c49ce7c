"""How often matched evidence is right about models whose history is known.

Small networks are trained on digits, many draws at once: an original on all rows, a retrained
model and another retraining on the retained rows. The original and the other retraining are then
judged as `verify` judges the models of post-hoc methods, and so is the original with noise on its
weights. The original should never pass, and the other retraining should fail in at most one draw in
twenty.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from unlearn.stages.verify.membership.arrays import Floats, Ints
from unlearn.stages.verify.membership.matched import (
    ComparedPairs,
    PairScores,
    matched_difference,
    retrained_models,
)
from unlearn.stages.verify.membership.relative import relation
from unlearn.stages.verify.membership.scores import logit, loss
from unlearn.stages.verify.membership.statistics import (
    Scored,
    difference_interval,
)
from unlearn.stages.verify.membership.weights import matching_weights
from unlearn.stages.verify.verdict import Difference, judge_difference, judge_matched, no_matches
from unlearn.stages.verify_report.membership import Outcome
from unlearn.stages.verify_report.methods import Finding

from benchmarks.harness import machine, say, show

DIGITS = Path(__file__).parent.parent / "data" / "digits.csv"
CLASSES = 10

#: What the forgotten rows are.
Kind = Literal["random", "class", "mislabelled", "duplicates", "outliers"]
KINDS: tuple[Kind, ...] = ("random", "class", "mislabelled", "duplicates", "outliers")

#: As in params.yaml.
MARGIN, MIN_ROWS = 0.1, 10

#: What is judged. The disturbed original has noise on its weights: it changed, and did not forget.
MODELS = ("original", "another retraining", "disturbed original")

#: Draws that are trained together.
_TOGETHER = 50


@dataclass(frozen=True)
class Size:
    """How large the simulated projects are.

    Parameters
    ----------
    trained, held_out, forgotten
        Rows. Of a class, all rows are forgotten.
    hidden, epochs
        Width of the network, and epochs of its training.
    """

    trained: int = 800
    held_out: int = 300
    forgotten: int = 45
    hidden: int = 128
    epochs: int = 80


#: As the first, but trained in a moment.
SMALL = Size(trained=300, held_out=200, forgotten=30, hidden=64, epochs=50)


@dataclass(frozen=True)
class Draws:
    """The rows of many simulated projects: inputs (draws, rows, 64), labels (draws, rows)."""

    retained: tuple[torch.Tensor, torch.Tensor]
    forgotten: tuple[torch.Tensor, torch.Tensor]
    held_out: tuple[torch.Tensor, torch.Tensor]


def draw_rows(kind: Kind, size: Size, draws: int, seed: int) -> Draws:
    """Draw the rows of projects.

    Parameters
    ----------
    kind
        What the forgotten rows are: drawn at random; all trained rows of one class; rows with a
        wrong label; rows of which the retained rows have a copy each; or noise with any label.
    size
        The numbers of rows.
    draws, seed
        How many projects, and the seed.
    """
    table = np.loadtxt(DIGITS, delimiter=",", skiprows=1, dtype=str)
    inputs = table[:, 1:-1].astype(np.float32) / 16
    labels = table[:, -1].astype(np.int64)
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(draws):
        order = rng.permutation(len(inputs))
        trained, held_out = np.split(order[: size.trained + size.held_out], [size.trained])
        x, y = inputs[trained].copy(), labels[trained].copy()
        forgotten = np.arange(size.forgotten)
        retained = np.arange(size.forgotten, size.trained)
        if kind == "class":
            label = rng.integers(CLASSES)
            forgotten, retained = np.flatnonzero(y == label), np.flatnonzero(y != label)
        elif kind == "mislabelled":
            y[forgotten] = (y[forgotten] + rng.integers(1, CLASSES, size.forgotten)) % CLASSES
        elif kind == "duplicates":
            copies = retained[: size.forgotten]
            x[copies], y[copies] = x[forgotten], y[forgotten]
        elif kind == "outliers":
            shape = (size.forgotten, x.shape[1])
            x[forgotten] = rng.random(shape) * (rng.random(shape) < 0.5)
            y[forgotten] = rng.integers(0, CLASSES, size.forgotten)
        parts.append(
            [
                (x[retained], y[retained]),
                (x[forgotten], y[forgotten]),
                (inputs[held_out], labels[held_out]),
            ]
        )
    return Draws(*(_stacked([part[index] for part in parts]) for index in range(3)))


def _stacked(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the parts of all draws, each cut to the number of rows that the smallest has."""
    rows = min(len(labels) for _, labels in parts)
    return (
        torch.from_numpy(np.stack([inputs[:rows] for inputs, _ in parts])),
        torch.from_numpy(np.stack([labels[:rows] for _, labels in parts])),
    )


class Networks:
    """Networks with one hidden layer, one for each draw, trained together by Adam.

    Parameters
    ----------
    inputs, labels
        The rows of each draw, shapes (draws, rows, features) and (draws, rows).
    size
        Width and epochs.
    seed
        Draws the weights and the order of the rows.
    """

    def __init__(self, inputs: torch.Tensor, labels: torch.Tensor, size: Size, seed: int) -> None:
        draws, rows, features = inputs.shape
        generator = torch.Generator().manual_seed(seed)

        def uniform(shape: tuple[int, ...], fan_in: int) -> torch.Tensor:
            drawn = torch.rand(draws, *shape, generator=generator) * 2 - 1
            return drawn / float(np.sqrt(fan_in))

        self._weights = [
            uniform((features, size.hidden), features),
            uniform((1, size.hidden), features),
            uniform((size.hidden, CLASSES), size.hidden),
            uniform((1, CLASSES), size.hidden),
        ]
        means = [torch.zeros_like(weight) for weight in self._weights]
        squares = [torch.zeros_like(weight) for weight in self._weights]
        which, batch, rate = torch.arange(draws)[:, None], 32, 5e-3
        step = 0
        for _ in range(size.epochs):
            order = torch.rand(draws, rows, generator=generator).argsort(1)
            for start in range(0, rows - batch // 2, batch):
                drawn = order[:, start : start + batch]
                step += 1
                changes = self._gradients(inputs[which, drawn], labels[which, drawn])
                for weight, mean, square, change in zip(
                    self._weights, means, squares, changes, strict=True
                ):
                    mean.mul_(0.9).add_(change, alpha=0.1)
                    square.mul_(0.999).addcmul_(change, change, value=0.001)
                    scale = (square / (1 - 0.999**step)).sqrt_().add_(1e-8)
                    weight.addcdiv_(mean, scale, value=-rate / (1 - 0.9**step))

    def disturbed(self, seed: int) -> "Networks":
        """Return copies with noise on the weights, of a fifth of each layer's deviation."""
        generator = torch.Generator().manual_seed(seed)
        found = copy(self)
        found._weights = [  # noqa: SLF001 - a copy of its own
            weight + 0.2 * weight.std() * torch.randn(weight.shape, generator=generator)
            for weight in self._weights
        ]
        return found

    def _gradients(self, inputs: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
        first, bias, second, other_bias = self._weights
        hidden = torch.baddbmm(bias, inputs, first).relu_()
        error = torch.baddbmm(other_bias, hidden, second).softmax(2)
        error -= torch.nn.functional.one_hot(labels, CLASSES)
        error /= labels.shape[1]
        back = (error @ second.transpose(1, 2)) * (hidden > 0)
        return [
            inputs.transpose(1, 2) @ back,
            back.sum(1, keepdim=True),
            hidden.transpose(1, 2) @ error,
            error.sum(1, keepdim=True),
        ]

    def probabilities(self, inputs: torch.Tensor) -> Floats:
        """Return class probabilities, shape (draws, rows, classes)."""
        first, bias, second, other_bias = self._weights
        hidden = torch.baddbmm(bias, inputs, first).relu_()
        found: Floats = torch.baddbmm(other_bias, hidden, second).double().softmax(2).numpy()
        return found


@dataclass(frozen=True)
class Judged:
    """What is found in one draw, of one model.

    Parameters
    ----------
    matched, by_class
        The verdicts on matched pairs, and on unseen rows of the same classes.
    difference
        The statistic on matched pairs; None without a match.
    finding
        What the relative test says.
    unmatched
        Share of the forgotten rows without a match.
    """

    matched: Outcome
    by_class: Outcome
    difference: float | None
    finding: Finding
    unmatched: float


def simulate(
    kind: Kind, size: Size, draws: int, seed: int = 0, references: int = 1
) -> dict[str, list[Judged]]:
    """Return what is found of each of `MODELS`.

    Parameters
    ----------
    kind, size, draws, seed
        See `draw_rows`.
    references
        Retrained models to compare with.
    """
    found: dict[str, list[Judged]] = {name: [] for name in MODELS}
    for start in range(0, draws, _TOGETHER):
        rows = draw_rows(kind, size, min(_TOGETHER, draws - start), seed * 10_000 + start)
        for judged in _simulated(rows, size, seed * 10_000 + start, references):
            for name, one in judged.items():
                found[name].append(one)
    return found


def _simulated(rows: Draws, size: Size, seed: int, references: int) -> Iterator[dict[str, Judged]]:
    inputs, labels = (
        torch.cat(pair, 1) for pair in zip(rows.retained, rows.forgotten, strict=True)
    )
    original = Networks(inputs, labels, size, seed)
    again = Networks(*rows.retained, size, seed + 1)
    models = dict(zip(MODELS, (original, again, original.disturbed(seed)), strict=True))
    retrained = [Networks(*rows.retained, size, seed + 2 + index) for index in range(references)]
    answers = [
        (each.probabilities(rows.forgotten[0]), each.probabilities(rows.held_out[0]))
        for each in (*models.values(), *retrained)
    ]
    for draw, (forgotten, held_out) in enumerate(
        zip(rows.forgotten[1].numpy(), rows.held_out[1].numpy(), strict=True)
    ):
        asked = [(one[draw], other[draw]) for one, other in answers]
        named = dict(zip(models, asked[: len(models)], strict=True))
        yield judge(named, asked[len(models) :], forgotten, held_out)


def judge(
    models: Mapping[str, tuple[Floats, Floats]],
    retrained: Sequence[tuple[Floats, Floats]],
    targets: Ints,
    others: Ints,
) -> dict[str, Judged]:
    """Judge models as `verify` does, by the attack `loss`.

    Parameters
    ----------
    models, retrained
        Class probabilities of each model for forgotten and for held-out rows.
    targets, others
        Labels of these rows.
    """
    rows = ComparedPairs(targets, np.arange(len(targets)), np.arange(len(others)))
    logits = [_pairs(logit, *each, targets) for each in retrained]
    reference = retrained_models(rows, logits, [_pairs(loss, *each, targets) for each in retrained])
    matched = int(reference.matching.matched.sum())
    rng = np.random.default_rng(0)
    found = {
        name: matched_difference(_pairs(loss, *each, targets), reference, rng)
        for name, each in models.items()
    }
    judged = {}
    for name, each in models.items():
        own, control = found[name], found["original"]
        verdict = no_matches(matched, len(targets), MIN_ROWS)
        if own is not None and control is not None and matched >= MIN_ROWS:
            difference = Difference(
                "loss", own.auc, own.reference, own.difference, control.difference, matched
            )
            verdict = judge_matched(difference, len(targets), MARGIN)
        judged[name] = Judged(
            verdict.outcome,
            _by_class(each, models["original"], retrained[0], (targets, others)),
            None if own is None else own.difference.value,
            _finding([logit(one[0], targets) for one in (each, retrained[0], models["original"])]),
            1 - matched / len(targets),
        )
    return judged


def _finding(answers: Sequence[Floats]) -> Finding:
    """Return what the relative test says of a model, the retrained one and the original."""
    persons = np.arange(len(answers[0]))
    found = relation(np.array(answers), persons, np.random.default_rng(0))
    return "unclear" if found is None else found.finding


def _pairs(
    score: Callable[[Floats, Ints], Floats], forgotten: Floats, held_out: Floats, targets: Ints
) -> PairScores:
    every = [score(held_out, np.full(len(held_out), label)) for label in range(CLASSES)]
    return PairScores(score(forgotten, targets), np.stack(every, axis=1))


def _by_class(
    model: tuple[Floats, Floats],
    original: tuple[Floats, Floats],
    retrained: tuple[Floats, Floats],
    labels: tuple[Ints, Ints],
) -> Outcome:
    """Judge a model on unseen rows of the forgotten rows' classes."""
    targets, others = labels
    kept = np.isin(targets, others)
    weights = matching_weights((targets[kept],), (others,))
    if not kept.any() or not weights.any():
        return "inconclusive"

    def pair(answers: tuple[Floats, Floats]) -> tuple[Scored, Scored]:
        forgotten, held_out = (loss(*each) for each in zip(answers, labels, strict=True))
        return (
            Scored(forgotten, kept.astype(float), np.arange(len(targets))),
            Scored(held_out, weights, np.arange(len(others))),
        )

    rng = np.random.default_rng(0)
    own, control = (
        difference_interval(pair(each), pair(retrained), rng) for each in (model, original)
    )
    difference = Difference("loss", 0.0, 0.0, own, control, int(kept.sum()))
    return judge_difference(difference, MARGIN).outcome


def main() -> None:
    """Print how often each verdict was given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--references", type=int, default=1, help="retrained models")
    parser.add_argument("--large", action="store_true", help="800 trained rows in place of 300")
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    size = Size() if arguments.large else SMALL
    draws = 20 if arguments.quick else arguments.draws
    print(machine())
    rows = []
    for kind in arguments.kinds:
        say(f"{kind}: {draws} draws")
        for name, found in simulate(kind, size, draws, references=arguments.references).items():
            differences = [one.difference for one in found if one.difference is not None]
            rows.append(
                [
                    kind,
                    name,
                    _counts([one.matched for one in found]),
                    _counts([one.by_class for one in found]),
                    f"{np.mean(differences):+.3f} ({np.std(differences):.3f})",
                    f"{np.mean([one.unmatched for one in found]):.1%}",
                    _named([one.finding for one in found]),
                ]
            )
    show(
        f"evidence-simulation-{arguments.references}",
        (
            "forgotten rows",
            "model",
            "matched pairs: pass / inconclusive / fail",
            "rows of the same classes: the same",
            "matched difference, mean (standard deviation)",
            "without a match",
            "relative test",
        ),
        rows,
        f"{draws} draws each, {size.trained} trained and {size.held_out} held-out digits, "
        f"{size.forgotten} forgotten rows (of a class, all), margin {MARGIN:g}, "
        f"retrained models to match by: {arguments.references}.",
    )


def _named(findings: Sequence[Finding]) -> str:
    return ", ".join(f"{findings.count(one)} {one}" for one in dict.fromkeys(sorted(findings)))


def _counts(verdicts: Sequence[Outcome]) -> str:
    outcomes: tuple[Outcome, ...] = ("pass", "inconclusive", "fail")
    return " / ".join(str(verdicts.count(outcome)) for outcome in outcomes)


if __name__ == "__main__":
    main()
