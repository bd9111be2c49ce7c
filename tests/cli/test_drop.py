"""`unlearn forget --from` and `unlearn answer` with downloads of California's DROP."""

import base64
import hashlib
import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from unlearn.stages.context import open_project
from unlearn.stages.ledger.log import read_log
from unlearn.stages.project.paths import Project

from tests.cli.conftest import PEOPLE, refused, run_all, unchanged
from tests.conftest import Repo, token_of
from tests.stages.ledger.erasures import PENDING, log_erasure

#: Two people by themselves, and two who share a telephone.
FIRST, SECOND, THIRD, FOURTH = PEOPLE["person"].unique()[:4]
NOBODY = "nobody@example.org"


def digest(standard: str) -> str:
    return base64.b64encode(hashlib.sha256(standard.encode()).digest()).decode()


def email_of(person: str) -> str:
    return f"{person}@example.org"


def phone_of(person: str) -> str:
    return "4155550000" if person in (THIRD, FOURTH) else f"41555{int(person[1:]) + 1:05}"


#: The identifiers of work items are twelve letters and digits.
def item(number: int) -> str:
    return f"Item{number:08}"


def rows(*entries: tuple[int, str]) -> str:
    return "".join(["ID,Hash\n", *(f"{item(number)},{found}\n" for number, found in entries)])


EMAILS = rows((1, digest(email_of(FIRST))), (2, digest(NOBODY)), (3, digest(email_of(SECOND))))
PHONES = rows((4, digest("4155550000")), (5, digest("2125550000")))


@pytest.fixture
def broker(people: Repo) -> Repo:
    """Return a project whose dataset has contact data, in columns that no model reads."""
    path = people.root / people.params()["dataset"]["path"]
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame["mail"] = [f" {email_of(person).upper()}" for person in frame["person"]]
    frame["phone"] = [
        f"+1 ({phone_of(person)[:3]}) {phone_of(person)[3:]}" for person in frame["person"]
    ]
    frame.to_csv(path, index=False)
    contact = {"email": "mail", "phone": ["phone"]}
    people.set_params(dataset={"contact": contact}, requests={"data_broker": "4821"})
    people.dvc("add", "--quiet", people.params()["dataset"]["path"])
    people.commit("contact data")
    return people


def download(repo: Repo, name: str = "20260312_4821_DROP.zip", **lists: str) -> str:
    """Write a download with these lists, or the one list that the name is of."""
    path = repo.root.parent / name
    if name.endswith(".csv"):
        path.write_text(next(iter(lists.values())), encoding="utf-8")
        return str(path)
    with zipfile.ZipFile(path, "w") as archive:
        for kind, text in lists.items():
            archive.writestr(f"20260312_4821_{kind}.csv", text)
    return str(path)


def the_list(repo: Repo) -> set[str]:
    return set((repo.root / "data/forget_list.txt").read_text(encoding="ascii").split())


def reply(path: Path) -> dict[str, int]:
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    assert head == "Id,Status"
    return {name: int(code) for name, code in (line.split(",") for line in lines)}


