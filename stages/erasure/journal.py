"""The journal of an erasure that is under way: it is written first and deleted last.

Every step can be repeated. The journal says that one was begun, for which list, and what was found
out at a time when the old state could still be seen.
"""

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from unlearn.stages.erasure.objects.find import Objects
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import json_bytes, write_bytes
from unlearn.stages.project.paths import Project


class Journal(BaseModel):
    """What a command has to know to go on with an erasure.

    Parameters
    ----------
    forget_list
        SHA-256 of the forget list whose rows are erased.
    heads
        The newest entries of the request log when it began.
    objects
        The objects to delete.
    evidence
        Whether the report of the pass was kept.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    forget_list: str
    heads: tuple[str, ...] = Field(strict=False)
    objects: Objects
    evidence: bool = False

    def going_on(self, objects: Objects) -> "Journal":
        """Return the journal of the same erasure after it was interrupted.

        Parameters
        ----------
        objects
            The objects that are found now. What was known before counts as well: lists of folders
            may be gone by now, and a run that was killed may have left objects without a name.
            If `--owned` was given to one of the two commands only, the places are looked at again.
        """
        both = {*objects.candidates, *self.objects.candidates}
        if objects.choice.owned == self.objects.choice.owned:
            before = {store.place: store for store in self.objects.stores if store.why is None}
            stores = tuple(before.get(store.place, store) for store in objects.stores)
        else:
            stores = tuple(store.model_copy(update={"later": True}) for store in objects.stores)
        objects = objects.model_copy(update={"candidates": tuple(sorted(both)), "stores": stores})
        return self.model_copy(update={"objects": objects})


def read_journal(project: Project) -> Journal | None:
    """Return the journal; None if no erasure is under way.

    Raises
    ------
    InputError
        If it cannot be read. It is written whole or not at all, so somebody edited it.
    """
    try:
        return Journal.model_validate_json(project.erasure_journal.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        raise InputError(
            f".unlearn/{project.erasure_journal.name} is damaged: it is the journal of an erasure "
            "that was interrupted",
            "delete it to begin again: objects that only the interrupted erasure knew of are then "
            "reported as pending",
        ) from None


def write_journal(project: Project, journal: Journal) -> None:
    """Write the journal, before the step that it speaks of."""
    content = json_bytes(journal.model_dump(mode="json"))
    write_bytes(project.erasure_journal, content, 0o600)


def end_journal(project: Project) -> None:
    """Delete the journal: the erasure is recorded in the request log."""
    project.erasure_journal.unlink(missing_ok=True)
