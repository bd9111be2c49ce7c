"""A line that a person wrote matches a row, or stops everything."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unlearn.stages.errors import InputError
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.ledger.hand_written import check_hand_written
from unlearn.stages.requests.id_file import Wanted
from unlearn.stages.requests.request import add_request, settle_list
from unlearn.stages.rows.epochs import is_token_line
from unlearn.stages.rows.tokens import PREFIX

from tests.stages.conftest import token_of
from tests.stages.ledger.repositories import IDS, GitProject, make_git_project


def refuse(project: GitProject, content: str) -> InputError:
    """Insist that every command refuses a list, and leaves it as it is."""
    path = project.context.project.forget_list
    path.write_bytes(content.encode())
    errors = []
    for run in (
        lambda: add_request(project.context, Wanted(((IDS[5], "--id"),))),
        lambda: settle_list(project.context),
        lambda: forget_stage.run(project.context),
    ):
        with pytest.raises(InputError) as caught:
            run()
        assert path.read_bytes() == content.encode()
        errors.append(str(caught.value))
    assert not project.context.project.retain_set.exists()
    assert not project.context.project.requests.exists()
    assert len(set(errors)) == 1
    return caught.value


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("r0003 ", "without the space around it"),
        ('"r0003"', "without the quotes around it"),
        ("R0003", "in lower case"),
        ("r0003,", "without the comma or semicolon"),
        (" 'R0003' ", "without spaces and quotes, in lower case"),
        ("\uff52\uff10\uff10\uff10\uff13", "with plain characters"),
        ("r9999", None),
        ("subject", None),
    ],
)
def test_a_line_that_matches_nothing_is_named_and_never_quoted(
    repository: GitProject, line: str, hint: str | None
) -> None:
    error = refuse(repository, f"{IDS[1]}\n{line}\n")

    assert error.message == "data/forget_list.txt, line 2: matches no row of the dataset"
    assert any(f"line 2 would match a row {hint}" in found for found in error.hints) == bool(hint)
    assert line.strip() not in " ".join((error.message, *error.hints)) or line == "subject"


def test_a_person_without_the_word_before_the_id_is_recognised(tmp_path: Path) -> None:
    project = make_git_project(tmp_path / "people", subjects=4)

    error = refuse(project, "p001\n")
    assert any("as a person's id: `--subjects`" in hint for hint in error.hints)
    error = refuse(project, "Subject: p001\n")
    assert any("with exactly `subject:`" in hint for hint in error.hints)


@pytest.mark.parametrize(
    "content",
    [
        "<<<<<<< HEAD\nr0001\n=======\nr0002\n>>>>>>> side\n",
        "r0001\n=======\nr0002\n",
        "<<<<<<< HEAD\r\nr0001\r\n||||||| base\r\n=======\r\n>>>>>>> side\r\n",
    ],
)
def test_conflict_markers_have_one_hint(repository: GitProject, content: str) -> None:
    error = refuse(repository, content)

    number = 2 if content.startswith("r0001") else 1
    assert error.message == f"data/forget_list.txt, line {number}: a conflict marker of git"
    assert error.hints == (
        "keep the lines of both sides and delete only the marker lines: no request may be lost",
    )


def test_a_line_by_hand_whose_rows_left_the_dataset_is_on_the_list(repository: GitProject) -> None:
    repository.forget(IDS[0], commit=False)
    path = repository.root / "data/dataset.csv"
    kept = [line for line in path.read_text("utf-8").splitlines() if not line.startswith(IDS[0])]
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")
    for shard in repository.context.project.shards.iterdir():
        shard.unlink()
    from unlearn.stages.shard import stage as shard_stage

    shard_stage.run(repository.context)
    repository.write_by_hand(IDS[0])

    check_hand_written(repository.context, repository.context.read_list())
    assert settle_list(repository.context) == 1
    assert repository.lines() == {token_of(IDS[0])}


def test_an_id_without_rows_is_listed_on_purpose_only(repository: GitProject) -> None:
    found = add_request(
        repository.context, Wanted((("r9999", "--id"), (IDS[0], "--id"))), unknown="suppress"
    )

    assert set(found.added) == {token_of("r9999"), token_of(IDS[0])}
    repository.commit("suppressed")
    assert forget_stage.run(repository.context).without_rows == 1


@pytest.mark.parametrize("raw", ["007", "+7", "1e3", "7 ", "\uff17", "word", "9007199254740993.0"])
def test_an_id_that_no_row_can_have_is_not_listed(repository: GitProject, raw: str) -> None:
    params = repository.context.params
    whole = params.dataset.model_copy(update={"id_type": "integer"})
    context = replace(repository.context, params=params.model_copy(update={"dataset": whole}))

    with pytest.raises(InputError, match="line 1: not a whole number"):
        add_request(context, Wanted(((raw, "line 1"),)), unknown="suppress")
    assert repository.lines() == set()


LINES = st.one_of(
    st.sampled_from(IDS),
    st.sampled_from(IDS).map(lambda raw: f"{raw} "),
    st.sampled_from(IDS).map(str.upper),
    st.sampled_from(IDS).map(token_of),
    st.sampled_from(IDS).map(lambda raw: token_of(raw)[:-1]),
    st.sampled_from(IDS).map(lambda raw: f"{token_of(raw)}.left-out"),
    st.sampled_from(["subject:p001", "=======", "<<<<<<< HEAD", ">>>>>>> x", "u1_", "#", ""]),
    st.text(max_size=12),
)


@pytest.mark.slow
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.lists(LINES, max_size=4), st.sampled_from(["\n", "\r\n"]))
def test_each_line_is_a_token_or_matches_a_row_or_every_command_refuses(
    built_repository: GitProject, lines: list[str], end: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = built_repository.copy(Path(folder) / "project")
        path = project.context.project.forget_list
        content = "".join(line + end for line in lines).encode("utf-8", "surrogatepass")
        path.write_bytes(content)
        try:
            settle_list(project.context)
        except InputError:
            assert path.read_bytes() == content
            with pytest.raises(InputError):
                forget_stage.run(project.context)
            with pytest.raises(InputError):
                add_request(project.context, Wanted(((IDS[5], "--id"),)))
            assert path.read_bytes() == content
            return
        # Accepted: what is on the list now are tokens, and each raw line was a row's id.
        asked = set()
        for line in content.decode().replace("\r\n", "\n").removeprefix("\ufeff").split("\n"):
            if line == "":
                continue
            if line.startswith(PREFIX):
                assert is_token_line(line.removesuffix(".left-out"))
                asked.add(line)
            else:
                assert line in IDS
                asked.add(token_of(line))
        assert project.lines() == asked
        forget_stage.run(project.context)
        assert not project.retained() & asked
