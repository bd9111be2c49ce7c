"""Projects with keyed categories: post-hoc methods, a new key, an erasure, a lost key."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import unlearn
from unlearn.stages.context import open_project
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.keyed_categories import PURPOSE, keyed_text

from tests.cli.conftest import NAIVE_BAYES, refused, unchanged
from tests.conftest import Repo, make_frame, make_project, places, readable

pytestmark = pytest.mark.slow

CITIES = ("Rome", "Oslo", "Lima")
#: A category that only the rows that go have.
RARE = "Zanzibar-qx-7"
KEPT = ("--category-texts", "keyed", "--rare-categories", "keep", "--slices", "1")


def digest_of(repo: Repo, text: str) -> str:
    """Return what stands for a city in the files of a project."""
    key = open_project(Project(repo.root)).key
    return keyed_text(key.subkey(PURPOSE), "city", text)


def holding(repo: Repo, traces: list[bytes], *folders: str) -> Iterator[Path]:
    """Yield the files that have one of these byte strings, however they are packed."""
    for folder in folders:
        for path in sorted((repo.root / folder).rglob("*")):
            if path.is_file() and any(
                trace in content for content in readable(path) for trace in traces
            ):
                yield path.relative_to(repo.root)


@pytest.fixture(scope="module")
def _keyed(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A project in which two rows, which a model is trained on, have a category of their own."""
    root = tmp_path_factory.mktemp("keyed") / "project"
    frame = make_frame(160)
    repo = make_project(root, frame, *KEPT, "--shards", "2", train=NAIVE_BAYES)
    where = places(repo)
    gone = [raw for raw in where if where[raw].shard == "s000"][:2]
    frame.loc[frame["id"].isin(gone), "city"] = RARE
    frame.to_csv(repo.root / "data/dataset.csv", index=False)
    repo.dvc("add", "--quiet", "data/dataset.csv")
    assert repo.inline("repro").code == 0
    repo.commit("run")
    (root / "gone.txt").write_text("\n".join(gone) + "\n", encoding="ascii")
    return repo


@pytest.fixture
def keyed(_keyed: Repo, tmp_path: Path) -> Repo:
    return _keyed.copy(tmp_path / "keyed")


def test_a_new_key_gives_all_digests_another_form_and_trains_all(
    keyed: Repo, tmp_path: Path
) -> None:
    old = [digest_of(keyed, city).encode() for city in CITIES]
    models = ("models", "data/shards", "data/retain_set")
    assert len(list(holding(keyed, old, *models))) >= 6
    copy = tmp_path / "copy"
    assert keyed.inline("export", str(copy), "--hub").code == 0
    before = unlearn.Project.open(keyed.root).category_key
    expected = unlearn.load_model(copy / "model", category_key=before).predict(make_frame(9))

    assert keyed.inline("rekey", "--yes").code == 0
    run = keyed.inline("repro", "--json").json

    assert run["trained"] == ["s000", "s001"]
    assert list(holding(keyed, old, *models)) == []
    new = [digest_of(keyed, city).encode() for city in CITIES]
    assert len(list(holding(keyed, new, "models"))) >= 4
    keyed.commit("new key")
    assert keyed.inline("verify", "--full", "--json").json["exactness"]["lineage_clean"]
    assert keyed.inline("audit", "HEAD~1", "--json").json["verdict"] == "consistent"
    # A copy from before is of its own key, wherever it is loaded.
    with pytest.raises(unlearn.InputError, match="is not the one that this final model was made"):
        unlearn.load_model(copy / "model", root=keyed.root)
    again = unlearn.load_model(copy / "model", category_key=before)
    assert (again.predict(make_frame(9)) == expected).all()


def test_an_erasure_leaves_no_digest_of_a_category_that_went(keyed: Repo) -> None:
    traces = [digest_of(keyed, RARE).encode(), digest_of(keyed, RARE)[1:].encode(), RARE.encode()]
    places_of_rows = ("models", "data", ".dvc/cache", "reports", ".unlearn")
    assert len(list(holding(keyed, traces, *places_of_rows))) >= 4

    assert keyed.inline("forget", "--ids", str(keyed.root / "gone.txt")).code == 0
    (keyed.root / "gone.txt").unlink()
    assert keyed.inline("repro").code == 0
    keyed.commit("request")
    assert list(holding(keyed, traces, "models", "data/retain_set")) == []
    erased = keyed.inline("erase", "--yes", "--json", "--reflog")

    assert erased.json["complete"], erased
    assert list(holding(keyed, traces, *places_of_rows, ".git")) == []
    keyed.commit("erased")
    assert keyed.inline("verify").code == 0


def test_a_lost_key_is_one_error_of_every_command(keyed: Repo, tmp_path: Path) -> None:
    (keyed.root / "unlearn.key").rename(tmp_path / "kept.key")
    rows = tmp_path / "rows.csv"
    make_frame(5).to_csv(rows, index=False)
    predict = ("predict", "--input", str(rows), "--output", str(tmp_path / "out.csv"))
    with unchanged(keyed.root):
        for words in (("repro",), ("plan",), ("forget", "--id", "r0001"), ("rekey", "--yes")):
            assert refused(keyed.inline(*words)).startswith("there is no project key"), words
        assert refused(keyed.inline(*predict)).startswith("the categories of this final model are")
        with pytest.raises(unlearn.InputError, match="^the categories of this final model are"):
            unlearn.Project.open(keyed.root).load_model()
        with pytest.raises(unlearn.InputError, match="^there is no project key"):
            _ = unlearn.Project.open(keyed.root).category_key


def test_methods_that_do_not_retrain_read_digests_too(tmp_path: Path) -> None:
    methods = ["retrain", "ssd", "negative_gradient_plus"]
    small = {"model": "mlp", "options": {"hidden": [8]}, "epochs": 4}
    options = ("--template", "posthoc", "--category-texts", "keyed")
    repo = make_project(tmp_path / "posthoc", make_frame(200), *options, train=small)
    repo.set_params(unlearn={"methods": methods, "deploy": "ssd"})
    where = places(repo)
    ids = [raw for raw in where if not where[raw].is_holdout][:40]
    assert repo.inline("forget", "--ids", "-", stdin="\n".join(ids)).code == 0
    assert repo.inline("repro").code == 0
    repo.commit("run")

    texts = [city.encode() for city in CITIES]
    assert list(holding(repo, texts, "models", "data/retain_set")) == []
    report = repo.inline("verify", "--full", "--json").json
    assert report["methods"].keys() >= set(methods)
    assert report["membership"]["attack"] is not None
    assert unlearn.load_model(repo.root).predict(make_frame(9)).shape == (9,)
    refusal = repo.inline("export", str(tmp_path / "m.onnx"), "--onnx", "--allow-fail")
    assert (refusal.code, refusal.err.count("error: ")) == (2, 1)
    assert "error: the categories of 'city' are keyed digests" in refusal.err
    assert not (tmp_path / "m.onnx").exists()
