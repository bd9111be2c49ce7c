"""The commands of docs/scale.md can be read, and its scripts do what the page says."""

import os
import re
import sys
from pathlib import Path

import pytest
from unlearn.stages.engines.command import CommandEngine
from unlearn.stages.engines.template import Template

from tests.stages.engines.conftest import Trainable

PAGE = (Path(__file__).resolve().parents[3] / "docs/scale.md").read_text(encoding="utf-8")

#: Does for one machine what the script of the page asks of Kubernetes.
KUBECTL = """\
#!{python}
import os, pathlib, subprocess, sys
import yaml

here, words = pathlib.Path(__file__).parent, sys.argv[1:]
if words[:3] == ["create", "-f", "-"]:
    pod = yaml.safe_load(sys.stdin)
    (here / pod["metadata"]["name"]).write_text(yaml.safe_dump(pod["spec"]))
elif words[0] == "logs":
    (container,) = yaml.safe_load((here / words[-1]).read_text())["containers"]
    assert container["env"][0]["valueFrom"]["secretKeyRef"] == {{"name": "unlearn", "key": "key"}}
    subprocess.run(container["command"], check=True)
elif words[:2] == ["delete", "pod"]:
    (here / words[2]).unlink()
else:
    sys.exit(f"no such command: {{words}}")
"""


def commands() -> list[str]:
    """Return the commands of all examples, as the driver gets them from a shell."""
    found = re.findall(r'--command\s+(?:\\\n\s+)?"([^"\n]+)"', PAGE)
    return [command for command in found if command != "COMMAND"]


def files() -> dict[str, str]:
    """Return the scripts and manifests of the page, by the name in their first comment."""
    blocks = re.findall(r"(?ms)^```(?:sh|yaml)\n(.*?)^```$", PAGE)
    names = (re.search(r"(?m)^# (\w+\.\w+)", block) for block in blocks)
    return {name[1]: block for name, block in zip(names, blocks, strict=True) if name}


def test_there_is_a_command_of_each_kind() -> None:
    programs = [Template.parse(text).words[0] for text in commands()]

    assert {"sbatch", "sh", "ssh"} <= set(programs)


@pytest.mark.parametrize("text", commands())
def test_each_command_trains_the_shard(text: str) -> None:
    words = Template.parse(text).fill("s003", Path("/shared/project"))

    script = files().get(words[1], "") if words[0] == "sh" else ""
    told = f"{' '.join(words)} {script} {''.join(files().values()) if script else ''}"
    assert "unlearn stage train@s003" in told or "train@SHARD" in told
    assert "s003" in " ".join(words)
    assert ("--wait" in words) == (words[0] == "sbatch")


@pytest.mark.slow
def test_the_script_for_kubernetes_trains_a_shard_and_deletes_its_pod(
    plain: Trainable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files().items():
        (plain.root / name).write_text(text, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    kubectl = tmp_path / "bin/kubectl"
    kubectl.write_text(KUBECTL.format(python=sys.executable), encoding="ascii")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (text,) = (text for text in commands() if text.startswith("sh "))

    with CommandEngine(Template.parse(text), 1, print, patience=5) as engine:
        trained = list(engine.train(plain.context, ["s001"]))

    assert [done.shard for done in trained] == ["s001"]
    expected = {name: data for name, data in plain.models.items() if name.startswith("s001/")}
    assert plain.found() == expected
    assert [path.name for path in (tmp_path / "bin").iterdir()] == ["kubectl"]
