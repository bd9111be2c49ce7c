"""What the user names, so that it goes as well."""

from collections.abc import Collection

from pydantic import BaseModel, ConfigDict, Field
from unlearn.stages.erasure.objects.tips import Tip
from unlearn.stages.errors import InputError


class Choice(BaseModel):
    """What goes beyond the history of this branch and of the default branch.

    Parameters
    ----------
    branches
        Branches, tags and worktrees, as git names them: `new-rows`, `origin/new-rows`. What only
        they use is deleted, and what the commits behind them used.
    stash, experiments
        The same for git's stash, and for DVC's experiments.
    reflog
        The same for commits that no branch has any more, and that git's reflog has still.
    owned
        Whether nobody but this project uses the cache and the remotes: what no commit names is
        deleted in them, too. Otherwise nothing is deleted where there is such a thing.
    gone
        Names of remotes that only older settings of DVC name, and that do not exist any more.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    branches: tuple[str, ...] = Field(default=(), strict=False)
    stash: bool = False
    experiments: bool = False
    reflog: bool = False
    owned: bool = False
    gone: tuple[str, ...] = Field(default=(), strict=False)

    def names(self, tip: Tip) -> bool:
        """Return whether a ref is one of these."""
        if tip.kind == "branch":
            return tip.name in self.branches
        return bool(getattr(self, tip.kind))

    def check(self, known: Collection[str]) -> None:
        """Refuse names that git does not know.

        Parameters
        ----------
        known
            Names of all branches, tags and worktrees.

        Raises
        ------
        InputError
            If one is not among them.
        """
        for name in self.branches:
            if name not in known:
                raise InputError(
                    f"there is no branch, tag or worktree {name!r}",
                    "`git branch --all` and `git tag` list them; a branch of a remote is named "
                    "origin/NAME",
                )

    def check_gone(self, earlier: Collection[str]) -> None:
        """Refuse names of remotes that older settings do not name, or that those of today do.

        Parameters
        ----------
        earlier
            The names of remotes that only older settings of DVC name.

        Raises
        ------
        InputError
            If one is not among them.
        """
        for name in self.gone:
            if name not in earlier:
                raise InputError(
                    f"no older .dvc/config names a remote {name!r} that is not in today's settings",
                    "`unlearn erase --dry-run` lists earlier remotes",
                )
