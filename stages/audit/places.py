"""Where copies of forgotten records can be, and whether somebody looked there."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A place that was searched, or that could not be.

    Parameters
    ----------
    name
        What it is, such as `the remote backup`.
    looked
        Whether it was searched completely.
    objects
        How many files, objects or commits there are, as far as that is known.
    findings
        A sentence for each kind of thing that was found.
    why_not
        Why it was not searched; None where it was.
    """

    name: str
    looked: bool = True
    objects: int = 0
    findings: tuple[str, ...] = ()
    why_not: str | None = None


def unseen(name: str, why_not: str, objects: int = 0) -> Place:
    """Return a place that was not searched, and why."""
    return Place(name, looked=False, objects=objects, why_not=why_not)


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: `1 object`, `2 objects`."""
    return f"{count:,} {noun if count == 1 else noun + 's'}"


def held(count: int, noun: str, where: str) -> str:
    """Return a sentence on how many files or objects hold forgotten rows."""
    verb = "holds" if count == 1 else "hold"
    return f"{counted(count, noun)} {where} still {verb} rows of forgotten records"
