"""The paths of all files in a project, in one place."""

from dataclasses import dataclass
from pathlib import Path

from unlearn.stages.errors import InputError
from unlearn.stages.project.containment import check_contained

HOLDOUT = "holdout"

#: Name of the file in data/shards that holds all canaries, trained on or left out.
CANARIES = "canaries"

#: Name of the file in data/shards that holds the tokens of rows without a class, where these are
#: dropped.
UNLABELLED = "unlabelled"

#: Name of the file of random bytes in a folder of rows.
NONCE = ".unlearn-nonce"


@dataclass(frozen=True)
class Project:
    """The folder that holds `params.yaml` and `dvc.yaml`, and the paths below it."""

    root: Path

    @property
    def params(self) -> Path:
        """The configuration."""
        return self.root / "params.yaml"

    @property
    def schema(self) -> Path:
        """The pinned columns and classes of the dataset."""
        return self.root / "schema.yaml"

    @property
    def shard_names(self) -> Path:
        """The list of shards; a post-hoc project has none."""
        return self.root / "shards.yaml"

    @property
    def pipeline(self) -> Path:
        """DVC's description of the stages."""
        return self.root / "dvc.yaml"

    @property
    def lock(self) -> Path:
        """DVC's record of what ran on what."""
        return self.root / "dvc.lock"

    @property
    def key(self) -> Path:
        """The project key; never in git."""
        return self.root / "unlearn.key"

    @property
    def forget_list(self) -> Path:
        """Tokens to forget, a line each."""
        return self.root / "data/forget_list.txt"

    @property
    def suppressed(self) -> Path:
        """The lines of the forget list whose rows no shard gets."""
        return self.root / "data/suppressed.txt"

    @property
    def requests(self) -> Path:
        """The log of forget requests: a folder with one file for each entry."""
        return self.root / "data/requests"

    @property
    def receipts(self) -> Path:
        """Signed receipts of requests: a folder with one file for each."""
        return self.root / "data/receipts"

    @property
    def receipt_keys(self) -> Path:
        """The public keys that receipts are signed with."""
        return self.receipts / "keys"

    @property
    def annexes(self) -> Path:
        """The confidential annexes of receipts; never in git."""
        return self.private / "receipts"

    @property
    def old_requests(self) -> Path:
        """The log of older projects, which is still read: one line for each entry."""
        return self.root / "data/requests.jsonl"

    @property
    def history(self) -> Path:
        """Versions of the forget list in git that need not be read again."""
        return self.private / "history.json"

    @property
    def file_marks(self) -> Path:
        """Sizes and times of the files that `forget` wrote last."""
        return self.private / "file_marks.json"

    @property
    def journal(self) -> Path:
        """The change of the forget list that is being written."""
        return self.private / "journal.json"

    @property
    def erasure_journal(self) -> Path:
        """The erasure that is under way."""
        return self.private / "erasure.json"

    @property
    def row_digests(self) -> Path:
        """Digests of rows that an erasure removes, until it is complete."""
        return self.private / "row_digests.json"

    @property
    def array_digests(self) -> Path:
        """Digests of pictures that an erasure removes, until it is complete."""
        return self.private / "array_digests.json"

    @property
    def rekeying(self) -> Path:
        """The rotation of the key that is being made."""
        return self.private / "rekey.json"

    @property
    def shards(self) -> Path:
        """All rows by shard, and the holdout."""
        return self.root / "data/shards"

    @property
    def dropped(self) -> Path:
        """How many rows of suppressed lines `shard` dropped; only where there are any."""
        return self.shards / "suppressed.json"

    @property
    def retain_set(self) -> Path:
        """The rows to train on, by shard, and the holdout that is left."""
        return self.root / "data/retain_set"

    @property
    def forget_set(self) -> Path:
        """The rows on the forget list, by shard."""
        return self.root / "data/forget_set"

    @property
    def applied(self) -> Path:
        """What the `forget` stage applied last."""
        return self.forget_set / "applied.json"

    @property
    def recipe(self) -> Path:
        """The settings that all models are trained with."""
        return self.root / "data/recipe.json"

    @property
    def shard_models(self) -> Path:
        """One folder for each shard model."""
        return self.root / "models/shard_models"

    @property
    def original(self) -> Path:
        """The model that post-hoc methods start from."""
        return self.root / "models/original"

    @property
    def unlearned(self) -> Path:
        """One folder for each post-hoc method."""
        return self.root / "models/unlearned"

    @property
    def final_model(self) -> Path:
        """The ensemble, complete in itself."""
        return self.root / "models/final_model"

    @property
    def verdict(self) -> Path:
        """The verdicts of the last `verify`, in words: what git holds of its report."""
        return self.root / "reports/verdict.json"

    @property
    def report(self) -> Path:
        """The evidence of the last `verify`, with all figures; never in git by default."""
        return self.root / "reports/verify.json"

    @property
    def metrics(self) -> Path:
        """The report's few numbers that `dvc metrics` shows."""
        return self.root / "reports/metrics.json"

    @property
    def method_metrics(self) -> Path:
        """One file of numbers for each post-hoc method."""
        return self.root / "reports/methods"

    @property
    def method_timings(self) -> Path:
        """How long each post-hoc method took on this machine; no stage's out."""
        return self.root / "reports/timings.json"

    @property
    def roc(self) -> Path:
        """All attacks' ROC curves."""
        return self.root / "reports/roc.csv"

    @property
    def scores(self) -> Path:
        """Histograms of all attacks' scores."""
        return self.root / "reports/scores.csv"

    @property
    def plots(self) -> Path:
        """Tables that `dvc plots` draws."""
        return self.root / "reports/plots"

    @property
    def private(self) -> Path:
        """Locks, timings and scratch space of this machine; never in git."""
        return self.root / ".unlearn"

    @property
    def timings(self) -> Path:
        """Durations of the last runs."""
        return self.private / "timings.json"

    @property
    def contacts(self) -> Path:
        """Keyed digests of contact data, by which lists of hashes find people.

        It is made again when the dataset changes, and has to be deleted with the rows.
        """
        return self.private / "contacts.sqlite"

    @property
    def digests(self) -> Path:
        """MD5s of model files that were hashed before, so that they are hashed once."""
        return self.private / "digests.json"

    def request_file(self, name: str) -> Path:
        """Return the file of an entry of the request log."""
        return self.requests / f"{name}.json"

    def tuning_trail(self, method: str) -> Path:
        """Return the file of all settings that were tried for a post-hoc method."""
        return self.root / "reports/tune" / f"{method}.csv"

    def shard_file(self, name: str) -> Path:
        """Return the file of all rows of a shard, or of the holdout."""
        return self.shards / f"{name}.parquet"

    def retain_file(self, name: str) -> Path:
        """Return the file of the rows of a shard, or of the holdout, that stay."""
        return self.retain_set / f"{name}.parquet"

    def forget_file(self, name: str) -> Path:
        """Return the file of the rows of a shard, or of the holdout, that go."""
        return self.forget_set / f"{name}.parquet"

    def lock_file(self, name: str) -> Path:
        """Return the file behind one of this machine's locks."""
        return self.private / "locks" / name

    def scratch(self, name: str) -> Path:
        """Return a folder for intermediate files, on the project's own file system."""
        return self.private / "scratch" / name


