"""With a nonce, the md5 of rows in git is no test of a guess; without one, that is said."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from unlearn.stages.audit.reports import md5_bytes
from unlearn.stages.context import open_project
from unlearn.stages.dvc.listing import listing_md5
from unlearn.stages.erasure.dataset.nonce import confirm_nonce, missing_nonces, refresh_nonce
from unlearn.stages.erasure.dataset.oracles import count_testable, find_testable
from unlearn.stages.errors import ToolError
from unlearn.stages.project.files import digest_file
from unlearn.stages.project.paths import NONCE, Project
from unlearn.stages.reading.dataset_files import find_files

from tests.conftest import Done, Repo, make_frame, start_repositories

FRAME = make_frame(60)
ROLES = ("--id", "id", "--target", "label", "--shards", "2", "--slices", "1")


def set_up(root: Path, source: Path, *options: str) -> tuple[Repo, Done]:
    """Return a new project on a file or folder, and what the command said."""
    repo = start_repositories(root)
    done = repo.inline("init", ".", "--dataset", str(source), *ROLES, *options)
    assert done.code == 0, done.err
    repo.commit("start")
    return repo, done


def one_file(folder: Path) -> Path:
    path = folder / "people.csv"
    FRAME.to_csv(path, index=False)
    return path


def recorded(repo: Repo, name: str) -> tuple[str, int]:
    """Return the md5 and the size that git has of a file or folder of rows."""
    entry = yaml.safe_load(repo.git("show", f"HEAD:{name}.dvc"))["outs"][0]
    return entry["md5"], entry["size"]


def files_of(folder: Path) -> dict[str, str]:
    return {path.name: digest_file(path, "md5") for path in folder.iterdir()}


@pytest.fixture(scope="session")
def _in_folder(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    top = tmp_path_factory.mktemp("nonce")
    return set_up(top / "project", one_file(top), "--in-folder")[0]


@pytest.fixture
def in_folder(_in_folder: Repo, tmp_path: Path) -> Iterator[Repo]:
    """Yield a project whose dataset is one file in a folder, for the test to change."""
    repo = _in_folder.copy(tmp_path / "copy")
    yield repo
    shutil.rmtree(repo.root)


def test_a_file_in_a_folder_has_a_nonce_that_git_does_not_have(in_folder: Repo) -> None:
    folder = in_folder.root / "data/dataset"
    assert in_folder.params()["dataset"]["path"] == "data/dataset"
    assert {path.name for path in folder.iterdir()} == {"people.csv", NONCE}
    assert (folder / "people.csv").read_text() == FRAME.to_csv(index=False)
    assert len((folder / NONCE).read_bytes()) >= 32
    in_git = in_folder.git("ls-files").split()
    assert "data/dataset.dvc" in in_git
    assert not [name for name in in_git if NONCE in name or name.startswith("data/dataset/")]
    # It is no file of rows, and nobody is told of it as one without rows.
    found = find_files(folder, "data/dataset")
    assert ([path.name for path in found.rows], found.skipped) == (["people.csv"], [])


def test_with_all_rows_nobody_gets_at_the_md5_in_git(in_folder: Repo, tmp_path: Path) -> None:
    folder = in_folder.root / "data/dataset"
    md5, size = recorded(in_folder, "data/dataset")
    # The guess is right, and the attack works: it only lacks the nonce.
    assert listing_md5(files_of(folder)) == md5
    rows = {"people.csv": md5_bytes(FRAME.to_csv(index=False).encode())}
    assert listing_md5(rows) != md5
    assert listing_md5(rows | {NONCE: md5_bytes(b"")}) != md5
    assert size >= 32 + len(FRAME.to_csv(index=False))
    # Neither the key nor the rows decide the nonce: the same project again has another.
    again = Repo(in_folder.root)
    refresh_nonce(open_project(Project(again.root)))
    assert listing_md5(files_of(folder)) != md5
    # In the other form, the md5 of a guess is the one in git.
    single, done = set_up(tmp_path / "single", one_file(tmp_path))
    assert recorded(single, "data/dataset.csv")[0] == rows["people.csv"]
    note = [line for line in done.err.splitlines() if "--in-folder" in line]
    assert len(note) == 1
    assert "a guess of a row" in note[0]


def test_every_erasure_draws_another_nonce_of_another_size(in_folder: Repo) -> None:
    context = open_project(Project(in_folder.root))
    folder = in_folder.root / "data/dataset"
    seen = {(folder / NONCE).read_bytes()}
    for _ in range(3):
        nonces = refresh_nonce(context)
        assert (nonces.renewed, nonces.without) == (("data/dataset",), {})
        seen.add((folder / NONCE).read_bytes())
        assert (folder / NONCE).stat().st_mode & 0o777 == 0o600
    assert len(seen) == 4
    assert len({len(content) for content in seen}) > 1
    before = recorded(in_folder, "data/dataset")

    in_folder.dvc("add", "--quiet", "data/dataset")
    confirm_nonce(context.project, ("data/dataset",))
    in_folder.commit("another nonce")

    assert recorded(in_folder, "data/dataset") != before
    assert "unlearn_nonce: true" in (in_folder.root / "data/dataset.dvc").read_text()


def test_a_nonce_that_dvc_leaves_out_is_an_error(in_folder: Repo) -> None:
    (in_folder.root / ".dvcignore").write_text(".*\n")
    refresh_nonce(open_project(Project(in_folder.root)))
    in_folder.dvc("add", "--quiet", "data/dataset")

    with pytest.raises(ToolError, match=rf"DVC leaves out data/dataset/{NONCE}") as caught:
        confirm_nonce(Project(in_folder.root), ("data/dataset",))

    assert caught.value.hints == (
        f"add the line `!{NONCE}` to .dvcignore, and run `dvc add data/dataset`",
    )
    (in_folder.root / ".dvcignore").write_text(f".*\n!{NONCE}\n")
    in_folder.dvc("add", "--quiet", "data/dataset")
    confirm_nonce(Project(in_folder.root), ("data/dataset",))


def test_the_rows_are_the_same_in_both_forms(in_folder: Repo, tmp_path: Path) -> None:
    single, _ = set_up(tmp_path / "single", one_file(tmp_path))
    shutil.copy(in_folder.root / "unlearn.key", single.root / "unlearn.key")
    check = in_folder.params()["key_check"]
    single.set_params(key_check=check)
    for repo in (in_folder, single):
        repo.stages("shard", "forget")
    assert in_folder.files("data/shards") == single.files("data/shards")
    assert in_folder.files("data/retain_set") == single.files("data/retain_set")


def test_a_folder_has_a_nonce_without_being_asked(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for name, part in (("a", FRAME[:30]), ("b", FRAME[30:])):
        part.to_csv(tmp_path / f"parts/{name}.csv", index=False)

    repo, done = set_up(tmp_path / "project", tmp_path / "parts")

    assert "guess" not in done.err
    assert {path.name for path in (repo.root / "data/dataset").iterdir()} == {
        *("a.csv", "b.csv", NONCE)
    }
    assert (
        find_testable(Project(repo.root), open_project(Project(repo.root)).params.dataset).notes
        == ()
    )
    assert not (tmp_path / "parts" / NONCE).exists()


def test_in_folder_is_for_one_file(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    FRAME.to_csv(tmp_path / "parts/a.csv", index=False)
    repo = start_repositories(tmp_path / "project")

    done = repo.inline("init", ".", "--dataset", str(tmp_path / "parts"), *ROLES, "--in-folder")

    assert done.code == 2
    assert "--in-folder is for one file: a folder has a nonce in any case" in done.err
    example = repo.inline("init", ".", "--example", "digits", "--in-folder")
    assert (example.code, "--in-folder" in example.err) == (2, True)


def test_a_hidden_name_does_not_hide_the_rows(tmp_path: Path) -> None:
    source = tmp_path / ".people.csv"
    FRAME.to_csv(source, index=False)
    repo, _ = set_up(tmp_path / "project", source, "--in-folder")
    assert (repo.root / "data/dataset/dataset.csv").read_bytes() == source.read_bytes()


@pytest.mark.slow
def test_doctor_counts_the_md5s_that_can_be_tested(tmp_path: Path) -> None:
    repo, _ = set_up(tmp_path / "single", one_file(tmp_path))
    project = Project(repo.root)
    dataset = open_project(project).params.dataset
    assert count_testable(project, dataset) == 1
    # Another version on another branch, and the same one again.
    repo.git("checkout", "-q", "-b", "more")
    for rows in (50, 60):
        FRAME[:rows].to_csv(repo.root / "data/dataset.csv", index=False)
        repo.dvc("add", "--quiet", "data/dataset.csv")
        repo.commit("rows")
    repo.git("checkout", "-q", "-")
    assert count_testable(project, dataset) == 2

    answer = repo.inline("doctor", "--json").json

    assert answer["testable_md5s"] == 2
    assert "git's history has 2 md5s of rows without a nonce" in answer["notes"][0]
    assert "git filter-repo" in answer["notes"][0]
    assert "data/dataset.csv is one file" in answer["notes"][1]
    # To accept it is a decision, and no problem that a job would stop at.
    assert not [finding for finding in answer["findings"] if "md5" in finding]
    said = repo.inline("doctor").out
    assert "note: git's history has 2 md5s" in said


@pytest.mark.slow
def test_the_move_into_a_folder_leaves_the_old_md5s_and_no_new_one(tmp_path: Path) -> None:
    repo, _ = set_up(tmp_path / "single", one_file(tmp_path))
    project = Project(repo.root)
    # As docs/data.md says.
    repo.run("dvc", "remove", "data/dataset.csv.dvc")
    (repo.root / "data/dataset").mkdir()
    (repo.root / "data/dataset.csv").rename(repo.root / "data/dataset/dataset.csv")
    (repo.root / "data/dataset" / NONCE).write_bytes(b"x" * 32)
    repo.set_params(dataset={"path": "data/dataset"})
    repo.dvc("add", "--quiet", "data/dataset")
    repo.commit("in a folder")
    dataset = open_project(project).params.dataset
    assert count_testable(project, dataset) == 1
    assert missing_nonces(project, dataset) == {}
    # The .dvc file has no mark, so the list of files has to say it.
    shutil.rmtree(repo.root / ".dvc/cache/files")
    assert count_testable(project, dataset) == 2

    (repo.root / "data/dataset" / NONCE).unlink()
    assert (
        "`head -c 32 /dev/urandom > data/dataset/"
        in missing_nonces(project, dataset)["data/dataset"]
    )


def test_a_mark_says_it_where_the_list_of_files_is_gone(in_folder: Repo) -> None:
    project = Project(in_folder.root)
    dataset = open_project(project).params.dataset
    assert count_testable(project, dataset) == 0
    shutil.rmtree(in_folder.root / ".dvc/cache/files")
    assert count_testable(project, dataset) == 0


def test_what_a_stage_writes_gets_no_nonce_and_that_is_said(in_folder: Repo) -> None:
    pipeline = yaml.safe_load((in_folder.root / "dvc.yaml").read_text())
    pipeline["stages"]["prepare"] = {"cmd": "x", "outs": ["data/dataset"]}
    (in_folder.root / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    before = (in_folder.root / "data/dataset" / NONCE).read_bytes()

    nonces = refresh_nonce(open_project(Project(in_folder.root)))

    assert nonces.renewed == ()
    assert (
        "is an out of the stage prepare, and has no nonce of ours" in nonces.without["data/dataset"]
    )
    assert (in_folder.root / "data/dataset" / NONCE).read_bytes() == before
    notes = in_folder.inline("doctor", "--json").json["notes"]
    assert notes == [nonces.without["data/dataset"]]


def test_a_copy_of_an_upstream_out_is_named(tmp_path: Path) -> None:
    repo = start_repositories(tmp_path / "top")
    one_file(repo.root)
    (repo.root / "dvc.yaml").write_text(
        json.dumps({"stages": {"export": {"cmd": "x", "outs": ["people.csv"]}}})
    )
    source = str(repo.root / "people.csv")

    done = repo.inline("init", "project", "--dataset", source, *ROLES, "--in-folder")

    assert done.code == 0, done.err
    assert "data/dataset is a copy of an out of the stage export in ../dvc.yaml" in done.err


def test_upgrade_tells_projects_without_a_nonce(in_folder: Repo) -> None:
    (in_folder.root / "data/dataset" / NONCE).unlink()
    notes = in_folder.inline("upgrade", "--dry-run", "--json").json["notes"]
    assert [note for note in notes if "data/dataset has no nonce" in note]


def test_held_out_rows_have_a_folder_and_a_nonce_of_their_own(tmp_path: Path) -> None:
    others = tmp_path / "others.csv"
    make_frame(90)[60:].to_csv(others, index=False)
    repo = start_repositories(tmp_path / "project")
    roles = ("--id", "id", "--target", "label", "--template", "posthoc")
    files = ("--dataset", str(one_file(tmp_path)), "--held-out", str(others), "--in-folder")

    done = repo.inline("init", ".", *files, *roles)

    assert done.code == 0, done.err
    assert "guess" not in done.err
    found = repo.files("data")
    assert {"dataset/people.csv", "held_out/others.csv"} <= found.keys()
    assert found[f"dataset/{NONCE}"] != found[f"held_out/{NONCE}"]
    repo.commit("start")
    context = open_project(Project(repo.root))
    assert find_testable(context.project, context.params.dataset).md5s == 0
    assert refresh_nonce(context).renewed == ("data/dataset", "data/held_out")
    repo.stages("shard")
