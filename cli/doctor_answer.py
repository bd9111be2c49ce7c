"""What `unlearn doctor --json` prints."""

from unlearn.cli.answers import Answer, AnswerPart


class PlaceEntry(AnswerPart):
    """A place where copies of forgotten records can be.

    Parameters
    ----------
    name
        What it is.
    looked
        Whether it was searched completely.
    objects
        How many files, objects or refs there are, as far as that is known.
    findings
        How many findings are about it.
    why_not
        Why it was not searched; null where it was.
    """

    name: str
    looked: bool
    objects: int
    findings: int
    why_not: str | None


class DoctorAnswer(Answer):
    """What the checks found.

    Parameters
    ----------
    environment
        Versions, by package.
    findings
        A sentence for each problem.
    healthy
        Whether there is none.
    testable_md5s
        How many md5s in git's history can be tested against a guess of a row.
    notes
        A sentence for each thing to know that is no problem of this project as it is.
    places
        Where copies of forgotten records were looked for, and where not.
    cleaned
        Half-written files and scratch folders of killed runs that were deleted.
    """

    environment: dict[str, str]
    findings: list[str]
    healthy: bool
    testable_md5s: int
    notes: list[str]
    places: list[PlaceEntry]
    cleaned: list[str]
