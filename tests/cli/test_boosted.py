"""`init` and `doctor` where a library for boosted trees is missing, and what `init` writes."""

from pathlib import Path

import pytest
from unlearn.cli.init import scaffold
from unlearn.stages.estimators import spec as spec_module

from tests.cli.conftest import refused, unchanged
from tests.conftest import Done, Repo, make_frame, make_project, start_repositories
from tests.stages.estimators.boosted.libraries import LIBRARIES, Library


@pytest.fixture(
    params=[
        pytest.param(name, marks=[] if name == "xgboost" else [pytest.mark.slow])
        for name in LIBRARIES
    ]
)
def library(request: pytest.FixtureRequest) -> Library:
    LIBRARIES[request.param].require()
    return LIBRARIES[request.param]


def init(repo: Repo, model: str, *options: str) -> Done:
    source = repo.root.parent / "rows.csv"
    make_frame(300).to_csv(source, index=False)
    columns = ("--id", "id", "--target", "label")
    return repo.inline("init", ".", "--dataset", str(source), *columns, "--model", model, *options)


def test_init_writes_the_options_that_matter_most(library: Library, tmp_path: Path) -> None:
    repo = start_repositories(tmp_path / "project")

    done = init(repo, library.model)

    assert done.code == 0, done.err
    settings = repo.params()
    assert settings["train"]["options"] == library.spec.options().model_dump()  # type: ignore[misc]  # it has some
    assert library.trees in settings["train"]["options"]
    assert 2 <= len(settings["train"]["options"]) <= 3
    assert settings["train"]["preprocessing"] == {"scale": "none", "impute": "none"}
    assert settings["sharding"]["slices"] == 1
    assert len(settings["sharding"]["shards"]) == 1
    assert settings["aggregate"]["rule"] == "mean_probability"


def test_a_missing_library_stops_init_and_is_a_finding_of_doctor(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = start_repositories(tmp_path / "project")
    assert init(repo, library.model).code == 0
    name = library.module
    assert name in repo.inline("doctor", "--json").json["environment"]
    empty = start_repositories(tmp_path / "other")
    monkeypatch.setattr(spec_module, "find_module", lambda _name: None)

    with unchanged(empty.root):
        done = init(empty, library.model)

    assert refused(done) == f"{name} is not installed"
    assert done.err.splitlines()[1] == f"hint: pip install 'dvc-unlearn[{name}]'"
    found = repo.inline("doctor", "--json").json["findings"]
    assert f"{name} is not installed; pip install 'dvc-unlearn[{name}]'" in found
    assert repo.inline("stage", "train", "s000").code == 2


@pytest.mark.slow
def test_scan_opens_models_in_the_formats_of_the_libraries(
    library: Library, tmp_path: Path
) -> None:
    repo = make_project(tmp_path / "project", make_frame(60), "--model", library.model)
    repo.set_params(train={"options": library.options})
    repo.stages("recipe", "shard", "forget", "train@s000")
    model = repo.root / "models/shard_models/s000" / library.spec.file_name
    (tmp_path / "values").write_text("zqx-secret-17\n", encoding="utf-8")
    options = ("--values", str(tmp_path / "values"), "--json")
    assert repo.inline("scan", *options).code == 0

    model.write_bytes(model.read_bytes() + b" zqx-secret-17 ")

    found = repo.inline("scan", *options)
    assert found.code == 1
    assert library.spec.file_name in found.out


def test_init_picks_few_shards_where_training_takes_long(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaffold, "BREAK_EVEN", 0.0)
    monkeypatch.setattr(scaffold, "_ROWS_PER_SHARD", 10)
    repo = start_repositories(tmp_path / "project")

    assert init(repo, library.model).code == 0

    assert len(repo.params()["sharding"]["shards"]) == 5
