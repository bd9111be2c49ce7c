"""The answers of language models."""

import numpy as np
import pyarrow as pa
from unlearn.stages.final_model.text_ensemble import LanguageEnsemble
from unlearn.stages.rows.chats import answer_of, answers_of
from unlearn.stages.rows.shard_file import Layout
from unlearn.stages.text.encoding import Encoder
from unlearn.stages.text.scoring import TokenScores, of_members
from unlearn.stages.text.sequences import Sequences
from unlearn.stages.verify.membership.answers import (
    Answers,
    ReferenceLogits,
    persons,
)
from unlearn.stages.verify.membership.arrays import Bools, Floats, Ints
from unlearn.stages.verify.membership.row_scores import logit_of_logs, of_tokens


def ask_language(model: LanguageEnsemble, rows: pa.Table, home: Ints) -> Answers:
    """Ask every member of an ensemble of language models about rows.

    The reference models are ensembles without each row's own member; by the rule `route` they are
    the members that neither saw the row nor answer on it.

    Parameters
    ----------
    model
        The ensemble, of at least one member.
    rows
        A table of its layout.
    home
        See `Answers`.
    """
    found = model.answer_without(rows, home)
    count, sequences = rows.num_rows, found.sequences
    texts = scored_texts(model.encoder, rows, sequences)
    of_home = of_members(found.members, home[sequences.rows])
    logits = member_logits(found.members, sequences.rows, count)
    final_references = None
    if model.rule == "route" and len(model.members) > 1:
        usable = _never_saw(logits.shape, home, model.routes(rows))
        final_references = ReferenceLogits(logits, usable)
    elif found.without is not None:
        ends = found.final.by_row(sequences.rows, count).ends
        without = logit_of_logs(row_means(found.without, ends))
        final_references = ReferenceLogits(without, np.ones(without.shape, dtype=bool))
    return Answers(
        home,
        np.zeros(count, dtype=np.int64),
        persons(rows),
        logits,
        of_tokens(of_home.by_row(sequences.rows, count), texts),
        of_tokens(found.final.by_row(sequences.rows, count), texts),
        final_references=final_references,
    )


def ask_merged(
    model: LanguageEnsemble, parts: LanguageEnsemble, rows: pa.Table, home: Ints
) -> Answers:
    """Ask one adapter, and the adapters that it was made of, about rows.

    The reference models are adapters that were made in the same way, without each row's own one
    and without one more.

    Parameters
    ----------
    model
        The one adapter.
    parts
        What it was made of, at least one.
    rows
        A table of their layout.
    home
        See `Answers`.
    """
    sequences, members = parts.answer_each(rows)
    count = rows.num_rows
    texts = scored_texts(parts.encoder, rows, sequences)
    of_home = of_members(members, home[sequences.rows])
    of_final = model.score(sequences, model.forward)
    without = _logits_without(parts, sequences, home)
    return Answers(
        home,
        np.zeros(count, dtype=np.int64),
        persons(rows),
        member_logits(members, sequences.rows, count),
        of_tokens(of_home.by_row(sequences.rows, count), texts),
        of_tokens(of_final.by_row(sequences.rows, count), texts),
        final_references=ReferenceLogits(without, np.ones(without.shape, dtype=bool)),
    )


def _logits_without(parts: LanguageEnsemble, sequences: Sequences, home: Ints) -> Floats:
    """Return each row's logits under one adapter of all members but two, shape (rows, members).

    Column k leaves out the row's own member and member k, or only the own one where k is that.
    Shape (rows, 0) with fewer than three members, when nothing would be left.
    """
    count = len(parts.members)
    if count < 3:  # noqa: PLR2004 - own, another one, and one to ask
        return np.zeros((len(home), 0))
    found = np.zeros((len(home), count))
    own = home[sequences.rows]
    for first in range(count):
        for second in range(first, count):
            asked = np.flatnonzero((own == first) | (own == second))
            if not len(asked):
                continue
            left = [number for number in range(count) if number not in (first, second)]
            part = sequences.take(asked)
            rows, places = np.unique(part.rows, return_inverse=True)
            scores = parts.score(part, parts.forward_of_one(left))
            logits = member_logits((scores,), places.astype(np.int64), len(rows))[:, 0]
            found[rows, np.where(home[rows] == first, second, first)] = logits
    return found


def member_logits(members: tuple[TokenScores, ...], rows: Ints, count: int) -> Floats:
    """Return every member's logit of each row's answer, shape (rows, members).

    Parameters
    ----------
    members
        Their scores of sequences.
    rows, count
        The row that each sequence comes from, and how many rows there are.
    """
    means = [of.by_row(rows, count).mean_logprobs for of in members]
    return logit_of_logs(np.stack(means, axis=1))


def row_means(values: Floats, ends: Ints) -> Floats:
    """Return the mean over each row's tokens, shape (rows, columns).

    Parameters
    ----------
    values
        Shape (tokens, columns).
    ends
        Where each row ends among the tokens, shape (rows,).
    """
    starts = np.concatenate([[0], ends])[:-1]  # no starts where there are no rows
    parts = [values[a:b].mean(axis=0) for a, b in zip(starts, ends, strict=True)]
    return np.array(parts, dtype=np.float64).reshape(len(ends), values.shape[1])


def answer_texts(rows: pa.Table, layout: Layout) -> list[str]:
    """Return the text of each row that an answer is: its completion, its body, or its last turn."""
    if (chats := layout.column("messages")) is not None:
        return [answer_of(text) for text in rows[chats].to_pylist()]
    column = layout.column("completion") or layout.column("body")
    return [text or "" for text in rows[str(column)].to_pylist()]


def scored_texts(encoder: Encoder, rows: pa.Table, sequences: Sequences) -> list[str]:
    """Return the text of the tokens that were scored; a truncated row's is shorter than the row.

    Parameters
    ----------
    encoder
        The encoder that made the sequences.
    rows, sequences
        The rows, and their sequences in the same order.
    """
    if encoder.options.too_long == "refuse" or encoder.layout.column("body") is not None:
        if encoder.answer_column is None or encoder.options.turns == "last":
            return answer_texts(rows, encoder.layout)
        texts = rows[encoder.answer_column].to_pylist()
        return ["\n".join(answers_of(text)) for text in texts]
    return [
        encoder.decode(sequences.sequence(at)[sequences.counts_of(at)].tolist())
        for at in range(len(sequences))
    ]


def _never_saw(shape: tuple[int, ...], home: Ints, routes: Ints) -> Bools:
    """Mark the members that neither saw each row nor answer on it, shape (rows, members)."""
    usable = np.ones(shape, dtype=bool)
    places = np.arange(len(home))
    usable[places, home] = False
    usable[places, routes] = False
    return usable
