"""`unlearn receipt create`: whole receipts of erased requests, or none."""

import hashlib
import json
import os
import shutil
import subprocess
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from unlearn.cli.init.files.patterns import render_gitignore
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.log import read_log
from unlearn.stages.project.git import ignored
from unlearn.stages.project.paths import Project
from unlearn.stages.receipts import create as create_module
from unlearn.stages.receipts.check import Receipt, check_annex, check_files, check_receipt
from unlearn.stages.receipts.commitment import commitment
from unlearn.stages.receipts.create import RETENTION, Wish, create_receipts
from unlearn.stages.receipts.keys import Keys
from unlearn.stages.receipts.signers import CommandSigner, read_private
from unlearn.stages.receipts.store import read_keys, read_receipts, receipted_entries

from tests.cli.conftest import IDS, refused, run_all
from tests.cli.receipts import (
    PENDING,
    PURGED,
    WORDS,
    annexes_of,
    create,
    key_for,
    log_erasure,
    receipts_of,
)
from tests.conftest import Repo, token_of
from tests.file_faults import Fault, Killed, fault_at

#: Receipts of all erased requests.
ALL = Wish()

#: More file operations than writing two receipts needs.
_MOST = 100


@pytest.fixture(scope="session")
def _erased(_done: Repo, tmp_path_factory: pytest.TempPathFactory) -> Repo:
    repo = _done.copy(tmp_path_factory.mktemp("receipts") / "erased")
    repo.forget([IDS[3]], "--ticket", "T-1", "--regime", "gdpr", "--received", "2026-01-31")
    repo.forget(IDS[10:12], "--ticket", "T-2")
    repo.commit("forget")
    run_all(repo)
    log_erasure(repo)
    key_for(repo)
    repo.commit("erase")
    return repo


@pytest.fixture
def erased(_erased: Repo, tmp_path: Path) -> Repo:
    """Return a project with two erased requests and a key."""
    return _erased.copy(tmp_path / "erased")


@pytest.fixture
def private(_erased: Repo) -> Path:
    """Return the file of the private key."""
    return _erased.root.parent / "erased-receipts.pem"


def write(repo: Repo, private: Path, wish: Wish = ALL) -> list[Receipt]:
    """Write receipts in this process, and return them after a check."""
    before = receipts_of(repo)
    create_receipts(Project(repo.root), read_private(private, WORDS), wish)
    new = {name: content for name, content in receipts_of(repo).items() if name not in before}
    return [check_receipt(content, Keys(read_keys(Project(repo.root)))) for content in new.values()]


def test_each_erased_request_gets_a_receipt(erased: Repo, private: Path) -> None:
    done = create(erased, private, "--json")

    assert done.code == 0, done.err
    assert [(one["ticket"], one["outcome"]) for one in done.json["receipts"]] == [
        ("T-1", "complete"),
        ("T-2", "complete"),
    ]
    keys = Keys(read_keys(Project(erased.root)))
    checked = check_files(receipts_of(erased), keys, whole=True, anchors=tuple(done.json["heads"]))
    assert checked.failures == ()
    assert len(checked.receipts) == 2
    assert create(erased, private, "--json").json["receipts"] == []
    status = erased.inline("status", "--json").json
    assert {one["state"] for one in status["request_states"]} == {"receipted"}


def test_what_a_receipt_says(erased: Repo, private: Path) -> None:
    (receipt,) = write(erased, private, Wish("T-1"))

    found = receipt.statement.predicate
    log = read_log(Project(erased.root))
    erase = log.entries[-1]
    (entry,) = (one.name for one in log.entries if one.ticket == "T-1")
    assert found.request.entries == (entry,)
    assert (found.request.regime, found.request.received) == ("gdpr", date(2026, 1, 31))
    assert (found.request.due, found.request.ticket) == (date(2026, 2, 28), None)
    assert found.purge.entry == erase.name
    assert found.heads.log == (erase.name,)
    assert [place.model_dump() for place in found.purge.places] == [
        PURGED.model_dump() | {"why": None}
    ]
    assert (found.verification.verdict, found.verification.label) == ("pass", "exact")
    assert found.valid_until == RETENTION.after(datetime.now(UTC).date())
    head = erased.git("rev-parse", "HEAD").strip()
    assert found.process.commit == head
    assert found.process.tool.name == "dvc-unlearn"
    # The commit before the request has the models of before it.
    assert found.before is not None
    before = erased.git("log", "--format=%H", "--grep=^run$", "--reverse").split()[0]
    assert found.before.commit == before
    assert found.before.models != found.after.models
    assert found.before.data != found.after.data


