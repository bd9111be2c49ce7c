"""Forget requests: whose rows are meant, and adding them to the list, all or nothing."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.log import read_log
from unlearn.stages.requests.id_file import Wanted, read_ids
from unlearn.stages.requests.request import add_request, settle_list
from unlearn.stages.requests.resolving import Resolved
from unlearn.stages.requests.restore import restore
from unlearn.stages.rows.tokens import place
from unlearn.stages.shard import stage as shard_stage

from tests.conftest import make_frame
from tests.stages.conftest import make_context, make_params, put_on_list, token_of

FRAME = make_frame(60, subjects=12)
PERSON = str(FRAME["person"].value_counts().index[0])
HERS = FRAME.loc[FRAME["person"] == PERSON, "id"].tolist()
OTHERS = FRAME.loc[FRAME["person"] != PERSON, "id"].tolist()


@pytest.fixture
def plain(tmp_path: Path) -> Context:
    """A project without subjects, before its first run."""
    return make_context(tmp_path / "plain", make_frame(60))


@pytest.fixture
def people(tmp_path: Path) -> Context:
    """A project with subjects, its shards written."""
    context = make_context(tmp_path / "people", FRAME, make_params(subject="person"))
    shard_stage.run(context)
    return context


def wanted(*records: str, subjects: tuple[str, ...] = ()) -> Wanted:
    return Wanted(
        tuple((raw, f"line {number}") for number, raw in enumerate(records, start=1)),
        tuple((raw, f"line {number}") for number, raw in enumerate(subjects, start=1)),
    )


def the_list(context: Context) -> list[str]:
    return context.project.forget_list.read_text(encoding="ascii").split()


@pytest.mark.parametrize(
    "content",
    [
        b"a\nb\n",
        b"a\r\nb\r\n",
        b"\xef\xbb\xbfa\nb",
        b"\n\na\n\nb\n\n",
        b"\xef\xbb\xbf\r\na\r\n\r\nb",
    ],
)
def test_a_file_of_ids_may_differ_in_harmless_ways(content: bytes) -> None:
    assert [raw for raw, _ in read_ids(content, "ids.txt")] == ["a", "b"]


def test_an_id_is_the_whole_line() -> None:
    found = read_ids(b"a b\n\tc \n\nd,e\n", "ids.txt")

    assert found == [("a b", "line 1"), ("\tc ", "line 2"), ("d,e", "line 4")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "ids.txt holds no ids"),
        (b"\n\r\n", "ids.txt holds no ids"),
        (b"\xef\xbb\xbf", "ids.txt holds no ids"),
        (b"a\xff\n", "ids.txt is not UTF-8 text"),
        ("a\n".encode("utf-16"), "ids.txt is not UTF-8 text"),
        (b"a\x00b\n", "ids.txt holds a NUL byte"),
        (b"a\nu1_b\n", "ids.txt, line 2: an id begins with 'u1_'"),
    ],
)
def test_what_is_no_file_of_ids(content: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_ids(content, "ids.txt")


def test_a_request_is_put_on_the_list_and_into_the_log(plain: Context) -> None:
    found = add_request(plain, wanted("r0007", "r0003"), ticket="GDPR-12")

    lines = sorted([token_of("r0007"), token_of("r0003")])
    assert the_list(plain) == lines
    shards = {place(line, 3, 1, 0.2).shard for line in lines} - {"holdout"}
    assert found == Resolved(tuple(lines), 0, (), tuple(sorted(shards)))
    (entry,) = read_log(plain.project).entries
    digest = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
    assert (entry.ticket, entry.count, entry.digest) == ("GDPR-12", 2, digest)
    assert entry.time.endswith("+00:00")
    assert b"r0007" not in plain.project.request_file(entry.name).read_bytes()


def test_a_repeated_request_changes_no_byte(plain: Context) -> None:
    add_request(plain, wanted("r0007"))
    project = plain.project
    before = project.forget_list.read_bytes(), read_log(project)

    found = add_request(plain, wanted("r0007", "r0007"))

    assert (found.added, found.already) == ((), 1)
    assert (project.forget_list.read_bytes(), read_log(project)) == before


def test_an_id_that_stands_twice_counts_once(plain: Context) -> None:
    found = add_request(plain, wanted("r0007", "r0007", "r0008"))

    assert len(found.added) == 2


def test_composed_and_decomposed_text_name_one_record(tmp_path: Path) -> None:
    frame = make_frame(10)
    frame.loc[3, "id"] = "cafe\u0301"
    context = make_context(tmp_path / "p", frame)

    assert add_request(context, wanted("caf\u00e9")).added == (token_of("café"),)


def test_an_unknown_id_changes_nothing_and_is_not_quoted(plain: Context) -> None:
    with pytest.raises(
        InputError, match=r"2 of 3 ids are not in the dataset \(line 2, line 3\)"
    ) as up:
        add_request(plain, wanted("r0007", "jane.roe", "john.doe"))

    assert "jane" not in up.value.message
    assert the_list(plain) == []
    assert not plain.project.requests.exists()


def test_many_unknown_ids_are_not_all_listed(plain: Context) -> None:
    with pytest.raises(InputError, match=r"20 of 20 .*\(line 1, line 2, .*line 5, \.\.\.\)"):
        add_request(plain, wanted(*(f"x{number}" for number in range(20))))


def test_unknown_ids_can_be_passed_over(plain: Context) -> None:
    found = add_request(plain, wanted("r0007", "jane.roe"), unknown="skip")

    assert (len(found.added), found.unknown) == (1, ("line 2",))
    assert add_request(plain, wanted("jane.roe"), unknown="skip").added == ()


def test_a_dry_run_changes_nothing(plain: Context) -> None:
    found = add_request(plain, wanted("r0007"), dry_run=True)

    assert found.added == (token_of("r0007"),)
    assert the_list(plain) == []
    assert {path.name for path in plain.project.root.iterdir()} == {"data"}


@pytest.mark.parametrize(
    "ticket", ["", "two words", "name\n", "Zoë", "-x", "x" * 65, "jane@example.org"]
)
def test_a_ticket_is_one_plain_word(plain: Context, ticket: str) -> None:
    with pytest.raises(InputError, match="--ticket takes one word"):
        add_request(plain, wanted("r0007"), ticket=ticket)
    assert the_list(plain) == []


@pytest.mark.parametrize("ticket", ["T1", "DSR-2024/17", "a.b_c:d#e", "x" * 64])
def test_tickets_as_trackers_name_them(plain: Context, ticket: str) -> None:
    add_request(plain, wanted("r0007"), ticket=ticket)

    assert read_log(plain.project).entries[0].ticket == ticket


def test_a_person_needs_a_subject_column(plain: Context) -> None:
    with pytest.raises(InputError, match="names no subject column"):
        add_request(plain, wanted(subjects=("p001",)))


def test_a_record_of_a_person_is_named_by_both(people: Context) -> None:
    found = add_request(people, wanted(HERS[0]))

    subject = token_of(PERSON, "subject")
    assert found.added == (f"{subject}.{token_of(HERS[0])}",)
    assert found.shards == tuple({place(subject, 3, 1, 0.2).shard} - {"holdout"})


def test_a_person_is_named_by_the_subject_alone(people: Context) -> None:
    assert add_request(people, wanted(subjects=(PERSON,))).added == (token_of(PERSON, "subject"),)
    found = add_request(people, wanted(HERS[0], OTHERS[0], subjects=(PERSON,)))
    # The record gets its line too, as it would have if it had come first.
    assert (len(found.added), found.already) == (2, 1)


def test_a_person_can_follow_some_of_their_records(people: Context) -> None:
    add_request(people, wanted(HERS[0]))
    found = add_request(people, wanted(HERS[0], HERS[1], subjects=(PERSON,)))

    assert found.already == 1
    assert token_of(PERSON, "subject") in found.added


def test_an_id_is_known_as_what_it_is(people: Context) -> None:
    """A person's name is no record's id, and a record's id no person."""
    with pytest.raises(InputError, match="1 of 1 id is not in the dataset"):
        add_request(people, wanted(PERSON))
    with pytest.raises(InputError, match="1 of 1 id is not in the dataset"):
        add_request(people, wanted(subjects=(HERS[0],)))


