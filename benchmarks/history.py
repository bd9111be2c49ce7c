"""What the check of git's history costs: `forget` in a repository of many commits.

    python benchmarks/history.py [--commits 5000]

Times one check of the ledger, as `forget`, `repro` and `status` do it, in a repository without
history and in one of many commits: the first check, which reads all versions of the list, and a
later one. The commits are made by `git fast-import`.
"""

import argparse
import hashlib
import subprocess
import tempfile
import time
from pathlib import Path

import pandas as pd
from unlearn.cli.app import run
from unlearn.stages.context import open_project
from unlearn.stages.ledger.check import check_ledger
from unlearn.stages.project.paths import Project

#: How many commits change the list, and how many lines each adds.
CASES = ((0, 0), (100, 5), (500, 10))


def token(number: int) -> str:
    """Return a token that no row has."""
    return f"u1_{hashlib.sha256(str(number).encode()).hexdigest()}"


def git(root: Path, *arguments: str, stdin: bytes | None = None) -> str:
    """Run git and return what it printed."""
    done = subprocess.run(
        ["git", *arguments], cwd=root, input=stdin, capture_output=True, check=True
    )
    return done.stdout.decode()


def make_project(root: Path) -> Project:
    """Return a new project of 40 rows, with one commit."""
    source = root.parent / f"{root.name}.csv"
    frame = pd.DataFrame({"id": range(40), "x": range(40), "y": ["a", "b"] * 20})
    frame.to_csv(source, index=False)
    words = ["init", str(root), "--dataset", str(source), "--id", "id", "--target", "y"]
    if run([*words, "--model", "sklearn.naive_bayes.GaussianNB", "--json"]):
        raise SystemExit("`unlearn init` failed")
    for name, value in (("user.name", "B"), ("user.email", "b@example.org")):
        git(root, "config", name, value)
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "start")
    return Project(root)


def add_commits(root: Path, commits: int, requests: int, lines: int) -> None:
    """Add commits on top; some of them, spread evenly, add lines to the list."""
    branch = git(root, "symbolic-ref", "HEAD").strip()
    stream = []
    listed: list[str] = []
    for number in range(commits):
        parent = f"from {branch}^0\n" if number == 0 else ""
        stream.append(
            f"commit {branch}\ncommitter B <b@example.org> {1_700_000_000 + number} +0000\n"
            f"data 1\nx\n{parent}"
        )
        if requests and number % (commits // requests) == 0:
            listed += [token(len(listed) + index) for index in range(lines)]
            content = "".join(f"{line}\n" for line in sorted(listed))
            stream.append(f"M 100644 inline data/forget_list.txt\ndata {len(content)}\n{content}\n")
        else:
            stream.append(f"M 100644 inline notes.txt\ndata {len(str(number))}\n{number}\n")
    git(root, "fast-import", "--quiet", "--force", stdin="".join(stream).encode())
    git(root, "reset", "--quiet", "--hard")


def seconds(project: Project) -> float:
    """Return how long one check takes."""
    context = open_project(project)
    began = time.perf_counter()
    if check_ledger(project, context.params.ledger.branch, context).problem():
        raise SystemExit("the benchmark's own history lost a line")
    return time.perf_counter() - began


def main() -> None:
    """Print one line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commits", type=int, default=5_000)
    commits = parser.parse_args().commits
    print("| commits | requests | lines | first check (s) | later check (s) |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for requests, lines in CASES:
            project = make_project(Path(folder) / f"p{requests}")
            seconds(project)  # what the first call loads is no part of it
            number = commits if requests else 1
            if requests:
                add_commits(project.root, commits, requests, lines)
            first = seconds(project)
            later = min(seconds(project) for _ in range(3))
            print(f"| {number:,} | {requests} | {requests * lines:,} | {first:.2f} | {later:.2f} |")


if __name__ == "__main__":
    main()
