"""From the ids of a request to lines for the forget list."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.lookup import find_tokens
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.requests.id_file import Wanted
from unlearn.stages.rows.forget_list import LEFT_OUT, ForgetList, place_of_line
from unlearn.stages.rows.tokens import Kind


@dataclass(frozen=True)
class Resolved:
    """The result of a request.

    Parameters
    ----------
    added
        New lines for the list.
    already
        How many ids were on the list, by themselves or through their subject.
    unknown
        Where each id stood that the dataset does not have.
    shards
        Shards that the new lines touch.
    listed
        Lines that were on the list, of the ids in `already`.
    unknown_ids
        The unknown ids with their kind and position; never printed.
    unlabelled
        How many ids in `added` have rows without a class only, which no model is trained on.
    absent
        Lines that are suppressed: of ids that the dataset does not have.
    """

    added: tuple[str, ...]
    already: int
    unknown: tuple[str, ...]
    shards: tuple[str, ...]
    listed: tuple[str, ...] = field(default=(), compare=False)
    unknown_ids: tuple[tuple[Kind, str, str], ...] = field(default=(), compare=False, repr=False)
    unlabelled: int = field(default=0, compare=False)
    absent: frozenset[str] = field(default=frozenset(), compare=False)


def resolve(
    context: Context, wanted: Wanted, forget_list: ForgetList, *, suppress: bool = False
) -> Resolved:
    """Turn raw ids into new lines for the list.

    Parameters
    ----------
    context, wanted, forget_list
        The project, the ids, and the list.
    suppress
        Whether ids that the dataset does not have become lines as well.

    Raises
    ------
    InputError
        If subjects are given and the dataset has none.
    """
    if wanted.subjects and not context.has_subjects:
        raise InputError(
            "params.yaml names no subject column, so a person cannot be looked up",
            "set dataset.subject, or request the records by id",
        )
    records = _tokenized(context, "record", wanted.records)
    records |= {token: ("", where) for token, where in wanted.record_tokens}
    subjects = _tokenized(context, "subject", wanted.subjects)
    subjects |= {token: ("", where) for token, where in wanted.subject_tokens}
    known = find_tokens(context, set(records), set(subjects))
    on_list = frozenset(forget_list.tokens) | forget_list.left_out
    # A record without rows in the dataset is still found by its line, but not by its subject.
    listed_records: dict[str, set[str]] = {}
    for line in on_list:
        listed_records.setdefault(line.rpartition(".")[2], set()).add(line)
    listed: set[str] = set()
    added: set[str] = set()
    left_out: set[str] = set()
    absent: set[str] = set()
    already = 0
    unknown: list[tuple[Kind, str, str]] = []
    for token, (raw, where) in subjects.items():
        if token in on_list:
            already += 1
            listed.add(token)
            absent |= {token} - known.subjects
        elif token in known.subjects:
            (left_out if token in known.left_out else added).add(token)
        else:
            unknown.append(("subject", raw, where))
            absent.add(token)
    for token, (raw, where) in records.items():
        subject = known.subject_of.get(token)
        line = token if subject is None else f"{subject}.{token}"
        # A record of a person on the list gets its line too: A then B is B then A, to the byte.
        if token in listed_records:
            already += 1
            listed |= listed_records[token]
            absent |= set() if token in known.subject_of else listed_records[token]
        elif token in known.subject_of:
            (left_out if token in known.left_out else added).add(line)
        else:
            unknown.append(("record", raw, where))
            absent.add(token)
    added |= absent - on_list if suppress else set()
    in_no_shard = {line for line in added if line.rpartition(".")[2] in known.unlabelled}
    return Resolved(
        added=tuple(sorted({*added, *(line + LEFT_OUT for line in left_out)})),
        already=already,
        unknown=tuple(where for _, _, where in unknown),
        shards=tuple(_to_retrain(context, added - in_no_shard)),
        listed=tuple(
            sorted(line + (LEFT_OUT if line in forget_list.left_out else "") for line in listed)
        ),
        unknown_ids=tuple(unknown),
        unlabelled=len(in_no_shard),
        absent=frozenset(absent if suppress else ()),
    )


def _tokenized(
    context: Context, kind: Kind, ids: Iterable[tuple[str, str]]
) -> dict[str, tuple[str, str]]:
    """Return each id and its position by its token; a repeated id counts once."""
    found: dict[str, tuple[str, str]] = {}
    for raw, where in ids:
        found.setdefault(context.tokenizer.token(kind, raw), (raw, where))
    return found


def touched_by(context: Context, lines: Iterable[str]) -> list[str]:
    """Return the shards that these lines of the list name; the holdout is none."""
    found = {place_of_line(line, context.params.sharding).shard for line in lines}
    return sorted(found - {HOLDOUT})


def _to_retrain(context: Context, lines: Iterable[str]) -> list[str]:
    """Return the shards that these lines name in slices that are on."""
    sharding = context.params.sharding
    places = [place_of_line(line, sharding) for line in lines]
    found = {
        place.shard
        for place in places
        if place.slice < sharding.switched_off.get(place.shard, sharding.slices + 1)
    }
    return sorted(found - {HOLDOUT})
