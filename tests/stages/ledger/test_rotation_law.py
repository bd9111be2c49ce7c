"""The law of rotations: no sequence of git operations and rotations brings a record back."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unlearn.stages.config.params import read_yaml
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.check import check_ledger
from unlearn.stages.requests.rekey import rekey
from unlearn.stages.rows.epochs import is_token_line, split_token
from unlearn.stages.rows.tokens import Key, Tokenizer, key_of_text, load_key
from unlearn.stages.shard import stage as shard_stage

from tests.properties import tried_on
from tests.stages.conftest import KEY
from tests.stages.ledger.laws import OPERATIONS, Steps, forget_first, operate, run_law
from tests.stages.ledger.repositories import IDS, GitProject

#: Rotations are as likely as all else together.
STEPS = st.lists(
    st.tuples(st.sampled_from([*OPERATIONS, *["rekey"] * 6]), st.integers(0, 5)), max_size=8
)


@dataclass(frozen=True)
class Rotating(GitProject):
    """A project whose key is what params.yaml, which is in git, says."""

    def now(self) -> "Rotating":
        """Return the project with the key of the commit that is checked out.

        Raises
        ------
        InputError
            If params.yaml is in conflict.
        """
        project = self.context.project
        check = str(read_yaml(project.params).get("key_check"))
        return Rotating(replace(self.context, key=load_key(project, check)))

    def rotate(self) -> None:
        """Rotate the key, and commit."""
        rekey(self.now().context)
        self.commit("rotation")


def start(built: GitProject, folder: Path) -> Rotating:
    project = Rotating(built.copy(folder).context)
    project.context.project.params.write_text(f'key_check: "{KEY.check}"\n', encoding="ascii")
    project.context.project.key.write_text(f"{KEY.text}\n", encoding="ascii")
    with (project.root / ".gitignore").open("a", encoding="ascii") as ignored:
        ignored.write("/unlearn.key\n")
    project.commit("settings")
    return project


@pytest.fixture(scope="session")
def rotating(built_repository: GitProject, tmp_path_factory: pytest.TempPathFactory) -> Rotating:
    """Return a project after its first requests, which tests only copy."""
    project = start(built_repository, tmp_path_factory.mktemp("rotations") / "project")
    forget_first(project)
    return project


def forms(raw: str, keys: Key) -> list[str]:
    """Return the digest of an id's token in each epoch, from the first."""
    found = []
    for number in range(1, keys.epoch + 1):
        key = Key(keys.texts[number - 1], keys.texts[: number - 1])
        found.append(split_token(Tokenizer(key).token("record", raw))[1])
    return found


def operate_or_rotate(project: Rotating, operation: str, number: int, wanted: list[str]) -> None:
    try:
        now = project.now()
        if operation == "rekey":
            now.rotate()
        else:
            operate(now, operation, number, wanted)
    except InputError:
        return  # what the tool refuses changes nothing


def check_law(project: Rotating, wanted: list[str]) -> None:
    """Each request is out of the rows, or the run stops and names it, or it is named elsewhere."""
    keys = key_of_text(project.context.project.key.read_text(encoding="ascii"))
    try:
        project = project.now()
        ledger = project.ledger()
        shutil.rmtree(project.context.project.shards)
        shard_stage.run(project.context)
        project.run_forget()
    except InputError as error:
        assert error.exit_code == 2
        return
    assert ledger.problem() is None
    retained = {split_token(token)[1] for token in project.retained()}
    named = frozenset().union(*ledger.elsewhere.values()) | ledger.behind
    elsewhere = {split_token(part)[1] for line in named for part in line.split(".")}
    for raw in wanted:
        digests = forms(raw, keys)
        present = digests[project.context.key.epoch - 1]
        assert present not in retained or elsewhere & set(digests), raw
    # And the run was not stopped without a reason: each line is one of the present key's.
    assert all(is_token_line(line) for line in project.lines())


@pytest.mark.slow
@tried_on(few=2, many=25)
@given(STEPS)
@example([("rekey", 0)])
@example([("rekey", 0), ("rekey", 0), ("forget", 2)])
@example([("branch", 0), ("forget", 2), ("switch", 1), ("rekey", 0), ("merge", 0)])
@example([("branch", 0), ("rekey", 2), ("switch", 1), ("rekey", 0), ("forget", 4), ("merge", 0)])
@example([("rekey", 0), ("revert", 0)])
@example([("rekey", 0), ("old list", 0), ("commit", 0)])
@example([("forget", 5), ("rekey", 0), ("stash", 1), ("reset", 1)])
def test_no_sequence_with_rotations_brings_a_record_back(rotating: Rotating, steps: Steps) -> None:
    run_law(rotating, steps, operate_or_rotate, check_law)


@pytest.mark.parametrize("rotations", [1, 2, 3])
def test_rotations_keep_exactly_what_was_forgotten(
    built_repository: GitProject, tmp_path: Path, rotations: int
) -> None:
    project = start(built_repository, tmp_path / "project")
    project.forget(*IDS[:5])
    for _ in range(rotations):
        project.rotate()
    project = project.now()
    assert project.context.key.epoch == rotations + 1
    shutil.rmtree(project.context.project.shards)
    shard_stage.run(project.context)
    project.run_forget()

    token = Tokenizer(project.context.key).token
    assert project.retained() == {token("record", raw) for raw in IDS[5:]}
    ledger = project.ledger()
    assert (ledger.lost, ledger.notes()) == ({}, [])
    # The history of all epochs is understood without a key as well.
    without = check_ledger(project.context.project, "main", None)
    assert (without.lost, without.unchecked, without.notes()) == ({}, 0, [])
