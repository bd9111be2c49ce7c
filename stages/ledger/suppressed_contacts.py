"""People who are suppressed by their contact data: entries of DROP's lists that matched nobody.

`data/suppressed.txt` has a keyed digest of each hash. When a new version of the dataset has
somebody with such contact data, the stage `shard` drops the rows.
"""

import re
from collections.abc import Iterable
from typing import cast

from unlearn.stages.config.contact import CONTACT_LISTS, ContactList
from unlearn.stages.contacts.index import DIGEST_BYTES, Identity, brought_forward, find_digests
from unlearn.stages.context import Context
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.ledger.suppressed import (
    CONTACT_PREFIX,
    SUPPRESSED,
    contact_lines,
    read_suppressed,
    rendered,
)
from unlearn.stages.project.files import write_bytes
from unlearn.stages.rows.tokens import Key

_LINE = re.compile(
    rf"{CONTACT_PREFIX}(?P<list>{'|'.join(CONTACT_LISTS)})"
    rf":(?:(?P<epoch>[1-9][0-9]*)-)?(?P<digest>[0-9a-f]{{{2 * DIGEST_BYTES}}})"
)


def dropped_lines(context: Context) -> frozenset[str]:
    """Return the lines of all people whose rows no shard gets, known by tokens or contact data.

    Raises
    ------
    InputError
        If a line is damaged, or people are known by contact data and cannot be looked up.
    """
    lines, contacts = read_suppressed(context.project), read_contacts(context)
    return lines | find_digests(context, contacts) if contacts else lines


def read_contacts(context: Context) -> list[Identity]:
    """Return the lists and keyed digests of contact data in the file, with the present key.

    Raises
    ------
    InputError
        If a line is damaged, or is of a later key.
    """
    lines = sorted(contact_lines(context.project))
    return sorted({contact_of(line, context.key) for line in lines})


def change_contacts(
    context: Context, added: Iterable[Identity], removed: Iterable[Identity]
) -> None:
    """Suppress people by their contact data, or no longer; the caller holds the lock of the list.

    Parameters
    ----------
    context
        The project.
    added, removed
        Lists and keyed digests. One that is in both stays.
    """
    project, key = context.project, context.key
    before = set(read_contacts(context))
    after = (before - set(removed)) | set(added)
    if after != before:
        lines = {contact_line(identity, key) for identity in after}
        write_bytes(project.suppressed, rendered(project, read_suppressed(project), lines))


def contact_line_with(line: str, key: Key) -> str:
    """Return a line of contact data as it is with a later key.

    Raises
    ------
    InputError
        If the line is damaged.
    """
    return contact_line(contact_of(line, key), key)


def contact_of(line: str, key: Key) -> Identity:
    """Return the list and the keyed digest of a line, with the present key.

    Raises
    ------
    InputError
        If the line is damaged, or is of a later key.
    """
    match = _LINE.fullmatch(line)
    epoch = 0 if match is None else int(match["epoch"] or 1)
    if match is None or epoch > key.epoch:
        what = "is damaged" if match is None else "is of a later key of the project"
        raise InputError(
            f"{SUPPRESSED}: a line of contact data {what}",
            f"`git checkout -- {SUPPRESSED}` takes the last committed one",
            facts=Facts(file=SUPPRESSED),
        )
    digest = brought_forward(key, bytes.fromhex(match["digest"]), epoch)
    return cast("ContactList", match["list"]), digest


def contact_line(identity: Identity, key: Key) -> str:
    """Return the line of a list and a keyed digest."""
    name, digest = identity
    epoch = f"{key.epoch}-" if key.older else ""
    return f"{CONTACT_PREFIX}{name}:{epoch}{digest.hex()}"
