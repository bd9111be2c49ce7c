"""`unlearn answer` and `unlearn forget --answer` for requests of OpenDSR, and their signatures."""

import base64
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from unlearn.stages.context import open_project
from unlearn.stages.ledger.suppressed import dropped_rows
from unlearn.stages.project.paths import Project

from tests.cli.conftest import PEOPLE, refused, run_all, unchanged
from tests.conftest import Repo
from tests.stages.ledger.erasures import PENDING, log_erasure

REQUEST = "a7551968-d5d6-44b2-9831-815ac9017798"
PERSON, OTHER = PEOPLE["person"].unique()[:2]

#: The example of a request in the specification (section 7.2), for a person of these tests.
EXAMPLE: dict[str, Any] = {
    "regulation": "gdpr",
    "subject_request_id": REQUEST,
    "subject_request_type": "erasure",
    "submitted_time": "2018-10-02T15:00:00Z",
    "subject_identities": [
        {"identity_type": "email", "identity_value": PERSON, "identity_format": "raw"}
    ],
    "api_version": "2.0",
    "status_callback_urls": ["https://examplecontroller.com/opendsr_callbacks"],
    "extensions": {
        "example-processor.com": {"foo-processor-custom-id": 123456, "property_id": "123456"},
        "example-other-processor.com": {"foo-other-processor-custom-id": 654321},
    },
}
OURS = {"controller_id": "example_controller_id", "domain": "example-processor.com"}


@pytest.fixture
def processor(people: Repo) -> Repo:
    people.set_params(requests={"identities": {"email": "subject"}, "opendsr": OURS})
    return people


def write(repo: Repo, **changes: object) -> Path:
    path = repo.root.parent / "request.json"
    path.write_text(json.dumps({**EXAMPLE, **changes}), encoding="utf-8")
    return path


def status_of(repo: Repo, path: Path) -> dict[str, Any]:
    out = path.with_name("status.json")
    done = repo.inline("answer", str(path), "--to", str(out), "--json")
    assert done.code == 0, done.err
    body = json.loads(out.read_bytes())
    assert done.json["status"] == body["request_status"]
    return dict(body)


@pytest.mark.slow
def test_the_answers_are_those_of_the_specification(processor: Repo) -> None:
    path = write(processor)
    out = path.with_name("answer.json")
    assert processor.inline("forget", "--from", str(path), "--answer", str(out)).code == 0

    # Section 7.4; the signature is a header, of whoever sends it.
    answer = json.loads(out.read_bytes())
    assert answer.pop("received_time").startswith(datetime.now(UTC).date().isoformat()[:8])
    assert answer == {
        "controller_id": "example_controller_id",
        "expected_completion_time": "2018-11-02T23:59:59Z",
        "encoded_request": base64.b64encode(path.read_bytes()).decode(),
        "subject_request_id": REQUEST,
    }
    # Section 8.4.
    expected = {
        "controller_id": "example_controller_id",
        "expected_completion_time": "2018-11-02T23:59:59Z",
        "subject_request_id": REQUEST,
        "request_status": "pending",
        "api_version": "2.0",
    }
    assert status_of(processor, path) == expected

    processor.commit("request")
    run_all(processor)
    # No model has the rows any more, and copies are left.
    assert status_of(processor, path)["request_status"] == "in_progress"
    log_erasure(open_project(Project(processor.root)), PENDING)
    assert status_of(processor, path)["request_status"] == "in_progress"
    without(processor, PERSON)
    log_erasure(open_project(Project(processor.root)))
    assert processor.inline("stage", "shard").code == 0
    assert status_of(processor, path) == expected | {"request_status": "completed"}


def test_a_request_that_was_taken_back_is_cancelled(processor: Repo) -> None:
    path = write(processor)
    processor.inline("forget", "--from", str(path))
    processor.inline("restore", "--ticket", REQUEST, "--yes")
    assert status_of(processor, path)["request_status"] == "cancelled"


