"""The models under attack, each with the models that never saw the row to compare with."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit
from unlearn.stages.config.params import Attack
from unlearn.stages.verify.membership.answers import Answers, FinalModel
from unlearn.stages.verify.membership.calibrated import (
    MIN_REFERENCES,
    lira,
    probability_ratio,
    probability_ratios,
    rmia,
)
from unlearn.stages.verify.membership.row_scores import Said
from unlearn.stages.verify.membership.scores import Bools, Floats, Ints

#: Those that compare with reference models.
CALIBRATED: tuple[Attack, ...] = ("lira", "rmia")

#: Those for which .5 is what forgetting looks like, whatever rows were forgotten. Not RMIA: its
#: offline correction leaves rows that are hard for every model below easy ones.
REFERENCED: tuple[Attack, ...] = ("lira",)


@dataclass(frozen=True)
class Asked:
    """Rows as the model under attack answers on them.

    Parameters
    ----------
    said
        What the model under attack says.
    own
        Its logit of the right answer, shape (rows,).
    references
        The reference models' logits, shape (rows, models).
    usable
        Which of them never saw the row, shape (rows, models).
    model
        Which of several models under attack was asked, shape (rows,).
    """

    said: Said
    own: Floats
    references: Floats
    usable: Bools
    model: Ints

    @cached_property
    def chances(self) -> tuple[Floats, Floats]:
        """Own and references' probabilities of the right answer."""
        return expit(self.own), expit(self.references)


@dataclass(frozen=True)
class Exposure:
    """A model, or the shard models together, under attack.

    Parameters
    ----------
    forgotten, members, others
        Rows that were to be forgotten, rows that are in the models, and rows that never were.
    population
        RMIA's: ratios of yet other rows that never were, shape (models, rows), given how often
        each reference counts.
    has_probabilities
        False where the answers are votes: then nothing can be scored.
    """

    forgotten: Asked
    members: Asked
    others: Asked
    population: Callable[[Floats | None], Floats]
    has_probabilities: bool

    @property
    def references(self) -> int:
        """How many reference models every row has at least."""
        samples = (self.forgotten, self.members, self.others)
        return min(int(sample.usable.sum(axis=1).min(initial=10**9)) for sample in samples)

    def allows(self, attack: str) -> bool:
        """Tell whether an attack can be made at all."""
        enough = attack not in CALIBRATED or self.references >= MIN_REFERENCES
        return self.has_probabilities and enough

    def scores(self, attack: str, weights: Floats | None = None) -> tuple[Floats, Floats, Floats]:
        """Return the scores of forgotten rows, members and others.

        Parameters
        ----------
        attack
            An attack that the models allow.
        weights
            How often each reference model counts, shape (models,).
        """
        samples = (self.forgotten, self.members, self.others)
        if attack not in CALIBRATED:
            one, two, three = (sample.said.scores[attack] for sample in samples)
        elif attack == "lira":
            together = lira(
                np.concatenate([sample.own for sample in samples]),
                np.concatenate([sample.references for sample in samples]),
                np.concatenate([sample.usable for sample in samples]),
                weights,
            )
            ends = np.cumsum([len(sample.own) for sample in samples])
            one, two, three = np.split(together, ends[:-1])
        else:
            population = self.population(weights)
            one, two, three = (rmia(_ratios(s, weights), s.model, population) for s in samples)
        return one, two, three


def _ratios(asked: Asked, weights: Floats | None) -> Floats:
    own, references = asked.chances
    return probability_ratio(own, references, asked.usable, weights)


def of_shard_models(
    forgotten: Answers, members: Answers, others: Answers, population: Answers, *, probable: bool
) -> Exposure:
    """Expose each row to its own shard's model; the other shards' models are the references.

    Where models were trained to compare with, they take the other shards' place, and the
    population's rows are asked of one shard each.

    Parameters
    ----------
    forgotten, members, others, population
        See `Exposure`; of the population every row is asked of every model.
    probable
        Whether the shard models give probabilities.
    """

    def asked(answers: Answers) -> Asked:
        rows = np.arange(len(answers))
        own = answers.logits[rows, answers.home]
        if answers.outside is not None and answers.unseen is not None:
            return Asked(
                answers.asked,
                own,
                answers.outside,
                answers.unseen,
                np.zeros(len(answers), dtype=np.int64),
            )
        usable = np.ones(answers.logits.shape, dtype=bool)
        usable[rows, answers.home] = False
        return Asked(answers.asked, own, answers.logits, usable, answers.home)

    chances = expit(population.logits)
    strangers = asked(population)

    def ratios(weights: Floats | None) -> Floats:
        if population.outside is not None:
            return _ratios(strangers, weights)[None, :]
        return probability_ratios(chances, weights)

    return Exposure(asked(forgotten), asked(members), asked(others), ratios, probable)


def of_final_model(
    model: FinalModel,
    forgotten: Answers,
    members: Answers,
    others: Answers,
    population: Answers,
    *,
    probable: bool,
) -> Exposure:
    """Expose each row to the ensemble; ensembles without the row's shard are the references.

    Reference k also leaves out member k, so that there are as many as members, and their spread
    says how much one member more or less moves the answer. See `of_shard_models`.
    """
    sizes = [member.rows for member in model.members]
    votes = np.ones(len(sizes)) if model.rule != "size_weighted" else np.array(sizes, dtype=float)

    def asked(answers: Answers) -> Asked:
        if answers.beside is not None and answers.beside_unseen is not None:
            references, usable = answers.beside, answers.beside_unseen
        else:
            references = without_home(answers.logits, answers.home, votes)
            usable = np.ones(references.shape, dtype=bool)
        if len(votes) == 1 and answers.outside is not None and answers.unseen is not None:
            # The final model is the one shard's.
            references, usable = answers.outside, answers.unseen
        return Asked(
            answers.final,
            answers.final.logits,
            references,
            usable,
            np.zeros(len(answers), dtype=np.int64),
        )

    strangers = asked(population)

    def ratios(weights: Floats | None) -> Floats:
        return _ratios(strangers, weights)[None, :]

    return Exposure(asked(forgotten), asked(members), asked(others), ratios, probable)


def without_home(logits: Floats, home: Ints, votes: Floats) -> Floats:
    """Return the logits of ensembles without each row's own member, and without one more.

    Parameters
    ----------
    logits
        Every member's, shape (rows, members).
    home
        Each row's own member, shape (rows,).
    votes
        What each member counts in the mean of probabilities, shape (members,).

    Returns
    -------
    numpy.ndarray
        Shape (rows, members); column k leaves out member k, too, or only the own member where k
        is that one. Shape (rows, 0) with fewer than three members, when nothing would be left.
    """
    if logits.shape[1] < 3:  # noqa: PLR2004 - own, another one, and one to ask
        return np.zeros((len(home), 0))
    rows = np.arange(len(home))
    weights = np.repeat(votes[None, :], len(home), axis=0)
    weights[rows, home] = 0.0
    found = []
    for side in (logits, -logits):  # p and 1 - p, each to its own digits
        weighted = expit(side) * weights
        rest = weighted.sum(axis=1, keepdims=True) - weighted
        found.append(rest / (weights.sum(axis=1, keepdims=True) - weights))
    scaled: Floats = np.log(np.maximum(found[0], 1e-12)) - np.log(np.maximum(found[1], 1e-12))
    return scaled