def test_the_annex_opens_the_commitment(erased: Repo, private: Path) -> None:
    (receipt,) = write(erased, private, Wish("T-2"))

    ((name, content),) = annexes_of(erased).items()
    annex = json.loads(content)
    assert name == f"{receipt.name}.json"
    assert (erased.root / ".unlearn/receipts" / name).stat().st_mode & 0o777 == 0o600
    check_annex(receipt, content)
    assert annex["ticket"] == "T-2"
    assert annex["tokens"] == sorted(token_of(erased, raw) for raw in IDS[10:12])
    found = receipt.statement.predicate.commitment.sha256
    assert found == commitment(annex["salt"], annex["tokens"])
    assert found != commitment(annex["salt"], annex["tokens"][:1])


def test_the_public_part_has_no_id_token_ticket_or_small_count(erased: Repo, private: Path) -> None:
    project = Project(erased.root)
    (complete,) = (entry for entry in read_log(project).entries if entry.erasure is not None)
    project.request_file(complete.name).unlink()
    pending = PURGED.model_copy(update={"state": "pending", "why": "in use"})
    places = (
        PURGED,
        pending.model_copy(update={"name": "git's objects", "residual": 7}),
        pending.model_copy(update={"name": "the stash", "residual": 29}),
    )
    log_erasure(erased, places)

    receipts = write(erased, private)

    assert len(receipts) == 2
    for receipt in receipts:
        payload = receipt.envelope.payload.decode()
        tokens = [token_of(erased, raw) for raw in (IDS[3], *IDS[10:12])]
        # No id of the dataset can be a part of a digest: "r" is no hexadecimal digit.
        for text in (*IDS, *(token.removeprefix("u1_") for token in tokens), "T-1", "T-2"):
            assert text not in payload
        residual = [place.residual for place in receipt.statement.predicate.purge.places]
        assert residual == [0, None, 20]
    assert erased.git("status", "--porcelain", ".unlearn") == ""


def test_a_receipt_does_not_name_who_was_taken_back(erased: Repo, private: Path) -> None:
    assert erased.inline("restore", "--id", IDS[10], "--yes").code == 0

    (receipt,) = write(erased, private, Wish("T-2"))

    (content,) = annexes_of(erased).values()
    assert json.loads(content)["tokens"] == [token_of(erased, IDS[11])]
    check_annex(receipt, content)


@pytest.mark.parametrize("dropped", [b'{"rows": 1}', None])
def test_rows_that_came_back_make_a_partial_receipt(
    erased: Repo, private: Path, dropped: bytes | None
) -> None:
    project = Project(erased.root)
    if dropped is None:  # a clone without data
        shutil.rmtree(project.shards)
    else:
        project.dropped.write_bytes(dropped)

    (receipt,) = write(erased, private, Wish("T-1"))

    request = receipt.statement.predicate.request
    assert request.outcome == "partial"
    again = any("rows of erased" in reason for reason in request.reasons)
    assert again
    assert receipted_entries(project) == frozenset()
    if dropped is not None:
        assert write(erased, private, Wish("T-1")) == []  # it would say the same
        project.dropped.unlink()
        (better,) = write(erased, private, Wish("T-1"))
        assert better.statement.predicate.request.outcome == "complete"


def test_a_later_erasure_that_found_copies_makes_a_partial_receipt(
    erased: Repo, private: Path
) -> None:
    (first,) = write(erased, private, Wish("T-1"))
    log_erasure(erased, [PURGED, PENDING])
    (second,) = write(erased, private, Wish("T-1"))
    outcomes = [one.statement.predicate.request.outcome for one in (first, second)]
    assert outcomes == ["complete", "partial"]
    states = erased.inline("status", "--json").json["request_states"]
    assert {one["state"] for one in states} == {"verified"}


def test_the_ticket_is_published_on_request(erased: Repo, private: Path) -> None:
    (receipt,) = write(erased, private, Wish("T-1", publish_ticket=True))

    assert receipt.statement.predicate.request.ticket == "T-1"


