"""The notes on exports: appended whole, read after kills, and old when requests came later."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from unlearn.stages.audit.exports import (
    ExportNote,
    append_note,
    check_gone,
    copies_file,
    read_exports,
    utc_now,
)
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project


def note(root: Path, name: str = "0a1b2c3d", where: str = "out") -> ExportNote:
    return ExportNote(
        name=name,
        state="begun",
        time=utc_now(),
        kind="adapter",
        where=str(root / where),
        half=str(root / f".{where}.{name}"),
        commit=None,
        lock=None,
        models="m",
        forget_list="f",
    )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "project/.unlearn").mkdir(parents=True)
    return Project(tmp_path / "project")


def test_an_export_is_known_from_its_first_file_to_its_last_copy(
    project: Project, tmp_path: Path
) -> None:
    begun = note(tmp_path)
    append_note(project, begun)
    assert read_exports(project) == []  # a kill before the first file

    Path(begun.half).mkdir()
    assert [found.state for found in read_exports(project)] == ["begun"]

    written = begun.now("written", {"x": "y"})
    append_note(project, written)
    assert read_exports(project) == [written]
    with pytest.raises(InputError, match="is not gone"):
        check_gone(project, [begun.name])

    Path(begun.half).rmdir()
    assert check_gone(project, [begun.name, "backup"]) == [written]
    append_note(project, written.now("gone", {}))
    assert read_exports(project) == []
    assert [found.state for found in check_gone(project, [begun.name])] == ["gone"]


def test_an_export_to_the_same_folder_replaces_the_one_before(
    project: Project, tmp_path: Path
) -> None:
    for name in ("00000001", "00000002"):
        append_note(project, note(tmp_path, name).now("written", {}))

    assert [found.name for found in read_exports(project)] == ["00000002"]


def test_a_line_that_was_cut_short_loses_no_other(project: Project, tmp_path: Path) -> None:
    append_note(project, note(tmp_path, "00000001", "one").now("written", {}))
    with copies_file(project).open("ab") as handle:
        handle.write(b'{"schema_version": 1, "na')
    append_note(project, note(tmp_path, "00000002", "two").now("written", {}))

    assert [found.name for found in read_exports(project)] == ["00000001", "00000002"]


@pytest.mark.slow
def test_processes_at_the_same_time_lose_no_line(project: Project, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from tests.stages.audit.test_exports import append_note, note, Project;"
        "root = Path(sys.argv[1]); number = int(sys.argv[2]);"
        "[append_note(Project(root / 'project'), note(root, f'{number}{n:07x}', f'{number}-{n}')"
        ".now('written', {})) for n in range(20)]"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(number)])
        for number in range(2)
    ]
    assert [process.wait() for process in running] == [0, 0]

    assert len(read_exports(project)) == 40
    lines = copies_file(project).read_text(encoding="utf-8").splitlines()
    assert all(json.loads(line)["state"] == "written" for line in lines)
