"""CI jobs as their hosts run them, on this machine: conditions, expressions, files of a step.

Steps of shell are run by bash as the hosts call it. Programs that are not the thing under test
(`gh`, `curl`, `pip`) are small scripts that write down how they were called.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

#: Writes down its arguments, one call a line.
_STUB = """\
#!/bin/bash
{ printf '%s ' "$(basename "$0")" "$@"; echo; } >> "$STUBS_LOG"
"""

#: Only pip is a stub: what the job would install is here.
_PYTHON = f"""\
#!/bin/bash
if [ "$1 $2" != "-m pip" ]; then exec {sys.executable} "$@"; fi
{{ printf '%s ' "$(basename "$0")" "$@"; echo; }} >> "$STUBS_LOG"
"""

#: Which kernels a job computes with. Models that a test compares with have those of this process.
_KERNELS = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "OPENBLAS_CORETYPE")

_TOKENS = re.compile(r"\s*('(?:[^']|'')*'|&&|\|\||==|!=|!|[()]|[A-Za-z_][\w.-]*)")
_WORDS = {"&&": " and ", "||": " or ", "!": " not ", "==": "==", "!=": "!=", "(": "(", ")": ")"}
_STATUS = re.compile(r"\b(always|cancelled|failure|success)\(\)")


def evaluate(expression: str, context: Mapping[str, Any], *, failed: bool = False) -> Any:
    """Return the value of an expression of GitHub Actions; a name without a value is empty."""
    parts, at = [], 0
    while at < len(expression.rstrip()):
        match = _TOKENS.match(expression, at)
        assert match is not None, f"not understood: {expression[at:]}"
        token, at = match[1], match.end()
        if token in _WORDS:
            parts.append(_WORDS[token])
        elif token.startswith("'"):
            parts.append(repr(token[1:-1].replace("''", "'")))
        elif expression[at : at + 1] == "(":
            parts.append(token)
        else:
            parts.append(f"look({token!r})")

    def look(name: str) -> Any:
        value: Any = context
        for part in name.split("."):
            value = value.get(part, "") if isinstance(value, Mapping) else ""
        return value

    functions = {
        "always": lambda: True,
        "cancelled": lambda: False,
        "failure": lambda: failed,
        "success": lambda: not failed,
        "look": look,
    }
    # Of our own templates, and of tokens that were checked above.
    return eval("".join(parts).strip(), {"__builtins__": {}}, functions)  # noqa: S307


def fill(text: str, context: Mapping[str, Any]) -> str:
    """Return a text with the values of its expressions."""

    def value(match: re.Match[str]) -> str:
        found = evaluate(match[1], context)
        return str(found).lower() if isinstance(found, bool) else str(found)

    return re.sub(r"\$\{\{ (.+?) \}\}", value, text)


@dataclass
class Job:
    """What became of a job.

    Parameters
    ----------
    code
        The exit code of the step that failed; 0 if none did.
    out, err
        What the steps printed.
    calls
        Of the programs that are stubs, one a line.
    steps
        Outcome by name, or by the action that the step uses.
    summary
        What GitHub shows beside the run.
    """

    code: int = 0
    out: str = ""
    err: str = ""
    calls: str = ""
    steps: dict[str, str] = field(default_factory=dict)
    summary: str = ""


class Runner:
    """A machine with a checkout, and a folder of its own beside it."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        self.folder = checkout.parent / f"{checkout.name}-runner"
        self.stubs = self.folder / "stubs"
        self.stubs.mkdir(parents=True)
        for name, text in (("gh", _STUB), ("curl", _STUB), ("python", _PYTHON)):
            (self.stubs / name).write_text(text, encoding="ascii")
            (self.stubs / name).chmod(0o755)
        for name in ("output", "env", "summary", "log"):
            (self.folder / name).touch()

    def read(self, name: str) -> str:
        """Return a file that steps write to."""
        return (self.folder / name).read_text(encoding="utf-8")

    def shell(self, script: str, values: Mapping[str, str], folder: str = ".") -> Any:
        """Run a script as GitHub's `shell: bash` and GitLab's runner do."""
        base = {**os.environ, "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", **values}
        base["PATH"] = f"{self.stubs}:{base['PATH']}"
        base = {name: value for name, value in base.items() if name not in _KERNELS}
        base |= {name: os.environ[name] for name in _KERNELS if name in os.environ}
        base["STUBS_LOG"] = str(self.folder / "log")
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.checkout / folder,
            env=base,
            text=True,
            capture_output=True,
            check=False,
        )