def test_a_request_that_is_not_erased_is_refused(erased: Repo, private: Path) -> None:
    erased.forget([IDS[20]], "--ticket", "T-3")

    with pytest.raises(InputError, match="T-3 is not erased"):
        write(erased, private, Wish("T-3"))
    with pytest.raises(InputError, match="no request has the ticket T-4"):
        write(erased, private, Wish("T-4"))
    assert receipts_of(erased) == {}
    # A second entry of a request that was erased opens it again.
    erased.forget([IDS[21]], "--ticket", "T-1")
    with pytest.raises(InputError, match="T-1 is not erased"):
        write(erased, private, Wish("T-1"))


def test_a_request_that_was_taken_back_is_refused(erased: Repo, private: Path) -> None:
    assert erased.inline("restore", "--ticket", "T-1", "--yes").code == 0

    with pytest.raises(InputError, match="T-1 was taken back"):
        write(erased, private, Wish("T-1"))


def test_pending_places_make_a_partial_receipt_until_they_are_purged(
    done: Repo,
) -> None:
    repo = done
    private, _ = key_for(repo)
    repo.forget([IDS[3]], "--ticket", "T-1")
    run_all(repo)
    log_erasure(repo, [PURGED, PENDING])

    (first,) = write(repo, private)
    assert first.statement.predicate.request.outcome == "partial"
    assert first.statement.predicate.purge.pending == ("the remote backup",)
    assert "the remote backup is pending: no rights to delete" in (
        first.statement.predicate.request.reasons
    )
    assert receipted_entries(Project(repo.root)) == frozenset()
    assert write(repo, private) == []

    log_erasure(repo, [PURGED])
    (second,) = write(repo, private)
    assert second.statement.predicate.request.outcome == "complete"
    assert second.heads == (first.name,)
    assert receipted_entries(Project(repo.root)) == set(second.statement.predicate.request.entries)


def test_evidence_that_does_not_pass_makes_a_partial_receipt(erased: Repo, private: Path) -> None:
    erased.forget([IDS[30]])  # the report is on an older list
    (receipt,) = write(erased, private, Wish("T-1"))

    found = receipt.statement.predicate
    assert (found.request.outcome, found.verification.verdict) == ("partial", "stale")
    assert any("forget list has changed" in reason for reason in found.verification.rests_on)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill", "disk full"])
def test_no_receipt_is_half_or_lost_at_any_file_operation(
    erased: Repo, private: Path, tmp_path: Path, fault: Fault
) -> None:
    (old,) = write(erased, private, Wish("T-1"))
    before = receipts_of(erased)
    for number in range(1, _MOST):
        copy = Repo(tmp_path / f"copy-{number}")
        shutil.copytree(erased.root, copy.root, ignore=shutil.ignore_patterns("cache"))
        try:
            with fault_at(number, copy.root, fault):
                write(copy, private)
        except (Killed, OSError):
            acknowledged = False
        else:
            acknowledged = True
        after = receipts_of(copy)
        assert after.items() >= before.items(), number
        assert len(after) == 2 if acknowledged else len(after) in {1, 2}, number
        keys = Keys(read_keys(Project(copy.root)))
        checked = check_files(after, keys, whole=True, anchors=(old.name,))
        assert checked.failures == (), number
        for receipt in checked.receipts.values():
            check_annex(receipt, annexes_of(copy)[f"{receipt.name}.json"])
        if fault == "disk full" and not acknowledged:
            assert annexes_of(copy).keys() == after.keys(), number
        # Called again, it ends as it would have without the fault.
        write(copy, private)
        assert len(receipts_of(copy)) == 2
        shutil.rmtree(copy.root)
        if acknowledged:
            break
    else:
        pytest.fail(f"{_MOST} file operations were not enough")
    assert number > 3


