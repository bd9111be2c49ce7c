"""People who are suppressed by their contact data: entries of DROP's lists that matched nobody.

`data/suppressed.txt` has a keyed digest of each hash. When a new version of the dataset has
somebody with such contact data, the stage `shard` drops the rows.
"""

import re
from collections.abc import Iterable
from typing import cast

from unlearn.stages.config.contact import CONTACT_LISTS, ContactList
from unlearn.stages.contacts.index import DIGEST_BYTES, Identity, find_digests
from unlearn.stages.context import Context
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.ledger.suppressed import (
    CONTACT_PREFIX,
    SUPPRESSED,
    contact_lines,
    read_suppressed,
)
from unlearn.stages.project.files import write_bytes
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.forget_list import render

_LINE = re.compile(
    rf"{CONTACT_PREFIX}(?P<list>{'|'.join(CONTACT_LISTS)})"
    rf":(?P<digest>[0-9a-f]{{{2 * DIGEST_BYTES}}})"
)


def dropped_lines(context: Context) -> frozenset[str]:
    """Return the lines of all people whose rows no shard gets, known by tokens or contact data.

    Raises
    ------
    InputError
        If a line is damaged, or people are known by contact data and cannot be looked up.
    """
    lines, contacts = read_suppressed(context.project), read_contacts(context.project)
    return lines | find_digests(context, contacts) if contacts else lines


def read_contacts(project: Project) -> list[Identity]:
    """Return the lists and keyed digests of contact data in the file.

    Raises
    ------
    InputError
        If a line is damaged.
    """
    found = []
    for line in sorted(contact_lines(project)):
        match = _LINE.fullmatch(line)
        if match is None:
            raise InputError(
                f"{SUPPRESSED}: a line of contact data is damaged",
                f"`git checkout -- {SUPPRESSED}` takes the last committed one",
                facts=Facts(file=SUPPRESSED),
            )
        found.append((cast("ContactList", match["list"]), bytes.fromhex(match["digest"])))
    return found


def change_contacts(
    project: Project, added: Iterable[Identity], removed: Iterable[Identity]
) -> None:
    """Suppress people by their contact data, or no longer; the caller holds the lock of the list.

    Parameters
    ----------
    project
        The project.
    added, removed
        Lists and keyed digests. One that is in both stays.
    """
    before = set(contact_lines(project))
    after = (before - set(map(_line, removed))) | set(map(_line, added))
    if after != before:
        write_bytes(project.suppressed, render({*read_suppressed(project), *after}))


def _line(identity: Identity) -> str:
    name, digest = identity
    return f"{CONTACT_PREFIX}{name}:{digest.hex()}"