def test_a_request_for_nobody_is_in_no_log_and_completed(processor: Repo) -> None:
    nobody = {"identity_type": "email", "identity_value": "nobody", "identity_format": "raw"}
    path = write(processor, subject_identities=[nobody])
    with unchanged(processor.root):
        done = processor.inline("forget", "--from", str(path), "--ignore-unknown", "--json")
        assert done.json["unknown"] == 1
        assert status_of(processor, path)["request_status"] == "completed"


def test_what_was_not_asked_for_has_no_status(processor: Repo) -> None:
    path = write(processor)
    said = refused(processor.inline("answer", str(path), "--to", str(path.with_name("x.json"))))
    assert "the request log does not name this request" in said
    assert not path.with_name("x.json").exists()


def answered(repo: Repo, path: Path, *options: str) -> str:
    """Return the message of an answer that is refused; nothing is written."""
    out = path.with_name("x.json")
    said = refused(repo.inline("answer", str(path), "--to", str(out), *options))
    assert not out.exists()
    return said


def identity(person: str) -> dict[str, str]:
    return {"identity_type": "email", "identity_value": person, "identity_format": "raw"}


def without(repo: Repo, *people: str) -> None:
    """Take rows out of the dataset, as an erasure does."""
    dataset = repo.root / repo.params()["dataset"]["path"]
    frame = pd.read_csv(dataset, dtype=str, keep_default_na=False)
    frame[~frame["person"].isin(people)].to_csv(dataset, index=False)


@pytest.mark.slow
def test_no_one_whom_the_log_does_not_name_is_answered_as_completed(processor: Repo) -> None:
    path = write(processor)
    processor.inline("forget", "--from", str(path))
    run_all(processor)
    without(processor, PERSON)
    log_erasure(open_project(Project(processor.root)))
    assert processor.inline("stage", "shard").code == 0
    assert status_of(processor, path)["request_status"] == "completed"

    # The same reference, and one more person.
    path = write(processor, subject_identities=[identity(PERSON), identity(OTHER)])
    assert "the log does not name, or does not name any more (identity 2)" in answered(
        processor, path
    )
    path = write(processor, subject_identities=[identity(PERSON), identity("nobody")])
    assert status_of(processor, path)["request_status"] == "completed"


@pytest.mark.slow
def test_who_was_taken_back_from_a_request_is_not_answered_as_completed(processor: Repo) -> None:
    path = write(processor, subject_identities=[identity(PERSON), identity(OTHER)])
    processor.inline("forget", "--from", str(path))
    subjects = path.with_name("subjects.txt")
    subjects.write_text(f"{OTHER}\n", encoding="utf-8")
    processor.ok("restore", "--subjects", str(subjects), "--yes")
    run_all(processor)
    without(processor, PERSON)
    log_erasure(open_project(Project(processor.root)))
    assert processor.inline("stage", "shard").code == 0
    assert "(identity 2)" in answered(processor, path)
    path = write(processor)
    assert status_of(processor, path)["request_status"] == "completed"


@pytest.mark.slow
def test_rows_that_are_in_the_dataset_again_are_not_answered_as_deleted(processor: Repo) -> None:
    path = write(processor)
    processor.inline("forget", "--from", str(path))
    run_all(processor)
    project = Project(processor.root)
    dataset = processor.root / processor.params()["dataset"]["path"]
    before = dataset.read_bytes()
    without(processor, PERSON)
    log_erasure(open_project(project))
    processor.stages()
    assert status_of(processor, path)["request_status"] == "completed"

    dataset.write_bytes(before)
    # Also before a run counts them.
    assert status_of(processor, path)["request_status"] == "in_progress"
    processor.stages()
    assert dropped_rows(project)
    assert status_of(processor, path)["request_status"] == "in_progress"
    (state,) = processor.inline("status", "--json").json["request_states"]
    assert state["state"] not in ("erased", "receipted")
    shutil.rmtree(project.shards)
    shutil.rmtree(project.retain_set)
    project.applied.unlink()
    assert answered(processor, path).startswith("data/shards is not here")


