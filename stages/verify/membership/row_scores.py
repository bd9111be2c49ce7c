"""What one model says of rows, in the form that attacks read, whatever kind of rows they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from unlearn.stages.verify.membership.scores import POPULATION, Floats, Ints, logit

if TYPE_CHECKING:
    from unlearn.stages.text.scoring import TokenScores

#: 1 - p is kept this far from 0, so that its logarithm is a number.
_FLOOR = 1e-12


@dataclass(frozen=True)
class Said:
    """What one model says of rows.

    Parameters
    ----------
    logits
        Logit of the right answer's probability, shape (rows,).
    scores
        By name, the scores of the attacks that read one model's answer alone, each of shape
        (rows,); none where some answer is no number.
    finite
        Whether all answers are numbers.
    """

    logits: Floats
    scores: Mapping[str, Floats]
    finite: bool

    def __len__(self) -> int:
        return len(self.logits)


def of_classes(probabilities: Floats, targets: Ints) -> Said:
    """Return what class probabilities say; see `scores`.

    Parameters
    ----------
    probabilities
        Shape (rows, classes).
    targets
        True class indices, shape (rows,).
    """
    finite = bool(np.isfinite(probabilities).all())
    return Said(
        logit(probabilities, targets),
        {name: of(probabilities, targets) for name, of in POPULATION.items()} if finite else {},
        finite,
    )


def of_tokens(scores: "TokenScores", texts: Sequence[str]) -> Said:
    """Return what the probabilities of answers' tokens say.

    A row's probability is that of `metrics.answer_probability`: the geometric mean of a token's.

    Parameters
    ----------
    scores
        Of one row after another, each of at least one token.
    texts
        The answers that the tokens spell, which `zlib` compresses.
    """
    from unlearn.stages.text import metrics

    logs, parts = scores.logprobs, scores.slices
    attacks: dict[str, Callable[[int, slice], float]] = {
        "loss": lambda _, part: metrics.loss_score(logs[part]),
        "zlib": lambda row, part: metrics.zlib_score(logs[part], texts[row]),
        "min_k": lambda _, part: metrics.min_k(logs[part]),
        "min_k_plus_plus": lambda _, part: metrics.min_k_plus_plus(
            logs[part], scores.mean[part], scores.spread[part]
        ),
    }
    found = {
        name: np.array([of(row, part) for row, part in enumerate(parts)], dtype=np.float64)
        for name, of in attacks.items()
        if scores.finite
    }
    return Said(logit_of_logs(scores.mean_logprobs), found, scores.finite)


def logit_of_logs(logs: Floats) -> Floats:
    """Return log(p / (1 - p)) from log p, of the same shape, where p keeps all its digits.

    log p - log(1 - e^(log p)), as `scores.logit` for class probabilities.
    """
    kept = np.minimum(logs, 0.0)
    scaled: Floats = kept - np.log(np.maximum(-np.expm1(kept), _FLOOR))
    return scaled
