"""What is under attack: a model with, for each row, reference models without the row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import expit
from unlearn.stages.config.params import AggregationRule
from unlearn.stages.verify.membership.answers import Answers, FinalModel, ReferenceLogits
from unlearn.stages.verify.membership.arrays import Bools, Floats, Ints
from unlearn.stages.verify.membership.attack import Attack, ComparedRows, ReferenceScore
from unlearn.stages.verify.membership.calibrated import (
    MIN_REFERENCES,
    gaussian_likelihood,
    probability_ratio,
    probability_ratios,
)
from unlearn.stages.verify.membership.online import online_ratio
from unlearn.stages.verify.membership.row_scores import RowScores


@dataclass(frozen=True)
class View:
    """A model, or the shard models together, under attack.

    Parameters
    ----------
    forgotten, members, others
        The answers of the model under attack on rows that were to be forgotten, on rows that are
        in the models, and on rows that never were.
    compared
        The same rows, one sample after the other, with the reference models' answers.
    has_probabilities
        False where the answers are votes: then nothing can be scored.
    online
        The same rows with the answers of reference models that were trained on halves of all rows;
        None without such models.
    """

    forgotten: RowScores
    members: RowScores
    others: RowScores
    compared: ComparedRows
    has_probabilities: bool
    online: ComparedRows | None = None

    def reference_count(self, attack: Attack) -> int:
        """Return how many reference models an attack that the models allow compares with."""
        compared = self._compared(attack)
        return 0 if compared is None else int(compared.references.shape[1])

    def _compared(self, attack: Attack) -> ComparedRows | None:
        return self.online if attack.is_online else self.compared

    def allows(self, attack: Attack) -> bool:
        """Return whether an attack is possible."""
        if not self.has_probabilities or not attack.is_calibrated:
            return self.has_probabilities
        compared = self._compared(attack)
        if compared is None:
            return False
        kinds = [compared.usable] if compared.held is None else [compared.usable, compared.held]
        return all(int(of.sum(axis=1).min(initial=10**9)) >= MIN_REFERENCES for of in kinds)

    def scores(
        self, attack: Attack, weights: Floats | None = None
    ) -> tuple[Floats, Floats, Floats]:
        """Return the scores of forgotten rows, members and others.

        Parameters
        ----------
        attack
            An attack that the models allow.
        weights
            How often each reference model counts, shape (models,).
        """
        samples = (self.forgotten, self.members, self.others)
        if isinstance(attack.score, ReferenceScore):
            compared = self._compared(attack)
            if compared is None:
                raise ValueError(f"there are no reference models for {attack.name}")
            together = attack.score.scores(compared, weights)
            ends = np.cumsum([len(sample) for sample in samples])
            forgotten, members, others = np.split(together, ends[:-1])
        else:
            forgotten, members, others = (sample.scores[attack.name] for sample in samples)
        return forgotten, members, others


class _Rows(NamedTuple):
    """Rows with their reference models: the arrays of `ComparedRows`."""

    own: Floats
    references: Floats
    usable: Bools
    model: Ints


@dataclass(frozen=True)
class _Numbers:
    """What the numbers that models are compared by mean; see `ComparedRows`.

    Parameters
    ----------
    likelihood
        Returns the likelihood of the right answer.
    residuals
        Whether they are residuals.
    """

    likelihood: Callable[[Floats], Floats]
    residuals: bool

    @classmethod
    def of(cls, population: Answers) -> "_Numbers":
        """Return the meaning of logits; or of residuals, whose spread the population tells.

        No model was trained on the rows of the population: these are the errors of models without a
        row.
        """
        if not population.of_final.residuals:
            return cls(expit, residuals=False)
        trained = population.references
        residuals = population.logits if trained is None else trained.logits[trained.usable]
        deviation = float(np.sqrt(np.mean(residuals**2))) if residuals.size else np.nan
        return cls(lambda found: gaussian_likelihood(found, deviation), residuals=True)

    def together(
        self, samples: Sequence[_Rows], population: Callable[[Floats | None], Floats]
    ) -> ComparedRows:
        """Return the rows of all samples, one after the other."""
        own, references, usable, model = (
            np.concatenate(parts) for parts in zip(*samples, strict=True)
        )
        return ComparedRows(
            own,
            references,
            usable,
            model,
            population,
            likelihood=self.likelihood,
            residuals=self.residuals,
        )


def _ratios_of(population: _Rows, numbers: _Numbers) -> Callable[[Floats | None], Floats]:
    """Return the function that gives RMIA a population's ratios under one model under attack."""
    own, references = numbers.likelihood(population.own), numbers.likelihood(population.references)

    def ratios(weights: Floats | None) -> Floats:
        return probability_ratio(own, references, population.usable, weights)[None, :]

    return ratios


