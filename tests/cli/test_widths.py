"""What every command prints fits a terminal of 80 columns, and one of 60."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from unlearn.cli.app import COMMANDS

from tests.conftest import Repo, places
from tests.terminals import in_terminal

TICKET = "a-request/of-the-customer-relationship-system/2026-000017-xyz"
WIDE = "木" * 20

#: Runs command lines in one process, each in a terminal of two widths.
RUNS = """\
import json, os, sys
from unlearn.cli.app import run
for words in json.loads(sys.argv[1]):
    for columns in ("80", "60"):
        os.environ["COLUMNS"] = columns
        print(f"\\n@ {columns} {json.dumps(words)}", flush=True)
        run(words)
        sys.stdout.flush()
os._exit(0)
"""


def check_widths(folder: Path, lines: list[list[str]]) -> dict[str, str]:
    """Insist that every line that commands print fits; return what was printed on 60 columns."""
    env = {"NO_COLOR": "1", "CI": "1"}
    done = in_terminal([sys.executable, "-c", RUNS, json.dumps(lines)], folder, 200, env=env)
    parts = re.split(r"^@ (\d+) (.*)\r\n", done.text, flags=re.MULTILINE)[1:]
    found = {}
    for columns, words, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        for line in text.splitlines():
            assert cell_len(line) <= int(columns), (words, line)
        found[" ".join(json.loads(words))] = text
    assert len(found) == len(lines)
    return found


@pytest.mark.slow
def test_answers_and_errors_fit(done: Repo) -> None:
    where = places(done)
    raw = next(raw for raw in where if not where[raw].is_holdout)
    deadline = ("--received", "2020-01-01", "--regime", "gdpr")
    assert done.inline("forget", "--id", raw, "--ticket", TICKET, *deadline).code == 0
    folder = f"a-folder-with-a-long-name/{WIDE}/another-folder-with-a-long-name"
    (done.root / folder).mkdir(parents=True)
    source = f"{folder}/new.csv"
    shutil.copy(done.root / done.params()["dataset"]["path"], done.root / source)
    (done.root / "ids.txt").write_text("nobody-1\nnobody-2\n")

    found = check_widths(
        done.root,
        [
            ["plan", "--tree"],
            ["plan", "--no-tree"],
            ["status"],
            ["verify"],
            ["audit"],
            ["doctor"],
            ["scan", folder],
            ["erase", "--dry-run"],
            ["receipt", "show"],
            ["receipt", "create"],
            ["restore", "--ticket", TICKET, "--dry-run"],
            ["report", "--output", f"{folder}/report.html"],
            ["predict", "--input", source, "--output", f"{folder}/predictions.csv"],
            ["predict", "--input", f"{folder}/absent.csv", "--output", f"{folder}/out.csv"],
            ["forget", "--ids", f"{folder}/ids.txt"],
            ["forget", "--ids", "ids.txt"],
            ["upgrade"],
            ["rekey", "--dry-run"],
            ["canary", "--count", "2"],
            ["repro", "--engine", "ray", "--command", "x"],
            ["no-such-command"],
        ],
    )

    assert "late" in found["status"]
    # Nothing of a ticket or a path is lost, though it has several lines.
    assert TICKET in re.sub(r"\s", "", re.sub(r"(?m)^(.{30}).*$", r"\1", found["status"]))
    shown = found[f"report --output {folder}/report.html"]
    assert f"{folder}/report.html" in re.sub(r"\s", "", shown)


@pytest.mark.slow
def test_tables_of_methods_fit(compared: Repo) -> None:
    found = check_widths(
        compared.root,
        [
            ["verify"],
            ["plan", "--tree"],
            ["tune", "ssd", "--budget", "1", "--dry-run"],
            ["audit", "HEAD~1..HEAD"],
            ["status"],
        ],
    )

    assert "certified_removal" in re.sub(r"\s", "", found["verify"])


@pytest.mark.slow
def test_the_help_fits(tmp_path: Path) -> None:
    check_help = [["--help"], *([*name.split(), "--help"] for name in COMMANDS)]
    env = {"COLUMNS": "60"}
    words = [words for words in check_help if words[0] not in {"init", "serve"}]
    done = in_terminal(
        [sys.executable, "-c", RUNS.replace('("80", "60")', '("60",)'), json.dumps(words)],
        tmp_path,
        200,
        env=env,
    )
    # Command lines of examples are to be copied, and an option with its choices is one word.
    text = re.sub(r"(?m)^Example:\r\n(  .*\r\n)+|^  --\S+ <\S+>", "", done.text)
    assert not [line for line in text.splitlines() if cell_len(line) > 60 and line[0] != "@"]
