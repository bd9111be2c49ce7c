"""The forget list of the working tree against other places: branches, stashes, experiments."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from unlearn.stages.ledger.history import commits_of_no_branch, lines_in_history, other_tips
from unlearn.stages.ledger.log import Log
from unlearn.stages.project.git import Branch, is_ancestor


class Coverage:
    """Which lines a list covers: a person's line covers all lines of records of that person.

    Parameters
    ----------
    lines
        The list's lines, as tokens.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = set(lines)
        self._records = {line.rpartition(".")[2] for line in self._lines}

    def has(self, line: str) -> bool:
        """Return whether the rows of a line are forgotten by this list."""
        subject, dot, record = line.partition(".")
        if line in self._lines:
            return True
        return (subject in self._lines or record in self._lines) if dot else line in self._records


@dataclass(frozen=True)
class Comparison:
    """The list and the log of the working tree, to compare other places with."""

    root: Path
    listed: Coverage
    log: Log

    def with_default(
        self, head: str | None, heads: list[str], default: list[Branch], known: Collection[str]
    ) -> tuple[frozenset[str], frozenset[str]]:
        """Return the lines of the default branch that stop a run, and those that are only named."""
        ahead: set[str] = set()
        behind: set[str] = set()
        for ref in default:
            if missing := self._missing([ref], heads, known):
                before = head is not None and is_ancestor(self.root, head, ref.commit)
                (ahead if before else behind).update(missing)
        return frozenset(ahead), frozenset(behind - ahead)

    def with_others(
        self, tips: Collection[str], known: Collection[str]
    ) -> dict[str, frozenset[str]]:
        """Return the lines that only other branches, stashes and experiments have.

        Commits that were checked out in this clone, and that no branch has any more, come last.
        """
        places = [*other_tips(self.root, tips), *commits_of_no_branch(self.root, tips)]
        found: dict[str, frozenset[str]] = {}
        self._search(places, tips, set(known), found)
        return found

    def _search(
        self,
        places: list[Branch],
        tips: Collection[str],
        known: set[str],
        found: dict[str, frozenset[str]],
    ) -> None:
        """Find the first place of each missing line, by halves: in most places none is missing."""
        missing = self._missing(places, tips, known)
        if missing and len(places) == 1:
            found[places[0].name] = missing
            known |= missing
        elif missing:
            middle = len(places) // 2
            self._search(places[:middle], tips, known, found)
            self._search(places[middle:], tips, known, found)

    def _missing(
        self, places: list[Branch], tips: Collection[str], known: Collection[str]
    ) -> frozenset[str]:
        """Return the lines in the commits of places, without those of `tips`, that are not here."""
        commits = [place.commit for place in places]
        lines = lines_in_history(self.root, commits, without=tips, epochs=self.log.epochs)
        back = self.log.restored_with(lines.entries)
        return frozenset(
            line
            for line in lines.tokens
            if line not in known and line not in back and not self.listed.has(line)
        )
