"""The notebook runs from start to end, and what its text says of the results is so."""

import json
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "unlearning_demo.ipynb"

#: What the test asks of the variables that the notebook leaves.
_FOUND = """\
import json

print(
    json.dumps(
        {
            "forest": bool(is_same),
            "probabilities": [before, after],
            "shards": shards,
            "methods": whole["methods"],
            "left": folder.exists(),
        }
    )
)
"""

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


def _difference(found: Any) -> Any:
    return found["membership"]["matched"]["difference"]


@pytest.mark.slow
def test_the_exact_ways_end_in_the_same_bytes(demo: Any) -> None:
    assert demo["forest"] is True
    before, after = demo["probabilities"]
    assert after < before
    assert (demo["shards"]["verdict"], demo["shards"]["label"]) == ("pass", "exact")
    assert demo["shards"]["exactness"]["reran"] == demo["shards"]["exactness"]["matched"] == 1


@pytest.mark.trained
@pytest.mark.slow
def test_models_that_never_saw_the_rows_pass(demo: Any) -> None:
    methods = demo["methods"]

    for name in ("retrain", "young"):
        assert (methods[name]["verdict"], methods[name]["label"]) == ("pass", "exact")
        low, high = _difference(methods[name])["ci"]
        assert low <= 0 <= high
    # The notebook's last but one conclusion.
    assert (
        methods["young"]["passes"]["retain"] == methods["shrink_perturb"]["passes"]["retain"] == 8
    )
    assert methods["shrink_perturb"]["verdict"] == "pass"
    assert abs(_accuracy(methods, "young") - _accuracy(methods, "shrink_perturb")) < 0.03


@pytest.mark.trained
@pytest.mark.slow
def test_a_low_accuracy_on_the_forgotten_rows_shows_little(demo: Any) -> None:
    methods = demo["methods"]

    assert methods["finetune"]["forget_accuracy"] < 0.05
    assert methods["finetune"]["verdict"] == "fail"
    assert _difference(methods["finetune"])["ci"][0] > 0.1


@pytest.mark.trained
@pytest.mark.slow
def test_methods_that_stop_early_are_found_as_the_untouched_model_is(demo: Any) -> None:
    methods = demo["methods"]

    for name in (UNTOUCHED, "gradient_ascent", "scrub"):
        assert methods[name]["verdict"] == "fail"
        assert _difference(methods[name])["ci"][0] > 0.4
        assert methods[name]["forget_accuracy"] > 0.15


def _accuracy(methods: Any, name: str) -> float:
    return float(methods[name]["holdout_accuracy"])


@pytest.mark.slow
def test_it_leaves_nothing_behind(demo: Any) -> None:
    assert demo["left"] is False


def test_its_outputs_are_stored_without_a_path_or_a_time() -> None:
    notebook = _read()

    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        assert "execution" not in cell.metadata
        shows = ("print(", "plt.subplots", "table.round")
        assert bool(cell.outputs) == any(word in cell.source for word in shows)
        text = json.dumps(cell.outputs)
        assert not any(word in text for word in ("Traceback", "tmp/", "home/", "root/"))
    kinds = {output.output_type for cell in notebook.cells for output in cell.get("outputs", ())}
    assert kinds == {"stream", "display_data", "execute_result"}
