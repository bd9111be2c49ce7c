"""A team's repository that has git, DVC and stages of its own, and no project of this tool yet.

Its stages append their names to `runs.log`, which neither git nor DVC has: so a test sees whether
one ran, whatever dvc.lock says.
"""

from pathlib import Path

from tests.conftest import Repo, keep_apart, make_frame, start_repositories

#: Written as people write it: comments, quotes, and a style that no YAML writer would choose.
PIPELINE = """\
# The team's pipeline.  Ask Ada before you change it.
stages:
    prepare:   # drops rows without an income
        cmd: 'python prepare.py'
        deps: [prepare.py, raw/people.csv]
        params:
        - prepare.max_age
        outs:
        - data/prepared.csv

    {train}:
        cmd: "python train.py"
        deps:
        - train.py
        - data/prepared.csv
        params: [{key}.rounds]
        outs:
        - models/team.json
        metrics:
        - scores.json: {{cache: false}}
    # end of the stages
"""

PARAMS = """\
prepare:  # see prepare.py
    max_age:   99.0
{key}: {{rounds: 3, "seed": 0x10}}
"""

PREPARE = '''\
"""Keep the rows that have an income."""
import csv
import pathlib

rows = list(csv.DictReader(open("raw/people.csv", newline="")))
pathlib.Path("data").mkdir(exist_ok=True)
with open("data/prepared.csv", "w", newline="") as out:
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\\n")
    writer.writeheader()
    writer.writerows(row for row in rows if row["income"])
with open("runs.log", "a") as log:
    log.write("prepare\\n")
'''

TRAIN = '''\
"""The team's own model: the mean age of each class."""
import csv
import json
import pathlib

ages = {}
for row in csv.DictReader(open("data/prepared.csv", newline="")):
    ages.setdefault(row["label"], []).append(float(row["age"]))
pathlib.Path("models").mkdir(exist_ok=True)
means = {label: sum(found) / len(found) for label, found in sorted(ages.items())}
pathlib.Path("models/team.json").write_text(json.dumps(means))
pathlib.Path("scores.json").write_text(json.dumps({"classes": len(means)}))
with open("runs.log", "a") as log:
    log.write("train\\n")
'''


def make_team_repository(
    root: Path, *, rows: int = 60, train: str = "train", run: bool = True
) -> Repo:
    """Return a new repository with a dataset, and the stages `prepare` and `train`.

    Parameters
    ----------
    root
        Where; must not exist.
    rows
        Rows of the table raw/people.csv that DVC tracks; `prepare` writes data/prepared.csv, with
        the columns `id` and `label` among others.
    train
        The name of the training stage, and of its section of params.yaml.
    run
        Whether to run the pipeline, and to commit the result.
    """
    repo = start_repositories(root)
    files = {
        "dvc.yaml": PIPELINE.format(train=train, key=train),
        "params.yaml": PARAMS.format(key=train),
        "prepare.py": PREPARE,
        "train.py": TRAIN,
        ".gitignore": "# the team's\nruns.log",
        "README.md": "# The team's project\n",
    }
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")
    (root / "raw").mkdir()
    make_frame(rows).to_csv(root / "raw/people.csv", index=False)
    repo.dvc("add", "--quiet", "raw/people.csv")
    if run:
        repo.dvc("repro", "--quiet")
    repo.commit("the team's pipeline")
    return repo


def runs_of(repo: Repo) -> list[str]:
    """Return the names of the team's stages that ran in this folder, in order."""
    log = repo.root / "runs.log"
    return log.read_text(encoding="utf-8").split() if log.is_file() else []


def add_remotes(repo: Repo, folder: Path) -> None:
    """Give a repository a bare repository and a remote of DVC in a folder, and push to both.

    Parameters
    ----------
    repo
        The repository, with everything committed.
    folder
        Where `git.git` and `store` are made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bare, store = folder / "git.git", folder / "store"
    repo.git("init", "--quiet", "--bare", "--initial-branch", branch_of(repo), str(bare))
    repo.git("remote", "add", "origin", str(bare))
    repo.dvc("remote", "add", "--quiet", "--default", "store", str(store))
    repo.commit("a remote")
    repo.git("push", "--quiet", "--set-upstream", "origin", "HEAD")
    repo.dvc("push", "--quiet")


def clone_of(repo: Repo, target: Path, *, pull: bool = True) -> Repo:
    """Return a clone of a repository's `origin` in another folder.

    Parameters
    ----------
    repo
        A repository that `add_remotes` gave remotes.
    target
        Where; must not exist.
    pull
        Whether to fetch what DVC has in its remote.
    """
    repo.git("clone", "--quiet", repo.git("remote", "get-url", "origin").strip(), str(target))
    clone = Repo(target)
    clone.git("config", "user.email", "ci@example.org")
    clone.git("config", "user.name", "CI")
    keep_apart(target)
    if pull:
        clone.dvc("pull", "--quiet")
    return clone


def branch_of(repo: Repo) -> str:
    """Return the branch that is checked out."""
    return repo.git("branch", "--show-current").strip()
