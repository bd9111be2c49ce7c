"""Listed rows are dropped from the dataset's own files, and from nothing else."""

import json
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather
from unlearn.stages.config.params import Params
from unlearn.stages.context import Context
from unlearn.stages.erasure.dataset import rewrite as dataset_module
from unlearn.stages.erasure.dataset.csv_rewriting import write_csv_without
from unlearn.stages.erasure.dataset.listed_rows import RowNumbers
from unlearn.stages.erasure.dataset.rewrite import Rewritten, check_rewritable, rewrite_dataset
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.paths import Project
from unlearn.stages.reading.dataset_files import dataset_files
from unlearn.stages.reading.reading import Reading
from unlearn.stages.rows.tokens import Tokenizer
from unlearn.stages.shard import stage as shard_stage

from tests.conftest import Repo, make_frame
from tests.stages.conftest import FEATURES, KEY, make_params, put_on_list, token_of

FRAME = make_frame(120, subjects=15)
SUFFIXES = (
    *(".csv", ".tsv", ".csv.gz", ".jsonl", ".json", ".json.gz"),
    *(".parquet", ".feather", ".npz"),
)


def write_rows(frame: pd.DataFrame, path: Path) -> None:
    """Write a table in the format that a file's name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name
    if ".csv" in name or ".tsv" in name:
        frame.to_csv(path, index=False, sep="\t" if ".tsv" in name else ",")
    elif ".json" in name:
        frame.to_json(path, orient="records", lines=".jsonl" in name)
    elif name.endswith(".npz"):
        columns: dict[str, Any] = {
            str(column): values.to_numpy()
            if pd.api.types.is_numeric_dtype(values)
            else values.to_numpy().astype(str)
            for column, values in frame.items()
        }
        np.savez(path, **columns)
    elif name.endswith(".parquet"):
        frame.to_parquet(path, index=False, row_group_size=16)
    else:
        feather.write_feather(frame, str(path))


def with_dataset(params: Params, **changes: object) -> Params:
    return params.model_copy(update={"dataset": params.dataset.model_copy(update=changes)})


def make(root: Path, frame: pd.DataFrame = FRAME, path: str = "data/dataset.csv") -> Context:
    """Return a project in a bare folder, with a forget list that is empty."""
    subject = "person" if "person" in frame.columns else None
    params = make_params(subject=subject, path=path)
    if not path.endswith("/"):
        write_rows(frame, root / path)
    (root / "data").mkdir(parents=True, exist_ok=True)
    (root / "data/forget_list.txt").write_bytes(b"")
    return Context(Project(root), params, KEY)


def folder(root: Path, suffix: str = ".parquet", frame: pd.DataFrame = FRAME) -> Context:
    """Return a project whose dataset is a folder of three files."""
    context = make(root, frame, "data/dataset/")
    parts = np.array_split(np.arange(len(frame)), 3)
    for name, part in zip("abc", parts, strict=True):
        write_rows(frame.iloc[part], root / f"data/dataset/{name}{suffix}")
    return Context(context.project, with_dataset(context.params, path="data/dataset"), context.key)


def files_of(context: Context) -> dict[str, bytes]:
    """Return the bytes of all files of the dataset."""
    path = context.project.root / context.params.dataset.path
    return {file.name: file.read_bytes() for file in dataset_files(path, "dataset")}


def shards_of(context: Context) -> tuple[dict[str, bytes], dict[str, pa.Table]]:
    """Run the stages; return the bytes of what is trained on, and the rows of all shards."""
    shard_stage.run(context)
    forget_stage.run(context)
    project = context.project
    retained = {file.name: file.read_bytes() for file in project.retain_set.glob("*.parquet")}
    return retained, {
        file.name: pq.read_table(file) for file in sorted(project.shards.glob("*.parquet"))
    }


def lines(records: list[str], subjects: list[str], pairs: list[tuple[str, str]]) -> list[str]:
    return [
        *(token_of(raw) for raw in records),
        *(token_of(raw, "subject") for raw in subjects),
        *(f"{token_of(who, 'subject')}.{token_of(raw)}" for who, raw in pairs),
    ]


def gone_from(
    frame: pd.DataFrame, records: list[str], subjects: list[str], pairs: list[tuple[str, str]]
) -> pd.Series:
    both = list(zip(frame["person"], frame["id"], strict=True))
    return (
        frame["id"].isin(records)
        | frame["person"].isin(subjects)
        | pd.Series([pair in pairs for pair in both], index=frame.index)
    )


@pytest.mark.slow
@settings(max_examples=12)
@given(
    st.sampled_from(SUFFIXES),
    st.booleans(),
    st.lists(st.sampled_from(list(FRAME["id"])), max_size=4, unique=True),
    st.lists(st.sampled_from(sorted(set(FRAME["person"]))), max_size=3, unique=True),
    st.lists(st.sampled_from(range(len(FRAME))), max_size=4, unique=True),
)
def test_shards_afterwards_are_those_of_the_rows_that_stay(
    suffix: str, in_folder: bool, records: list[str], subjects: list[str], rows: list[int]
) -> None:
    pairs = [(FRAME["person"][row], FRAME["id"][row]) for row in rows]
    gone = gone_from(FRAME, records, subjects, pairs)
    with tempfile.TemporaryDirectory() as top:
        root = Path(top)
        if in_folder:
            context = folder(root / "one", suffix)
        else:
            context = make(root / "one", FRAME, f"data/dataset{suffix}")
        put_on_list(context, *lines(records, subjects, pairs))
        retained, before = shards_of(context)

        rewritten = rewrite_dataset(context)

        assert rewritten.dropped == gone.sum()
        after_retained, after = shards_of(context)
        # Not a byte of what models are trained on changes, and no listed row is left.
        assert after_retained == retained
        other = make(root / "two", FRAME[~gone], f"data/dataset{suffix}")
        assert after == shards_of(other)[1]
        assert sum(table.num_rows for table in before.values()) - gone.sum() == sum(
            table.num_rows for table in after.values()
        )
        assert rewrite_dataset(context) == Rewritten()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_without_a_listed_row_is_not_touched(tmp_path: Path, suffix: str) -> None:
    context = folder(tmp_path, suffix)
    put_on_list(context, token_of("r0041"), token_of("r0079"))
    files = {file.name[0]: file for file in (tmp_path / "data/dataset").iterdir()}
    before = {name: file.stat() for name, file in files.items()}

    rewritten = rewrite_dataset(context)

    assert [(file.name, file.dropped, file.left) for file in rewritten.files] == [
        (f"data/dataset/b{suffix}", 2, 38)
    ]
    for name, file in files.items():
        found = file.stat()
        is_same = (found.st_ino, found.st_mtime_ns) == (
            before[name].st_ino,
            before[name].st_mtime_ns,
        )
        assert is_same == (name != "b")
    assert not context.project.scratch("erase-dataset").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_whose_rows_all_go_stays_without_rows(tmp_path: Path, suffix: str) -> None:
    context = folder(tmp_path, suffix)
    put_on_list(context, *(token_of(raw) for raw in FRAME["id"][40:80]))
    retained, _ = shards_of(context)

    assert rewrite_dataset(context).files[0].left == 0

    assert shards_of(context)[0] == retained
    assert (tmp_path / f"data/dataset/b{suffix}").exists()
    if suffix == ".csv":
        header = ",".join(FRAME.columns) + "\n"
        assert (tmp_path / "data/dataset/b.csv").read_text() == header


def test_no_row_left_is_refused_before_anything_changes(tmp_path: Path) -> None:
    context = folder(tmp_path, ".csv")
    put_on_list(context, *(token_of(raw) for raw in FRAME["id"]))
    before = files_of(context)

    with pytest.raises(InputError, match="names all rows of data/dataset: no row would be left"):
        rewrite_dataset(context)

    assert files_of(context) == before


def test_folders_of_hive_are_read_as_the_stages_read_them(tmp_path: Path) -> None:
    frame = FRAME.drop(columns="city")
    context = make(tmp_path, frame, "data/dataset/")
    table = pa.Table.from_pandas(FRAME, preserve_index=False)
    ds.write_dataset(
        table.set_column(5, "city", table["city"].fill_null("none")),
        tmp_path / "data/dataset",
        format="parquet",
        partitioning=ds.partitioning(pa.schema([("city", pa.string())]), flavor="hive"),
    )
    params = with_dataset(context.params, path="data/dataset")
    context = Context(context.project, params, KEY)
    assert FEATURES["city"] == params.dataset.features["city"]
    put_on_list(context, token_of("p003", "subject"))
    retained, _ = shards_of(context)

    rewritten = rewrite_dataset(context)

    assert rewritten.dropped == (FRAME["person"] == "p003").sum() > 0
    assert all("/city=" in file.name for file in rewritten.files)
    assert shards_of(context)[0] == retained


def test_ids_are_those_that_the_settings_call_one(tmp_path: Path) -> None:
    frame = make_frame(40)
    frame["id"] = [f"Mail{n}@Example.org" if n % 2 else f" mail{n}@example.ORG " for n in range(40)]
    context = make(tmp_path, frame)
    context = Context(
        context.project, with_dataset(context.params, identity="folded", id_type="text"), KEY
    )
    put_on_list(context, context.tokenizer.token("record", "MAIL4@example.org"))

    assert rewrite_dataset(context).dropped == 1

    left = pd.read_csv(tmp_path / "data/dataset.csv")
    assert list(left["id"]) == [raw for n, raw in enumerate(frame["id"]) if n != 4]


def test_numbers_in_files_of_other_types_are_one_person(tmp_path: Path) -> None:
    context = folder(tmp_path)
    for name, kind in (("a", "int64"), ("b", "float64"), ("c", "str")):
        path = tmp_path / f"data/dataset/{name}.parquet"
        frame = pd.read_parquet(path)
        frame["person"] = frame["person"].str[1:].astype(int).astype(kind)
        frame.to_parquet(path, index=False)
    changes = {"subject_type": "integer", "id_type": "text"}
    context = Context(context.project, with_dataset(context.params, **changes), KEY)
    put_on_list(context, Tokenizer(KEY).token("subject", "3"))

    assert rewrite_dataset(context).dropped == (FRAME["person"] == "p003").sum()
    assert pd.read_parquet(tmp_path / "data/dataset/b.parquet")["person"].dtype == "float64"


def test_held_out_rows_and_canaries_are_dropped_too(tmp_path: Path) -> None:
    context = make(tmp_path, FRAME[:100])
    FRAME[100:].to_csv(tmp_path / "data/held_out.csv", index=False)
    canaries = make_frame(4, subjects=4)
    canaries["id"] = [f"canary-00000{n}" for n in range(1, 5)]
    canaries["person"] = canaries["id"]
    canaries.to_csv(tmp_path / "data/canaries.csv", index=False)
    changes = {"held_out": "data/held_out.csv", "canaries": "data/canaries.csv"}
    context = Context(context.project, with_dataset(context.params, **changes), KEY)
    put_on_list(
        context,
        token_of("r0003"),
        token_of("r0104"),
        f"{token_of('canary-000002', 'subject')}.left-out",
        token_of("canary-000003", "subject"),
    )

    rewritten = rewrite_dataset(context)

    assert {file.name: file.dropped for file in rewritten.files} == {
        "data/dataset.csv": 1,
        "data/held_out.csv": 1,
        "data/canaries.csv": 2,
    }
    left = pd.read_csv(tmp_path / "data/canaries.csv")["id"]
    assert list(left) == ["canary-000001", "canary-000004"]


def test_the_mode_of_a_file_stays_and_links_to_the_cache_are_replaced(tmp_path: Path) -> None:
    context = folder(tmp_path, ".csv")
    cache = tmp_path / ".dvc/cache/files/md5/ab"
    cache.mkdir(parents=True)
    (tmp_path / ".dvc/config").write_text("")
    first, second, third = sorted((tmp_path / "data/dataset").iterdir())
    hard, soft = cache / ("1" * 30), cache / ("2" * 30)
    hard.hardlink_to(first)
    shutil.copy(second, soft)
    second.unlink()
    second.symlink_to(soft)
    hard.chmod(0o444)
    soft.chmod(0o444)
    third.chmod(0o640)
    before = hard.read_bytes(), soft.read_bytes()
    put_on_list(context, token_of("r0003"), token_of("r0043"), token_of("r0083"))

    assert len(rewrite_dataset(context).files) == 3

    assert (hard.read_bytes(), soft.read_bytes()) == before
    assert not second.is_symlink()
    assert first.stat().st_nlink == 1
    modes = [stat.S_IMODE(file.stat().st_mode) for file in (first, second, third)]
    assert modes == [0o444, 0o444, 0o640]


def outside(root: Path) -> None:
    target = root.parent / "elsewhere.csv"
    shutil.move(root / "data/dataset.csv", target)
    (root / "data/dataset.csv").symlink_to(target)


def inside(root: Path) -> None:
    shutil.move(root / "data/dataset.csv", root / "data/other.csv")
    (root / "data/dataset.csv").symlink_to("other.csv")


def whole_folder(root: Path) -> None:
    shutil.move(root / "data", root.parent / "real-data")
    (root / "data").symlink_to(root.parent / "real-data")


@pytest.mark.parametrize("link", [outside, inside, whole_folder])
def test_other_links_are_refused(tmp_path: Path, link: Callable[[Path], None]) -> None:
    root = tmp_path / "project"
    context = make(root)
    put_on_list(context, token_of("r0003"))
    content = (root / "data/dataset.csv").read_bytes()
    link(root)

    with pytest.raises(InputError, match=r"data/dataset.csv is, or is below, a symbolic link"):
        rewrite_dataset(context)

    assert (root / "data/dataset.csv").read_bytes() == content


def write_pipeline(root: Path, **stages: object) -> None:
    (root / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    (root / "params.yaml").write_text(json.dumps({"algorithm": 1, "place": "data"}))


STAGES = {
    "file": {"prepare": {"cmd": "x", "outs": ["data/dataset"]}},
    "part": {"prepare": {"cmd": "x", "outs": [{"data/dataset/a.parquet": {"cache": False}}]}},
    "above": {"prepare": {"cmd": "x", "outs": ["data"]}},
    "working folder": {"prepare": {"cmd": "x", "wdir": "data", "outs": ["dataset"]}},
    "setting": {"prepare": {"cmd": "x", "outs": ["${place}/dataset"]}},
    "loop": {"prepare": {"foreach": ["a"], "do": {"cmd": "x", "outs": ["data/dataset"]}}},
}


@pytest.mark.parametrize("stages", STAGES.values(), ids=STAGES)
def test_the_out_of_a_stage_is_refused_with_what_to_do_upstream(
    tmp_path: Path, stages: dict[str, object]
) -> None:
    context = folder(tmp_path)
    write_pipeline(tmp_path, shard={"cmd": "y", "outs": ["data/shards"]}, **stages)

    with pytest.raises(InputError, match="is an out of the stage prepare in dvc.yaml") as caught:
        check_rewritable(context)

    assert "dvc repro prepare" in caught.value.hints[0]


def test_what_the_lock_says_of_a_matrix_counts(tmp_path: Path) -> None:
    context = folder(tmp_path)
    stage = {"cmd": "x", "matrix": {"p": ["data/dataset"]}, "outs": ["${item.p}"]}
    write_pipeline(tmp_path, prepare=stage)
    check_rewritable(context)

    outs = [{"path": "data/dataset", "md5": "0"}]
    (tmp_path / "dvc.lock").write_text(json.dumps({"stages": {"prepare@data": {"outs": outs}}}))

    with pytest.raises(InputError, match="out of the stage prepare@data"):
        check_rewritable(context)


def test_other_stages_do_not_matter(tmp_path: Path) -> None:
    context = folder(tmp_path)
    outs = ["data/dataset2", "data/shards", "models/x", "data/dataset.csv"]
    write_pipeline(tmp_path, other={"cmd": "x", "outs": outs})
    pointer = {"outs": [{"md5": "0" * 32, "path": "dataset"}]}
    (tmp_path / "data/dataset.dvc").write_text(json.dumps(pointer))

    assert check_rewritable(context).in_git == ()


@pytest.mark.parametrize(
    ("source", "command"),
    [
        ({"path": "x", "repo": {"url": "https://example.org/secret"}}, "dvc import"),
        ({"path": "https://example.org/secret"}, "dvc import-url"),
        ({"db": {"query": "x"}}, "dvc import-db"),
    ],
)
def test_imported_rows_are_refused_without_the_address(
    tmp_path: Path, source: dict[str, object], command: str
) -> None:
    context = folder(tmp_path)
    Repo(tmp_path).git("init", "-q")
    pointer = {"frozen": True, "deps": [source], "outs": [{"md5": "0" * 32, "path": "dataset"}]}
    (tmp_path / "data/dataset.dvc").write_text(json.dumps(pointer))

    with pytest.raises(InputError, match=f"was brought in by `{command}`") as caught:
        check_rewritable(context)

    assert "secret" not in " ".join([caught.value.message, *caught.value.hints])
    assert "dvc update data/dataset.dvc" in caught.value.hints[0]


def test_missing_files_are_named(tmp_path: Path) -> None:
    context = make(tmp_path)
    (tmp_path / "data/dataset.csv").unlink()
    with pytest.raises(InputError, match=r"data/dataset.csv is not here") as caught:
        check_rewritable(context)
    assert "dvc pull" in caught.value.hints[0]


def test_rows_in_git_are_a_fact_and_no_error(tmp_path: Path) -> None:
    context = make(tmp_path)
    repo = Repo(tmp_path)
    repo.git("init", "-q")
    repo.git("config", "user.email", "tests@example.org")
    repo.git("config", "user.name", "Tests")
    repo.commit("start")
    assert check_rewritable(context).in_git == ("data/dataset.csv",)

    repo.git("rm", "-q", "--cached", "data/dataset.csv")
    repo.git("commit", "-qm", "no rows")
    put_on_list(context, token_of("r0003"))
    assert rewrite_dataset(context).in_git == ("data/dataset.csv",)


@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
def test_dictionaries_of_other_files_lose_the_values_of_rows_that_go(
    tmp_path: Path, suffix: str
) -> None:
    frame = FRAME.assign(city=FRAME["city"].mask(FRAME["id"] == "r0041", "planted"))
    frame["person"] = frame["person"].mask(frame["id"] == "r0041", "planted-person")
    frame = frame.astype({"city": "category", "person": "category"})
    context = folder(tmp_path, suffix, frame)
    put_on_list(context, token_of("planted-person", "subject"))
    # `a` has neither the row nor another reason to change; `c` has its categories dropped.
    last = tmp_path / f"data/dataset/c{suffix}"
    own = frame.iloc[80:].copy()
    for column in ("city", "person"):
        own[column] = own[column].cat.remove_unused_categories()
    write_rows(own, last)
    values = files_of(context)
    assert b"planted" in values[f"a{suffix}"]

    rewritten = rewrite_dataset(context)

    assert {file.name: file.dropped for file in rewritten.files} == {
        f"data/dataset/a{suffix}": 0,
        f"data/dataset/b{suffix}": 1,
    }
    read = feather.read_feather if suffix == ".feather" else pd.read_parquet
    for name in ("a", "b"):
        left = read(str(tmp_path / f"data/dataset/{name}{suffix}"))
        assert "planted" not in " ".join(left["city"].cat.categories)
        assert "planted-person" not in left["person"].cat.categories
        rows = frame.iloc[:40] if name == "a" else frame.iloc[40:80].drop(index=41)
        pd.testing.assert_frame_equal(
            left.astype(str).reset_index(drop=True), rows.astype(str).reset_index(drop=True)
        )
    assert files_of(context)[f"c{suffix}"] == values[f"c{suffix}"]
    assert rewrite_dataset(context) == Rewritten()


def test_an_id_in_a_dictionary_goes_also_if_its_rows_went_before(tmp_path: Path) -> None:
    frame = FRAME.astype({"person": "category"})
    frame = frame[frame["person"] != "p003"]  # the category stays
    context = make(tmp_path, frame, "data/dataset.parquet")
    path = tmp_path / "data/dataset.parquet"
    assert "p003" in pd.read_parquet(path)["person"].cat.categories
    put_on_list(context, token_of("p003", "subject"))

    assert rewrite_dataset(context).files[0].dropped == 0
    categories = pd.read_parquet(path)["person"].cat.categories
    assert "p003" not in categories
    assert len(categories) == frame["person"].nunique()


def test_summaries_and_sums_of_files_that_change_are_deleted(tmp_path: Path) -> None:
    context = folder(tmp_path)
    top = tmp_path / "data/dataset"
    for name in ("_metadata", "_common_metadata", ".a.parquet.crc", ".b.parquet.crc"):
        (top / name).write_bytes(b"x")
    put_on_list(context, token_of("r0041"))

    removed = rewrite_dataset(context).removed

    assert sorted(removed) == ["data/dataset/.b.parquet.crc", "data/dataset/_metadata"]
    assert {file.name for file in top.iterdir()} == {
        *("a.parquet", "b.parquet", "c.parquet", "_common_metadata", ".a.parquet.crc")
    }


def test_a_file_that_is_written_wrong_does_not_replace_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make(tmp_path)
    put_on_list(context, token_of("r0041"))
    before = (tmp_path / "data/dataset.csv").read_bytes()
    # A row too few, a row too many, another row, and the right rows in another order.
    for rows, swap in (([40, 41], False), ([], False), ([40], False), ([41], True)):

        def write(
            path: Path,
            name: str,
            reading: Reading,
            gone: RowNumbers,
            new: Path,
            wrong: tuple[list[int], bool] = (rows, swap),
        ) -> None:
            del gone
            write_csv_without(path, name, reading, np.array(wrong[0], np.int64), new)
            if wrong[1]:
                *others, one, two = new.read_bytes().splitlines(keepends=True)
                new.write_bytes(b"".join([*others, two, one]))

        monkeypatch.setattr(dataset_module, "write_csv_without", write)
        with pytest.raises(ToolError, match=r"data/dataset.csv was to have 119 rows"):
            rewrite_dataset(context)
        assert (tmp_path / "data/dataset.csv").read_bytes() == before


def test_a_stop_between_two_files_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = folder(tmp_path, ".csv")
    put_on_list(context, token_of("r0003"), token_of("r0043"), token_of("r0083"))
    before = files_of(context)
    expected = {
        name: b"".join(
            line
            for line in content.splitlines(keepends=True)
            if line[:5] not in (b"r0003", b"r0043", b"r0083")
        )
        for name, content in before.items()
    }
    done = 0

    def stop(path: Path, new: Path) -> None:
        nonlocal done
        if done == 1:
            raise KeyboardInterrupt
        done += 1
        replace(path, new)

    replace = dataset_module._replace
    monkeypatch.setattr(dataset_module, "_replace", stop)
    with pytest.raises(KeyboardInterrupt):
        rewrite_dataset(context)
    changed = [name for name, content in files_of(context).items() if content != before[name]]
    assert changed == ["a.csv"]
    monkeypatch.undo()

    rewrite_dataset(context)

    assert files_of(context) == expected


def test_settings_that_do_not_fit_the_files_change_nothing(tmp_path: Path) -> None:
    context = folder(tmp_path, ".csv")
    put_on_list(context, token_of("r0003"))
    (tmp_path / "data/dataset/c.csv").write_text("id,person\n,p1\n")
    before = files_of(context)

    with pytest.raises(InputError):
        rewrite_dataset(context)

    assert files_of(context) == before