def run_github(
    checkout: Path, workflow: Mapping[str, Any], context: Mapping[str, Any], job: str = "unlearn"
) -> Job:
    """Run a job of a workflow.

    Parameters
    ----------
    checkout
        What the checkout action left.
    workflow
        The parsed file.
    context
        The values of `github`, `secrets` and `inputs`.
    job
        The name of the job.
    """
    runner = Runner(checkout)
    folder = workflow.get("defaults", {}).get("run", {}).get("working-directory", ".")
    context = {**context, "runner": {"temp": str(runner.folder)}}
    values = {name: fill(str(value), context) for name, value in workflow.get("env", {}).items()}
    return run_github_steps(runner, workflow["jobs"][job]["steps"], context, values, folder)


def run_github_steps(
    runner: Runner,
    steps: list[dict[str, Any]],
    context: Mapping[str, Any],
    values: Mapping[str, str],
    folder: str = ".",
) -> Job:
    """Run steps one after another, and after a failure those whose condition asks for that."""
    done = Job()
    ran: dict[str, Any] = {}
    context = {**context, "steps": ran}
    files = {
        "GITHUB_OUTPUT": str(runner.folder / "output"),
        "GITHUB_ENV": str(runner.folder / "env"),
        "GITHUB_STEP_SUMMARY": str(runner.folder / "summary"),
        "RUNNER_TEMP": str(runner.folder),
    }
    for step in steps:
        name = step.get("name") or step["uses"].partition("@")[0]
        condition = str(step.get("if", "success()")).removeprefix("${{ ").removesuffix(" }}")
        if not _STATUS.search(condition):
            condition = f"success() && ({condition})"
        outcome = "skipped"
        if evaluate(condition, context, failed=done.code != 0):
            outcome = "success"
            if "run" in step:
                own = {key: fill(str(value), context) for key, value in step.get("env", {}).items()}
                before = len(runner.read("output"))
                exported = dict(line.split("=", 1) for line in runner.read("env").splitlines())
                where = fill(step.get("working-directory", folder), context)
                result = runner.shell(step["run"], {**values, **exported, **files, **own}, where)
                done.out, done.err = done.out + result.stdout, done.err + result.stderr
                if result.returncode:
                    outcome, done.code = "failure", done.code or result.returncode
                written = runner.read("output")[before:].splitlines()
                outputs = dict(line.split("=", 1) for line in written)
            else:
                outputs = {}
                if "upload-artifact" in name:
                    assert Path(fill(step["with"]["path"], context)).is_file()
            ran[step.get("id", name)] = {"outcome": outcome, "outputs": outputs}
        else:
            ran[step.get("id", name)] = {"outcome": outcome, "outputs": {}}
        done.steps[name] = outcome
    done.calls, done.summary = runner.read("log"), runner.read("summary")
    return done


def run_gitlab(checkout: Path, job: Mapping[str, Any], values: Mapping[str, str]) -> Job:
    """Run the script of a job in one shell, as GitLab's runner does."""
    runner = Runner(checkout)
    own = {name: str(value) for name, value in job.get("variables", {}).items()}
    given = {"CI_PROJECT_DIR": str(checkout), **values}
    own = {
        name: re.sub(r"\$(\w+)", lambda match: given[match[1]], value)
        for name, value in own.items()
    }
    result = runner.shell("\n".join(job["script"]), {**own, **given})
    return Job(result.returncode, result.stdout, result.stderr, runner.read("log"))


def agrees(job: Mapping[str, Any], values: Mapping[str, str]) -> bool:
    """Return whether the rules of a job of GitLab let it run; `changes` are taken as given.

    Parameters
    ----------
    job
        The parsed job. Its conditions compare variables with texts, joined by `&&`.
    values
        The variables of the pipeline.
    """

    def holds(condition: str) -> bool:
        name, _, text = (part.strip() for part in condition.partition("=="))
        assert re.fullmatch(r"\$\w+", name), f"not understood: {condition}"
        if not text:
            return bool(values.get(name.removeprefix("$")))
        wanted = values.get(text[1:]) if text.startswith("$") else text.strip('"')
        return values.get(name.removeprefix("$")) == wanted

    assert not any("when" in rule for rule in job["rules"])
    return any(all(map(holds, rule["if"].split("&&"))) for rule in job["rules"])


def read_yaml(path: Path) -> Any:
    """Return a parsed file; in YAML 1.1 the key `on` would be true."""
    text = path.read_text(encoding="utf-8")
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a SafeLoader


class _Loader(yaml.SafeLoader):
    """Reads only true and false as booleans."""


_Loader.yaml_implicit_resolvers = {
    first: [each for each in found if each[0] != "tag:yaml.org,2002:bool"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
