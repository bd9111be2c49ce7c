"""`unlearn forget --from`: requests as other systems export them."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import PEOPLE, refused, unchanged
from tests.conftest import Repo

REQUEST = "a7551968-d5d6-44b2-9831-815ac9017798"

#: A person with several records, and another one.
PERSON, OTHER = PEOPLE["person"].unique()[:2]


def identity(value: str, kind: str = "email", form: str = "raw") -> dict[str, str]:
    return {"identity_type": kind, "identity_value": value, "identity_format": form}


def write_request(repo: Repo, *identities: object, **more: object) -> str:
    """Write an erasure request as OpenDSR 2.0 has it; a field of None is left out."""
    request: dict[str, Any] = {
        "regulation": "gdpr",
        "subject_request_id": REQUEST,
        "subject_request_type": "erasure",
        "submitted_time": "2026-01-31T23:30:00-05:00",
        "subject_identities": list(identities),
        "api_version": "2.0",
        "status_callback_urls": ["https://controller.example/callbacks"],
        **more,
    }
    path = repo.root.parent / "request.json"
    kept = {name: value for name, value in request.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")
    return str(path)


@pytest.fixture
def asked(people: Repo) -> Repo:
    people.set_params(requests={"identities": {"email": "subject", "record": "id"}})
    return people


def the_list(repo: Repo) -> list[str]:
    return (repo.root / "data/forget_list.txt").read_text(encoding="ascii").split()


def by_person(repo: Repo, tmp_path: Path, person: str) -> list[str]:
    """Return the list after a request for the person by `--subjects`, which has to be the same."""
    copy = repo.copy(tmp_path / "copy")
    copy_of_ids = copy.root.parent / "ids.txt"
    copy_of_ids.write_text(f"{person}\n", encoding="utf-8")
    assert copy.inline("forget", "--subjects", str(copy_of_ids)).code == 0
    return the_list(copy)


def test_an_erasure_request_of_opendsr(asked: Repo, tmp_path: Path) -> None:
    expected = by_person(asked, tmp_path, PERSON)
    path = write_request(asked, identity(PERSON), identity("x-1", "ios_vendor_id"))

    answer = asked.inline("forget", "--from", path, "--json").json
    assert the_list(asked) == expected
    assert (answer["added"], answer["unknown"]) == (1, 0)
    assert answer["notes"] == [
        "identity 2 (ios_vendor_id) is not in requests.identities, and was left out"
    ]
    (state,) = asked.inline("status", "--json").json["request_states"]
    # In UTC it is the first of February: the earlier day counts.
    assert (state["ticket"], state["received"], state["regime"], state["due"]) == (
        REQUEST,
        "2026-01-31",
        "gdpr",
        "2026-02-28",
    )


@pytest.mark.parametrize("form", ["sha256", "sha1", "md5"])
def test_a_person_is_found_by_the_hash_of_the_id(asked: Repo, tmp_path: Path, form: str) -> None:
    expected = by_person(asked, tmp_path, PERSON)
    digest = hashlib.new(form, PERSON.encode(), usedforsecurity=False).hexdigest().upper()

    assert (
        asked.inline("forget", "--from", write_request(asked, identity(digest, form=form))).code
        == 0
    )
    assert the_list(asked) == expected


def test_folded_ids_are_found_by_the_hash_of_what_is_compared(fresh: Repo) -> None:
    fresh.set_params(dataset={"identity": "folded"}, requests={"identities": {"email": "id"}})
    digest = hashlib.sha256(b"r0001").hexdigest()
    done = fresh.inline("forget", "--from", write_request(fresh, identity(digest, form="sha256")))
    assert done.code == 0, done.err


def test_a_hash_of_nobody_is_refused_or_skipped(asked: Repo) -> None:
    digest = hashlib.sha256(b"nobody").hexdigest()
    path = write_request(asked, identity(digest, form="sha256"), identity(PERSON))

    with unchanged(asked.root):
        done = asked.inline("forget", "--from", path)
        assert refused(done).startswith("request.json: no row has the id of identity 1")
        assert digest not in done.err
    answer = asked.inline("forget", "--from", path, "--ignore-unknown", "--json").json
    assert (answer["added"], answer["unknown"]) == (1, 1)


def test_options_go_before_what_the_file_says(asked: Repo) -> None:
    options = ("--ticket", "T-1", "--regime", "ccpa", "--received", "2026-02-02")
    assert (
        asked.inline("forget", "--from", write_request(asked, identity(PERSON)), *options).code == 0
    )
    (state,) = asked.inline("status", "--json").json["request_states"]
    assert (state["ticket"], state["received"], state["regime"]) == ("T-1", "2026-02-02", "ccpa")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"subject_request_type": "access"}, "request.json asks for access, not for erasure"),
        ({"subject_request_type": "delete-all"}, "request.json asks for something else"),
        ({"subject_request_type": None}, "request.json: subject_request_type is missing"),
        ({"subject_request_id": None}, "request.json: subject_request_id is missing"),
        ({"subject_request_id": "a b"}, "--ticket takes one word"),
        ({"submitted_time": "yesterday"}, "request.json: submitted_time is not a time"),
        ({"submitted_time": "2026-01-31T12:00:00"}, "request.json: submitted_time is not a time"),
        ({"submitted_time": "2999-01-31T12:00:00Z"}, "--received 2999-01-31 is in the future"),
        ({"regulation": "lgpd"}, "request.json: the regulation is neither gdpr nor ccpa"),
        ({"subject_identities": []}, "request.json: subject_identities is no list"),
        ({"subject_identities": "x"}, "request.json: subject_identities is no list"),
        ({"subject_identities": ["x"]}, "request.json, identity 1: not a JSON object"),
        (
            {"subject_identities": [identity("x", form="rot13")]},
            "request.json, identity 1: identity_format is none of raw, sha256, sha1, md5",
        ),
        (
            {"subject_identities": [identity("zz", form="md5")]},
            "request.json, identity 1: identity_value is no md5",
        ),
        (
            {"subject_identities": [identity("secret-1", "secret-2")]},
            "request.json: no identity is of a kind that this project knows",
        ),
        (
            {"subject_identities": [identity("nobody@example.org")]},
            "1 of 1 id is not in the dataset (identity 1)",
        ),
    ],
)
def test_what_is_no_request_is_refused(asked: Repo, more: dict[str, Any], message: str) -> None:
    path = write_request(asked, identity(PERSON), **more)
    with unchanged(asked.root):
        done = asked.inline("forget", "--from", path)
        assert refused(done).startswith(message)
    assert "secret" not in done.err
    assert "nobody" not in done.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id\nr0001\n", "request.json is not JSON"),
        (b"[{}, {}]", "request.json has several requests"),
        (b'"x"', "request.json is no request"),
        (b"[" * 100_000, "request.json is not JSON"),
    ],
)
def test_files_that_are_no_request(asked: Repo, content: bytes, message: str) -> None:
    path = asked.root.parent / "request.json"
    path.write_bytes(content)
    with unchanged(asked.root):
        assert refused(asked.inline("forget", "--from", str(path))).startswith(message)


def test_a_column_of_a_table(asked: Repo, tmp_path: Path) -> None:
    expected = by_person(asked, tmp_path, PERSON)
    path = tmp_path / "export.csv.gz"
    path.write_bytes(gzip.compress(f'name;email\r\n"a;b";"{PERSON}"\r\n;\r\n'.encode("utf-16")))

    assert asked.inline("forget", "--from", str(path), "--column", "email").code == 0
    assert the_list(asked) == expected

    # The dataset's own columns need no setting.
    table = tmp_path / "export.parquet"
    pq.write_table(pa.table({"person": [PERSON, OTHER]}), table)
    answer = asked.inline("forget", "--from", str(table), "--column", "person", "--json").json
    assert (answer["added"], answer["already"]) == (1, 1)


@pytest.mark.parametrize(
    ("content", "column", "message"),
    [
        ("email\nx\n", "phone", "export.csv: nothing says what the ids of the column 'phone' name"),
        ("name\nx\n", "email", "export.csv has no column 'email'"),
        ("email,name\nx\n", "email", "export.csv, data row 1 (line 2)"),
        ("email,name\n,x\n", "email", "export.csv: no row has an id in the column 'email'"),
        ("email\nnobody\n", "email", "1 of 1 id is not in the dataset (row 1)"),
    ],
)
def test_columns_that_are_refused(
    asked: Repo, tmp_path: Path, content: str, column: str, message: str
) -> None:
    path = tmp_path / "export.csv"
    path.write_text(content, encoding="utf-8")
    with unchanged(asked.root):
        done = asked.inline("forget", "--from", str(path), "--column", column)
        assert refused(done).startswith(message)
    assert "nobody" not in done.err


def test_options_that_do_not_go_together(fresh: Repo) -> None:
    path = write_request(fresh, identity("r0001"))
    assert refused(fresh.inline("forget", "--from", path, "--id", "r1")).startswith(
        "--from takes no ids"
    )
    assert refused(fresh.inline("forget", "--id", "r1", "--column", "x")).startswith(
        "--column is for the file of --from"
    )
    fresh.set_params(requests={"identities": {"email": "subject"}})
    assert refused(fresh.inline("forget", "--from", path)).startswith(
        "requests.identities: 'email' names persons, and the dataset has none"
    )
