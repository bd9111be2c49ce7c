"""A server of S3's protocol on this machine, for as long as a test needs it."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.conftest import Repo

_REGION = "us-east-1"
_OWNER = "owner"


@dataclass(frozen=True)
class S3Server:
    """A running server.

    Parameters
    ----------
    url
        Where it is.
    """

    url: str

    @cached_property
    def client(self) -> Any:
        """A client with all rights."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=_REGION,
            aws_access_key_id=_OWNER,
            aws_secret_access_key=_OWNER,
        )

    def make_bucket(self, name: str, *, versions: bool = False) -> None:
        """Make a bucket, on request one that keeps older versions of its objects."""
        self.client.create_bucket(Bucket=name)
        if versions:
            status = {"Status": "Enabled"}
            self.client.put_bucket_versioning(Bucket=name, VersioningConfiguration=status)

    def add_remote(self, repo: Repo, name: str, path: str, **options: str) -> None:
        """Give a project a remote on this server; the commands of DVC take a second for each line.

        Parameters
        ----------
        repo
            The project.
        name
            The remote's name.
        path
            Bucket and folder.
        **options
            More settings of the remote, or others.
        """
        settings = {
            "url": f"s3://{path}",
            "endpointurl": self.url,
            "access_key_id": _OWNER,
            "secret_access_key": _OWNER,
            "region": _REGION,
        }
        lines = [f"    {option} = {value}\n" for option, value in (settings | options).items()]
        with (repo.root / ".dvc/config.local").open("a", encoding="utf-8") as config:
            config.write(f"['remote \"{name}\"']\n{''.join(lines)}")

    def upload(self, folder: Path, bucket: str, path: str) -> None:
        """Put all files below a folder into a bucket."""
        for file in folder.rglob("*"):
            if file.is_file():
                key = f"{path}/{file.relative_to(folder).as_posix()}"
                self.client.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())

    def keys(self, bucket: str) -> set[str]:
        """Return the keys of all versions and delete markers."""
        found: set[str] = set()
        for page in self.client.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for entry in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
                found.add(entry["Key"])
        return found

    def forbid(self, bucket: str, *actions: str) -> None:
        """Deny actions to everybody; none lifts it."""
        if not actions:
            self.client.delete_bucket_policy(Bucket=bucket)
            return
        resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        statement = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": list(actions),
            "Resource": resources,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.client.put_bucket_policy(Bucket=bucket, Policy=policy)

    def add_user(self, *denied: str) -> dict[str, str]:
        """Return the options of a remote with all rights but some; see `checking_rights`."""
        import boto3

        users = boto3.client(
            "iam",
            endpoint_url=self.url,
            region_name=_REGION,
            aws_access_key_id=_OWNER,
            aws_secret_access_key=_OWNER,
        )
        user = f"without-{'-'.join(denied).replace(':', '-')}"
        users.create_user(UserName=user)
        statements = [
            {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
            {"Effect": "Deny", "Action": list(denied), "Resource": "*"},
        ]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        users.put_user_policy(UserName=user, PolicyName="rights", PolicyDocument=policy)
        key = users.create_access_key(UserName=user)["AccessKey"]
        return {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}

    @contextmanager
    def checking_rights(self) -> Iterator[None]:
        """Have the server check the rights of users within the block: others have none there."""
        self._check_after("0")
        try:
            yield
        finally:
            self._check_after("inf")

    def _check_after(self, requests: str) -> None:
        url = f"{self.url}/moto-api/reset-auth"
        headers = {"Content-Type": "text/plain"}
        request = Request(url, data=requests.encode(), headers=headers, method="POST")  # noqa: S310 - http
        with urlopen(request):  # noqa: S310 - as above
            pass


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Start a server on the loopback interface, and stop it at the end of the block."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3Server(f"http://{host}:{port}")
    finally:
        server.stop()