def of_shard_models(
    forgotten: Answers, members: Answers, others: Answers, population: Answers, *, probable: bool
) -> View:
    """Attack each row's own shard model, with the other shards' models as reference models.

    Where the answers hold logits of reference models, these take the other shards' place, and the
    population's rows are asked of one shard each.

    Parameters
    ----------
    forgotten, members, others
        See `View`.
    population
        Yet other rows that never were in the models, for RMIA.
    probable
        Whether the shard models give probabilities.
    """

    def rows_of(answers: Answers) -> _Rows:
        rows = np.arange(len(answers))
        own = answers.logits[rows, answers.home]
        if answers.references is not None:
            trained = answers.references
            own = own if trained.own is None else trained.own
            return _Rows(own, trained.logits, trained.usable, np.zeros_like(answers.home))
        usable = np.ones(answers.logits.shape, dtype=bool)
        usable[rows, answers.home] = False
        return _Rows(own, answers.logits, usable, answers.home)

    numbers = _Numbers.of(population)
    if population.references is not None:
        ratios = _ratios_of(rows_of(population), numbers)
    else:
        # Every shard model scores every row of the population.
        probabilities = numbers.likelihood(population.logits)

        def ratios(weights: Floats | None) -> Floats:
            return probability_ratios(probabilities, weights)

    samples = (forgotten, members, others)
    compared = numbers.together([rows_of(answers) for answers in samples], ratios)
    one, two, three = (answers.of_home for answers in samples)
    online = _online(samples, population, numbers)
    return View(one, two, three, compared, probable, online)


def _online(
    samples: Sequence[Answers], population: Answers, numbers: _Numbers
) -> ComparedRows | None:
    """Return the rows with reference models of which some were trained on each of them."""
    asked = [_OnlineRows.of(answers) for answers in (*samples, population)]
    known = [rows for rows in asked if rows is not None]
    if len(known) < len(asked):
        return None
    *compared, last = known
    own, references, usable, held = (np.concatenate(parts) for parts in zip(*compared, strict=True))
    others, models = numbers.likelihood(last.own), numbers.likelihood(last.references)

    def ratios(weights: Floats | None) -> Floats:
        return online_ratio(others, models, last.held, last.usable, weights)[None, :]

    one_model = np.zeros(len(own), dtype=np.int64)
    return ComparedRows(
        own,
        references,
        usable,
        one_model,
        ratios,
        held,
        numbers.likelihood,
        numbers.residuals,
    )


class _OnlineRows(NamedTuple):
    """Rows with reference models of which some were trained on each of them."""

    own: Floats
    references: Floats
    usable: Bools
    held: Bools

    @classmethod
    def of(cls, answers: Answers) -> "_OnlineRows | None":
        """Return the rows of answers; None without such models."""
        found = answers.online
        if found is None or found.held is None:
            return None
        return cls(answers.of_home.logits, found.logits, found.usable, found.held)


def of_final_model(
    model: FinalModel,
    forgotten: Answers,
    members: Answers,
    others: Answers,
    population: Answers,
    *,
    probable: bool,
) -> View:
    """Attack the ensemble, with ensembles without the row's shard as reference models.

    Reference model k also leaves out member k. There are thus as many as members, and their spread
    shows how far one member more or less moves the answer. See `of_shard_models`.
    """
    sizes = [member.rows for member in model.members]
    votes = np.ones(len(sizes)) if model.rule != "size_weighted" else np.array(sizes, dtype=float)

    def references_of(answers: Answers) -> ReferenceLogits:
        if len(votes) == 1 and answers.references is not None:
            return answers.references  # the final model is the one shard's
        if answers.final_references is not None:
            return answers.final_references
        if answers.of_final.residuals:
            logits = residuals_without_home(answers.logits, answers.home, votes, model.rule)
        else:
            logits = without_home(answers.logits, answers.home, votes)
        return ReferenceLogits(logits, np.ones(logits.shape, dtype=bool))

    def rows_of(answers: Answers) -> _Rows:
        found = references_of(answers)
        one_model = np.zeros_like(answers.home)
        own = answers.of_final.logits if found.own is None else found.own
        return _Rows(own, found.logits, found.usable, one_model)

    samples = (forgotten, members, others)
    numbers = _Numbers.of(population)
    ratios = _ratios_of(rows_of(population), numbers)
    compared = numbers.together([rows_of(answers) for answers in samples], ratios)
    one, two, three = (answers.of_final for answers in samples)
    return View(one, two, three, compared, probable)


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


def residuals_without_home(
    residuals: Floats, home: Ints, votes: Floats, rule: AggregationRule
) -> Floats:
    """Return the residuals of ensembles without each row's own member, and without one more.

    The target of a row is the same for all members, so the mean of their residuals is that of their
    mean, and so is the median. See `without_home` for shapes.

    Parameters
    ----------
    residuals, home, votes
        Every member's residuals, each row's own member, and what each member counts.
    rule
        How members answer together.
    """
    members = residuals.shape[1]
    if members < 3:  # noqa: PLR2004 - own, another one, and one to ask
        return np.zeros((len(home), 0))
    rows = np.arange(len(home))
    found = np.empty_like(residuals)
    for left_out in range(members):
        counted = np.repeat(votes[None, :], len(home), axis=0)
        counted[rows, home] = 0.0
        counted[:, left_out] = 0.0
        if rule == "median":
            kept = np.where(counted > 0, residuals, np.nan)
            found[:, left_out] = np.nanmedian(kept, axis=1)
        else:
            found[:, left_out] = (residuals * counted).sum(axis=1) / counted.sum(axis=1)
    return found
