"""What docs/language-models.md says of methods and settings is so."""

import re
from pathlib import Path
from typing import Any

import pytest
from unlearn.stages.config.methods import METHODS, YOUNG
from unlearn.stages.config.text import AdapterOptions, LanguageMethodSettings
from unlearn.stages.unlearn.base.registry import find_method

from tests.stages.unlearn.text.projects import TEXT_METHODS

PAGE = Path(__file__).resolve().parents[4] / "docs" / "language-models.md"
DEFAULTS: dict[str, Any] = LanguageMethodSettings().model_dump()


def _cells(first: str) -> list[str]:
    """Return the cells of the one line of a table that begins with these words."""
    text = PAGE.read_text(encoding="utf-8")
    (line,) = re.findall(rf"(?m)^\| {re.escape(first)} \|.*$", text)
    return [cell.strip() for cell in str(line).strip("|").split("|")]


def test_every_method_has_a_line_and_is_built_in() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text[text.index("| method | forget | retain |") :].partition("\n\n")[0]
    shown = re.findall(r"(?m)^\| `([a-z_]+)` \|", table)

    assert shown.pop(1) == YOUNG, "it is no item of `unlearn.methods`"
    assert tuple(shown) == METHODS["text"]
    assert [find_method(name, "text").name for name in shown] == shown


@pytest.mark.parametrize("method", TEXT_METHODS)
def test_every_setting_of_a_method_stands_with_its_default(method: str) -> None:
    told = re.findall(r"`([a-z]+)` ([0-9.]+)", _cells(f"`{method}`")[3])

    defaults = DEFAULTS[method].items()
    numbers = {name: value for name, value in defaults if not isinstance(value, list | str)}
    assert {name: float(value) for name, value in told} == numbers


@pytest.mark.parametrize(
    ("names", "values"),
    [
        ("`epochs`, `batch`", ["epochs", "batch"]),
        ("`accumulate`, `clip`", ["accumulate", "clip"]),
        ("`perplexity_limit`, `repetition_limit`", ["perplexity_limit", "repetition_limit"]),
    ],
)
def test_shared_settings_stand_with_their_defaults(names: str, values: list[str]) -> None:
    shown = [float(value) for value in _cells(names)[1].split(",")]

    assert shown == [DEFAULTS[name] for name in values]


def test_the_adapter_and_the_rate_stand_with_their_defaults() -> None:
    adapter = AdapterOptions()

    assert (
        _cells("`adapter`")[1] == f"rank {adapter.rank}, alpha {adapter.alpha:g}, all linear layers"
    )
    assert float(_cells("`rate`")[1].partition(",")[0]) == DEFAULTS["rate"]
    assert (_cells("`gate`")[1], _cells("`generic`")[1]) == ("null", "null")
    assert (DEFAULTS["gate"], DEFAULTS["generic"]) == (None, None)