def test_a_receipt_is_synced_with_its_folder_before_it_is_acknowledged(
    erased: Repo, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, str]] = []
    sync, replace = os.fsync, Path.replace

    def note_sync(descriptor: int) -> None:
        events.append(("sync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        sync(descriptor)

    def note_replace(path: Path, target: Path) -> Path:
        events.append(("rename", f"{path} {target}"))
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_replace)
    (receipt,) = write(erased, private, Wish("T-1"))

    name = f"{receipt.name}.json"
    for folder in (erased.root / ".unlearn/receipts", erased.root / "data/receipts"):
        temporary = next(
            what.split()[0]
            for kind, what in events
            if kind == "rename"
            and folder.name in what
            and str(folder) in what
            and what.endswith(name)
        )
        order = [
            events.index(("sync", temporary)),
            events.index(("rename", f"{temporary} {folder / name}")),
            events.index(("sync", str(folder))),
        ]
        assert order == sorted(order)
    # The annex comes first: a receipt without its annex could not be explained.
    renames = [what for kind, what in events if kind == "rename" and what.endswith(name)]
    assert [".unlearn/receipts" in what.split()[1] for what in renames] == [True, False]


@pytest.mark.slow
def test_many_processes_at_once_write_one_chain(erased: Repo, private: Path) -> None:
    line = ("receipt", "create", "--signer", str(private))
    runs = [erased.start(*line, env={"UNLEARN_RECEIPT_PASSPHRASE": WORDS}) for _ in range(3)]
    for run in runs:
        _, err = run.communicate(timeout=120)
        assert run.returncode == 0, err

    files = receipts_of(erased)
    checked = check_files(files, Keys(read_keys(Project(erased.root))), whole=True)
    assert checked.failures == ()
    assert len(files) == 2
    assert sorted(len(one.heads) for one in checked.receipts.values()) == [0, 1]


class _Clock(datetime):
    """A clock that can be set."""

    away = timedelta()

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        assert tz is UTC
        return datetime.now(UTC) + cls.away


def test_a_clock_before_the_last_receipt_or_the_erasure_is_refused(
    erased: Repo, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create_module, "datetime", _Clock)
    monkeypatch.setattr(_Clock, "away", timedelta(days=2))
    write(erased, private, Wish("T-1"))
    before = receipts_of(erased)

    for away, what in ((timedelta(days=1), "the last receipt"), (timedelta(days=-9), "the last")):
        monkeypatch.setattr(_Clock, "away", away)
        with pytest.raises(InputError, match=f"clock of this machine says .* before {what}"):
            write(erased, private, Wish("T-2"))
    assert receipts_of(erased) == before
    shutil.rmtree(erased.root / "data/receipts/keys")
    for path in (erased.root / "data/receipts").glob("*.json"):
        path.unlink()
    with pytest.raises(InputError, match="before the erasure"):
        write(erased, private, Wish("T-2"))


def test_a_damaged_receipt_stops_the_next_one(erased: Repo, private: Path) -> None:
    write(erased, private, Wish("T-1"))
    (path,) = (erased.root / "data/receipts").glob("*.json")
    path.write_bytes(path.read_bytes()[:-20])

    done = create(erased, private)

    assert refused(done) == f"data/receipts/{path.name} is not a whole receipt"
    assert len(receipts_of(erased)) == 1
    with pytest.raises(InputError, match="not a whole receipt"):
        receipted_entries(Project(erased.root))


def test_without_the_right_key_nothing_is_written(
    erased: Repo, private: Path, tmp_path: Path
) -> None:
    other = erased.copy(tmp_path / "other")
    shutil.rmtree(other.root / "data/receipts/keys")
    foreign, _ = key_for(other)

    for repo, signer, message in (
        (erased, foreign, "the signer's key is none of the public keys"),
        (erased, tmp_path / "none.pem", "there is no private key none.pem"),
    ):
        assert message in refused(create(repo, signer))
    shutil.rmtree(erased.root / "data/receipts/keys")
    assert "there is no public key in data/receipts/keys" in refused(create(erased, private))
    wrong = erased.unlearn(
        "receipt", "create", "--signer", str(foreign), env={"UNLEARN_RECEIPT_PASSPHRASE": "no word"}
    )
    assert refused(wrong) == "the passphrase is wrong, or the file is no private key"
    assert refused(
        erased.unlearn("receipt", "create", "--signer", str(foreign), stdin="")
    ).startswith("no passphrase was given")
    assert receipts_of(erased) == {}
    assert annexes_of(erased) == {}


@pytest.fixture
def external(tmp_path: Path) -> str:
    """Return the command of a signer that keeps its key to itself: openssl."""
    key = tmp_path / "hardware.pem"
    for line in (
        ["genpkey", "-algorithm", "ed25519", "-out", str(key)],
        ["pkey", "-in", str(key), "-pubout", "-out", str(tmp_path / "public.pem")],
    ):
        subprocess.run(["openssl", *line], check=True, capture_output=True)
    script = tmp_path / "sign.sh"
    script.write_text(
        f"#!/bin/sh\nset -e\ncat > {tmp_path}/content\n"
        f"openssl pkeyutl -sign -rawin -inkey {key} -in {tmp_path}/content\n",
        encoding="ascii",
    )
    script.chmod(0o755)
    return f"command:{script}"


def test_an_external_program_can_sign(erased: Repo, external: str, tmp_path: Path) -> None:
    shutil.rmtree(erased.root / "data/receipts/keys")
    public = ("--public", str(tmp_path / "public.pem"))
    made = erased.inline("receipt", "keygen", "--signer", external, *public, "--json")
    assert made.code == 0, made.err

    done = erased.inline("receipt", "create", "--signer", external)

    assert done.code == 0, done.err
    keys = Keys(read_keys(Project(erased.root)))
    assert check_files(receipts_of(erased), keys, whole=True).failures == ()
    for program, message in (
        ("false", "failed with exit code 1"),
        ("true", "printed no Ed25519 signature"),
        (str(tmp_path / "none"), "cannot be run"),
    ):
        failed = erased.inline("receipt", "create", "--signer", f"command:{program}")
        assert failed.code == 0  # every request has its receipt: nobody has to sign
        shutil.copytree(erased.root / "data/receipts", tmp_path / f"{Path(program).name}-kept")
        for path in (erased.root / "data/receipts").glob("*.json"):
            path.unlink()
        assert message in refused(
            erased.inline("receipt", "create", "--signer", f"command:{program}"), 3
        )
        assert receipts_of(erased) == {}
        shutil.copytree(
            tmp_path / f"{Path(program).name}-kept",
            erased.root / "data/receipts",
            dirs_exist_ok=True,
        )


def test_signatures_of_programs_may_be_raw_hexadecimal_or_base64(tmp_path: Path) -> None:
    raw = bytes(range(64))
    import base64

    for printed in (raw, raw.hex().encode() + b"\n", base64.b64encode(raw) + b"\n"):
        (tmp_path / "out").write_bytes(printed)
        assert CommandSigner(f"cat '{tmp_path / 'out'}'").sign(b"content") == raw


def test_expired_annexes_are_deleted_with_the_next_call(erased: Repo, private: Path) -> None:
    write(erased, private, Wish("T-1", valid_until=date(2027, 1, 1)))
    (path,) = (erased.root / ".unlearn/receipts").glob("*.json")
    content = json.loads(path.read_bytes())
    path.write_text(json.dumps(content | {"validUntil": "2026-01-01"}), encoding="ascii")
    (path.parent / "notes.json").write_text("{}", encoding="ascii")

    created = create_receipts(Project(erased.root), read_private(private, WORDS), Wish("T-2"))

    assert created.expired_annexes == 1
    assert not path.exists()
    assert (path.parent / "notes.json").exists()
    assert len(read_receipts(Project(erased.root))) == 2


def test_an_expired_annex_stays_if_no_receipt_can_be_written(
    erased: Repo, private: Path, tmp_path: Path
) -> None:
    write(erased, private, Wish("T-1", valid_until=date(2027, 1, 1)))
    (path,) = (erased.root / ".unlearn/receipts").glob("*.json")
    content = json.loads(path.read_bytes())
    path.write_text(json.dumps(content | {"validUntil": "2026-01-01"}), encoding="ascii")
    other = erased.copy(tmp_path / "other")
    shutil.rmtree(other.root / "data/receipts/keys")
    foreign, _ = key_for(other)

    annexes, receipts = annexes_of(erased), receipts_of(erased)
    for signer in (foreign, tmp_path / "none.pem"):
        refused(create(erased, signer))
        assert (annexes_of(erased), receipts_of(erased)) == (annexes, receipts)
    shutil.rmtree(erased.root / "data/receipts/keys")
    refused(create(erased, private))
    assert (annexes_of(erased), receipts_of(erased)) == (annexes, receipts)
    assert path.name in annexes


def test_git_keeps_receipts_and_keys_and_nothing_else(erased: Repo, private: Path) -> None:
    write(erased, private)
    folder = erased.root / "data/receipts"
    (folder / "annex.txt").write_text("a person", encoding="ascii")
    (folder / "keys/private.pem").write_text("a key", encoding="ascii")

    erased.git("add", "-A")

    tracked = set(erased.git("ls-files", "data/receipts").split())
    key = read_keys(Project(erased.root))[0].keyid
    assert tracked == {f"data/receipts/{name}" for name in receipts_of(erased)} | {
        f"data/receipts/keys/{key}.json"
    }
    erased.commit("receipts")
    doctor = erased.inline("doctor")
    assert "must not be in git" not in doctor.out + doctor.err
    erased.git("add", "--force", "data/receipts/keys/private.pem")
    doctor = erased.inline("doctor")
    assert "must not be in git: data/receipts/keys/private.pem" in doctor.out


@pytest.mark.parametrize("kind", ["algorithm-1", "algorithm-2"])
def test_the_upgraded_ignore_file_of_an_older_project_keeps_receipts(
    tmp_path: Path, kind: str
) -> None:
    older = Path(__file__).parent / f"projects/{kind}/exact/gitignore"
    (tmp_path / ".gitignore").write_bytes(render_gitignore(older.read_text("utf-8"), []))
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    digest = "0a" * 32
    kept = [f"data/receipts/{digest}.json", f"data/receipts/{digest}.tsr"]
    kept.append(f"data/receipts/keys/{digest}.json")
    others = ["data/receipts/annex.txt", "data/receipts/keys/private.pem"]
    others += [f"data/receipts/.unlearn-tmp-1-{digest}.json", f".unlearn/receipts/{digest}.json"]

    assert ignored(tmp_path, *kept, *others) == others


@pytest.mark.slow
def test_a_real_erasure_gives_a_complete_receipt_and_leaves_no_residue(done: Repo) -> None:
    private, _ = key_for(done)
    done.forget([IDS[3]], "--ticket", "T-1")
    done.commit("forget")
    assert done.unlearn("repro").code == 0
    done.commit("run")
    erased = done.unlearn("erase", "--yes")
    assert erased.code == 0, erased.out + erased.err

    (receipt,) = write(done, private)

    found = receipt.statement.predicate
    assert found.request.outcome == "complete"
    assert {place.name for place in found.purge.places} >= {"DVC's cache", "the project"}
    assert found.verification.reports[0].name == "reports/verdict.json"
    (kept,) = found.verification.reports[1:]
    assert kept.name.startswith("reports/evidence/")
    content = (done.root / kept.name).read_bytes()
    assert kept.sha256 == hashlib.sha256(content).hexdigest()
    assert kept.seal == json.loads(content)["seal"]
    assert any(text.startswith("before the erasure: ") for text in found.verification.rests_on)
    done.commit("receipt")
    scan = done.unlearn("scan")
    assert scan.code == 0, scan.out


def test_a_signed_tag_names_the_newest_receipts(
    erased: Repo, private: Path, tmp_path: Path
) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen here, which signs the tag")
    failed = create(erased, private, "--ticket", "T-1", "--tag")
    assert refused(failed, 3) == ("git could not make a signed tag; 1 receipt written all the same")
    line = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "sign")]
    subprocess.run(line, check=True)
    signers = tmp_path / "signers"
    signers.write_text(f"tests@example.org {(tmp_path / 'sign.pub').read_text()}", encoding="ascii")
    for name, value in (
        ("gpg.format", "ssh"),
        ("user.signingKey", str(tmp_path / "sign.pub")),
        ("gpg.ssh.allowedSignersFile", str(signers)),
    ):
        erased.git("config", name, value)
    assert create(erased, private, "--ticket", "T-1", "--json").json["tag"] is None

    erased.git("config", "tag.gpgSign", "true")
    first = create(erased, private, "--ticket", "T-1", "--json").json
    second = create(erased, private, "--json").json

    assert create(erased, private, "--no-tag", "--json").json["tag"] is None
    assert create(erased, private, "--json").json["tag"] == second["tag"] != first["tag"]
    for answer in (first, second):
        erased.git("tag", "--verify", answer["tag"])
        message = erased.git("tag", "--list", "--format=%(contents:body)", answer["tag"])
        assert message.split("-----BEGIN")[0].split() == answer["heads"]