def test_a_record_whose_rows_are_gone_is_still_on_the_list(people: Context) -> None:
    add_request(people, wanted(HERS[0]))
    dataset = people.project.root / people.params.dataset.path
    FRAME[FRAME["id"] != HERS[0]].to_csv(dataset, index=False)
    shard_stage.run(people)

    assert add_request(people, wanted(HERS[0])).already == 1


def test_a_record_that_came_since_the_last_run_is_found(plain: Context) -> None:
    shard_stage.run(plain)
    frame = make_frame(60)
    frame.loc[0, "id"] = "fresh"
    frame.to_csv(plain.project.root / plain.params.dataset.path, index=False)

    assert add_request(plain, wanted("fresh")).added == (token_of("fresh"),)


def test_the_shards_are_enough_to_look_ids_up_in(people: Context) -> None:
    (people.project.root / people.params.dataset.path).unlink()

    assert add_request(people, wanted(HERS[0], subjects=(PERSON,))).added


def test_without_any_data_ids_cannot_be_looked_up(plain: Context) -> None:
    (plain.project.root / plain.params.dataset.path).unlink()

    with pytest.raises(InputError, match="neither data/shards nor") as caught:
        add_request(plain, wanted("r0007"))
    assert any("dvc pull" in hint for hint in caught.value.hints)


