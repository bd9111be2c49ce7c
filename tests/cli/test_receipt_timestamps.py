"""Time stamps of receipts, by a real authority that the test runs: OpenSSL behind HTTP."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.receipts.check import Checked, Failure, Receipt, check_files, check_receipt
from unlearn.stages.receipts.failures import RefusedError
from unlearn.stages.receipts.keys import Keys
from unlearn.stages.receipts.statement import receipt_name
from unlearn.stages.receipts.timestamps import (
    check_stamp,
    check_stamps,
    check_url,
    read_certificates,
    request_stamp,
)

from tests.cli.conftest import refused, run_all
from tests.cli.receipts import create, key_for, log_erasure, receipts_of
from tests.conftest import Repo
from tests.stages.receipts.receipts import START, make_chain, make_key, make_statement

KEY = make_key(seed=1)
KEYS = Keys([KEY.public])

_SETTINGS = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = A test authority
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[tsa]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[stamps]
default_tsa = stamp
[stamp]
serial = serial
crypto_device = builtin
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
ess_cert_id_alg = sha256
"""


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@dataclass
class Authority:
    """A time stamp authority, with the certificate to trust."""

    folder: Path
    url: str = ""
    asked: list[bytes] = field(default_factory=list)
    #: What it answers instead of a stamp.
    instead: bytes | None = None

    @property
    def certificate(self) -> Path:
        """Its root certificate."""
        return self.folder / "root.pem"

    def make(self) -> None:
        """Make a root certificate, and one that may sign time stamps alone."""
        self.folder.mkdir()
        (self.folder / "settings").write_text(_SETTINGS, encoding="ascii")
        (self.folder / "serial").write_text("01\n", encoding="ascii")
        new = ("req", "-new", "-newkey", "rsa:2048", "-nodes", "-config", "settings")
        root = ("-keyout", "root.key", "-out", "root.pem", "-x509", "-extensions", "root")
        openssl(self.folder, *new, *root, "-days", "30", "-subj", "/CN=A test root")
        openssl(self.folder, *new, "-keyout", "tsa.key", "-out", "tsa.csr")
        ca = ("-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial")
        kind = ("-extfile", "settings", "-extensions", "tsa")
        sign = ("x509", "-req", "-in", "tsa.csr", "-out", "tsa.pem", "-days", "30")
        openssl(self.folder, *sign, *ca, *kind)

    def answer(self, query: bytes) -> bytes:
        """Return the answer to a query."""
        self.asked.append(query)
        if self.instead is not None:
            return self.instead
        (self.folder / "query").write_bytes(query)
        words = ("ts", "-reply", "-queryfile", "query", "-config", "settings", "-section", "stamp")
        openssl(self.folder, *words, "-out", "answer")
        return (self.folder / "answer").read_bytes()


def serve(authority: Authority) -> HTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/timestamp-query"
            content = authority.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    authority.url = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    authority = Authority(tmp_path_factory.mktemp("tsa") / "authority")
    authority.make()
    server = serve(authority)
    yield authority
    server.shutdown()
    server.server_close()


