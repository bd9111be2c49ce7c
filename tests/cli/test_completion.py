"""Shells complete commands, options and choices, and never an id; they are changed when asked."""

import os
import re
import sys
from pathlib import Path

import pytest
import shellingham
from unlearn.cli import completion
from unlearn.cli.app import COMMANDS

from tests.cli.test_lazy import HEAVY, loaded
from tests.conftest import Done, Repo
from tests.terminals import in_terminal

RC = "# my settings\nalias ll='ls -l'"


def complete(repo: Repo, *words: str) -> list[str]:
    """Return what bash is offered for the last of the words after `unlearn`."""
    asked = {
        "_UNLEARN_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(["unlearn", *words]),
        "COMP_CWORD": str(len(words)),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in asked.items():
            patch.setenv(name, value)
        done = repo.inline()
    assert done.err == ""
    return done.out.split()


def test_commands_options_and_choices_are_completed(tmp_path: Path) -> None:
    repo = Repo(tmp_path)

    assert {"init", "repro", "receipt", "stage"} <= set(complete(repo, ""))
    assert complete(repo, "resto") == ["restore"]
    assert complete(repo, "receipt", "") == ["keygen", "create", "verify", "show", "export"]
    assert "--jobs" in complete(repo, "repro", "--")
    assert complete(repo, "repro", "--engine", "") == ["local", "ray", "command"]
    assert complete(repo, "stage", "a") == ["aggregate"]
    assert complete(repo, "tune", "ss") == ["ssd"]
    assert complete(repo, "init", "--task", "c") == ["classification"]
    assert complete(repo, "init", "--model", "exact_f") == ["exact_forest"]
    assert complete(repo, "--version", "rek") == ["rekey"]
    assert complete(repo, "no-such-command", "--") == complete(repo, "--")


#: Options whose values are ids, names of people, tickets or texts.
NEVER = [
    (command, option)
    for command, options in {
        "forget": ("--ids", "--id", "--subjects", "--ticket"),
        "plan": ("--ids", "--subjects"),
        "restore": ("--ticket",),
        "scan": ("--values",),
        "receipt create": ("--ticket",),
    }.items()
    for option in options
]


def test_no_id_is_completed_and_nothing_of_the_project_is_read(people: Repo) -> None:
    opened: list[str] = []
    watching = [True]

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event in {"open", "os.listdir", "os.scandir"}:
            opened.append(str(arguments[0]))

    (people.root / "ids.txt").write_text("p001\n")
    sys.addaudithook(watch)  # for the rest of this process; it ends with `watching`
    for command, option in NEVER:
        for begun in ("", "p", "r0", "ids"):
            assert complete(people, *command.split(), option, begun) == [], (command, option)
    watching.clear()

    assert not [path for path in opened if path.startswith(str(people.root))]
    assert not [path for path in opened if "forget_list" in path or path.endswith(".parquet")]


@pytest.mark.slow
def test_no_command_offers_a_value_that_a_project_has(people: Repo) -> None:
    for name in COMMANDS:
        offered = complete(people, *name.split(), "")
        assert not any(re.fullmatch(r"[pr]\d+|s\d+", word) for word in offered), name


def test_to_complete_a_command_imports_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_UNLEARN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "unlearn\nre")
    monkeypatch.setenv("COMP_CWORD", "1")
    ((code, modules),) = loaded([[]], tmp_path)

    assert code == 0
    # Typer itself reads options by pydantic.
    assert not modules & (HEAVY | {"numpy", "pyarrow", "rich"})
    ours = {name for name in modules if name.startswith("unlearn.cli.")}
    assert ours == {f"unlearn.cli.{name}" for name in ("app", "lazy", "output", "panels")}


def installed(home: Path, shell: str, times: int = 1) -> Done:
    """Install completion as someone does who calls it from a shell."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(home))
        patch.setattr(shellingham, "detect_shell", lambda: (shell, f"/bin/{shell}"))
        for _ in range(times):
            done = Repo(home).inline("--install-completion")
    return done


@pytest.mark.parametrize(("shell", "start"), [("bash", ".bashrc"), ("zsh", ".zshrc")])
def test_installing_adds_one_line_and_keeps_the_rest(
    shell: str, start: str, tmp_path: Path
) -> None:
    (tmp_path / start).write_text(RC)
    (tmp_path / start).chmod(0o600)

    done = installed(tmp_path, shell, times=2)

    assert (done.code, done.out) == (0, "")
    script = tmp_path / f".local/share/unlearn/completion.{shell}"
    assert (tmp_path / start).read_text() == f"{RC}\nsource '{script}'\n"
    assert (tmp_path / start).stat().st_mode & 0o777 == 0o600
    assert f"complete_{shell}" in script.read_text()
    files = {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    }
    assert files == {start, f".local/share/unlearn/completion.{shell}"}


def test_fish_needs_no_line(tmp_path: Path) -> None:
    assert installed(tmp_path, "fish", times=2).code == 0

    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert file == tmp_path / ".config/fish/completions/unlearn.fish"


def test_another_shell_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    done = installed(tmp_path, "tcsh")

    assert done.code == 2
    assert "error: there is no completion for tcsh" in done.err
    assert list(tmp_path.iterdir()) == []


def test_completing_what_follows_the_option_installs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert complete(Repo(tmp_path), "--install-completion", "rek") == ["rekey"]
    assert list(tmp_path.iterdir()) == []


def test_the_script_is_shown_without_being_installed(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    done = Repo(tmp_path).run("bash", "-c", "unlearn --show-completion; exit $?", env=env)

    assert done.code == 0
    assert "complete -o default -F _unlearn_completion unlearn" in done.out
    assert list(tmp_path.iterdir()) == []


def test_values_that_are_offered_are_names() -> None:
    assert "exact_forest" in completion.families("")
    assert not [name for name in completion.families("") if set(name) & set(" :/")]


def test_a_real_bash_completes_files_and_no_ids(people: Repo, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    installed(home, "bash")
    (people.root / "wanted-ids.txt").write_text("p001\nr0001\n")
    typed = [
        b"PS1='> '; bind 'set enable-bracketed-paste off'\n",
        b"unlearn resto\t--yes\x01: \n",
        b"unlearn forget --ids wan\t\x01: \n",
        b"unlearn forget --subjects p\t\t\x01: \n",
        b"unlearn forget --id r0\t\t\x01: \n",
        b"exit\n",
    ]
    waiting = [*typed]

    def type_next(terminal: int, _process: int, raw: bytes) -> None:
        # The prompt has come again after each line.
        if waiting and raw.endswith((b"> ", b"$ ", b"# ")):
            os.write(terminal, waiting.pop(0))

    # `\x01: ` makes a comment of the line: it is completed, and not run.
    done = in_terminal(
        ["bash", "--noprofile", "-i"],
        people.root,
        200,
        env={"HOME": str(home)},
        on_output=type_next,
    )

    assert done.code == 0
    shown = done.text
    assert "unlearn restore --yes" in shown
    assert "unlearn forget --ids wanted-ids.txt" in shown
    assert "params.yaml" in shown  # files are what bash has for `p`
    assert not re.search(r"\bp\d\d\d\b|\br0\d+", shown)
