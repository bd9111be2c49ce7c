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
    honoured_list,
    models_digest,
    old_exports,
    read_exports,
    utc_now,
)
from unlearn.stages.config.methods import UnlearnParams
from unlearn.stages.config.params import Params
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.shard_file import read_shard, record_tokens

from tests.stages.conftest import put_on_list, run_stages


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


def test_an_export_whose_folder_a_later_one_has_stays_on_the_list(
    project: Project, tmp_path: Path
) -> None:
    first, second = (note(tmp_path, name).now("written", {}) for name in ("00000001", "00000002"))
    (tmp_path / "out").mkdir()
    append_note(project, first)
    (tmp_path / "out").rename(tmp_path / "moved")  # nothing says that it was not deleted
    (tmp_path / "out").mkdir()
    append_note(project, second)

    found = read_exports(project)
    assert [(each.name, each.is_there) for each in found] == [
        ("00000001", False),
        ("00000002", True),
    ]
    assert [each.name for each in check_gone(project, ["00000001"])] == ["00000001"]
    with pytest.raises(InputError, match="00000002 is not gone"):
        check_gone(project, ["00000002"])
    # An export that failed has taken no folder.
    append_note(project, second.now("gone", {}))
    assert [(each.name, each.is_there) for each in read_exports(project)] == [("00000001", True)]
    assert b"is_replaced" not in copies_file(project).read_bytes()


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


def _exported(context: Context, name: str, **other: str) -> ExportNote:
    """Note an export of a project as it stands."""
    project = context.project
    state = {"models": models_digest(project), "forget_list": honoured_list(project)}
    found = note(project.root, name, f"out-{name}").model_copy(update=state | other)
    append_note(project, found.now("written", {}))
    return found


def test_an_export_is_old_from_a_request_on(built: Context) -> None:
    project, params = built.project, built.params
    project.private.mkdir(exist_ok=True)
    posthoc = params.model_copy(
        update={"unlearn": UnlearnParams(methods=["retrain"], deploy="retrain")}
    )
    assert (params.kind, posthoc.kind) == ("exact", "posthoc")

    def old(of: Params = params, *, retrained: bool = False) -> list[str]:
        return [found.name for found in old_exports(project, of, retrained=retrained)]

    _exported(built, "00000001")
    assert (old(), old(posthoc)) == ([], [])
    # Models are about to be retrained: those of an approximate method saw the rows.
    assert (old(retrained=True), old(posthoc, retrained=True)) == ([], ["00000001"])

    rows = read_shard(project.shard_file("s000"), "s000").rows
    put_on_list(built, record_tokens(rows)[0])
    assert (old(), old(posthoc)) == (["00000001"], ["00000001"])  # pending
    run_stages(built)
    assert (old(), old(posthoc)) == (["00000001"], ["00000001"])  # carried out

    _exported(built, "00000002")
    _exported(built, "00000003", models="others")
    assert old() == ["00000001"]  # exact models that honour the list, whichever they are
    assert old(posthoc) == ["00000001", "00000003"]