@pytest.mark.slow
def test_nobody_is_found_only_in_the_whole_dataset(processor: Repo) -> None:
    path = write(processor, subject_identities=[identity("nobody")])
    run_all(processor)
    assert status_of(processor, path)["request_status"] == "completed"
    # In another case, and with a space: a look-alike.
    path = write(processor, subject_identities=[identity(f" {PERSON.upper()}")])
    assert answered(processor, path).endswith("nothing was answered")
    path = write(processor, subject_identities=[identity("nobody")])
    (processor.root / processor.params()["dataset"]["path"]).unlink()
    assert "is not here, so that nobody can say" in answered(processor, path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"controller_id": "somebody"}, "request.json is of another controller than"),
        (
            {"extensions": {"example-other-processor.com": {}}},
            "request.json is for other processors than example-processor.com",
        ),
    ],
)
def test_foreign_requests_are_refused(
    processor: Repo, changes: dict[str, object], message: str
) -> None:
    path = write(processor, **changes)
    with unchanged(processor.root):
        assert message in refused(processor.inline("forget", "--from", str(path)))
        assert message in refused(processor.inline("answer", str(path), "--to", "/dev/null"))


def test_an_answer_needs_a_controller_a_due_date_and_a_place(processor: Repo) -> None:
    path = write(processor, regulation=None)
    place = str(path.with_name("status.json"))
    processor.inline("forget", "--from", str(path))
    assert "has no due date" in refused(processor.inline("answer", str(path), "--to", place))
    processor.set_params(requests={"regime": "ccpa"})
    assert status_of(processor, path)["expected_completion_time"] == "2018-11-16T23:59:59Z"
    for target, message in (("out.json", "git would get out.json"), (str(path), "would replace")):
        assert message in refused(processor.inline("answer", str(path), "--to", target))
    processor.set_params(requests={"opendsr": None})
    assert "name the controller" in refused(processor.inline("answer", str(path), "--to", place))


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, *, days: int = 30) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "controller.example")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


def signed(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, content: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        raw = key.sign(content, padding.PKCS1v15(), hashes.SHA256())
    else:
        raw = key.sign(content, ec.ECDSA(hashes.SHA256()))
    return base64.encodebytes(raw)  # in several lines, as in the specification


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_signed_requests(processor: Repo, kind: str) -> None:
    def new_key() -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
        if kind == "rsa":
            return rsa.generate_private_key(65537, 2048)
        return ec.generate_private_key(ec.SECP256R1())

    key, pinned = new_key(), processor.root / "controller.pem"
    valid = certificate(key)
    pinned.write_bytes(valid)
    processor.set_params(requests={"opendsr": OURS | {"certificate": "controller.pem"}})
    path = write(processor)
    signature = path.with_name("request.sig")
    with unchanged(processor.root):
        said = refused(processor.inline("forget", "--from", str(path)))
        assert said.startswith("request.json is not signed")
        for content in (
            signed(new_key(), path.read_bytes()),
            signed(key, path.read_bytes() + b" "),
            base64.b64encode(b"x"),
        ):
            signature.write_bytes(content)
            options = ("--signature", str(signature))
            said = refused(processor.inline("forget", "--from", str(path), *options))
            assert said.startswith("request.json is not what the holder of controller.pem signed")
        signature.write_bytes(b"~")
        assert "is not Base64" in refused(
            processor.inline("forget", "--from", str(path), "--signature", str(signature))
        )
        signature.write_bytes(signed(key, path.read_bytes()))
        pinned.write_bytes(certificate(key, days=-1))
        assert "controller.pem is not valid today" in refused(
            processor.inline("forget", "--from", str(path), "--signature", str(signature))
        )
        pinned.write_bytes(valid)

    done = processor.inline("forget", "--from", str(path), "--signature", str(signature))
    assert done.code == 0, done.err
    assert answered(processor, path).startswith("request.json is not signed")
    forged = path.with_name("forged.sig")
    forged.write_bytes(signed(new_key(), path.read_bytes()))
    assert "is not what the holder of" in answered(processor, path, "--signature", str(forged))
    to = ("--to", str(path.with_name("status.json")), "--signature", str(signature))
    assert processor.inline("answer", str(path), *to).code == 0
    processor.set_params(requests={"opendsr": OURS})
    assert "pins no certificate" in refused(
        processor.inline("forget", "--from", str(path), "--signature", str(signature))
    )
