"""Whether a request can be answered: the log has all whom it names, or they are nobody."""

from collections.abc import Iterable

from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.lookup import find_tokens
from unlearn.stages.requests.filed import FiledRequest
from unlearn.stages.requests.id_file import Wanted
from unlearn.stages.requests.missed import find_missed
from unlearn.stages.rows.tokens import Kind

#: How many identities an error names.
_SHOWN = 5

#: Ids with where they were read, by token.
_Ids = dict[str, tuple[str, str]]


def refuse_others(context: Context, wanted: Wanted, filed: FiledRequest | None, name: str) -> None:
    """Refuse to answer for people whom a request in the log does not name.

    Parameters
    ----------
    context
        The project.
    wanted
        The ids that the file names.
    filed
        The request in the log; None if the log has none.
    name
        What errors call the file.

    Raises
    ------
    InputError
        If the dataset or the forget list has somebody whom the request does not name, or does not
        name any more; or if the dataset has look-alikes of the others, or is not here.
    """
    listed = context.read_list().known
    # An older version logged requests without their lines: then the whole list decides.
    current = frozenset[str]() if filed is None else filed.current
    own = listed if current is None else current
    records = _not_among(own, _tokenized(context, "record", wanted.records))
    subjects = _not_among(own, _tokenized(context, "subject", wanted.subjects))
    if not records and not subjects:
        return
    _demand_rows(context, name)
    known = find_tokens(context, set(records), set(subjects))
    # The line of a person covers the person's records.
    records = {token: at for token, at in records.items() if known.subject_of.get(token) not in own}
    found = {*known.subject_of, *known.subjects, *_ends(listed)}
    strangers = [where for token, (_, where) in (records | subjects).items() if token in found]
    if strangers:
        raise _stranger(filed, strangers, name)
    others = Wanted(records=tuple(records.values()), subjects=tuple(subjects.values()))
    find_missed(context, others).refuse("nothing was answered", "make the dataset readable here")


def have_rows(context: Context, wanted: Wanted) -> bool:
    """Return whether data/shards or the dataset, as they are here, have rows of ids."""
    records = _tokenized(context, "record", wanted.records)
    subjects = _tokenized(context, "subject", wanted.subjects)
    known = find_tokens(context, set(records), set(subjects))
    return bool(known.subject_of or known.subjects)


def _tokenized(context: Context, kind: Kind, ids: Iterable[tuple[str, str]]) -> _Ids:
    return {context.tokenizer.token(kind, raw): (raw, where) for raw, where in ids}


def _not_among(lines: Iterable[str], ids: _Ids) -> _Ids:
    ends = _ends(lines)
    return {token: at for token, at in ids.items() if token not in ends}


def _ends(lines: Iterable[str]) -> set[str]:
    """Return the tokens that lines are about: a record's line may begin with its person."""
    return {line.rpartition(".")[2] for line in lines}


def _demand_rows(context: Context, name: str) -> None:
    """Insist that the whole dataset is here: in a part of it, anybody may be nobody."""
    dataset = context.params.dataset
    for path in filter(None, (dataset.path, dataset.held_out)):
        if not (context.project.root / path).exists():
            raise InputError(
                f"{path} is not here, so that nobody can say whether it has the people of {name}",
                "`dvc pull` or `dvc checkout` brings it back",
            )


def _stranger(filed: FiledRequest | None, strangers: list[str], name: str) -> InputError:
    if filed is None:
        return InputError(
            f"{name}: the request log does not name this request, and the dataset or the forget "
            "list has its people",
            f"`unlearn forget --from {name}` first",
        )
    more = ", ..." if len(strangers) > _SHOWN else ""
    return InputError(
        f"{name}: the dataset or the forget list has people whom the request {filed.ticket} in the "
        f"log does not name, or does not name any more ({', '.join(strangers[:_SHOWN])}{more})",
        f"`unlearn forget --from {name}` first",
    )
