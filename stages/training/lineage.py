"""Lineage: the chain that ties each slice's state to all that it was made from.

A link is a digest of the recipe, the environment, the previous link and the keyed digest of the
slice's rows. Whoever has the rows and the key can recompute it; a checkpoint is used again only
where its link and its own digest both match.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unlearn.stages.errors import InputError
from unlearn.stages.project.files import canonical_json, digest_json, json_bytes
from unlearn.stages.rows.tokens import Key

FILE_NAME = "lineage.json"

# Always the same words: the files of a clean room have the same bytes.
ONE_ROW = "batch normalisation takes at least two rows"
REFUSED = "the estimator cannot be fitted on these rows"


@dataclass(frozen=True)
class SliceLink:
    """One slice in a chain.

    Parameters
    ----------
    number
        From 1.
    rows
        How many rows the slice itself has.
    link
        Digest of everything up to here.
    state
        Digest of the numbers in the state after the slice; None while no row has been seen.
    checkpoint
        Name of the file that holds this state; None for the last slice.
    """

    number: int
    rows: int
    link: str
    state: str | None
    checkpoint: str | None


@dataclass(frozen=True)
class Lineage:
    """Where a shard model comes from.

    Parameters
    ----------
    shard
        The shard's name.
    algorithm, recipe
        The training algorithm and the digest of all settings.
    environment
        Facts of the machine and its libraries; see `environment.environment`.
    retain
        Nonce of the retain file that was trained on.
    slices
        The chain.
    model
        Digest of the model's description and numbers.
    files
        SHA-256 of every other file in the folder, by name.
    constant
        Why the model gives the class frequencies of its rows instead of learning from them:
        `ONE_ROW` or `REFUSED`; None for every other model.
    seal
        Keyed digest of all the rest: a person who edits a model can edit the digests, but cannot
        compute this.
    """

    shard: str
    algorithm: int
    recipe: str
    environment: dict[str, str]
    retain: str
    slices: tuple[SliceLink, ...]
    model: str
    files: dict[str, str]
    constant: str | None = None
    seal: str = ""

    @property
    def refused(self) -> bool:
        """Whether the estimator could not be fitted on the rows."""
        return self.constant == REFUSED

    @property
    def rows(self) -> int:
        """Rows in the shard."""
        return sum(link.rows for link in self.slices)

    def as_json(self) -> dict[str, object]:
        """Return the lineage as JSON values."""
        # Not asdict: it copies every value, and this is asked for several times a shard.
        return {"schema_version": 1, **vars(self), "slices": [vars(link) for link in self.slices]}


def seal(key: Key, lineage: Lineage) -> str:
    """Return the seal of a lineage, in hex."""
    content = {name: value for name, value in lineage.as_json().items() if name != "seal"}
    return key.digest("lineage", canonical_json(content)).hex()


def sealed(key: Key, lineage: Lineage) -> Lineage:
    """Return the lineage with its seal."""
    return replace(lineage, seal=seal(key, lineage))


def links(recipe: str, environment: dict[str, str], rows: Sequence[str]) -> list[str]:
    """Return the chain of links for slices with these keyed row digests.

    Parameters
    ----------
    recipe
        Digest of all settings, the seed and the shard's name.
    environment
        Facts that decide the bytes.
    rows
        Keyed digest of each slice's rows.
    """
    chain = []
    previous = digest_json([recipe, environment])
    for digest in rows:
        previous = digest_json([recipe, previous, digest])
        chain.append(previous)
    return chain


def read_lineage(folder: Path) -> Lineage | None:
    """Read a shard model's lineage; None where there is none.

    Raises
    ------
    InputError
        If the file is not a lineage.
    """
    try:
        value = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        return Lineage(
            shard=str(value["shard"]),
            algorithm=int(value["algorithm"]),
            recipe=str(value["recipe"]),
            environment={str(name): str(fact) for name, fact in value["environment"].items()},
            retain=str(value["retain"]),
            slices=tuple(SliceLink(**link) for link in value["slices"]),
            model=str(value["model"]),
            files={str(name): str(digest) for name, digest in value["files"].items()},
            constant=None if value["constant"] is None else str(value["constant"]),
            seal=str(value["seal"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"models/shard_models/{folder.name}/{FILE_NAME} is not a lineage"
        ) from None


def first_to_train(folder: Path, lineage: Lineage, chain: Sequence[str], key: Key) -> int:
    """Return the slice after the last one up to which every state is complete.

    Parameters
    ----------
    folder, lineage
        A shard model's folder, and the lineage in it.
    chain
        The links that are to be.
    key
        The project key: a lineage without its seal vouches for nothing.

    Returns
    -------
    int
        From 1; the number of slices plus one if the whole folder is complete.
    """
    first = 1
    if lineage.seal != seal(key, lineage):
        return first
    for link, expected in zip(lineage.slices, chain, strict=False):
        if link.link != expected or not _stands(folder, lineage, link):
            break
        first = link.number + 1
    if lineage.refused and first <= len(chain):
        return 1  # what was refused has no state to go on from
    return min(first, len(chain) + 1)


def _stands(folder: Path, lineage: Lineage, link: SliceLink) -> bool:
    """Return whether the files of a slice are there, byte for byte."""
    if link.number < len(lineage.slices):
        return link.checkpoint is None or read_checkpoint(folder, lineage, link) is not None
    return is_whole(folder, lineage)


def is_whole(folder: Path, lineage: Lineage) -> bool:
    """Return whether a folder has its lineage as this tool writes it, and every file it names."""
    written = json_bytes(lineage.as_json())
    return (folder / FILE_NAME).read_bytes() == written and all(
        _read_file(folder, name, digest) is not None for name, digest in lineage.files.items()
    )


def read_checkpoint(folder: Path, lineage: Lineage, link: SliceLink) -> bytes | None:
    """Return the checkpoint after a slice, if it is there to the byte; else None."""
    if link.checkpoint is None:
        return None
    return _read_file(folder, link.checkpoint, lineage.files.get(link.checkpoint))


def _read_file(folder: Path, name: str, digest: str | None) -> bytes | None:
    try:
        content = (folder / name).read_bytes()
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == digest else None
