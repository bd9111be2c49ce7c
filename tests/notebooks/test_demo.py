"""The notebook runs from start to end, and what its text says of the results is so."""

import json
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import at_chance

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "unlearning_demo.ipynb"

#: What the test asks of the variables that the notebook leaves.
_FOUND = """\
import json

print(
    json.dumps(
        {
            "before": before,
            "after": after,
            "methods": report["methods"],
            "left": folder.exists(),
        }
    )
)
"""

APPROXIMATE = ("gradient_ascent", "finetune", "influence")
UNTOUCHED = "own.py:untouched"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run the notebook as it is, and return what it found."""
    notebook = _read()
    last = nbformat.v4.new_code_cell(_FOUND)  # type: ignore[no-untyped-call]  # nbformat's own
    notebook.cells.append(last)
    folder = tmp_path_factory.mktemp("notebook")
    settings = {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "MPLCONFIGDIR": str(folder / "matplotlib"),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
    }
    client = NotebookClient(notebook, timeout=300, kernel_name="python3")
    client.execute(cwd=str(folder), env=os.environ | settings)
    printed = "".join(output["text"] for output in notebook.cells[-1]["outputs"])
    return json.loads(printed)


def _read() -> nbformat.NotebookNode:
    read = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]  # nbformat's own
    assert isinstance(read, nbformat.NotebookNode)
    return read


def _lira(found: Any) -> Any:
    return found["membership"]["attacks"]["lira"]


@pytest.mark.trained
@pytest.mark.slow
def test_both_exact_ways_pass_and_nothing_else_does(demo: Any) -> None:
    verdicts = {name: found["verdict"] for name, found in demo["methods"].items()}
    labels = {name: found["label"] for name, found in demo["methods"].items()}

    assert demo["before"]["verdict"] == "fail"
    assert (demo["after"]["verdict"], demo["after"]["label"]) == ("pass", "exact")
    assert demo["after"]["exactness"]["matched"] == 1
    assert (verdicts.pop("retrain"), labels.pop("retrain")) == ("pass", "exact")
    assert set(verdicts.values()) == {"fail"}
    assert set(labels.values()) == {"approximate"}
    assert verdicts.keys() == {*APPROXIMATE, UNTOUCHED}


@pytest.mark.trained
@pytest.mark.slow
def test_lira_finds_the_records_before_and_not_after_and_the_loss_never(demo: Any) -> None:
    before, after = (_lira(demo[when]) for when in ("before", "after"))

    assert before["ci"][0] > 0.9
    assert at_chance(after["ci"])
    for when in ("before", "after"):
        assert demo[when]["membership"]["attacks"]["loss"]["auc"] < 0.2


@pytest.mark.trained
@pytest.mark.slow
def test_the_approximate_ways_lose_the_wrong_labels_but_not_the_trace(demo: Any) -> None:
    methods = demo["methods"]
    untouched = methods[UNTOUCHED]

    # 16 seeds: 0.20 to 0.32.
    assert untouched["forget_accuracy"] > 0.15
    for name in APPROXIMATE:
        # 16 seeds: at most 0.42 of it.
        assert methods[name]["forget_accuracy"] < untouched["forget_accuracy"] / 2
        assert _lira(methods[name])["ci"][0] > 0.7
    assert methods["retrain"]["forget_accuracy"] < 0.1
    # 16 seeds: at most 0.02; of a method that does nothing, 0.99 and more.
    assert _lira(methods["retrain"])["auc"] < 0.2


@pytest.mark.slow
def test_it_leaves_nothing_behind(demo: Any) -> None:
    assert demo["left"] is False


def test_its_outputs_are_not_kept() -> None:
    notebook = _read()

    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