@pytest.mark.slow
def test_a_download_is_forgotten_erased_and_answered(broker: Repo, tmp_path: Path) -> None:
    path = (
        download(broker, Email=EMAILS, Phone=PHONES, MAID="ID,Hash\n")
        if False
        else download(broker, Email=EMAILS, Phone=PHONES)
    )
    out = tmp_path / "replies"
    answer = broker.inline(
        "forget", "--from", path, "--shared", "keep", "--answer", str(out), "--json"
    ).json

    assert the_list(broker) == {token_of(broker, person, "subject") for person in (FIRST, SECOND)}
    assert (answer["added"], answer["unknown"], answer["due"]) == (2, 2, "2026-04-26")
    # Of people who are to be deleted, nothing is said before.
    out_of = {name: reply(out / f"20260312_4821_{name}.csv") for name in ("Email", "Phone")}
    assert out_of == {"Email": {item(2): 5}, "Phone": {item(4): 4, item(5): 5}}

    (entry,) = read_log(Project(broker.root)).entries
    assert (entry.ticket, entry.regime, str(entry.received)) == (
        "DROP:20260312:4821",
        "drop",
        "2026-03-12",
    )
    # Nothing in git has a work item, a hash, or anything of those who were not found.
    logged = json.dumps(list(broker.files("data/requests").values()), default=bytes.decode)
    for text in (EMAILS, PHONES):
        for line in text.splitlines()[1:]:
            assert not any(part in logged for part in line.split(","))
    assert sorted((entry.items or {}).values()) == [3, 3, 4]

    broker.commit("request")
    run_all(broker)
    log_erasure(open_project(Project(broker.root)), PENDING)
    done = broker.inline("answer", path, "--to", str(out), "--json").json
    assert (done["answered"], done["waiting"], done["not_found"]) == (3, 2, 2)

    log_erasure(open_project(Project(broker.root)))
    # The rows are gone: what the log says of the entries is what is answered.
    dataset = broker.root / broker.params()["dataset"]["path"]
    frame = pd.read_csv(dataset, dtype=str, keep_default_na=False)
    frame[~frame["person"].isin([FIRST, SECOND])].to_csv(dataset, index=False)
    done = broker.inline("answer", path, "--to", str(out), "--json").json
    assert (done["answered"], done["waiting"], done["status"]) == (5, 0, None)
    assert reply(out / "20260312_4821_Email.csv") == {item(1): 3, item(2): 5, item(3): 3}
    assert (out / "20260312_4821_Email.csv").stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_who_was_taken_back_from_a_download_has_no_status(broker: Repo, tmp_path: Path) -> None:
    path = download(broker, Email=EMAILS)
    assert broker.inline("forget", "--from", path).code == 0
    subjects = tmp_path / "subjects.txt"
    subjects.write_text(f"{SECOND}\n", encoding="utf-8")
    assert broker.inline("restore", "--subjects", str(subjects), "--yes").code == 0
    run_all(broker)
    dataset = broker.root / broker.params()["dataset"]["path"]
    frame = pd.read_csv(dataset, dtype=str, keep_default_na=False)
    frame[frame["person"] != FIRST].to_csv(dataset, index=False)
    log_erasure(open_project(Project(broker.root)))

    done = broker.inline("answer", path, "--to", str(tmp_path / "reply.csv"), "--json").json

    assert reply(tmp_path / "reply.csv") == {item(1): 3, item(2): 5}
    assert (done["answered"], done["waiting"]) == (2, 1)


def test_exempt_people_stay_and_shared_identities_are_a_choice(
    broker: Repo, tmp_path: Path
) -> None:
    path = download(broker, Email=EMAILS, Phone=PHONES)
    with unchanged(broker.root):
        said = refused(broker.inline("forget", "--from", path))
    assert "1 entry is the identity of several people (20260312_4821_Phone.csv, line 2)" in said
    exempt = tmp_path / "exempt.txt"
    exempt.write_text(f"{item(1)}\n", encoding="utf-8")

    options = ("--shared", "forget", "--exempt", str(exempt))
    assert broker.inline("forget", "--from", path, *options).code == 0

    people = (SECOND, THIRD, FOURTH)
    assert the_list(broker) == {token_of(broker, person, "subject") for person in people}
    broker.inline("answer", path, "--to", str(tmp_path / "out"))
    assert reply(tmp_path / "out/20260312_4821_Email.csv") == {item(1): 2, item(2): 5}
    exempt.write_text("Other1234567\n", encoding="utf-8")
    assert "1 of the exempt entries are not in" in refused(
        broker.inline("forget", "--from", path, *options)
    )


def test_the_same_download_again_changes_nothing(broker: Repo) -> None:
    path = download(broker, Email=EMAILS)
    assert broker.inline("forget", "--from", path).code == 0
    with unchanged(broker.root):
        answer = broker.inline("forget", "--from", path, "--json").json
    assert (answer["added"], answer["already"], answer["unknown"]) == (0, 2, 1)


