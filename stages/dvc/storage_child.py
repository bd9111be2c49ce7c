"""DVC in a process of its own, which says where its cache and remotes are, and reaches remotes.

It reads a request from each line of its standard input, writes the answer in a line to its
standard output, and ends with its input. Remotes are reached by the file systems that DVC makes
for them, with the settings and credentials that DVC has.
"""

import base64
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any
from urllib.parse import urlsplit

#: How many objects S3 deletes in one request.
_AT_ONCE = 1_000

#: How long to wait for a remote that does not answer, where its settings say nothing (seconds).
_PATIENCE = 10

#: Codes with which S3 refuses what there are no rights for, or what a lock protects.
_REFUSED = ("AccessDenied", "AllAccessDisabled", "Forbidden", "403", "AccountProblem")


_VERSION_AWARE = "remotes that keep versions by themselves (version_aware) are not supported"
_FILE = (
    "its URL begins with file://, and DVC takes that for a folder where it runs: use the path alone"
)


class _Bucket:
    """An S3 bucket, or a folder in it.

    Parameters
    ----------
    files
        The file system that DVC made.
    path
        The bucket and the folder.
    """

    def __init__(self, files: Any, path: str) -> None:
        self._call = files.fs.call_s3
        self._cat = files.fs.cat_file
        self._bucket, _, folder = path.strip("/").partition("/")
        self._folder = f"{folder}/" if folder else ""
        self._known: dict[str, list[str]] | None = None
        self._newest: dict[str, str] = {}
        self._uploads: dict[str, list[str]] = {}

    def list_files(self) -> dict[str, Any]:
        """Return the names of all files, and why older versions are not among them."""
        try:
            self._known = self._versions()
            self._uploads = self._unfinished()
        except Exception as error:  # noqa: BLE001 - whatever it is, the present ones are listed
            self._known = None
            return {"keys": sorted(self._present()), "older": _why(error)}
        return {"keys": sorted(self._known.keys() | self._uploads.keys()), "older": None}

    def read(self, names: Iterable[str]) -> dict[str, str]:
        """Return the content of objects in Base64, by name; those that are not there are left out.

        Of one that was deleted in a bucket with versions, the version before that.
        """
        found = {}
        for name in names:
            path, version = f"{self._bucket}/{self._folder}{name}", self._newest.get(name)
            try:
                content = self._cat(path, version_id=version, max_concurrency=1)
            except FileNotFoundError:
                continue
            found[name] = base64.b64encode(content).decode("ascii")
        return found

    def delete(self, names: Sequence[str]) -> dict[str, str]:
        """Delete all versions of objects, their delete markers, and what half an upload left.

        Returns
        -------
        dict
            Why it was refused, by name.
        """
        failed: dict[str, str] = {}
        versions: list[dict[str, str]] = []
        for name in names:
            key = self._folder + name
            for upload in self._uploads.get(name, ()):
                self._call("abort_multipart_upload", Bucket=self._bucket, Key=key, UploadId=upload)
            if self._known is None:
                versions.append({"Key": key})
            else:
                versions += [
                    {"Key": key, "VersionId": version} for version in self._known.get(name, ())
                ]
        for first in range(0, len(versions), _AT_ONCE):
            some = versions[first : first + _AT_ONCE]
            answer = self._call(
                "delete_objects", Bucket=self._bucket, Delete={"Objects": some, "Quiet": True}
            )
            for error in answer.get("Errors", []):
                code = str(error.get("Code"))
                why = "no rights to delete in it" if code in _REFUSED else f"S3 answered {code}"
                failed[self._name(error["Key"])] = why
        return failed

    def _name(self, key: str) -> str:
        return key.removeprefix(self._folder)

    def _versions(self) -> dict[str, list[str]]:
        """Return all versions and delete markers by name; of a bucket without any, its files."""
        found: dict[str, list[str]] = {}
        more: dict[str, str] = {}
        self._newest = {}
        while True:
            page = self._call(
                "list_object_versions", Bucket=self._bucket, Prefix=self._folder, **more
            )
            for entry in page.get("Versions", []):
                # Of a file's versions the newest comes first.
                self._newest.setdefault(self._name(entry["Key"]), entry["VersionId"])
            for entry in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
                found.setdefault(self._name(entry["Key"]), []).append(entry["VersionId"])
            if not page.get("IsTruncated"):
                return found
            more = {"KeyMarker": page["NextKeyMarker"]}
            if page.get("NextVersionIdMarker"):
                more["VersionIdMarker"] = page["NextVersionIdMarker"]

    def _unfinished(self) -> dict[str, list[str]]:
        """Return uploads that were cut short: S3 keeps their parts until they are aborted."""
        found: dict[str, list[str]] = {}
        more: dict[str, str] = {}
        while True:
            page = self._call(
                "list_multipart_uploads", Bucket=self._bucket, Prefix=self._folder, **more
            )
            for entry in page.get("Uploads", []):
                found.setdefault(self._name(entry["Key"]), []).append(entry["UploadId"])
            if not page.get("IsTruncated"):
                return found
            more = {
                "KeyMarker": page["NextKeyMarker"],
                "UploadIdMarker": page["NextUploadIdMarker"],
            }

    def _present(self) -> Iterator[str]:
        more: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Bucket=self._bucket, Prefix=self._folder, **more)
            yield from (self._name(entry["Key"]) for entry in page.get("Contents", []))
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}


