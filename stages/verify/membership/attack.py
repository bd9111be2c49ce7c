"""What a membership attack is: its name, what it reads, and how it scores rows.

An attack is declared beside the functions that it is made of, and listed in `registry.py`. The
declarations are light: heavy libraries are imported inside the functions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from unlearn.stages.verify.membership.arrays import Bools, Floats, Ints

if TYPE_CHECKING:
    from unlearn.stages.text.scoring import TokenScores

#: What a model answers with: class probabilities, numbers, or log-probabilities of tokens.
AnswerKind = Literal["classes", "numbers", "tokens"]
ANSWER_KINDS: tuple[AnswerKind, ...] = ("classes", "numbers", "tokens")

#: Scores rows by class probabilities, shape (rows, classes), and true class indices, shape (rows,).
ClassScore = Callable[[Floats, Ints], Floats]

#: Scores rows by predicted numbers and by their targets, both in the units of the dataset, shape
#: (rows,).
NumberScore = Callable[[Floats, Floats], Floats]

#: Scores rows by their tokens' log-probabilities and by the texts that the tokens spell.
TokenScore = Callable[["TokenScores", Sequence[str]], Floats]


@dataclass(frozen=True)
class AnswerScore:
    """A score that reads one model's answers alone; None for a kind that it does not read.

    Parameters
    ----------
    classes, tokens, numbers
        Return a score for each row, shape (rows,): the higher, the more likely a member. Each
        row's score depends on that row alone.
    """

    classes: ClassScore | None = None
    tokens: TokenScore | None = None
    numbers: NumberScore | None = None


def _sigmoid(logits: Floats) -> Floats:
    from scipy.special import expit

    found: Floats = expit(logits)
    return found


@dataclass(frozen=True)
class ComparedRows:
    """Rows as the model under attack and reference models answer on them.

    Of each answer one number counts: the logit of the right answer's probability; or, where numbers
    are predicted, the residual, which is the prediction less the target, in the target's pinned
    scale.

    Parameters
    ----------
    own
        That number under the model under attack, shape (rows,).
    references
        The same under the reference models, shape (rows, models).
    usable
        Which of them were not trained on the row, shape (rows, models).
    model
        Which of several models under attack scored the row, shape (rows,).
    population
        RMIA's: returns the probability ratios of yet other non-members, shape (models under
        attack, population rows), given how often each reference model counts.
    held
        Which of the reference models were trained on the row, shape (rows, models); None where
        forgotten rows and non-members are in none.
    likelihood
        Returns the likelihood of the right answer, from 0 to 1, given such numbers.
    residuals
        Whether the numbers are residuals.
    """

    own: Floats
    references: Floats
    usable: Bools
    model: Ints
    population: Callable[[Floats | None], Floats]
    held: Bools | None = None
    likelihood: Callable[[Floats], Floats] = _sigmoid
    residuals: bool = False

    @cached_property
    def probabilities(self) -> tuple[Floats, Floats]:
        """Own and references' likelihoods of the right answer."""
        return self.likelihood(self.own), self.likelihood(self.references)


@dataclass(frozen=True)
class ReferenceScore:
    """A score that compares a model's answers with those of models trained without the row.

    Parameters
    ----------
    compare
        Returns a score for each row, shape (rows,): the higher, the more likely a member. The
        second argument says how often each reference model counts, shape (models,); each counts
        once where it is None. It reads logits.
    of_residuals
        The same for rows of residuals; None for an attack that does not read them.
    allows_for_difficulty
        Whether it allows for how hard a row is, so that an AUC of .5 is what forgetting looks
        like, whichever rows were forgotten.
    is_online
        Whether it also asks reference models that were trained on the row.
    """

    compare: Callable[[ComparedRows, Floats | None], Floats]
    of_residuals: Callable[[ComparedRows, Floats | None], Floats] | None = None
    allows_for_difficulty: bool = False
    is_online: bool = False

    def scores(self, rows: ComparedRows, weights: Floats | None) -> Floats:
        """Return the scores of rows, by the function for the numbers that they have."""
        if not rows.residuals:
            return self.compare(rows, weights)
        if self.of_residuals is None:
            raise TypeError("this attack does not read residuals")
        return self.of_residuals(rows, weights)


@dataclass(frozen=True)
class Attack:
    """A membership attack.

    Parameters
    ----------
    name
        The name that params.yaml and reports use.
    label
        The name that people read.
    score
        How it scores rows.
    """

    name: str
    label: str
    score: AnswerScore | ReferenceScore

    @property
    def is_online(self) -> bool:
        """Whether it also asks reference models that were trained on the row."""
        return isinstance(self.score, ReferenceScore) and self.score.is_online

    @property
    def needs(self) -> tuple[AnswerKind, ...]:
        """The kinds of answers that it can read: any one of them is enough."""
        score = self.score
        if isinstance(score, ReferenceScore):
            # The logit of the right answer, which there is for classes and tokens.
            reads_numbers = score.of_residuals is not None
            return tuple(kind for kind in ANSWER_KINDS if kind != "numbers" or reads_numbers)
        found: dict[AnswerKind, object] = {
            "classes": score.classes,
            "numbers": score.numbers,
            "tokens": score.tokens,
        }
        return tuple(kind for kind, of in found.items() if of is not None)

    @property
    def is_calibrated(self) -> bool:
        """Whether it compares with reference models."""
        return isinstance(self.score, ReferenceScore)

    @property
    def allows_for_difficulty(self) -> bool:
        """Whether an AUC of .5 is what forgetting looks like; see `ReferenceScore`."""
        return isinstance(self.score, ReferenceScore) and self.score.allows_for_difficulty