@pytest.mark.slow
def test_entries_are_known_after_a_rotation_of_the_key(broker: Repo, tmp_path: Path) -> None:
    path = download(broker, Email=EMAILS)
    assert broker.inline("forget", "--from", path).code == 0
    broker.commit("request")
    assert broker.inline("rekey", "--yes").code == 0
    with unchanged(broker.root):
        answer = broker.inline("forget", "--from", path, "--json").json
    assert (answer["added"], answer["already"], answer["unknown"]) == (0, 2, 1)
    broker.commit("rotation")
    run_all(broker)
    log_erasure(open_project(Project(broker.root)))
    dataset = broker.root / broker.params()["dataset"]["path"]
    frame = pd.read_csv(dataset, dtype=str, keep_default_na=False)
    frame[~frame["person"].isin([FIRST, SECOND])].to_csv(dataset, index=False)
    assert broker.inline("answer", path, "--to", str(tmp_path / "reply.csv")).code == 0
    assert reply(tmp_path / "reply.csv") == {item(1): 3, item(2): 5, item(3): 3}


def test_one_list_and_records_without_persons(broker: Repo) -> None:
    broker.set_params(dataset={"subject": None, "subject_type": None})
    path = download(broker, "20260312_4821_Email_part01.csv", Email=EMAILS)
    assert broker.inline("forget", "--from", path).code == 0
    records = PEOPLE[PEOPLE["person"].isin([FIRST, SECOND])]["id"]
    assert the_list(broker) == {token_of(broker, raw) for raw in records}


def test_nobody_was_found(broker: Repo, tmp_path: Path) -> None:
    path = download(broker, Email=rows((1, digest(NOBODY))))
    with unchanged(broker.root):
        answer = broker.inline("forget", "--from", path, "--json").json
        assert (answer["added"], answer["unknown"]) == (0, 1)
        done = broker.inline("answer", path, "--to", str(tmp_path / "reply.csv"), "--json").json
    assert reply(tmp_path / "reply.csv") == {item(1): 5}
    assert done["not_found"] == 1


def test_people_who_were_not_asked_for_are_never_answered(broker: Repo, tmp_path: Path) -> None:
    path = download(broker, Email=EMAILS)
    said = refused(broker.inline("answer", path, "--to", str(tmp_path / "reply.csv")))
    assert "people were found for 2 entries that no request names" in said
    assert not (tmp_path / "reply.csv").exists()


def test_the_index_follows_the_dataset_and_has_no_contact_data(broker: Repo) -> None:
    path = download(broker, Email=EMAILS)
    assert broker.inline("forget", "--from", path, "--dry-run").code == 0
    index = broker.root / ".unlearn/contacts.sqlite"
    before = index.stat().st_mtime_ns
    content = index.read_bytes()
    for person in (FIRST, SECOND):
        for secret in (email_of(person), email_of(person).upper(), phone_of(person)):
            raw = hashlib.sha256(secret.encode()).digest()
            for form in (secret.encode(), raw, raw.hex().encode(), base64.b64encode(raw)):
                assert form not in content
    assert broker.git("check-ignore", ".unlearn/contacts.sqlite")

    assert broker.inline("forget", "--from", path, "--dry-run").code == 0
    assert index.stat().st_mtime_ns == before
    dataset = broker.root / broker.params()["dataset"]["path"]
    frame = pd.read_csv(dataset, dtype=str, keep_default_na=False)
    frame[frame["person"] != FIRST].to_csv(dataset, index=False)
    answer = broker.inline("forget", "--from", path, "--dry-run", "--json").json
    assert (answer["added"], answer["unknown"]) == (1, 2)
    index.write_bytes(b"SQLite format 3\0 and no more")
    assert broker.inline("forget", "--from", path, "--dry-run", "--json").json["added"] == 1


