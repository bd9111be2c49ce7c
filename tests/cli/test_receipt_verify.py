"""`unlearn receipt verify`: by a stranger, with public keys alone."""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from unlearn.stages.receipts.check import check_files
from unlearn.stages.receipts.keys import Keys

from tests.cli.conftest import refused
from tests.conftest import Done, Repo
from tests.stages.receipts.receipts import (
    OTHER_PROJECT,
    PROJECT,
    START,
    make_chain,
    make_key,
    make_statement,
    names,
)

KEY = make_key(seed=1)

#: Runs a command line, and ends the process at the first socket, and at the first import of pickle.
PROBE = """\
import os, sys

def forbid(event, arguments):
    if event.startswith("socket.") or event in ("urllib.Request", "pickle.find_class"):
        os.write(2, f"forbidden: {event}".encode())
        os._exit(99)
    if event == "import" and arguments[0] in ("pickle", "_pickle", "cloudpickle", "dill", "joblib"):
        os.write(2, f"forbidden: {arguments[0]}".encode())
        os._exit(98)

sys.addaudithook(forbid)
from unlearn.cli.app import main
sys.argv = ["unlearn", *sys.argv[1:]]
exec(os.environ.get("BEFORE", ""))
main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of three receipts and a key, which is no project and no repository."""
    (tmp_path / "receipts/keys").mkdir(parents=True)
    (tmp_path / "key.json").write_bytes(KEY.file)
    for name, content in make_chain(KEY, 3).items():
        (tmp_path / "receipts" / name).write_bytes(content)
    return tmp_path


def verify(folder: Path, *arguments: str) -> Done:
    return Repo(folder).inline("receipt", "verify", *arguments, "--key", "key.json")


def codes(done: Done) -> list[str]:
    return [one["code"] for one in done.json["failures"]]


def test_receipts_hold_outside_any_project(folder: Path) -> None:
    done = verify(folder, "receipts", "--json")

    assert done.code == 0, done.out
    assert done.json["verified"] is True
    assert len(done.json["receipts"]) == 3
    assert {one["project"] for one in done.json["receipts"]} == {PROJECT}
    text = verify(folder, "receipts")
    assert text.out.endswith("3 receipts hold\n")


def test_one_receipt_of_a_chain_holds_by_itself(folder: Path) -> None:
    newest = names(make_chain(KEY, 3))[-1]
    shutil.copy(folder / f"receipts/{newest}.json", folder / "mine.json")

    assert verify(folder, "mine.json").code == 0


def test_each_failure_has_its_code_and_exit_1(folder: Path) -> None:
    _, second, third = names(make_chain(KEY, 3))
    path = folder / f"receipts/{second}.json"
    content = path.read_bytes()

    path.write_bytes(content[:-1])
    assert sorted(codes(verify(folder, str(path), "--json"))) == ["bad-envelope"]
    path.unlink()
    done = verify(folder, "receipts", "--json")
    assert (done.code, codes(done)) == (1, ["chain-broken"])
    path.write_bytes(content)
    (folder / f"receipts/{third}.json").unlink()
    assert verify(folder, "receipts").code == 0
    done = verify(folder, "receipts", "--anchor", third, "--json")
    assert (done.code, codes(done)) == (1, ["truncated"])
    assert verify(folder, "receipts", "--anchor", second).code == 0
    done = verify(folder, "receipts", "--project", OTHER_PROJECT, "--json")
    assert (done.code, codes(done)) == (1, ["other-project", "other-project"])
    text = verify(folder, str(path), "--project", OTHER_PROJECT)
    assert f"{path}: other-project: " in text.out
    assert "not verified: 1 failure" in text.out


def test_a_folder_without_its_only_receipt_is_truncated_by_the_anchor(folder: Path) -> None:
    for path in (folder / "receipts").glob("*.json"):
        path.unlink()
    anchor = names(make_chain(KEY, 1))[0]

    done = verify(folder, "receipts", "--anchor", anchor, "--json")

    assert (done.code, codes(done), done.json["receipts"]) == (1, ["truncated"], [])
    (folder / "annex.json").write_bytes(b"annex")
    assert verify(folder, "receipts", "--anchor", anchor, "--annex", "annex.json").code == 1
    text = verify(folder, "receipts", "--anchor", anchor)
    assert f"truncated: the newest receipt, {anchor[:12]}, is missing" in text.out
    assert refused(verify(folder, "receipts")) == "there is no receipt in the folder"


def test_the_annex_is_checked_with_its_receipt(folder: Path) -> None:
    (folder / "annex.json").write_bytes(b"annex")
    (folder / "other.json").write_bytes(b"another")
    one = f"receipts/{names(make_chain(KEY, 1))[0]}.json"

    assert verify(folder, one, "--annex", "annex.json").code == 0
    done = verify(folder, one, "--annex", "other.json", "--json")
    assert (done.code, codes(done)) == (1, ["annex-differs"])
    assert (
        refused(verify(folder, "receipts", "--annex", "annex.json")) == "--annex is for one receipt"
    )


