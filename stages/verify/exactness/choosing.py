"""Which shards and trees are fitted again as a check."""

import hashlib
from collections.abc import Collection, Iterable, Mapping

from unlearn.stages.project.files import canonical_json
from unlearn.stages.rows.tokens import Key


def choose_shards(
    shards: Iterable[str], digest: str, count: int | str, *, first: Collection[str] = ()
) -> list[str]:
    """Return the shards to retrain, by name; which ones follows from the list alone.

    Parameters
    ----------
    shards
        To choose from.
    digest
        The forget list's.
    count
        How many; `all`, or more than there are, takes all.
    first
        Those to choose before any other.
    """
    drawn = sorted(
        shards,
        key=lambda name: (name not in first, hashlib.sha256(f"{digest} {name}".encode()).digest()),
    )
    return sorted(drawn if count == "all" else drawn[: int(count)])


def choose_trees(
    key: Key, trees: Mapping[str, int], digest: str, count: int | str
) -> dict[str, list[int]]:
    """Return the trees of each shard to fit again, ascending; which ones follows from the key too.

    So nobody without the key knows which trees the next check looks at.

    Parameters
    ----------
    key
        The project key.
    trees
        How many trees each shard has.
    digest
        The forget list's.
    count
        How many trees of all shards together; `all`, or more than there are, takes all.
    """
    every = [(shard, tree) for shard, own in trees.items() for tree in range(own)]
    drawn = sorted(
        every, key=lambda one: key.digest("verify trees", canonical_json([digest, *one]))
    )
    chosen = drawn if count == "all" else drawn[: int(count)]
    return {shard: sorted(tree for name, tree in chosen if name == shard) for shard in trees}