HASH = digest("x")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("20260312_4821_Email.csv", f"Id;Hash\n{item(1)};{HASH}\n", "the header is not Id,Hash"),
        ("20260312_4821_Email.csv", f"Hash,Id\n{HASH},{item(1)}\n", "the header is not Id,Hash"),
        ("20260312_4821_Email.csv", "", "is empty: it has no header"),
        ("20260312_4821_Email.csv", "ID,Hash\n", "has no entries"),
        ("20260312_4821_Fax.csv", EMAILS, "there is no list Fax"),
        ("20261312_4821_Email.csv", EMAILS, "begins with no date"),
        ("20260312_4822_Email.csv", EMAILS, "is for the data broker 4822"),
        ("20260312_4821_Email.csv", f"ID,Hash\n{item(1)},{HASH[:-2]}\n", "line 2 has no SHA-256"),
        ("20260312_4821_Email.csv", f"ID,Hash\n{item(1)},{'ab' * 22}\n", "line 2 has no SHA-256"),
        ("20260312_4821_Email.csv", f"ID,Hash\n{item(1)}\n", "line 2 has 1 values"),
        ("20260312_4821_Email.csv", f"ID,Hash\na b,{HASH}\n", "line 2 has an Id that is not"),
        (
            "20260312_4821_Email.csv",
            rows((1, HASH), (1, digest("y"))),
            "line 2 and 20260312_4821_Email.csv, line 3 have the same Id",
        ),
        (
            "20260312_4821_Email.csv",
            rows((1, HASH), (2, HASH)),
            "line 2 and 20260312_4821_Email.csv, line 3 have the same identity",
        ),
        ("20260312_4821_MAID.csv", EMAILS, "names no columns for the list MAID"),
        ("29990312_4821_Email.csv", EMAILS, "--received 2999-03-12 is in the future"),
    ],
)
def test_a_download_that_is_wrong_changes_nothing(
    broker: Repo, name: str, text: str, message: str
) -> None:
    path = download(broker, name, Email=text)
    with unchanged(broker.root):
        said = refused(broker.inline("forget", "--from", path))
    assert message in said
    assert HASH not in said


def test_archives_that_are_wrong(broker: Repo) -> None:
    path = Path(download(broker, Email=EMAILS))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"PK\x03\x04"):
        path.write_bytes(content)
        with unchanged(broker.root):
            assert "is no whole ZIP archive" in refused(
                broker.inline("forget", "--from", str(path))
            )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../20260312_4821_Email.csv", EMAILS)
    assert "is no name of a list of DROP" in refused(broker.inline("forget", "--from", str(path)))


def test_withdrawn_entries_are_told(broker: Repo) -> None:
    removed = f"ID,Hash,ListType\n{item(9)},{HASH},Email\n"
    path = download(broker, Email=EMAILS, Removed=removed)
    answer = broker.inline("forget", "--from", path, "--json").json
    assert answer["notes"][0].startswith("1 entry was taken back by their consumers")
    assert answer["added"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--signature", "x"), "--signature is not for a download of DROP"),
        (("--answer", "reply"), "git would get reply"),
        (("--answer", "data/reply.csv", "--column", "person"), "--answer is not for a table"),
    ],
)
def test_options_that_are_not_for_a_download(
    broker: Repo, options: tuple[str, ...], message: str
) -> None:
    path = download(broker, Email=EMAILS)
    with unchanged(broker.root):
        assert message in refused(broker.inline("forget", "--from", path, *options))
    assert message.startswith("git") or "git would get" not in message


@pytest.mark.slow
def test_entries_without_a_match_are_kept_and_their_people_dropped(broker: Repo) -> None:
    dataset = broker.root / broker.params()["dataset"]["path"]
    whole = pd.read_csv(dataset, dtype=str, keep_default_na=False)
    theirs = whole["person"] == FIRST
    whole[~theirs].to_csv(dataset, index=False)
    broker.stages()
    models, shards = broker.files("models"), broker.files("data/shards")
    path = download(broker, Email=EMAILS)

    answer = broker.inline("forget", "--from", path, "--suppress", "--json").json

    assert (answer["added"], answer["unknown"], answer["suppressed"]) == (1, 2, 2)
    kept = (broker.root / "data/suppressed.txt").read_text(encoding="ascii").split()
    assert len(kept) == 2
    assert all(line.startswith("contact:Email:") for line in kept)
    assert not any(part in line for line in kept for part in (NOBODY, digest(NOBODY)))
    with unchanged(broker.root):
        broker.inline("forget", "--from", path, "--suppress")
    # The one who was found is forgotten in the ordinary way.
    broker.inline("restore", "--ticket", "DROP:20260312:4821", "--yes")
    assert len((broker.root / "data/suppressed.txt").read_text(encoding="ascii").split()) == 2

    # One row of the person has no address: it goes too.
    whole.loc[whole.index[theirs][0], "mail"] = ""
    whole.to_csv(dataset, index=False)
    said = broker.stages()
    assert f"shard: {theirs.sum()} rows of erased or suppressed people dropped" in said
    assert broker.files("models") == models
    after = broker.files("data/shards")
    assert json.loads(after.pop("suppressed.json")) == {"rows": theirs.sum()}
    assert after == shards
    status = broker.inline("status", "--json").json
    assert (status["suppressed"], status["suppressed_contacts"]) == (0, 2)
    assert status["dropped"] == theirs.sum()

    # Who is asked for now is found: in the dataset, if not in the shards.
    again = broker.inline("forget", "--from", path, "--json").json
    assert (again["added"], again["unknown"]) == (2, 1)
    # A consumer who cancels the request is suppressed no longer.
    removed = f"ID,Hash,ListType\n{item(1)},{digest(email_of(FIRST))},Email\n"
    cancelled = download(broker, "20260401_4821_DROP.zip", Email=rows((8, HASH)), Removed=removed)
    assert broker.inline("forget", "--from", cancelled).code == 0
    assert len((broker.root / "data/suppressed.txt").read_text(encoding="ascii").split()) == 1


