"""Families of estimators: one of one's own is used like the others, and none is declared twice."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from unlearn.stages.errors import InputError
from unlearn.stages.estimators import registry
from unlearn.stages.estimators.formats import SAFETENSORS, WeightsFormat
from unlearn.stages.estimators.registry import find_spec, register
from unlearn.stages.estimators.tensors import read_safetensors
from unlearn.stages.final_model.ensemble import load_ensemble
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.rows.shard_file import read_shard, record_tokens
from unlearn.stages.verify.exactness.checks import check_exactness, derive_rows

from tests.conftest import make_frame
from tests.stages.conftest import (
    make_context,
    make_params,
    make_recipe,
    make_rows,
    put_on_list,
    run_stages,
)
from tests.stages.estimators.class_means import CLASS_MEANS, load, save
from tests.stages.estimators.conformance import CHECKS, Case, Container

TRAIN = {"model": "class_means", "options": {"sharpness": 2.0}}


@pytest.fixture(autouse=True)
def families(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget afterwards what a test registers."""
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))  # noqa: SLF001 - see above


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_family_in_a_module_of_its_own_conforms(
    check: Callable[[Case, Path], None], tmp_path: Path
) -> None:
    register(CLASS_MEANS)
    container = Container(load, lambda arrays, _like: save(**arrays) + b"\n")
    case = Case(CLASS_MEANS, make_recipe(TRAIN), make_rows(60), container)

    check(case, tmp_path)


def test_a_family_of_ones_own_is_trained_verified_and_asked(tmp_path: Path) -> None:
    register(CLASS_MEANS)
    context = make_context(tmp_path / "project", make_frame(90), make_params(train=TRAIN, slices=2))
    run_stages(context)
    gone = record_tokens(read_shard(context.project.retain_file("s000"), "s000").rows)[0]
    put_on_list(context, gone)
    run_stages(context)

    forget_list = context.read_list()
    found = check_exactness(
        context, forget_list, lambda name: derive_rows(context, name, forget_list)
    )

    assert found.problems == ()
    assert found.reran == found.matched > 0
    holdout = read_shard(context.project.shard_file(HOLDOUT), "holdout").rows
    answers = load_ensemble(context.project.final_model).probabilities(holdout)
    assert np.allclose(answers.sum(axis=1), 1)


def test_options_of_ones_own_family_are_checked() -> None:
    with pytest.raises(InputError, match="'class_means' is neither mlp, nor"):
        make_params(train=TRAIN)
    register(CLASS_MEANS)

    assert make_params(train=TRAIN).train.options == {"sharpness": 2.0}
    with pytest.raises(InputError, match=r"train\.options\.sharpnes: is not a known") as caught:
        make_params(train=TRAIN | {"options": {"sharpnes": 2.0}})
    assert caught.value.hints == ("did you mean `sharpness`?",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "mlp"}, "'mlp' is registered already"),
        ({"models": ("class_means", "mlp")}, "'mlp' belongs to 'mlp'"),
        ({"models": ("sklearn.tree.MyTree",)}, "'sklearn.tree.MyTree' belongs to 'a class below"),
        ({"answers_to": lambda model: model.startswith("lo")}, "'lora' belongs to 'lora'"),
        ({"kind": "empty"}, "kind 'empty' is reserved"),
        ({"kind": "constant"}, "kind 'constant' is reserved"),
        (
            {"format": WeightsFormat("safetensors", ".tensors", read_safetensors)},
            r"'safetensors' \(\.tensors\) is registered already",
        ),
        (
            {"format": WeightsFormat("mine", ".safetensors", lambda _content: ())},
            r"'mine' \(\.safetensors\) is registered already",
        ),
    ],
)
def test_nothing_is_registered_twice(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        register(replace(CLASS_MEANS, **changes))  # type: ignore[arg-type]  # one field at a time
    assert CLASS_MEANS.name not in {spec.name for spec in registry.specs()}


def test_a_family_is_registered_once() -> None:
    register(CLASS_MEANS)
    with pytest.raises(ValueError, match="'class_means' is registered already"):
        register(CLASS_MEANS)


def test_families_may_share_a_format() -> None:
    register(replace(CLASS_MEANS, format=SAFETENSORS))

    assert find_spec("class_means").format is SAFETENSORS


@pytest.mark.slow
def test_reading_what_families_declare_loads_no_numerical_library() -> None:
    script = (
        "import json, sys\n"
        "import unlearn.stages.context\n"
        "from unlearn.stages.estimators.registry import find_spec\n"
        "assert find_spec('sklearn.svm.LinearSVC').kind == 'sklearn'\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    heavy = {"torch", "sklearn", "scipy", "pandas", "skops", "transformers", "peft"}
    assert not heavy & set(json.loads(done.stdout))
