"""What docs/methods.md shows and says is so."""

import re
from pathlib import Path

import pytest
from unlearn.stages.config.methods import METHODS, YOUNG, MethodSettings
from unlearn.stages.training.method_record import read_record
from unlearn.stages.unlearn.base.registry import find_method

from tests.conftest import make_frame
from tests.stages.conftest import make_context
from tests.stages.posthoc import forget, made, posthoc_params, tokens_of, train_original

PAGE = Path(__file__).resolve().parents[3] / "docs" / "methods.md"

#: The method of one's own that the page shows.
SHOWN = "my_methods.py:reset_last_layer"


def _section(method: str) -> str:
    found = re.search(rf"(?ms)^### {method}$(.*?)^##", PAGE.read_text(encoding="utf-8"))
    assert found is not None, method
    return found[1]


def test_every_method_has_a_section_and_no_other() -> None:
    shown = re.findall(r"(?m)^### ([a-z0-9_]+)$", PAGE.read_text(encoding="utf-8"))

    assert shown.pop(1) == YOUNG, "it is no item of `unlearn.methods`"
    assert tuple(shown) == METHODS["tabular"]
    assert [find_method(name, "tabular").name for name in shown] == shown


@pytest.mark.parametrize("method", METHODS["tabular"])
def test_every_setting_stands_with_its_default(method: str) -> None:
    shown: dict[str, float | str] = {}
    for line in _section(method).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| `"):
            continue
        names, values = re.findall(r"`([a-z_.]+)`", cells[0]), cells[1].split(",")
        shown |= {name: _value(cell) for name, cell in zip(names, values, strict=True)}
    defaults = getattr(MethodSettings(), method).model_dump()

    assert {name: shown.get(name) for name in defaults} == defaults


def _value(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell.strip().strip("`")


def test_the_method_that_is_shown_runs_with_its_settings(tmp_path: Path) -> None:
    (code,) = re.findall(
        r"(?ms)^```python\n# my_methods.py\n(.*?)^```$", PAGE.read_text(encoding="utf-8")
    )
    name, results = SHOWN, {}
    for rate in (0.003, 0.03):
        root = tmp_path / str(rate)
        params = posthoc_params("retrain", name, own={name: {"rate": rate}})
        context = make_context(root, make_frame(200), params)
        (root / "my_methods.py").write_text(code, encoding="utf-8")
        train_original(context)
        forget(context, *tokens_of(context)[:12])
        record = read_record(context.project.unlearned / name, name)
        results[rate] = made(context, name)["model.safetensors"]

        assert (record.label, record.why_not) == ("approximate", None)
        assert record.passes["forget"] == 0
        assert record.passes["retain"] == params.train.epochs // 5
        assert results[rate] != (context.project.original / "model.safetensors").read_bytes()

    assert results[0.003] != results[0.03]