@pytest.fixture
def authority(_authority: Authority) -> Authority:
    """Return an authority that runs."""
    _authority.asked.clear()
    _authority.instead = None
    return _authority


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return another authority, which stamps the same way."""
    authority = Authority(tmp_path_factory.mktemp("tsa") / "other")
    authority.make()
    return authority


def receipt_of(number: int = 0, **more: object) -> Receipt:
    return check_receipt(KEY.sign(make_statement(number=number, **more).payload), KEYS)  # type: ignore[arg-type]


def signature_of(receipt: Receipt) -> bytes:
    return receipt.envelope.signatures[0].signature


def test_a_stamp_holds_for_its_receipt_alone(authority: Authority, other: Authority) -> None:
    receipt = receipt_of()
    stamp = request_stamp(authority.url, signature_of(receipt))
    trusted = read_certificates(authority.certificate)

    time = check_stamp(receipt, stamp, trusted)

    assert time > receipt.statement.predicate.created
    for wrong, certificates in (
        (receipt_of(1), trusted),
        (receipt, read_certificates(other.certificate)),
        (receipt, []),
    ):
        with pytest.raises(RefusedError) as error:
            check_stamp(wrong, stamp, certificates)
        assert error.value.code == "bad-timestamp"
    # The authority sees a digest, never the receipt.
    assert signature_of(receipt) not in authority.asked[0]


@pytest.mark.slow
def test_what_is_changed_in_a_stamp_is_found_or_changes_nothing_that_it_says(
    authority: Authority,
) -> None:
    receipt = receipt_of()
    stamp = request_stamp(authority.url, signature_of(receipt))
    trusted = read_certificates(authority.certificate)
    time = check_stamp(receipt, stamp, trusted)

    refused_bits = 0
    for place in range(0, len(stamp) * 8, 3):
        changed = bytearray(stamp)
        changed[place // 8] ^= 1 << place % 8
        try:
            found = check_stamp(receipt, bytes(changed), trusted)
        except RefusedError as error:
            assert error.code == "bad-timestamp"
            refused_bits += 1
        else:
            # Certificates that come with a stamp are no part of it: others may be needed, or none.
            assert found == time
    assert refused_bits > len(stamp)
    for length in range(0, len(stamp), 50):
        with pytest.raises(RefusedError):
            check_stamp(receipt, stamp[:length], trusted)


def test_a_receipt_later_than_its_stamp_is_refused(authority: Authority) -> None:
    now = receipt_of()
    stamp = request_stamp(authority.url, signature_of(now))
    trusted = read_certificates(authority.certificate)
    time = check_stamp(now, stamp, trusted)

    for minutes, holds in ((4, True), (7, False)):
        later = receipt_of(created=time + timedelta(minutes=minutes))
        stamp = request_stamp(authority.url, signature_of(later))
        if holds:
            check_stamp(later, stamp, trusted)
        else:
            with pytest.raises(RefusedError, match="its time stamp an earlier time"):
                check_stamp(later, stamp, trusted)


def checked_chain() -> Checked:
    return check_files(make_chain(KEY, 3), KEYS, whole=True)


def test_a_stamp_covers_all_receipts_before_it(authority: Authority) -> None:
    checked = checked_chain()
    trusted = read_certificates(authority.certificate)
    files = list(checked.receipts)
    stamps = {
        file: request_stamp(authority.url, signature_of(receipt))
        for file, receipt in checked.receipts.items()
    }

    def stamp_failures(stamps: dict[str, bytes]) -> tuple[Failure, ...]:
        return check_stamps(checked, stamps, trusted, KEYS).failures

    whole = check_stamps(checked, {files[2]: stamps[files[2]]}, trusted, KEYS)
    assert whole.failures == ()
    time = check_stamp(checked.receipts[files[2]], stamps[files[2]], trusted)
    assert whole.times == dict.fromkeys(files, time)
    found = stamp_failures({files[1]: stamps[files[1]]})
    assert [(one.file, one.code) for one in found] == [(files[2], "no-timestamp")]
    found = stamp_failures({files[2]: stamps[files[1]]})
    assert [(one.file, one.code) for one in found] == [
        (files[2], "bad-timestamp"),
        (files[0], "no-timestamp"),
        (files[1], "no-timestamp"),
    ]
    assert len(stamp_failures({})) == 3


def test_a_key_that_ended_cannot_get_a_stamp_for_an_earlier_receipt(authority: Authority) -> None:
    """The receipt says an earlier time. Its stamp is of today, or covers it from a later one."""
    trusted = read_certificates(authority.certificate)
    first = make_key(seed=1, until=START + timedelta(days=1))
    second = make_key(seed=2, since=START + timedelta(days=1), previous=first)
    late = make_statement()
    newer = make_statement(created=START + timedelta(days=1), heads=[receipt_name(late.payload)])
    files = {"late": first.sign(late.payload), "newer": second.sign(newer.payload)}
    keys = Keys([first.public], [second.public])
    checked = check_files(files, keys, whole=True)
    assert checked.failures == ()
    stamps = {
        file: request_stamp(authority.url, signature_of(receipt))
        for file, receipt in checked.receipts.items()
    }

    for given in (stamps, {"newer": stamps["newer"]}):
        found = check_stamps(checked, given, trusted, keys)
        assert [(one.file, one.code) for one in found.failures] == [("late", "key-epoch")]
        time = check_stamp(checked.receipts["late"], stamps["late"], trusted)
        assert time.date().isoformat() in found.failures[0].reason
    # The end that only the follower gives is one as well.
    open_first = make_key(seed=1)
    follower = make_key(seed=2, since=START + timedelta(days=1), previous=open_first)
    keys = Keys([open_first.public], [follower.public])
    found = check_stamps(checked, stamps, trusted, keys)
    assert [(one.file, one.code) for one in found.failures] == [("late", "key-epoch")]


@pytest.mark.parametrize("content", [b"", b"no answer", b"0" * 5000])
def test_an_answer_that_is_no_stamp_is_an_error(authority: Authority, content: bytes) -> None:
    authority.instead = content

    with pytest.raises(ToolError, match="gave no stamp"):
        request_stamp(authority.url, b"s" * 64)


def test_a_stamp_of_something_else_is_an_error(authority: Authority) -> None:
    authority.instead = request_stamp(authority.url, b"t" * 64)

    with pytest.raises(ToolError, match="gave no stamp"):
        request_stamp(authority.url, b"s" * 64)


def test_bad_input_of_time_stamps(tmp_path: Path) -> None:
    for url in ("ftp://x", "file:///etc/passwd", "x"):
        with pytest.raises(InputError, match="begins with http"):
            check_url(url)
    (tmp_path / "none.pem").write_text("nothing", encoding="ascii")
    with pytest.raises(InputError, match="holds no certificate"):
        read_certificates(tmp_path / "none.pem")
    with pytest.raises(InputError, match="cannot be read"):
        read_certificates(tmp_path / "missing.pem")


@pytest.fixture
def erased(done: Repo) -> Repo:
    """Return a project with an erased request."""
    done.forget(["r0003"], "--ticket", "T-1")
    run_all(done)
    log_erasure(done)
    return done


def test_create_gets_a_stamp_and_verify_needs_no_network(
    erased: Repo, authority: Authority, tmp_path: Path
) -> None:
    private, key = key_for(erased)
    assert refused(create(erased, private, "--tsa", "ftp://x")).startswith("--tsa is a URL")
    assert receipts_of(erased) == {}

    failed = create(erased, private, "--tsa", "http://127.0.0.1:1/")
    message = refused(failed, 3)
    assert "cannot be reached" in message
    assert message.endswith("1 receipt written all the same")
    assert len(receipts_of(erased)) == 1

    done = create(erased, private, "--tsa", authority.url, "--json")
    assert done.code == 0, done.err
    (stamp,) = done.json["timestamps"]
    assert (erased.root / stamp).stem + ".json" in receipts_of(erased)
    erased.git("add", "data/receipts")
    assert stamp in erased.git("ls-files", "data/receipts")

    line = ("receipt", "verify", "data/receipts", "--key", key.file)
    shutil.copytree(erased.root / "data/receipts", tmp_path / "away/data/receipts")
    shutil.copy(authority.certificate, tmp_path / "away/tsa.pem")
    away = Repo(tmp_path / "away")
    found = away.inline(*line, "--tsa-cert", "tsa.pem", "--json")
    assert (found.code, found.json["failures"]) == (0, [])
    (accepted,) = found.json["receipts"]
    assert accepted["stamped"] >= accepted["created"]
    text = away.inline(*line, "--tsa-cert", "tsa.pem").out
    assert f", stamped {accepted['stamped']}\n" in text
    (away.root / stamp).unlink()
    found = away.inline(*line, "--tsa-cert", "tsa.pem", "--json")
    assert (found.code, [one["code"] for one in found.json["failures"]]) == (1, ["no-timestamp"])
    assert away.inline(*line).code == 0
