"""`unlearn erase` on a dataset that is a folder of Parquet files, with a nonce."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from unlearn.stages.context import open_project
from unlearn.stages.erasure.dataset.oracles import count_testable
from unlearn.stages.project.paths import NONCE, Project

from tests.conftest import make_frame, start_repositories

FRAME = make_frame(120, subjects=30)
GONE, RARE = "jane-roe-p003", "a rare city of one person"
FRAME["person"] = FRAME["person"].mask(FRAME["person"] == "p003", GONE)
FRAME["city"] = FRAME["city"].mask(FRAME["person"] == GONE, RARE)
WHO = FRAME["person"] == GONE


@pytest.mark.slow
def test_files_without_rows_that_go_stay_and_the_md5_in_git_tells_nothing(tmp_path: Path) -> None:
    source = tmp_path / "people"
    source.mkdir()
    frame = FRAME.sort_values("person", ignore_index=True)
    # The rows of a person are in one file; the dictionary of `person` is in both.
    frame["person"] = frame["person"].astype("category")
    middle = len(frame) // 2
    for name, part in (("a", frame[:middle]), ("b", frame[middle:])):
        part.to_parquet(source / f"{name}.parquet", index=False, row_group_size=20)
    repo = start_repositories(tmp_path / "project")
    roles = ("--id", "id", "--subject", "person", "--target", "label")
    model = ("--model", "sklearn.naive_bayes.GaussianNB", "--shards", "2", "--slices", "1")
    repo.ok("init", ".", "--dataset", str(source), *roles, *model)
    repo.commit("start")
    repo.ok("repro", "-j", "1")
    repo.commit("run")
    repo.ok("forget", "--subjects", "-", stdin=f"{GONE}\n")
    repo.ok("repro", "-j", "1")
    repo.commit("forgotten")
    folder = repo.root / "data/dataset"
    models, retained = repo.files("models"), repo.files("data/retain_set")
    nonce = (folder / NONCE).read_bytes()

    answer = repo.ok("erase", "--yes", "--json").json

    assert answer["rows"] == {"data/dataset/a.parquet": WHO.sum(), "data/dataset/b.parquet": 0}
    assert answer["trained"] == []
    # Nobody else's row changed, nor what the models were made from, nor a byte of them.
    left = pd.concat([pd.read_parquet(folder / f"{name}.parquet") for name in "ab"])
    expected = frame[frame["person"] != GONE]
    pd.testing.assert_frame_equal(
        left.astype(str).reset_index(drop=True), expected.astype(str).reset_index(drop=True)
    )
    assert pq.ParquetFile(folder / "b.parquet").metadata.num_row_groups == 3
    assert (repo.files("models"), repo.files("data/retain_set")) == (models, retained)
    # No file has the person's id or text any more, and the md5 has another nonce.
    for name in ("a", "b"):
        table = pq.read_table(folder / f"{name}.parquet")
        assert GONE not in str(table.to_pydict())
        assert GONE not in table["person"].unify_dictionaries().chunk(0).dictionary.to_pylist()
    assert (folder / NONCE).read_bytes() != nonce
    repo.commit("erased")
    project = Project(repo.root)
    assert count_testable(project, open_project(project).params.dataset) == 0
    (tmp_path / "values").write_text(f"{GONE}\n{RARE}\n")
    found = repo.unlearn("scan", "--values", str(tmp_path / "values"))
    assert found.code == 0, found.out
