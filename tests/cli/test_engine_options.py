"""`unlearn repro --engine`: options that do not fit are one line, and nothing runs."""

import pytest
from unlearn.cli.engine_choice import COMMAND_VARIABLE, EngineChoice, EngineName

from tests.cli.conftest import refused, unchanged
from tests.conftest import Repo

COMMAND = ("--engine", "command")
FITTING = "unlearn stage train@{shard}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--engine", "slurm"), "'slurm' is not one of 'local'"),
        (("--address", "10.0.0.7:6379"), "--address belongs to --engine ray"),
        ((*COMMAND, "--address", "10.0.0.7:6379"), "--address belongs to --engine ray"),
        (("--command", FITTING), "--command belongs to --engine command"),
        (("--engine", "local", "--command", FITTING), "--command belongs to --engine command"),
        (COMMAND, f"--engine command needs --command or {COMMAND_VARIABLE}"),
        ((*COMMAND, "--command", ""), f"--engine command needs --command or {COMMAND_VARIABLE}"),
        ((*COMMAND, "--command", "ssh {host} {shard}"), "unknown placeholder: {host}"),
        ((*COMMAND, "--command", "unlearn stage train@s000"), "has no {shard}"),
        ((*COMMAND, "--command", "sh -c 'echo {shard}"), "no closing quotation"),
        ((*COMMAND, "--command", "sbatch-7 {shard}"), "there is no program 'sbatch-7'"),
    ],
)
def test_options_that_do_not_fit_change_nothing(
    done: Repo, options: tuple[str, ...], message: str
) -> None:
    done.forget(["r0001"])
    with unchanged(done.root):
        said = refused(done.inline("repro", *options))

    assert message in said


def test_the_key_in_a_command_is_refused_and_not_repeated(done: Repo) -> None:
    key = (done.root / "unlearn.key").read_text(encoding="ascii").strip()
    command = f"env UNLEARN_KEY={key} {FITTING}"
    with unchanged(done.root):
        answer = done.inline("repro", *COMMAND, "--command", command)

    assert "has the project key in it" in refused(answer)
    assert key not in answer.err


def test_engines_train_shards_only(compared: Repo) -> None:
    with unchanged(compared.root):
        said = refused(compared.inline("repro", *COMMAND, "--command", FITTING))

    assert said == "--engine command trains shards, and this project has one model"


def test_the_variable_is_read_for_its_engine_only(
    done: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(COMMAND_VARIABLE, "nonsense {gpu}")
    with unchanged(done.root):
        assert "unknown placeholder" in refused(done.inline("repro", *COMMAND))
    EngineChoice(EngineName.LOCAL).check()
