"""Which rows an attack uses, and which model scores each of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from unlearn.stages.rows.holdout import calibration_half, draw_among, fewest, quarters, tested_half
from unlearn.stages.rows.shard_file import Layout, governing_tokens
from unlearn.stages.rows.tokens import home_shard
from unlearn.stages.verify.membership.answers import (
    Answers,
    FinalModel,
    Question,
    ReferenceLogits,
)
from unlearn.stages.verify.membership.arrays import Ints
from unlearn.stages.verify.membership.attacks import Samples
from unlearn.stages.verify.membership.references import Comparison


@dataclass(frozen=True)
class _Most:
    """The largest number of rows of each kind."""

    forgotten: int
    members: int
    others: int
    population: int


#: So many rows of other classes allow a false positive rate of .1 %. Text costs far more per row.
_OF_CLASSES, _OF_TEXT = _Most(5_000, 2_000, 10_000, 1_000), _Most(1_000, 300, 2_000, 200)


def _most(layout: Layout) -> _Most:
    return _OF_TEXT if layout.modality == "text" else _OF_CLASSES


#: The place among the questions of rows that reference models may have been trained on.
_MEMBERS = 1


@dataclass(frozen=True)
class Questions:
    """The rows of all attacks, each with the shard model that is asked about it.

    Parameters
    ----------
    forgotten, members, others
        Rows that were to be forgotten, that are in the models, and that never were.
    population
        Rows of the holdout's other half.
    retained
        All rows that the shards with forgotten rows retain, with the index of the shard.
    """

    forgotten: Question
    members: Question
    others: Question
    population: Question
    retained: list[tuple[pa.Table, int]]

    @property
    def in_order(self) -> list[Question]:
        """The four samples, as a model is asked about them."""
        return [self.forgotten, self.members, self.others, self.population]


def questions(
    shards: Sequence[str],
    layout: Layout,
    forgotten: Mapping[str, pa.Table],
    retained: Callable[[str], pa.Table],
    holdout: pa.Table,
) -> Questions | None:
    """Draw the rows of attacks by their tokens; see `draw`.

    Parameters
    ----------
    shards
        Names of the shards with models; homes are indices of these.
    layout, forgotten, retained, holdout
        See `draw`.
    """
    index = {shard: number for number, shard in enumerate(shards)}
    forgotten_of = [
        (rows, index[shard])
        for shard, rows in forgotten.items()
        if shard in index and rows.num_rows
    ]
    if not forgotten_of:
        return None
    touched = [number for _, number in forgotten_of]
    members = [(retained(shards[number]), number) for number in touched]
    most = _most(layout)
    others = non_members(holdout, layout)
    population = _population(holdout, layout)

    def homes(rows: pa.Table) -> Ints:
        return _homes(rows, index, touched, len(forgotten))

    return Questions(
        _together(forgotten_of, most.forgotten),
        _together(members, most.members),
        (others, homes(others)),
        (population, homes(population)),
        members,
    )


@dataclass(frozen=True)
class Drawn:
    """The rows of all attacks, with the models' answers on them.

    Parameters
    ----------
    samples
        Forgotten rows, members and others.
    population
        Rows of the holdout's other half, for attacks that need a population.
    """

    samples: Samples
    population: Answers


def draw(
    model: FinalModel,
    layout: Layout,
    forgotten: Mapping[str, pa.Table],
    retained: Callable[[str], pa.Table],
    holdout: pa.Table,
    references: Callable[[str, pa.Table], Comparison] | None = None,
    online: Callable[[pa.Table], ReferenceLogits] | None = None,
) -> Drawn | None:
    """Draw rows by their tokens, and ask the models about them.

    The holdout is halved by token: one half calibrates attacks, the other is the non-members. A
    non-member is asked of the shard that its token names, or, where that has no forgotten rows, of
    one that has: a shard's forgotten rows are compared with non-members of the same model.

    Parameters
    ----------
    model
        The ensemble.
    layout
        Columns and classes.
    forgotten
        The forgotten rows of every shard that shards.yaml names.
    retained
        Returns the rows that a shard retains, by its name.
    holdout
        The holdout's rows that were not forgotten.
    references
        Returns reference models, given a shard's name and the rows that it retains.
    online
        Returns the logits of reference models that were trained on halves of `compared_rows`; for
        a model without shards.

    Returns
    -------
    Drawn or None
        None if no row was forgotten whose shard still has a model.
    """
    shards = [member.shard for member in model.members]
    asked = questions(shards, layout, forgotten, retained, holdout)
    if asked is None:
        return None
    trained = {}
    if references is not None:
        trained = {number: references(shards[number], rows) for rows, number in asked.retained}
    answers = model.answers(asked.in_order)
    if trained:
        answers = [
            _with_references(found, rows, trained, in_shard=number == _MEMBERS)
            for number, (found, (rows, _)) in enumerate(zip(answers, asked.in_order, strict=True))
        ]
    if online is not None:
        answers = [
            replace(found, online=online(rows))
            for found, (rows, _) in zip(answers, asked.in_order, strict=True)
        ]
    of_forgotten, of_members, of_others, of_population = answers
    samples = Samples(of_forgotten, of_members, of_others, quarters(asked.others[0]))
    return Drawn(samples, of_population)


def forgotten_sample(forgotten: pa.Table, layout: Layout) -> pa.Table:
    """Return the forgotten rows of one model as `draw` takes them; many are thinned."""
    return fewest(forgotten, _most(layout).forgotten)


def non_members(holdout: pa.Table, layout: Layout) -> pa.Table:
    """Return the half of the holdout that is the non-members; a large one is thinned."""
    return fewest(tested_half(holdout), _most(layout).others)


def compared_rows(
    layout: Layout, forgotten: pa.Table, retained: pa.Table, holdout: pa.Table
) -> list[pa.Table]:
    """Return all rows that `draw` compares for one model, and all others that it was trained on.

    Parameters
    ----------
    layout
        Columns and classes.
    forgotten, retained, holdout
        The rows of the one shard, and of the holdout, that were forgotten or not.
    """
    return [
        retained,
        forgotten_sample(forgotten, layout),
        non_members(holdout, layout),
        _population(holdout, layout),
    ]


def _population(holdout: pa.Table, layout: Layout) -> pa.Table:
    return fewest(calibration_half(holdout), _most(layout).population)


def _with_references(
    answers: Answers, rows: pa.Table, others: dict[int, Comparison], *, in_shard: bool
) -> Answers:
    """Return the answers with the logits of the reference models of each row's shard."""
    found = {member: of.compare(rows, trained=in_shard) for member, of in others.items()}
    # Shards without so many have none for the others.
    count = min(each.logits.shape[1] for each in found.values())
    logits, usable = np.zeros((len(answers), count)), np.zeros((len(answers), count), dtype=bool)
    own = np.zeros(len(answers))
    for member, each in found.items():
        here = answers.home == member
        logits[here], usable[here] = each.logits[here, :count], each.usable[here, :count]
        if each.own is not None:
            own[here] = each.own[here]
    has_own = all(each.own is not None for each in found.values())
    return replace(answers, references=ReferenceLogits(logits, usable, own if has_own else None))


def _together(parts: list[tuple[pa.Table, int]], most: int) -> tuple[pa.Table, Ints]:
    """Return the rows of several shards, thinned to at most `most`, and each row's member."""
    each = max(1, most // len(parts))
    thinned = [(fewest(rows, each), member) for rows, member in parts]
    home = np.concatenate([np.full(rows.num_rows, member) for rows, member in thinned])
    return pa.concat_tables([rows for rows, _ in thinned]), home.astype(np.int64)


def _homes(rows: pa.Table, index: dict[str, int], touched: list[int], shards: int) -> Ints:
    governing = governing_tokens(rows)
    found = np.zeros(rows.num_rows, dtype=np.int64)
    for number, token in enumerate(governing):
        own = index.get(home_shard(token, shards))
        other = touched[draw_among(token, len(touched))]
        found[number] = own if own in touched else other
    return found
