"""`unlearn erase` on a dataset of pictures whose names are people's ids."""

import csv
import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Repo, start_repositories
from tests.stages.erasure.world import md5_of

#: Reads 3 x 8 x 8 pixels.
NET = """\
from torch import nn


def build(shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, classes))
"""

GONE = "jane-roe-p003"
PEOPLE = [f"person-{number:03d}" for number in range(11)] + [GONE]


def pixels(number: int) -> np.ndarray:
    draw = np.random.default_rng(number)
    return draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)


def png(number: int) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels(number)).save(sink, "png")
    return sink.getvalue()


def write_pictures(folder: Path) -> list[tuple[str, str, str, str]]:
    """Write three pictures of each person, named after the person, and the table of labels."""
    rows = []
    for number in range(3 * len(PEOPLE)):
        who = PEOPLE[number // 3]
        name = f"{who}/{who}-{number}.png"
        (folder / who).mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(number))
        rows.append((f"visit-{number:04d}", who, name, f"c{number % 2}"))
    (folder / "shared.png").write_bytes(png(900))
    rows.append(("visit-0900", GONE, "shared.png", "c0"))
    rows.append(("visit-0901", PEOPLE[0], "shared.png", "c1"))
    # A picture of the person that goes, under the name of another one: its content stays.
    (folder / PEOPLE[1] / "twin.png").write_bytes(png(35))
    rows.append(("visit-0902", PEOPLE[1], f"{PEOPLE[1]}/twin.png", "c1"))
    write_table(folder / "labels.csv", rows)
    return rows


def write_table(path: Path, rows: list[tuple[str, str, str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("visit", "who", "photo", "label"))
        writer.writerows(rows)


def start(root: Path, source: Path) -> Repo:
    """Return a project that was run on a dataset, pushed and committed."""
    repo = start_repositories(root)
    (repo.root / "net.py").write_text(NET)
    roles = ("--id", "visit", "--subject", "who", "--target", "label")
    model = ("--model", "net.py:build", "--shards", "2", "--slices", "1")
    repo.ok("init", ".", "--dataset", str(source), *roles, *model)
    repo.dvc("remote", "add", "-d", "backup", str(root.parent / "remote"))
    repo.commit("start")
    repo.ok("repro", "-j", "1")
    repo.commit("run")
    repo.dvc("push")
    return repo


def everything_in_git(repo: Repo) -> bytes:
    """Return the content of all objects of git, names of files among them."""
    command = ["git", "cat-file", "--batch-all-objects", "--batch", "--unordered"]
    return subprocess.run(command, cwd=repo.root, check=True, capture_output=True).stdout


def files_with(word: str, *folders: Path) -> set[str]:
    """Return the files that have a word in their content or their name."""
    return {
        path.relative_to(folder.parent).as_posix()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and (word in path.name or word.encode() in path.read_bytes())
    }


def write_copies(pictures: Path, folder: Path) -> None:
    """Write copies of a person's pictures under other names, and pictures made from them."""
    shutil.copytree(pictures, folder / "photos")
    for path in (folder / "photos").iterdir():
        path.rename(path.with_name(path.name.replace(GONE, "x")))
    Image.fromarray(pixels(34)).save(folder / "again.png", compress_level=0)
    np.savez(folder / "all.npz", x=np.stack([pixels(33), pixels(1)]))


@pytest.mark.slow
def test_pictures_of_a_person_leave_every_place(tmp_path: Path) -> None:
    source, remote = tmp_path / "people", tmp_path / "remote"
    rows = write_pictures(source)
    repo = start(tmp_path / "project", source)
    folder = repo.root / "data/dataset"
    done = repo.ok("forget", "--subjects", "-", stdin=f"{GONE}\n")
    said = done.out + done.err
    done = repo.ok("repro", "-j", "1")
    said += done.out + done.err
    repo.commit("forgotten")
    # Names of files are in the table, the folder and DVC's list of it, and nowhere else.
    listing = (repo.root / "data/dataset.dvc").read_text().split("md5: ")[1][:36]
    place = f"files/md5/{listing[:2]}/{listing[2:]}"
    table = md5_of((folder / "labels.csv").read_bytes())
    kept = files_with(GONE, repo.root, remote)
    state = {name for name in kept if "/.dvc/tmp/" in name}
    assert kept - state == {
        "project/data/dataset/labels.csv",
        *(f"project/data/dataset/{GONE}/{GONE}-{number}.png" for number in (33, 34, 35)),
        f"project/.dvc/cache/{place}",
        f"remote/{place}",
        f"project/.dvc/cache/files/md5/{table[:2]}/{table[2:]}",
        f"remote/files/md5/{table[:2]}/{table[2:]}",
    }
    assert GONE not in said
    assert GONE.encode() not in everything_in_git(repo)
    copies = tmp_path / "copies"
    write_copies(folder / GONE, copies)
    models = repo.files("models")

    found = repo.unlearn("scan", "--json", str(copies)).json["findings"]
    what = "a picture or array of a forgotten record"
    # The content of 35 is also that of a picture that stays.
    assert {item["file"] for item in found if item["place"] == str(copies)} == {
        *("photos/x-33.png", "photos/x-34.png", "again.png", "all.npz/x.npy")
    }
    assert {item["what"] for item in found if item["place"] == str(copies)} == {what}
    answer = repo.ok("erase", "--dry-run", "--json").json
    assert (answer["rows"], answer["pictures"]) == ({"data/dataset/labels.csv": 4}, 3)
    assert len(files_with(GONE, folder)) == 4

    answer = repo.ok("erase", "--yes", "--json").json

    assert (answer["complete"], answer["pictures"], answer["trained"]) == (True, 3, [])
    assert files_with(GONE, repo.root, remote) == set()
    assert repo.files("models") == models
    for number in range(33):
        who = PEOPLE[number // 3]
        assert (folder / f"{who}/{who}-{number}.png").read_bytes() == png(number)
    for store in (repo.root / ".dvc/cache/files/md5", remote / "files/md5"):
        there = {path.parent.name + path.name for path in store.glob("*/*")}
        assert there.isdisjoint({md5_of(png(33)), md5_of(png(34))})
        assert there >= {md5_of(png(0)), md5_of(png(35)), md5_of(png(900))}
    repo.commit("erased")

    # The pictures come back from a backup: no model is trained on them, and they can go again.
    shutil.copytree(source / GONE, folder / GONE)
    write_table(folder / "labels.csv", rows)
    repo.dvc("add", "data/dataset")
    done = repo.ok("repro", "-j", "1")
    assert "4 rows of erased or suppressed people dropped" in done.out + done.err
    assert repo.files("models") == models
    repo.commit("back")
    found = repo.unlearn("scan", "--json", str(copies)).json["findings"]
    assert "again.png" in {item["file"] for item in found}
    assert repo.ok("erase", "--yes", "--json").json["pictures"] == 3
    assert files_with(GONE, repo.root, remote) == set()