def _why(error: BaseException) -> str:
    """Return why a remote did not do what was asked, without addresses and names."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    code = str(response.get("Error", {}).get("Code")) if isinstance(response, dict) else ""
    if isinstance(error, PermissionError) or code in _REFUSED:
        return "no rights to read it"
    if isinstance(error, FileNotFoundError) or code in ("NoSuchBucket", "404"):
        return "it is not there"
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, ImportError) or "RemoteMissingDepsError" in names:
        return "DVC's library for it is not installed"
    if isinstance(error, OSError) or names & {"HTTPClientError", "ConnectionError"}:
        return "it cannot be reached"
    if "NoCredentialsError" in names:
        return "there are no credentials for it"
    return f"DVC cannot open it ({type(error).__name__})"


def _unused(kind: str, why: str) -> dict[str, Any]:
    return {"kind": kind, "path": None, "why": why}


class _Storage:
    """The cache and the remotes of a repository."""

    def __init__(self) -> None:
        from dvc.repo import Repo

        self._repo = Repo()

    def places(self) -> dict[str, Any]:
        """Return the folder of the cache, and each remote with its kind."""
        remotes = {}
        for name, options in sorted(self._repo.config["remote"].items()):
            try:
                remotes[name] = self._remote(name, options)
            except Exception as error:  # noqa: BLE001 - it is told of this remote alone
                kind = urlsplit(str(options.get("url"))).scheme or "local"
                remotes[name] = _unused(kind, _why(error))
            remotes[name]["url"] = str(options.get("url") or "")
            remotes[name]["endpoint"] = str(options.get("endpointurl") or "")
        return {"cache": self._repo.cache.local_cache_dir, "remotes": remotes}

    def _remote(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        from dvc.fs import get_cloud_fs

        kind = urlsplit(options.get("url", "")).scheme
        if kind == "file":
            return _unused(kind, _FILE)
        if kind not in ("", "remote", "s3"):
            # DVC would take a kind that it does not know for a folder.
            return _unused(kind, f"remotes of the kind {kind} are not supported")
        found, _, path = get_cloud_fs(self._repo.config, name=name)
        protocol = found.protocol if isinstance(found.protocol, str) else found.protocol[0]
        if options.get("worktree") or options.get("version_aware"):
            return _unused(protocol, _VERSION_AWARE)
        if protocol not in ("local", "s3"):
            return _unused(protocol, f"remotes of the kind {protocol} are not supported")
        return {"kind": protocol, "path": path, "why": None}

    @cache  # noqa: B019 - there is one of these in a process
    def bucket(self, name: str) -> _Bucket:
        """Return a remote of the kind S3."""
        from dvc.fs import get_cloud_fs

        self._repo.config["remote"][name].setdefault("connect_timeout", _PATIENCE)
        kind, config, path = get_cloud_fs(self._repo.config, name=name)
        return _Bucket(kind(**config), path)


def _answer(storage: _Storage, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer to a request; see `storage`."""
    what = request["do"]
    if what == "places":
        return storage.places()
    try:
        bucket = storage.bucket(request["remote"])
        if what == "list":
            return bucket.list_files()
        if what == "read":
            return {"found": bucket.read(request["names"])}
        return {"failed": bucket.delete(request["names"])}
    except Exception as error:  # noqa: BLE001 - whatever it is, this remote is not reached
        return {"why": _why(error)}


def main() -> None:
    """Answer requests until there are no more."""
    # What DVC prints is no answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    os.environ.setdefault("AWS_MAX_ATTEMPTS", "2")
    storage: _Storage | None = None
    for line in sys.stdin:
        try:
            if storage is None:
                logging.getLogger("dvc").setLevel(logging.WARNING)
                storage = _Storage()
            answer = _answer(storage, json.loads(line))
        except Exception as error:  # noqa: BLE001 - the one who asked makes an error of it
            answer = {"failed_to_start": f"{type(error).__name__}: {error}"}
        answers.write(f"{json.dumps(answer)}\n")
        answers.flush()


if __name__ == "__main__":
    main()
