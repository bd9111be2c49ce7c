"""A signed git tag that names the newest receipts: an anchor that travels with the repository."""

from collections.abc import Sequence

from unlearn.stages.errors import ToolError
from unlearn.stages.project.git import git, git_line
from unlearn.stages.project.paths import Project

_PREFIX = "unlearn-receipts-"
_SHOWN = 16


def signs_tags(project: Project) -> bool:
    """Return whether git's settings ask for signed tags (`tag.gpgSign`)."""
    return git_line(project.root, "config", "--bool", "--get", "tag.gpgSign") == "true"


def tag_heads(project: Project, heads: Sequence[str]) -> str:
    """Make a signed tag of HEAD whose message names the newest receipts, and return its name.

    Parameters
    ----------
    project
        The project.
    heads
        Names of the newest receipts. The same heads have one tag.

    Raises
    ------
    ToolError
        If git cannot make the tag: there is no commit, or no key to sign with.
    """
    name = _PREFIX + "-".join(head[:_SHOWN] for head in heads)
    if git_line(project.root, "rev-parse", "--verify", "--quiet", f"refs/tags/{name}"):
        return name
    message = "\n".join(["The newest receipts:", "", *heads])
    if git(project.root, "tag", "--sign", "--message", message, name) is None:
        raise ToolError(
            "git could not make a signed tag",
            "see why with `git tag --sign`; it needs a commit, and a key in user.signingKey",
        )
    return name
