"""What every post-hoc method must keep: `check_method` runs all checks on one of them.

A check takes a method and a `Case`, and raises an AssertionError that names what was broken. A new
method passes all of them, wherever it is registered.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError
from unlearn.stages.config.methods import CertificateSettings
from unlearn.stages.config.section import Modality
from unlearn.stages.context import Context, check_params
from unlearn.stages.errors import InputError
from unlearn.stages.rows.shard_file import in_order
from unlearn.stages.training.method_record import MethodRows
from unlearn.stages.training.shard_model import ShardModel, read_shard_model
from unlearn.stages.unlearn import stage
from unlearn.stages.unlearn.base.ranges import draw_settings
from unlearn.stages.unlearn.base.registry import Method
from unlearn.stages.unlearn.stage import NOTHING, TRAINED, Unlearned, unlearn_rows

#: What a record may call a model.
LABEL = re.compile(r"exact|approximate|certified\(epsilon=[0-9.e+-]+, delta=[0-9.e+-]+\)")

#: Where a method's settings stand in params.yaml.
SECTIONS: Mapping[Modality, str] = {"tabular": "settings", "text": "language"}


@dataclass(frozen=True)
class Case:
    """A project with a trained model and rows to forget, and what methods made of it.

    Parameters
    ----------
    context
        The project; nothing in it is written.
    ended
        Runs a method with settings under which only its guard stops it. Returns what ended it,
        and how much of the measure that the guard's budget limits was lost; None where the method
        has no guard.
    results
        What methods made, by name: each runs once for all checks but that of its determinism.
    """

    context: Context
    ended: Callable[[Method], tuple[str, float] | None]
    results: dict[str, Unlearned] = field(default_factory=dict)

    @property
    def original(self) -> ShardModel:
        """The model to start from."""
        return read_shard_model(self.context.project.original, "original")

    def run(self, method: Method, rows: MethodRows | None = None) -> Unlearned:
        """Return what a method makes of the original."""
        return unlearn_rows(
            _with(method, self, {}).posthoc(),
            method.name,
            self.original,
            stage.read_rows(self.context) if rows is None else rows,
        )

    def result(self, method: Method) -> Unlearned:
        """Return what a method made of the original, running it where that is new."""
        if method.name not in self.results:
            self.results[method.name] = self.run(method)
        return self.results[method.name]


def check_determinism(method: Method, case: Case) -> None:
    """Two runs give the same bytes and the same record, whatever torch drew between them."""
    first = case.result(method)
    torch.rand(3)
    second = case.run(method)

    assert first.record.why_not is None, f"{method.name} does not apply: {first.record.why_not}"
    assert first.files, f"{method.name} makes no model"
    assert second.files == first.files, f"{method.name}: two runs give different bytes"
    assert second.record == first.record, f"{method.name}: two runs give different records"


def check_label(method: Method, case: Case) -> None:
    """A label is one of the three; each has what it takes."""
    record = case.result(method).record

    assert LABEL.fullmatch(record.label), f"{method.name}: {record.label!r} is no label"
    if record.label == "exact":
        assert record.stopped_by == TRAINED, f"{method.name} is called exact without retraining"
    if record.label.startswith("certified"):
        assert method.certifies, f"{method.name} is called certified"
        assert {"epsilon", "delta"} <= record.facts.keys()
    assert method.certifies == issubclass(method.settings or object, CertificateSettings)


def check_guard(method: Method, case: Case) -> None:
    """A run never ends past the budget of its guard."""
    if method.function is None:
        return
    ended = case.ended(method)
    if ended is None:
        return
    reason, lost = ended
    budget = case.context.posthoc().unlearn.guard.budget

    assert lost <= budget + 1e-3, f"{method.name} ended by {reason} and lost {lost:.3f}"


def check_nothing_to_forget(method: Method, case: Case) -> None:
    """Without rows to forget the result has the original's bytes; `retrain` trains them again."""
    rows = stage.read_rows(case.context)
    everything = in_order(pa.concat_tables([rows.forget, rows.retain]))
    none = MethodRows(rows.forget.slice(0, 0), everything, rows.calibration)
    result = case.run(method, none)
    weights = str(case.original.description["file"])

    assert result.files[weights] == case.original.weights, f"{method.name} changed the weights"
    assert result.record.stopped_by == (TRAINED if method.function is None else NOTHING)


def check_settings(method: Method, case: Case) -> None:
    """params.yaml holds the defaults; what no method may have is refused by its place."""
    assert method.settings is not None
    defaults = method.settings().model_dump(mode="json")
    place = f"unlearn.{SECTIONS[method.modality]}.{method.name}"

    assert _settings_in(_with(method, case, {}), method) == defaults
    for name, value in defaults.items():
        for wrong in _out_of_range(value):
            with pytest.raises(InputError) as raised:
                _with(method, case, {name: wrong})
            assert f"{place}.{name}" in raised.value.message
    with pytest.raises(InputError, match=rf"{re.escape(place)}\.no_such_setting: is not a known"):
        _with(method, case, {"no_such_setting": 1})


def check_ranges(method: Method, case: Case) -> None:
    """Whatever is drawn for a search the method may have, and its defaults may be found."""
    del case
    assert method.settings is not None
    section = method.settings
    defaults = section().model_dump()
    assert method.ranges.keys() <= defaults.keys()
    for name, span in method.ranges.items():
        assert span.low <= defaults[name] <= span.high, f"{method.name}: default of {name}"
        for end in (span.low, span.high):
            assert section.model_validate({name: end}).model_dump()[name] == end
    for seed in np.random.default_rng(1).integers(0, 2**63 - 1, 50):
        drawn = draw_settings(method.ranges, int(seed))
        try:
            assert section.model_validate(drawn).model_dump(include=set(drawn)) == drawn
        except ValidationError as error:
            raise AssertionError(f"{method.name} may not have {drawn}") from error
        assert all(span.low <= drawn[name] <= span.high for name, span in method.ranges.items())


#: By name, in the order in which `check_method` runs them.
CHECKS: Mapping[str, Callable[[Method, Case], None]] = {
    "determinism": check_determinism,
    "label": check_label,
    "guard": check_guard,
    "nothing to forget": check_nothing_to_forget,
    "settings": check_settings,
    "ranges": check_ranges,
}


def check_method(method: Method, case: Case) -> None:
    """Run all checks on a method."""
    for check in CHECKS.values():
        check(method, case)


def _out_of_range(value: Any) -> list[Any]:
    """Return values that no setting of this one's type may have."""
    if isinstance(value, list):
        return [[], "text"]
    if value == "":
        # Any text may be set.
        return [-1, float("nan"), float("inf"), None]
    return [-1, float("nan"), float("inf"), "text", None]


def _with(method: Method, case: Case, settings: Mapping[str, Any]) -> Context:
    """Return the project with a method named, and these of its settings."""
    raw = case.context.params.model_dump(mode="json")
    section = SECTIONS[method.modality]
    raw["unlearn"] |= {"methods": [method.name], "deploy": method.name}
    raw["unlearn"][section] |= {method.name: dict(settings)}
    return replace(case.context, params=check_params(raw))


def _settings_in(context: Context, method: Method) -> dict[str, Any]:
    found: dict[str, Any] = context.params.model_dump(mode="json")["unlearn"][
        SECTIONS[method.modality]
    ][method.name]
    return found