@pytest.fixture
def suppressed(broker: Repo) -> Repo:
    """Return a project with two entries that matched nobody, committed."""
    dataset = broker.root / broker.params()["dataset"]["path"]
    whole = pd.read_csv(dataset, dtype=str, keep_default_na=False)
    whole[whole["person"] != FIRST].to_csv(dataset, index=False)
    assert broker.inline("forget", "--from", download(broker, Email=EMAILS), "--suppress").code == 0
    broker.commit("suppress")
    assert len(contacts(broker)) == 2
    return broker


def contacts(repo: Repo) -> list[str]:
    text = (repo.root / "data/suppressed.txt").read_text(encoding="ascii")
    return [line for line in text.split() if line.startswith("contact:")]


def cancel(repo: Repo, *hashes: str) -> None:
    """Forget a download that takes hashes of e-mail addresses back."""
    taken = [f"{item(50 + number)},{one},Email\n" for number, one in enumerate(hashes)]
    removed = "".join(["ID,Hash,ListType\n", *taken])
    path = download(repo, "20260401_4821_DROP.zip", Email=rows((8, HASH)), Removed=removed)
    assert repo.inline("forget", "--from", path).code == 0


LOST = "of contact data left data/suppressed.txt, and the request log has nobody who took"


@pytest.mark.parametrize("how", ["revert", "checkout", "hand edit", "checkout of a commit"])
def test_suppressed_contact_data_is_never_lost_in_silence(suppressed: Repo, how: str) -> None:
    path = suppressed.root / "data/suppressed.txt"
    whole = contacts(suppressed)
    if how == "revert":
        suppressed.git("revert", "--no-edit", "HEAD")
        # The request of the person who was found is lost as well, which is said first.
        assert "left the forget list" in suppressed.inline("stage", "forget").err
        assert LOST in suppressed.inline("stage", "shard").err
    elif how == "checkout":
        suppressed.git("checkout", "HEAD~1", "--", "data/suppressed.txt")
    elif how == "hand edit":
        path.write_text(path.read_text(encoding="ascii").replace(f"{whole[0]}\n", ""), "ascii")
    else:
        before = suppressed.git("rev-parse", "HEAD~1").strip()
        suppressed.git("checkout", "--quiet", before)
    for command in (("stage", "shard"), ("repro",)) if how != "revert" else ():
        done = suppressed.inline(*command)
        assert done.code == 2, done.out + done.err
        assert LOST in done.err or "the default branch is ahead" in done.err
    if how == "checkout of a commit":
        suppressed.git("checkout", "--quiet", "-")
    else:
        assert suppressed.inline("status", "--json").json["lost"] > 0
        assert suppressed.inline("forget", "--lost").code == 0
    assert contacts(suppressed) == whole
    assert suppressed.inline("stage", "shard").code == 0


