"""Outside the dataset people are tokens: no raw id in any file or in anything that is said."""

import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.conftest import Repo, readable
from tests.pipeline.conftest import ids_at

#: Every record's and every person's id begins so.
PLANTED = (b"zqrec-", b"zqman-")


def _with_ids(repo: Repo) -> set[str]:
    """Return the files of the whole tree, DVC's folder included, that name anybody."""
    return {
        path.relative_to(repo.root).as_posix()
        for path in repo.root.rglob("*")
        if path.is_file()
        and ".git" not in path.parts
        and any(planted in piece for piece in readable(path) for planted in PLANTED)
    }


def _is_silent(said: str) -> bool:
    return not any(planted.decode() in said for planted in PLANTED)


@pytest.mark.slow
def test_no_raw_id_leaves_the_dataset(people: Repo) -> None:
    ids = "\n".join(ids_at(people, "s000", range(2, 4))[:3])
    heard = []
    for arguments, stdin in (
        (("forget", "--ids", "-", "--ticket", "T-1"), ids),
        (("plan", "--subjects", "-"), "zqman-004\nzqman-005\n"),
        (("forget", "--subjects", "-"), "zqman-004\nzqman-005\n"),
        (("forget", "--ids", "-"), f"{ids}\nzqrec-unknown\n"),
        (("forget", "--subjects", "-"), "zqman-unknown\n"),
        (("status",), None),
        (("repro", "-j", "1"), None),
        (("audit",), None),
        (("audit", "--md"), None),
        (("verify",), None),
        (("doctor",), None),
        (("status", "--json"), None),
        (("predict", "--input", "data/dataset.csv", "--output", "answers.csv"), None),
    ):
        done = people.unlearn(*arguments, stdin=stdin)
        assert done.code in {0, 1, 2}
        heard.append(done.out + done.err)
    (people.root / "answers.csv").unlink()
    people.commit("requests")

    assert all(map(_is_silent, heard)), heard
    assert sum("not in the dataset" in said for said in heard) == 2
    # DVC's cache and the dataset itself hold the dataset; both are named by `doctor`.
    md5 = people.lock()["shard"]["deps"][0]["md5"]
    copy = f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
    assert _with_ids(people) == {"data/dataset.csv", copy}
    assert _is_silent(people.git("log", "--all", "--patch", "--format=%B"))
    # The rows themselves are there, as tokens of 32 bytes.
    columns = pq.read_table(people.root / "data/shards/s000.parquet").to_pydict()
    assert {len(token) for token in columns["unlearn.record"]} == {32}
    assert {len(token) for token in columns["unlearn.subject"]} == {32}


def test_errors_about_rows_do_not_name_anybody(people: Repo) -> None:
    path = people.root / "data/dataset.csv"
    whole = pd.read_csv(path, dtype=str, keep_default_na=False)
    broken = {
        "the same id": whole.assign(id=whole["id"].iloc[0]),
        "id is missing": whole.assign(id=["", *whole["id"].iloc[1:]]),
        "kept for tokens": whole.assign(id=["u1_zqrec-1", *whole["id"].iloc[1:]]),
        "column 'age'": whole.assign(age=whole["id"]),
        "column 'label'": whole.assign(label=whole["person"]),
        "column 'member'": whole.assign(member=whole["person"]),
    }
    for expected, frame in broken.items():
        frame.to_csv(path, index=False)
        done = people.inline("stage", "shard")
        assert done.code == 2
        assert expected in done.err
        assert _is_silent(done.err)
    assert _with_ids(people) - {"data/dataset.csv"} == {
        name for name in _with_ids(people) if name.startswith(".dvc/cache/")
    }


def test_a_raw_id_written_by_hand_is_a_token_after_the_next_command(people: Repo) -> None:
    listed = people.root / "data/forget_list.txt"
    raw = ids_at(people, "s002")[0]
    listed.write_text(f"{raw}\nsubject:zqman-007\n", encoding="utf-8")
    assert any("written by hand" in line for line in people.inline("doctor").out.splitlines())

    done = people.inline("forget", "--id", ids_at(people, "s001")[0])

    assert done.code == 0
    assert _is_silent(listed.read_text(encoding="utf-8") + done.out)
    assert len(listed.read_text(encoding="utf-8").splitlines()) == 3
    assert "data/forget_list.txt" not in _with_ids(people)
