"""The conformance suite over every built-in method, and over methods that stand in a test alone."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from unlearn.stages.config import methods as config
from unlearn.stages.config.methods import METHODS
from unlearn.stages.config.section import Modality
from unlearn.stages.errors import InputError
from unlearn.stages.training.method_record import read_record
from unlearn.stages.unlearn import stage
from unlearn.stages.unlearn.base import registry
from unlearn.stages.unlearn.base.ranges import Span
from unlearn.stages.unlearn.base.registry import Method, find_method, register
from unlearn.stages.unlearn.tabular.problem import TabularProblem
from unlearn.stages.unlearn.tuning import tune

from tests.conftest import make_frame
from tests.stages.conftest import make_context
from tests.stages.posthoc import changed_params, forget, posthoc_params, tokens_of, train_original
from tests.stages.unlearn.cases import tabular_case, text_case
from tests.stages.unlearn.conformance import CHECKS, Case, check_method

FindCase = Callable[[Method], Case]

BUILT_IN = [(modality, name) for modality, names in METHODS.items() for name in names]


@pytest.fixture(scope="session")
def case_of(
    tmp_path_factory: pytest.TempPathFactory, blank_base: Path, request: pytest.FixtureRequest
) -> FindCase:
    """Return the project that a method is checked on; each is made once, when it is needed."""
    cases: dict[tuple[Modality, bool], Case] = {}

    def find(method: Method) -> Case:
        key = method.modality, method.certifies
        if key not in cases:
            root = tmp_path_factory.mktemp("conformance")
            if method.modality == "text":
                cases[key] = text_case(root, blank_base, request.getfixturevalue("lora"))
            else:
                cases[key] = tabular_case(root, certified=method.certifies)
        return cases[key]

    return find


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    ("modality", "name"),
    [pytest.param(*one, marks=pytest.mark.slow if one[0] == "text" else ()) for one in BUILT_IN],
)
def test_every_method_conforms(
    modality: Modality, name: str, check: str, case_of: FindCase
) -> None:
    method = find_method(name, modality)

    assert (method.modality, method.name) == (modality, name)
    CHECKS[check](method, case_of(method))


@pytest.fixture
def new_methods() -> Iterator[dict[str, Method]]:
    """Register the methods of a module that no package has; yield them by name."""
    from tests.stages.unlearn import shrink

    for method in shrink.METHODS:
        register(method)
    yield {method.name: method for method in shrink.METHODS}
    # What was registered in a test is forgotten after it; built-in methods stay.
    for modality, names in config._REGISTERED.items():  # noqa: SLF001 - see above
        for name in names:
            del registry._METHODS[modality, name]  # noqa: SLF001 - see above
        names.clear()
    config._settings_model.cache_clear()  # noqa: SLF001 - see above


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shrink", "shrink_adapter", "account"])
def test_a_method_in_a_module_of_its_own_conforms(
    name: str, new_methods: dict[str, Method], case_of: FindCase
) -> None:
    """Nothing but its registration makes it known."""
    method = new_methods[name]

    assert find_method(name, method.modality) is method
    check_method(method, case_of(method))


def test_a_new_method_is_run_by_the_stage_and_labelled(
    new_methods: dict[str, Method], tmp_path: Path
) -> None:
    assert "shrink" in new_methods
    params = posthoc_params("retrain", "shrink", settings={"shrink": {"factor": 0.5}})
    context = make_context(tmp_path / "project", make_frame(90), params)
    train_original(context)
    forget(context, *tokens_of(context)[:6])
    record = read_record(context.project.unlearned / "shrink", "shrink")

    assert (record.label, record.why_not) == ("approximate", None)
    assert record.passes == {"forget": 0.0, "retain": 1.0}
    assert stage.run(context, "shrink").seconds is None, "finished work is left alone"
    other = changed_params(context, "unlearn", settings={"shrink": {"factor": 0.6}})
    assert stage.run(other, "shrink").seconds is not None, "another setting is other work"
    assert stage.run(other, "retrain").seconds is None


def test_a_typo_in_a_setting_of_a_new_method_gets_a_hint(new_methods: dict[str, Method]) -> None:
    assert "shrink" in new_methods
    with pytest.raises(InputError) as raised:
        posthoc_params("shrink", settings={"shrink": {"faktor": 0.5}})

    assert raised.value.message.endswith("unlearn.settings.shrink.faktor: is not a known setting")
    assert raised.value.hints == ("did you mean `factor`?",)
    with pytest.raises(InputError, match="did you mean shrink?"):
        posthoc_params("shrinc")


def test_a_new_method_is_tuned(new_methods: dict[str, Method], tmp_path: Path) -> None:
    assert new_methods["shrink"].ranges
    params = posthoc_params(
        "retrain", "shrink", settings={"shrink": {"factor": 0.02}}, guard={"active": False}
    )
    context = make_context(tmp_path / "project", make_frame(150), params)
    train_original(context)
    forget(context, *tokens_of(context)[:6])
    found = tune(context.posthoc(), "shrink", 3, 5_000)

    assert found.trials[0].settings["factor"] == 0.02
    assert all(0.5 <= trial.settings["factor"] <= 0.99 for trial in found.trials[1:])
    assert found.best.number > 0


def test_what_is_registered_in_a_test_is_forgotten_after_it() -> None:
    with pytest.raises(InputError, match="shrink"):
        posthoc_params("shrink")
    with pytest.raises(InputError, match="there is no method 'shrink'"):
        find_method("shrink", "tabular")


def test_a_name_is_registered_once_for_a_modality(new_methods: dict[str, Method]) -> None:
    """The same name may stand for a method of each modality."""
    for method in (
        new_methods["shrink"],
        find_method("ssd", "tabular"),
        find_method("npo", "text"),
    ):
        with pytest.raises(ValueError, match="already"):
            register(method)
    register(replace(new_methods["shrink"], modality="text"))

    assert find_method("shrink", "text") is not find_method("shrink", "tabular")


@pytest.mark.parametrize(("name", "modality"), [("rate", "text"), ("ssd", "tabular")])
def test_a_name_of_other_settings_is_refused(
    name: str, modality: Modality, new_methods: dict[str, Method], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`rate` is shared by all methods for language models; `ssd` is a built-in method."""
    monkeypatch.setattr(registry, "_METHODS", {})
    with pytest.raises(ValueError, match=f"'{name}' is the name of other settings already"):
        register(replace(new_methods["shrink"], name=name, modality=modality))