def test_a_key_in_the_folder_is_trusted_if_a_given_key_signed_it(folder: Path) -> None:
    second = make_key(seed=2, since=START, previous=KEY)
    content = second.sign(make_statement(number=7).payload)
    strange = make_key(seed=3, since=START)
    (folder / "one").mkdir()
    (folder / "one/a.json").write_bytes(content)
    assert codes(verify(folder, "one", "--json")) == ["unknown-key"]

    (folder / "one/keys").mkdir()
    (folder / "one/keys/second.json").write_bytes(second.file)
    (folder / "one/keys/damaged.json").write_bytes(b"{")
    assert verify(folder, "one").code == 0
    (folder / "one/b.json").write_bytes(strange.sign(make_statement(number=8).payload))
    (folder / "one/keys/strange.json").write_bytes(strange.file)
    assert codes(verify(folder, "one", "--json")) == ["unknown-key"]


def test_a_key_in_the_folder_that_a_followed_key_signed_fails_by_its_own_name(folder: Path) -> None:
    second = make_key(seed=2, since=START + timedelta(days=1), previous=KEY)
    stolen = make_key(seed=3, since=START + timedelta(days=201), previous=KEY)
    (folder / "receipts/keys/second.json").write_bytes(second.file)
    assert verify(folder, "receipts").code == 0
    later = make_statement(created=START + timedelta(days=202), number=9)
    (folder / "receipts/z.json").write_bytes(stolen.sign(later.payload))
    (folder / "receipts/keys/stolen.json").write_bytes(stolen.file)

    done = verify(folder, "receipts", "--json")

    assert (done.code, codes(done)) == (1, ["key-fork", "key-fork"])
    assert [one["file"] for one in done.json["failures"]] == [None, "receipts/z.json"]
    assert len(done.json["receipts"]) == 3, "receipts of the first key still hold"


def test_bad_input_has_one_clear_line(folder: Path) -> None:
    assert (
        refused(verify(folder, "none.json"))
        == "none.json cannot be read: No such file or directory"
    )
    (folder / "empty").mkdir()
    assert refused(verify(folder, "empty")) == "there is no receipt in the folder"
    (folder / "key.json").write_bytes(b"no key")
    assert refused(verify(folder, "receipts")).startswith(
        "key.json is not a public key of receipts"
    )
    for option in (("--anchor", "0a0a"), ("--project", "x" * 32), ("--anchor", "A" * 64)):
        assert "hexadecimal digits" in refused(verify(folder, "receipts", *option))
    assert "Missing option '--key'" in Repo(folder).inline("receipt", "verify", "receipts").err


def probe(folder: Path, *before: str, script: str = "") -> subprocess.CompletedProcess[str]:
    line = ("receipt", "verify", "receipts", "--key", "key.json")
    # Coverage imports pickle before the probe starts, and the probe would not see a later import.
    plain = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    return subprocess.run(
        [*before, sys.executable, "-c", PROBE, *line],
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
        env={**plain, "BEFORE": script},
    )


def test_no_socket_is_opened_and_pickle_is_not_imported(folder: Path) -> None:
    done = probe(folder)

    assert (done.returncode, done.stderr) == (0, "")
    # The probe itself can fail.
    assert probe(folder, script="import socket; socket.socket()").returncode == 99
    assert probe(folder, script="import pickle").returncode == 98


def test_it_works_where_there_is_no_network(folder: Path) -> None:
    namespace = ("unshare", "--map-root-user", "--net")
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no network namespaces here")

    done = probe(folder, *namespace)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("3 receipts hold\n")


def test_it_imports_nothing_heavy(folder: Path) -> None:
    script = (
        "import json, os, sys\n"
        "from unlearn.cli.app import run\n"
        "code = run(sys.argv[1:])\n"
        "print(json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]))\n"
    )
    line = ("receipt", "verify", "receipts", "--key", "key.json")
    done = subprocess.run(
        [sys.executable, "-c", script, *line],
        cwd=folder,
        text=True,
        capture_output=True,
        check=True,
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    heavy = {"torch", "sklearn", "scipy", "pandas", "numpy", "pyarrow", "dvc", "yaml", "rich"}
    assert not heavy & set(modules)


def test_it_starts_within_half_a_second(folder: Path) -> None:
    """Processor time: on a machine that does much else, the clock measures the others."""
    line = ("receipt", "verify", "receipts", "--key", "key.json")
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "unlearn.cli", *line],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 0.5


@pytest.mark.slow
def test_ten_thousand_receipts_are_verified_within_20_seconds() -> None:
    files = make_chain(KEY, 10_000)
    newest = names(files)[-1]

    begin = time.process_time()
    checked = check_files(files, Keys([KEY.public]), whole=True, anchors=(newest,))
    spent = time.process_time() - begin

    assert checked.failures == ()
    assert len(checked.receipts) == 10_000
    assert spent < 20