@pytest.mark.slow
def test_what_consumers_took_back_is_not_lost_until_they_ask_again(suppressed: Repo) -> None:
    cancel(suppressed, digest(NOBODY), digest("somebody else"))
    (left,) = contacts(suppressed)
    (entry,) = (one for one in read_log(Project(suppressed.root)).entries if one.kind == "contacts")
    (taken,) = entry.withdrawn or ()
    assert (entry.renewed, entry.ticket, taken != left) == (None, None, True)
    suppressed.commit("cancelled")
    assert suppressed.inline("stage", "shard").code == 0
    assert suppressed.inline("status", "--json").json["lost"] == 0
    assert len(suppressed.inline("status", "--json").json["request_states"]) == 1

    assert (
        suppressed.inline("forget", "--from", download(suppressed, Email=EMAILS), "--suppress").code
        == 0
    )
    suppressed.commit("asked again")
    assert sorted(contacts(suppressed)) == sorted([left, taken])
    suppressed.git("revert", "--no-edit", "HEAD")
    assert contacts(suppressed) == [left]
    assert LOST in suppressed.inline("stage", "shard").err
    assert suppressed.inline("forget", "--lost").code == 0
    assert sorted(contacts(suppressed)) == sorted([left, taken])


def test_contact_data_that_was_lost_before_a_rotation_is_put_back(suppressed: Repo) -> None:
    assert suppressed.inline("rekey", "--yes").code == 0
    suppressed.commit("rotation")
    assert suppressed.inline("stage", "shard").code == 0
    path = suppressed.root / "data/suppressed.txt"
    whole = path.read_bytes()
    path.write_bytes(b"")
    assert LOST in suppressed.inline("stage", "shard").err
    assert suppressed.inline("forget", "--lost").code == 0
    assert path.read_bytes() == whole


def test_suppressed_contact_data_is_known_after_a_rotation_of_the_key(broker: Repo) -> None:
    dataset = broker.root / broker.params()["dataset"]["path"]
    whole = pd.read_csv(dataset, dtype=str, keep_default_na=False)
    theirs = whole["person"] == FIRST
    whole[~theirs].to_csv(dataset, index=False)
    path = download(broker, Email=EMAILS)
    broker.inline("forget", "--from", path, "--suppress")
    suppressed = broker.root / "data/suppressed.txt"
    before = suppressed.read_text(encoding="ascii")

    assert broker.inline("rekey", "--yes").code == 0

    lines = suppressed.read_text(encoding="ascii").split()
    assert len(lines) == 2
    assert all(line.startswith("contact:Email:2-") for line in lines)
    with unchanged(broker.root):
        assert broker.inline("forget", "--from", path, "--suppress").code == 0
    whole.to_csv(dataset, index=False)
    assert f"shard: {theirs.sum()} rows of erased or suppressed" in broker.stages("shard")
    # A branch from before the rotation may bring its lines back: they count as well.
    suppressed.write_text(before, encoding="ascii")
    assert f"shard: {theirs.sum()} rows of erased or suppressed" in broker.stages("shard")
    removed = f"ID,Hash,ListType\n{item(1)},{digest(email_of(FIRST))},Email\n"
    cancelled = download(broker, "20260401_4821_DROP.zip", Email=rows((8, HASH)), Removed=removed)
    assert broker.inline("forget", "--from", cancelled).code == 0
    (line,) = suppressed.read_text(encoding="ascii").split()
    assert line in lines


def test_suppressed_contact_data_needs_its_columns(broker: Repo) -> None:
    path = download(broker, Email=EMAILS)
    broker.inline("forget", "--from", path, "--suppress")
    broker.set_params(dataset={"contact": {"phone": "phone"}})
    done = broker.inline("stage", "shard")
    assert done.code == 2
    assert "names no columns for the list Email" in done.err
    (broker.root / "data/suppressed.txt").write_text("contact:Email:00\n", encoding="ascii")
    assert "a line of contact data is damaged" in broker.inline("stage", "shard").err


def test_contact_columns_change_no_model(broker: Repo) -> None:
    broker.set_params(dataset={"contact": None})
    broker.stages()
    before = broker.files("models")
    broker.set_params(dataset={"contact": {"email": "mail"}})
    broker.stages()
    assert broker.files("models") == before
