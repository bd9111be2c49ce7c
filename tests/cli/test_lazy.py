"""A command is imported when it is named, and imports what it needs, and nothing heavy."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import typer
from unlearn.cli.app import COMMANDS
from unlearn.cli.lazy import Entry, LazyGroup, load

from tests.conftest import Repo

#: Seconds to load: none of them for what only reads, or only writes a list.
HEAVY = {"torch", "sklearn", "skops", "scipy", "pandas", "transformers", "peft"}

#: What the help of the whole command may import of ours.
LIGHT = {f"unlearn.cli.{name}" for name in ("app", "lazy", "output", "panels")}

#: Prints, on standard error, the modules that each command line loaded.
PROBE = """\
import json, os, sys
from unlearn.cli.app import run
found, before = [], set()
for words in json.loads(sys.argv[1]):
    code = run(words)
    found.append([code, sorted(sys.modules.keys() - before)])
    before |= sys.modules.keys()
sys.stdout.flush()
sys.stderr.write(json.dumps(found))
sys.stderr.flush()
os._exit(0)
"""


def loaded(lines: list[list[str]], folder: Path) -> list[tuple[int, set[str]]]:
    """Run command lines in one new process; return the exit code and the new modules of each."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(lines)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stderr.splitlines()[-1])
    return [(code, set(modules)) for code, modules in found]


@pytest.mark.parametrize("line", [["--help"], ["--version"]])
def test_without_a_command_none_is_imported(line: list[str], tmp_path: Path) -> None:
    ((code, modules),) = loaded([line], tmp_path)

    assert code == 0
    ours = {name for name in modules if name.startswith("unlearn.")}
    assert ours == LIGHT | {"unlearn.cli"}
    assert not modules & (HEAVY | {"numpy", "pyarrow", "pydantic", "rich"})


@pytest.mark.slow
def test_the_help_of_no_command_loads_anything_heavy(tmp_path: Path) -> None:
    lines = [[*name.split(), "--help"] for name in COMMANDS]
    found = dict(zip(COMMANDS, loaded(lines, tmp_path), strict=True))

    assert {name: modules & HEAVY for name, (_, modules) in found.items() if modules & HEAVY} == {}
    assert {code for code, _ in found.values()} == {0}


@pytest.mark.slow
def test_commands_that_read_or_list_run_without_anything_heavy(done: Repo) -> None:
    # Arrow loads pandas, where that is installed, to look at a Python list.
    lines = {
        "status": (["status"], HEAVY),
        "audit": (["audit"], HEAVY),
        "verify": (["verify"], HEAVY),
        "report": (["report"], HEAVY),
        "forget": (["forget", "--id", "r0001"], HEAVY - {"pandas"}),
        "canary": (["canary", "--count", "3"], HEAVY - {"pandas"}),
        "doctor": (["doctor"], HEAVY - {"pandas"}),
    }
    found = loaded([line for line, _ in lines.values()], done.root)

    for (name, (_, absent)), (code, modules) in zip(lines.items(), found, strict=True):
        assert code in {0, 1}, name
        assert not modules & absent, name


#: What each stage of a pipeline with scikit-learn has no need of. Arrow loads pandas to look at a
#: Python list; scikit-learn loads scipy, and skops all of scikit-learn, and torch.
ABSENT = {
    "recipe": HEAVY,
    "shard": HEAVY - {"pandas"},
    "forget": HEAVY - {"pandas"},
    "train@s000": {"torch", "skops", "transformers", "peft"},
    "aggregate": HEAVY - {"pandas"},
    "verify": {"transformers", "peft"},
}


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param(stage, marks=[pytest.mark.slow] if stage in {"train@s000", "verify"} else [])
        for stage in ABSENT
    ],
)
def test_a_stage_imports_what_it_needs(done: Repo, stage: str) -> None:
    ((code, modules),) = loaded([["stage", stage]], done.root)

    assert code == 0
    assert not modules & ABSENT[stage]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["shard", "forget"])
def test_a_stage_imports_none_of_the_others(done: Repo, stage: str) -> None:
    ((code, modules),) = loaded([["stage", stage]], done.root)

    assert code == 0
    ours = {name for name in modules if name.startswith("unlearn.cli.stage.")}
    assert ours == {"unlearn.cli.stage.command", f"unlearn.cli.stage.{stage}"}


def test_every_summary_is_the_first_sentence_of_its_command() -> None:
    for name, entry in COMMANDS.items():
        text = inspect.getdoc(load(name, entry).callback) or ""
        assert text.partition("\n\n")[0].replace("\n", " ") == entry.summary, name


#: A command in a module of its own, which notes what it found when it was imported.
ANOTHER = """\
import os
from unlearn.cli.lazy import Command

THREADS = os.environ.get("OMP_NUM_THREADS")


def another(count: int = 1) -> None:
    \"\"\"Count.\"\"\"
    print(f"{count} counted, {THREADS}")


COMMAND = Command(another, example="unlearn another", answer=None)
"""


@pytest.mark.parametrize(("one_thread", "threads"), [(True, "1"), (False, "7")])
def test_a_command_is_a_module_and_a_line(
    one_thread: bool,
    threads: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = f"another_command_{threads}"
    (tmp_path / f"{module}.py").write_text(ANOTHER, encoding="ascii")
    monkeypatch.syspath_prepend(tmp_path)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(variable, "7")

    class Group(LazyGroup):
        entries: ClassVar = {"another": Entry(module, "Count.", "Others", one_thread=one_thread)}

    app = typer.Typer(cls=Group, rich_markup_mode=None, add_completion=False)
    app.callback()(lambda: None)
    command = typer.main.get_command(app)

    assert command.main(["--help"], standalone_mode=False) == 0
    assert "another  Count." in capsys.readouterr().out
    assert module not in sys.modules
    command.main(["another", "--count", "3"], standalone_mode=False)
    assert capsys.readouterr().out == f"3 counted, {threads}\n"
    assert os.environ["MKL_NUM_THREADS"] == threads


def test_the_commands_that_train_keep_to_one_thread() -> None:
    assert {name for name, entry in COMMANDS.items() if entry.one_thread} >= {"stage", "tune"}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise OSError('libtorch_global_deps.so: cannot open')", "cannot be loaded"),
        (
            "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')",
            "is not installed",
        ),
    ],
)
def test_without_torch_one_line_says_how_to_get_it(tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "broken/torch").mkdir(parents=True)
    (tmp_path / "broken/torch/__init__.py").write_text(source, encoding="ascii")

    done = subprocess.run(
        [sys.executable, "-m", "unlearn.cli", "init", "x", "--example", "authors"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "broken")},
        text=True,
        capture_output=True,
        check=False,
    )

    first, *hints = done.stderr.splitlines()
    assert f"PyTorch {said}" in first
    assert "https://download.pytorch.org/whl/cpu" in hints[0]
    assert len(hints) == 1
    assert not (tmp_path / "x").exists()