def runs_on(problem: TabularProblem) -> None:
    """Ascend without looking at what the guard says."""
    problem.guard.watch(problem.model)
    with torch.no_grad():
        for weight in problem.model.parameters():
            weight.neg_()


def draws_at_will(problem: TabularProblem) -> None:
    """Draw from what no seed decides."""
    with torch.no_grad():
        for weight in problem.model.parameters():
            weight.mul_(1 + os.urandom(1)[0] / 1000)


BROKEN: dict[str, tuple[str, Any]] = {
    "past the budget of its guard": ("guard", {"function": runs_on}),
    "two runs that differ": ("determinism", {"function": draws_at_will}),
    "a label of its own": ("label", {"label": "harmless"}),
    "a certificate without epsilon and delta": (
        "label",
        {"label": "certified(epsilon=1, delta=1e-5)"},
    ),
    "exact without retraining": ("label", {"label": "exact"}),
    "a range past what a setting may be": ("ranges", {"ranges": {"factor": Span(0.5, 1.5)}}),
    "a range of no setting": ("ranges", {"ranges": {"rate": Span(0.5, 0.9)}}),
    "a range without the default": ("ranges", {"ranges": {"factor": Span(0.1, 0.2)}}),
}


@pytest.mark.parametrize(("check", "changes"), BROKEN.values(), ids=BROKEN)
def test_a_method_that_breaks_a_rule_does_not_conform(
    check: str, changes: dict[str, Any], new_methods: dict[str, Method], case_of: FindCase
) -> None:
    method = replace(new_methods["shrink"], name="broken", **changes)
    register(method)
    case = replace(case_of(method), results={})
    with pytest.raises((AssertionError, ValueError)):
        CHECKS[check](method, case)
