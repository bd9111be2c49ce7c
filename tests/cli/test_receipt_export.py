"""`unlearn receipt show` and `export`: for the person, and for other tools."""

import base64
import json
import re
import shutil
import subprocess
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource
from unlearn.stages.receipts.check import check_receipt
from unlearn.stages.receipts.cyclonedx import attestation
from unlearn.stages.receipts.keys import Keys
from unlearn.stages.receipts.page import render_page
from unlearn.stages.receipts.statement import Place, Purge, Request, Statement, Verification

from tests.cli.conftest import refused, unchanged
from tests.conftest import Done, Repo
from tests.stages.receipts.receipts import START, make_key, make_statement

KEY = make_key(seed=1)
KEYS = Keys([KEY.public])
HOSTILE = '<script>alert(1)</script> & "x"'

PLACES = (
    Place(name="DVC's cache", state="purged", method="deleted object by object", residual=0),
    Place(name="the remote backup", state="pending", why=f"no rights {HOSTILE}"),
)


def partial() -> Statement:
    """Return a statement with all that one can have, in texts that have to be escaped."""
    request = Request(
        ticket="T-17",
        entries=("a" * 32,),
        regime="ccpa",
        received=date(2026, 1, 31),
        due=date(2026, 3, 17),
        extended=True,
        closed=date(2026, 3, 1),
        outcome="partial",
        reasons=("the remote backup is pending: no rights", f"another reason {HOSTILE}"),
    )
    return make_statement(
        request=request,
        purge=Purge(entry="e" * 32, time=START, places=PLACES),
        verification=Verification(verdict="inconclusive", label="exact", rests_on=("a check",)),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of two receipts and their key."""
    (tmp_path / "key.json").write_bytes(KEY.file)
    (tmp_path / "complete.json").write_bytes(KEY.sign(make_statement().payload))
    (tmp_path / "partial.json").write_bytes(KEY.sign(partial().payload))
    return tmp_path


def export(folder: Path, file: str, *more: str) -> Done:
    return Repo(folder).inline("receipt", "export", file, "--key", "key.json", *more)


def page(statement: Statement, *ids: str) -> str:
    return render_page(check_receipt(KEY.sign(statement.payload), KEYS), ids)


def text_of(html: str) -> str:
    body = html[html.index("<body>") :]
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def test_the_page_says_in_plain_words_what_came_of_the_request() -> None:
    text = text_of(page(make_statement()))

    assert "Your data was deleted from every place that this project knows of." in text
    assert "To be answered by 2026-03-10" in text
    assert "Data deleted on 2026-03-01, in time" in text
    assert "exactly those that a training without your data gives" in text
    assert "What this receipt does not cover backups" in text
    assert "Reference" not in text


def test_a_partial_receipt_promises_nothing() -> None:
    text = text_of(page(partial()))

    assert "Your data was deleted, but not yet from every place." in text
    assert "the remote backup not yet deleted no rights" in text
    assert "could not show that your data had no more influence" in text
    assert "another reason" in text
    assert "(extended)" in text
    assert "in time" not in text
    assert "every place that this project knows of" not in text


@pytest.mark.parametrize(
    ("label", "phrase"),
    [
        ("approximate", "That is no deletion"),
        ("certified", "comes with a proof"),
        (None, "The checks of the models passed."),
    ],
)
def test_an_approximate_method_is_not_called_a_deletion(label: str | None, phrase: str) -> None:
    statement = make_statement(verification=Verification(verdict="pass", label=label))

    assert phrase in text_of(page(statement))
    assert "exactly" not in text_of(page(statement))


def test_late_is_said() -> None:
    late = make_statement().predicate.request.model_copy(update={"closed": date(2026, 3, 12)})

    assert "2026-03-12, 2 days late" in text_of(page(make_statement(request=late)))


def test_every_text_is_escaped_and_nothing_is_loaded() -> None:
    html = page(partial(), HOSTILE)

    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 3
    assert not re.findall(r"(?:src|href)\s*=|url\(|https?://|@import", html)


def test_the_page_has_no_id_but_those_that_are_passed(folder: Path) -> None:
    (folder / "ids.txt").write_text("jane@example.org\n\n 0042 \n", encoding="utf-8")

    assert export(folder, "complete.json", "--html", "a.html").code == 0
    assert export(folder, "complete.json", "--html", "b.html", "--ids", "ids.txt").code == 0

    plain = (folder / "a.html").read_text(encoding="utf-8")
    with_ids = (folder / "b.html").read_text(encoding="utf-8")
    assert "jane" not in plain
    assert "Data about jane@example.org 0042 Received" in text_of(with_ids)
    assert (folder / "b.html").stat().st_mode & 0o777 == 0o600


def test_the_page_fits_on_one_sheet_of_a4(folder: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here")
    assert export(folder, "partial.json", "--html", "page.html").code == 0
    line = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    where = f"--user-data-dir={folder / 'profile'}"
    subprocess.run(
        [*line, where, f"--print-to-pdf={folder / 'page.pdf'}", str(folder / "page.html")],
        check=True,
        capture_output=True,
        timeout=120,
    )

    pdf = (folder / "page.pdf").read_bytes()
    assert re.findall(rb"/Count (\d+)", pdf) == [b"1"]
    ((width, height),) = set(re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf))
    assert (round(float(width)), round(float(height))) == (595, 842)


def schema_errors(value: dict[str, Any]) -> list[str]:
    """Return what the official schema of CycloneDX 1.6 has against a value."""
    folder = files("cyclonedx.schema._res")
    schemas = {
        name: json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_text(encoding="utf-8"))
        for name in ("bom-1.6", "spdx", "jsf-0.82")
    }
    registry: Registry[Any] = Registry().with_resources(
        (f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json", Resource.from_contents(one))
        for name, one in schemas.items()
    )
    validator = jsonschema.Draft7Validator(
        schemas["bom-1.6"],
        registry=registry,
        format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER,
    )
    return [error.message for error in validator.iter_errors(value)]


@pytest.mark.parametrize("regime", ["gdpr", "ccpa", "drop", None])
def test_an_attestation_is_cyclonedx_1_6(regime: str | None) -> None:
    for statement in (make_statement(), partial()):
        request = statement.predicate.request.model_copy(update={"regime": regime})
        changed = statement.predicate.model_copy(update={"request": request})
        payload = statement.model_copy(update={"predicate": changed}).payload
        receipt = check_receipt(KEY.sign(payload), KEYS)

        value = attestation(receipt)

        assert schema_errors(value) == []
        assert schema_errors(value | {"more": 1})
        assert schema_errors(value | {"specVersion": 1.6})
        references = {
            one["bom-ref"]
            for kind in ("claims", "evidence", "assessors")
            for one in value["declarations"][kind]
        } | {one["bom-ref"] for one in value["declarations"]["targets"]["components"]}
        (mapped,) = value["declarations"]["attestations"][0]["map"]
        for claim in value["declarations"]["claims"]:
            assert {claim["target"], *claim["evidence"]} <= references
        assert {*mapped["claims"], *mapped.get("counterClaims", [])} <= references
        complete = request.outcome == "complete"
        assert mapped["conformance"]["score"] == (1 if complete else 0)
        assert ("counterClaims" in mapped) is not complete


def test_the_attestation_holds_the_receipt_itself(folder: Path) -> None:
    done = export(folder, "partial.json", "--cyclonedx", "a.cdx.json", "--json")

    assert done.code == 0, done.err
    value = json.loads((folder / "a.cdx.json").read_bytes())
    (evidence,) = value["declarations"]["evidence"]
    attached = evidence["data"][0]["contents"]["attachment"]["content"]
    assert base64.b64decode(attached) == (folder / "partial.json").read_bytes()
    again = export(folder, "partial.json", "--cyclonedx", "b.cdx.json")
    assert again.code == 0
    assert (folder / "a.cdx.json").read_bytes() == (folder / "b.cdx.json").read_bytes()


def test_only_a_receipt_that_holds_is_exported(folder: Path) -> None:
    content = (folder / "complete.json").read_bytes()
    (folder / "complete.json").write_bytes(content.replace(b'"sig":"', b'"sig":"A'))
    with unchanged(folder):
        for file, code in (("complete.json", "bad-envelope"), ("key.json", "unknown-type")):
            message = refused(export(folder, file, "--html", "a.html"), 1)
            assert message.startswith(f"{file}: {code}: ")


def test_bad_input_of_export_changes_nothing(folder: Path) -> None:
    (folder / "ids.txt").write_bytes(b"\xff\xfe\x00")
    with unchanged(folder):
        for words, message in (
            ((), "pass --html FILE"),
            (("--html", "a.txt"), "does not end in .html"),
            (("--cyclonedx", "a.xml"), "does not end in .json"),
            (("--html", "none/a.html"), "there is no folder for a.html"),
            (("--html", "a.html", "--ids", "none"), "--ids none cannot be read"),
            (("--html", "a.html", "--ids", "ids.txt"), "--ids ids.txt is not UTF-8 text"),
            (("--cyclonedx", "a.json", "--ids", "ids.txt"), "--ids is for --html"),
        ):
            assert message in refused(export(folder, "complete.json", *words)), words


def test_show_says_what_a_receipt_states(folder: Path) -> None:
    text = Repo(folder).inline("receipt", "show", "partial.json", "complete.json").out

    assert "request T-17: received 2026-01-31, due 2026-03-17 (ccpa), erased 2026-03-01" in text
    assert "outcome: partial" in text
    assert "the remote backup: pending (no rights" in text
    assert "DVC's cache: purged (deleted object by object)" in text
    found = Repo(folder).inline("receipt", "show", "partial.json", "--json").json
    (one,) = found["receipts"]
    assert one["statement"] == json.loads(partial().payload)
    assert refused(Repo(folder).inline("receipt", "show", "key.json")).startswith(
        "key.json is not a receipt"
    )
