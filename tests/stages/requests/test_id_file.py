"""Files of ids as people export them: understood where they can mean one thing, else explained."""

from pathlib import Path

import pytest
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.requests.id_file import Wanted, read_ids, understand
from unlearn.stages.requests.request import add_request

from tests.conftest import make_frame
from tests.stages.conftest import make_context, make_params, token_of


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A project with ids of records and people, before its first run."""
    frame = make_frame(30, subjects=6)
    frame.loc[7, "id"] = " padded"
    frame.loc[8, "id"] = '"quoted"'
    frame.loc[9, "id"] = "quoted"
    return make_context(tmp_path / "project", frame, make_params(subject="person"))


def asked(content: str, *, subjects: bool = False) -> Wanted:
    ids = tuple(read_ids(content.encode(), "ids.txt"))
    return Wanted((), ids) if subjects else Wanted(ids)


def understood(context: Context, content: str) -> tuple[list[str], list[str]]:
    wanted, notes = understand(context, asked(content))
    return [raw for raw, _ in wanted.records], notes


@pytest.mark.parametrize(
    ("content", "ids", "notes"),
    [
        ("r0001\nr0002\n", ["r0001", "r0002"], []),
        ("r0001\rr0002\r", ["r0001", "r0002"], []),
        ("id\nr0001\n", ["r0001"], ["line 1 is the name of the column of ids, and was skipped"]),
        (
            '"id"\n"r0001"\n"r0002"\n',
            ["r0001", "r0002"],
            [
                "line 1 is the name of the column of ids, and was skipped",
                "quotes or commas around 2 ids were left out",
            ],
        ),
        ("r0001,\n'r0002';\n", ["r0001", "r0002"], ["quotes or commas around 2 ids were left out"]),
        # An id of the dataset is taken as it is written, and what is no id stays what it is.
        (
            '"quoted"\n" padded"\n',
            ['"quoted"', " padded"],
            ["quotes or commas around 1 id were left out"],
        ),
        ("r0001\nid\n", ["r0001", "id"], []),
        ('"nobody"\n', ['"nobody"'], []),
        (" r0001\n", [" r0001"], []),
    ],
)
def test_what_a_file_has_around_the_ids_is_left_out_and_reported(
    context: Context, content: str, ids: list[str], notes: list[str]
) -> None:
    assert understood(context, content) == (ids, notes)


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("r0001\nr0002 \n", "line 2 would match a row without the space around it"),
        ("r0001\u00a0\n", "line 1 would match a row without the no-break space around it"),
        ("\u200br0001\n", "line 1 would match a row without an invisible character in it"),
        ("R0001\n", "line 1 would match a row in lower case"),
        ("r0001,r0002\n", "line 1 would match a row if it were several lines: it holds more"),
        ("r0001\tr0002\n", "line 1 would match a row if it were several lines: it holds more"),
        ("p001\n", "line 1 would match a row as a person's id: `--subjects`"),
    ],
)
def test_what_would_match_is_said_and_nothing_is_trimmed(
    context: Context, content: str, hint: str
) -> None:
    wanted, _ = understand(context, asked(content))

    with pytest.raises(InputError, match="not in the dataset") as caught:
        add_request(context, wanted)

    assert any(found.startswith(hint) for found in caught.value.hints), caught.value.hints
    assert "r0001" not in " ".join((caught.value.message, *caught.value.hints)).lower()
    assert context.project.forget_list.read_bytes() == b""


def test_a_record_among_the_people_is_recognised(context: Context) -> None:
    with pytest.raises(InputError) as caught:
        add_request(context, asked("r0001\n", subjects=True))
    assert "line 1 would match a row as the id of a record" in caught.value.hints


def test_an_understood_file_is_the_request_that_was_meant(context: Context) -> None:
    wanted, _ = understand(context, asked('"id"\n"r0001",\nr0002\n'))

    added = add_request(context, wanted).added

    assert {line.rpartition(".")[2] for line in added} == {token_of("r0001"), token_of("r0002")}
