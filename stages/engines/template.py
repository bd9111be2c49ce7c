"""The command that trains one shard somewhere else, with places for what differs."""

import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from unlearn.stages.errors import InputError
from unlearn.stages.rows.tokens import Key

#: A word in braces. `${HOME}` is not one: it is for a shell at the other end.
_PLACEHOLDER = re.compile(r"(?<!\$)\{(\w+)\}")

#: What a shell takes as it is.
_PLAIN = re.compile(r"[\w@%+=:,./-]*", re.ASCII)


@dataclass(frozen=True)
class Template:
    """A command line with placeholders.

    Parameters
    ----------
    words
        Its words, with placeholders: `{shard}` for the name of a shard, `{root}` for the project's
        folder.
    """

    words: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Return the template that a command line describes.

        Words and quotes are as in a shell, but no shell reads it: variables, pipes and `&&` have
        their meaning only where the command itself starts a shell.

        Raises
        ------
        InputError
            If quotes are not closed, a placeholder is unknown, or there is no `{shard}`.
        """
        try:
            words = tuple(shlex.split(text))
        except ValueError as error:
            raise InputError(f"--command cannot be read: {str(error).lower()}") from None
        found = {name for word in words for name in _PLACEHOLDER.findall(word)}
        if unknown := sorted(found - {"shard", "root"}):
            raise InputError(
                f"--command has an unknown placeholder: {{{unknown[0]}}}",
                "placeholders: {shard} for the name of the shard, {root} for the project's folder",
            )
        if "shard" not in found:
            raise InputError(
                "--command has no {shard}: it would be the same for every shard",
                "for example: ssh node 'cd {root} && unlearn stage train@{shard}'",
            )
        return cls(words)

    def fill(self, shard: str, root: Path) -> list[str]:
        """Return the words of the command for a shard."""
        values = {"shard": shard, "root": str(root)}
        return [_PLACEHOLDER.sub(lambda match: values[match[1]], word) for word in self.words]

    def check(self, root: Path, key: Key) -> None:
        """Check that the command can be started for a project.

        Raises
        ------
        InputError
            If it has the project's key, there is no such program, or the project's path is one
            that a shell at the other end would not read as one word.
        """
        if any(text in word for word in self.words for text in key.texts):
            raise InputError(
                "--command has the project key in it, which everybody on this machine can read",
                "nodes find the key in unlearn.key, in the project's folder",
            )
        if any("{root}" in word for word in self.words) and not _PLAIN.fullmatch(str(root)):
            raise InputError(
                "--command has {root}, and the project's path has spaces or other characters that "
                "a shell would not take as they are",
                "write the path, with the quotes that it needs, instead of {root}",
            )
        program = self.fill("s000", root)[0]
        where = str(root / program) if os.sep in program else program
        if shutil.which(where, path=search_path()) is None:
            raise InputError(f"--command: there is no program {program!r}")


def search_path() -> str:
    """Return where programs are looked for: `unlearn` is in the folder of this interpreter."""
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return os.pathsep.join(folder for folder in folders if folder)
