"""Projects in real git repositories, without DVC: the shards are written once and copied."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from unlearn.stages.context import Context
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.ledger.check import Ledger, check_ledger
from unlearn.stages.project.paths import HOLDOUT, Project
from unlearn.stages.requests.id_file import Wanted
from unlearn.stages.requests.request import add_request
from unlearn.stages.rows.shard_file import RECORD, read_shard, record_tokens
from unlearn.stages.shard import stage as shard_stage

from tests.conftest import make_frame
from tests.stages.conftest import make_context, make_params, token_of

ROWS = 24
IDS = [f"r{number:04d}" for number in range(ROWS)]
_IGNORED = "/data/?*\n!/data/forget_list.txt\n!/data/requests/\n/.unlearn/\n"


@dataclass(frozen=True)
class GitProject:
    """A project whose forget list and log are in git."""

    context: Context

    @property
    def root(self) -> Path:
        """Its folder."""
        return self.context.project.root

    def git(self, *arguments: str) -> str:
        """Run git, insist that it succeeds, and return what it printed."""
        done = self.try_git(*arguments)
        assert done.returncode == 0, f"git {arguments}: {done.stderr}"
        return done.stdout

    def try_git(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run git, whatever it answers."""
        return subprocess.run(
            ["git", *arguments], cwd=self.root, text=True, capture_output=True, check=False
        )

    def commit(self, message: str = "work") -> None:
        """Commit everything that git may have."""
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)

    def forget(self, *ids: str, ticket: str | None = None, commit: bool = True) -> None:
        """Put records on the list."""
        wanted = Wanted(tuple((raw, f"line {n}") for n, raw in enumerate(ids, start=1)))
        add_request(self.context, wanted, ticket=ticket)
        if commit:
            self.commit("forget")

    def write_by_hand(self, *lines: str) -> None:
        """Add lines to the list as a person would."""
        with self.context.project.forget_list.open("a", encoding="utf-8") as handle:
            handle.write("".join(f"{line}\n" for line in lines))

    def lines(self) -> set[str]:
        """Return the lines of the list; none where git took the file away."""
        path = self.context.project.forget_list
        return set(path.read_text(encoding="utf-8").split()) if path.exists() else set()

    def ledger(self, branch: str | None = "main") -> Ledger:
        """Compare the list with the history."""
        return check_ledger(self.context.project, branch, self.context)

    def run_forget(self) -> None:
        """Run the `forget` stage."""
        forget_stage.run(self.context)

    def retained(self) -> set[str]:
        """Return the record tokens that models are trained on, or measured with."""
        found: set[str] = set()
        for name in [*self.context.params.sharding.shards, HOLDOUT]:
            path = self.context.project.retain_file(name)
            found.update(record_tokens(read_shard(path, name, [RECORD]).rows))
        return found

    def clone(self, target: Path, *options: str) -> "GitProject":
        """Return a clone, with the rows that git does not have."""
        subprocess.run(
            ["git", "clone", "--quiet", *options, self.root.as_uri(), str(target)], check=True
        )
        set_user(target)
        for name in ("data/dataset.csv", "data/shards"):
            source = self.root / name
            if source.is_dir():
                shutil.copytree(source, target / name)
            elif source.exists():
                shutil.copy(source, target / name)
        return GitProject(replace(self.context, project=Project(target)))

    def copy(self, target: Path) -> Self:
        """Return a copy of everything."""
        shutil.copytree(self.root, target)
        return replace(self, context=replace(self.context, project=Project(target)))


def make_git_project(root: Path, *, subjects: int = 0) -> GitProject:
    """Return a project with written shards and one commit on `main`."""
    frame = make_frame(ROWS, subjects=subjects)
    params = make_params(shards=2, subject="person" if subjects else None)
    context = make_context(root, frame, params)
    shard_stage.run(context)
    (root / ".gitignore").write_text(_IGNORED, encoding="ascii")
    (root / ".gitattributes").write_text(
        "data/forget_list.txt -text merge=union\n", encoding="ascii"
    )
    project = GitProject(context)
    project.git("init", "--quiet", "--initial-branch=main")
    set_user(root)
    project.commit("start")
    return project


def tokens(ids: Sequence[str]) -> set[str]:
    """Return the record tokens of ids."""
    return {token_of(raw) for raw in ids}


def set_user(root: Path) -> None:
    """Name the author of commits."""
    for name, value in (("user.name", "Tests"), ("user.email", "tests@example.org")):
        subprocess.run(["git", "config", name, value], cwd=root, check=True)