def find_project(start: Path | None = None, *, rekeying: bool = False) -> Project:
    """Return the project that contains a folder.

    Parameters
    ----------
    start
        The folder; by default the working directory.
    rekeying
        Whether the key may be in the middle of a rotation.

    Raises
    ------
    InputError
        If neither the folder nor one above it holds both `params.yaml` and `dvc.yaml`, if one of
        the project's folders is a link that leads elsewhere, see `check_contained`, or if a
        rotation of the key was interrupted.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").is_file() and (folder / "dvc.yaml").is_file():
            check_contained(folder)
            if _is_of_others(folder):
                continue
            project = Project(folder)
            if not rekeying and project.rekeying.exists():
                raise InputError(
                    "a rotation of the project key was interrupted", "`unlearn rekey` finishes it"
                )
            return project
    below = sorted(
        path.parent.relative_to(here).as_posix()
        for pattern in ("*/shards.yaml", "*/*/shards.yaml", "*/schema.yaml", "*/*/schema.yaml")
        for path in here.glob(pattern)
        if (path.parent / "data/forget_list.txt").is_file()
    )
    if below:
        raise InputError(
            f"this folder is not in an unlearn project; there is one in {below[0]}/",
            f"`cd {below[0]}` and run the command there",
        )
    raise InputError(
        "this folder is not in an unlearn project: no params.yaml beside a dvc.yaml",
        "`unlearn init --help` explains how to create one",
    )


def _is_of_others(folder: Path) -> bool:
    """Return whether the pipeline in a folder has no stage of this tool and no file of it.

    A project that lost one of them is one all the same, and its errors say what is missing.
    """
    names = ("data/forget_list.txt", "schema.yaml", "shards.yaml", ".unlearn", "unlearn.key")
    if any((folder / name).exists() for name in names):
        return False
    try:
        texts = [(folder / name).read_bytes() for name in ("dvc.yaml", "params.yaml")]
    except OSError:
        return False
    return b"unlearn stage" not in texts[0] and b"key_check" not in texts[1] and any(texts)