def test_lines_by_hand_become_tokens(people: Context) -> None:
    people.project.forget_list.write_text(
        f"\ufeff{OTHERS[0]}\r\nsubject:{PERSON}\r\n{HERS[0]}\r\n\r\n", encoding="utf-8"
    )

    assert settle_list(people) == 3
    person = FRAME.set_index("id").loc[OTHERS[0], "person"]
    assert the_list(people) == sorted(
        [
            token_of(PERSON, "subject"),
            f"{token_of(str(person), 'subject')}.{token_of(OTHERS[0])}",
            f"{token_of(PERSON, 'subject')}.{token_of(HERS[0])}",
        ]
    )
    before = people.project.forget_list.read_bytes()
    assert settle_list(people) == 0
    assert people.project.forget_list.read_bytes() == before


def test_lines_of_tokens_are_left_as_they_are(plain: Context) -> None:
    """Even unsorted: only a command that changes the list rewrites it."""
    content = b"".join(sorted((f"{token_of(raw)}\n".encode() for raw in "ab"), reverse=True))
    plain.project.forget_list.write_bytes(content)

    assert settle_list(plain) == 0
    assert plain.project.forget_list.read_bytes() == content


def test_requests_at_the_same_time_are_all_on_the_list(plain: Context) -> None:
    ids = [f"r{number:04d}" for number in range(12)]
    # The lock belongs to an open file, so threads wait for one another as processes do.
    with ThreadPoolExecutor(len(ids)) as pool:
        found = list(pool.map(lambda raw: add_request(plain, wanted(raw)), ids))

    assert all(len(resolved.added) == 1 for resolved in found)
    assert the_list(plain) == sorted(token_of(raw) for raw in ids)
    assert [entry.count for entry in read_log(plain.project).entries] == [1] * 12


def test_the_list_is_left_alone_while_it_cannot_be_read(plain: Context) -> None:
    plain.project.forget_list.write_bytes(b"u1_broken\n")

    with pytest.raises(InputError, match="line 1: begins like a token but is none"):
        add_request(plain, wanted("r0007"))
    assert plain.project.forget_list.read_bytes() == b"u1_broken\n"
    put = token_of("r0001")
    plain.project.forget_list.write_bytes(b"")
    put_on_list(plain, put)
    assert add_request(plain, wanted("r0001")).already == 1


def test_a_request_that_another_one_made_before_is_logged_with_its_own_ticket(
    plain: Context,
) -> None:
    add_request(plain, wanted("r0007", "r0008"), ticket="T-1")
    add_request(plain, wanted("r0007"), ticket="T-2")
    add_request(plain, wanted("r0007"), ticket="T-2")
    add_request(plain, wanted("r0007"))

    assert [entry.ticket for entry in read_log(plain.project).entries] == ["T-1", "T-2"]
    # Who asked in the second request is not trained on when the first is taken back.
    assert restore(plain, Wanted(), ["T-1"], None).lines == (token_of("r0008"),)
    assert the_list(plain) == [token_of("r0007")]
    with pytest.raises(InputError, match="other requests name all of these lines"):
        restore(plain, Wanted(), ["T-1"], None)
    assert restore(plain, Wanted(), ["T-1", "T-2"], None).lines == (token_of("r0007"),)
    # Asked for again after that, the older requests no longer count.
    add_request(plain, wanted("r0007"), ticket="T-3")
    assert restore(plain, Wanted(), ["T-3"], None).lines == (token_of("r0007"),)
    assert the_list(plain) == []
