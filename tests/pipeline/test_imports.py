"""Under plain `dvc repro` each stage is a process, which imports only the libraries it needs."""

import json
import sys
from pathlib import Path

import pytest

from tests.conftest import Repo
from tests.pipeline.conftest import BAYES, MLP, Shape, without_dvc

#: Libraries that take long to import. pandas is not among them: pyarrow imports it by itself.
HEAVY = {
    "torch",
    "torch._dynamo",
    "sklearn",
    "skops",
    "scipy",
    "scipy.stats",
    "transformers",
    "peft",
    "dvc",
}
#: scikit-learn imports all of scipy.stats.
OF_SKLEARN = {"sklearn", "skops", "scipy", "scipy.stats"}

_RUN = """
import json, sys
from unlearn.cli.app import run
code = run(["stage", sys.argv[1]])
assert code == 0, code
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("train", "training", "verification"),
    [(MLP, {"torch"}, {"torch", "scipy"}), (BAYES, OF_SKLEARN, OF_SKLEARN)],
    ids=["torch", "sklearn"],
)
def test_a_stage_imports_only_what_it_needs(
    small: Repo,
    workspace: Path,
    train: dict[str, object],
    training: set[str],
    verification: set[str],
) -> None:
    repo = without_dvc(small, workspace / "imports", Shape(train, shards=1, slices=2))
    needed: dict[str, set[str]] = {
        "train@s000": training,
        "aggregate": set(),
        "verify": verification,
    }
    # The stages before a training know nothing of the model.
    before = ("recipe", "shard", "forget")
    if train is MLP:
        needed = {name: set[str]() for name in before} | needed
    else:
        repo.stages(*before)

    found = {}
    for name in needed:
        done = repo.run(sys.executable, "-c", _RUN, name)
        assert done.code == 0, done.err
        found[name] = HEAVY & set(json.loads(done.out))

    assert found == needed
