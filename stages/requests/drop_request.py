"""A download of DROP as a request: who is meant, and what is answered for each entry."""

from collections.abc import Callable, Collection, Container
from typing import Literal

from unlearn.stages.contacts.index import find_contacts, keyed_digest
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.log import Filing, read_log
from unlearn.stages.requests.drop_lists import DropItem, DropLists, read_drop
from unlearn.stages.requests.id_file import Wanted
from unlearn.stages.requests.incoming import Incoming
from unlearn.stages.rows.tokens import Key

#: Codes of a reply: the data is exempt, was deleted, its people were opted out of sale and sharing,
#: or nobody was found.
EXEMPT, DELETED, OPTED_OUT, NOT_FOUND = 2, 3, 4, 5

#: What happens to people who share an identity of a list: their rows are forgotten, or kept.
Shared = Literal["forget", "keep"]

_ITEM_BYTES = 16
_SHOWN = 5


def read_drop_request(
    context: Context,
    content: bytes,
    name: str,
    *,
    exempt: Collection[str] = (),
    shared: Shared | None = None,
    progress: Callable[[int], None] = lambda _rows: None,
) -> Incoming:
    """Return the request that a download of DROP is.

    Parameters
    ----------
    context
        The project. `dataset.contact` says which columns are compared.
    content, name
        The file; see `read_drop`.
    exempt
        Entries whose data the law lets the data broker keep: their rows are not forgotten.
    shared
        What happens to people if several have the identity of one entry. The law asks to opt them
        out of sale and sharing, not to delete their data.
    progress
        Called with the number of rows of each batch while the index is made.

    Raises
    ------
    InputError
        If the file is not as it must be, an exempt entry is not in it, several people have one
        identity and nothing says what happens to them, or they cannot be looked up.
    """
    lists = read_drop(content, name, context.params.requests.data_broker)
    known = {item.item for item in lists.items}
    if unknown := sum(item not in known for item in exempt):
        raise InputError(f"{unknown:,} of the exempt entries are not in {name}")
    found = find_contacts(
        context, ((item.list_name, item.digest) for item in lists.items), progress
    )
    codes: dict[str, int] = {}
    logged = read_log(context.project).item_codes()
    meant: dict[str, str] = {}
    several = []
    for item in lists.items:
        tokens = found.get((item.list_name, item.digest), ())
        if not tokens:
            continue
        code = DELETED
        if item.item in exempt:
            code = EXEMPT
        elif context.has_subjects and len(tokens) > 1:
            several.append(item.where)
            code = OPTED_OUT if shared == "keep" else DELETED
        codes[item_name(context, item, logged)] = code
        if code == DELETED:
            meant |= dict.fromkeys(tokens, item.where)
    if several and shared is None:
        raise _several_people(several)
    named = tuple(meant.items())
    return Incoming(
        Wanted(subject_tokens=named) if context.has_subjects else Wanted(record_tokens=named),
        ticket=lists.ticket,
        filing=Filing(lists.day, "drop"),
        notes=tuple(_notes(lists)),
        unmatched=tuple(
            item.where for item in lists.items if (item.list_name, item.digest) not in found
        ),
        items=codes,
        contacts=tuple(
            (item.list_name, keyed_digest(context.key, item.list_name, item.digest))
            for item in lists.items
            if (item.list_name, item.digest) not in found
        ),
        withdrawn=tuple(
            (name, keyed_digest(context.key, name, digest)) for name, digest in lists.removed
        ),
    )


def item_name(context: Context, item: DropItem, logged: Container[str] = ()) -> str:
    """Return what the request log calls an entry: a keyed digest.

    Parameters
    ----------
    context, item
        The project, and the entry.
    logged
        The names in the log. One that was made with an earlier key stays.
    """
    text = f"{item.list_name}:{item.item}:{item.digest}".encode()
    names = [
        Key(one).digest("work item", text)[:_ITEM_BYTES].hex()
        for one in reversed(context.key.texts)
    ]
    return next((name for name in names if name in logged), names[0])


def _several_people(where: list[str]) -> InputError:
    more = ", ..." if len(where) > _SHOWN else ""
    entries = "entry is" if len(where) == 1 else "entries are"
    return InputError(
        f"{len(where):,} {entries} the identity of several people ({', '.join(where[:_SHOWN])}"
        f"{more}); nothing was changed",
        "the Delete Act asks to opt all of them out of sale and sharing: --shared keep leaves "
        "their rows, and answers that you did so",
        "--shared forget forgets all of them",
    )


def _notes(lists: DropLists) -> list[str]:
    if not lists.removed:
        return []
    count = len(lists.removed)
    entries = "1 entry was" if count == 1 else f"{count:,} entries were"
    how = "`unlearn restore` takes their requests back, if you want to use the data again"
    return [f"{entries} taken back by their consumers; {how}"]
