"""The registry of attacks: which there are, what params.yaml may name, and one that is added."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from unlearn.cli.verify_answer import Shown
from unlearn.cli.verify_text import describe
from unlearn.stages.config.params import Params
from unlearn.stages.context import check_params
from unlearn.stages.errors import InputError
from unlearn.stages.report.contents import Contents
from unlearn.stages.report.page import render
from unlearn.stages.rows.shard_file import read_shard, record_tokens
from unlearn.stages.verify.membership.attack import AnswerScore, Attack
from unlearn.stages.verify.membership.calibrated import LIRA
from unlearn.stages.verify.membership.online import LIRA_ONLINE
from unlearn.stages.verify.membership.registry import (
    attacks_for,
    attacks_on,
    deciding_attack,
    register,
    registered,
)
from unlearn.stages.verify.stage import run
from unlearn.stages.verify_report.reading import read_report

from tests.conftest import make_frame
from tests.stages.conftest import make_context, make_params, put_on_list, run_stages
from tests.stages.verify.membership.margin_attack import MARGIN
from tests.stages.verify.text_projects import language_params


def deciding(params: Params, name: str) -> Params:
    """Return settings in which another attack decides, checked as those of params.yaml are."""
    raw = params.model_dump(mode="json", exclude_unset=True)
    return check_params(raw | {"verify": {"attack": name, "min_rows": 5, "rerun": 0}})


@pytest.fixture
def text_params(blank_base: Path) -> Params:
    return language_params(blank_base)


def test_the_order_of_reports() -> None:
    assert [attack.name for attack in attacks_on("classes")] == [
        "confidence",
        "loss",
        "entropy",
        "modified_entropy",
        "lira",
        "rmia",
    ]
    assert [attack.name for attack in attacks_on("tokens")] == [
        "loss",
        "zlib",
        "min_k",
        "min_k_plus_plus",
        "lira",
        "rmia",
    ]
    assert [attack.name for attack in attacks_on("numbers")] == [
        "lira",
        "rmia",
        "squared_error",
        "absolute_error",
    ]
    online = ["lira_online", "rmia_online"]
    calibrated = [attack.name for attack in registered() if attack.is_calibrated]
    assert calibrated == ["lira", "rmia", *online]
    assert [attack.name for attack in registered() if attack.is_online] == online
    assert attacks_on("numbers", online=True) == attacks_on("numbers")
    for kind in ("classes", "tokens"):
        with_online = attacks_on(kind, online=True)
        assert with_online[:-2] == attacks_on(kind)
        assert [attack.name for attack in with_online[-2:]] == online
    assert [attack for attack in registered() if attack.allows_for_difficulty] == [LIRA]


def test_labels_and_names_are_each_of_one_attack() -> None:
    assert len({attack.label for attack in registered()}) == len(registered())


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="there is a membership attack 'lira' already"):
        register(replace(MARGIN, name="lira"))


def test_an_attack_reads_something() -> None:
    with pytest.raises(ValueError, match="'blind' reads no kind of answers"):
        register(Attack("blind", "Blind", AnswerScore()))


def test_params_name_one_of_the_attacks_on_their_models(text_params: Params) -> None:
    for params in (make_params(), text_params):
        assert deciding_attack(params) is LIRA
        for attack in attacks_for(params):
            assert deciding_attack(deciding(params, attack.name)) is attack


@pytest.mark.parametrize(
    ("name", "hints"),
    [
        ("lyra", ("did you mean `lira`?",)),
        ("modified-entropy", ("did you mean `modified_entropy`?",)),
        ("zlib", ()),
        ("", ()),
    ],
)
def test_another_name_is_refused_with_the_nearest_hinted(name: str, hints: tuple[str]) -> None:
    with pytest.raises(InputError) as caught:
        deciding_attack(deciding(make_params(), name))

    assert caught.value.message == (
        "params.yaml: verify.attack: must be one of "
        "confidence, loss, entropy, modified_entropy, lira, rmia"
    )
    assert caught.value.hints == hints


def test_online_attacks_need_their_setting() -> None:
    with pytest.raises(InputError) as caught:
        deciding_attack(deciding(make_params(), "lira_online"))
    assert caught.value.message == (
        "params.yaml: verify.attack: lira_online needs `verify.online: true`"
    )

    params = make_params()
    settings = params.verify.model_copy(
        update={"attack": "lira_online", "online": True, "reference_models": 6}
    )
    assert deciding_attack(params.model_copy(update={"verify": settings})) is LIRA_ONLINE


def test_attacks_on_classes_are_refused_for_text(text_params: Params) -> None:
    with pytest.raises(InputError) as caught:
        deciding_attack(deciding(text_params, "entropy"))

    assert caught.value.message == (
        "params.yaml: verify.attack: must be one of loss, zlib, min_k, min_k_plus_plus, lira, rmia"
    )


def test_the_declarations_load_no_heavy_library() -> None:
    code = (
        "import sys, unlearn.stages.verify.membership.registry;"
        "heavy = {'torch', 'sklearn', 'scipy', 'pandas', 'pyarrow', 'transformers'};"
        "sys.exit(', '.join(sorted(heavy & sys.modules.keys())) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def numbers_of(report: dict[str, Any]) -> dict[str, Any]:
    """Return what each attack found, without the one that was added."""
    attacks = {
        "shard_models": report["membership"]["attacks"],
        "final_model": report["membership"]["final_model"]["attacks"],
    }
    return {
        model: {name: one for name, one in found.items() if name != MARGIN.name}
        for model, found in attacks.items()
    }


@pytest.mark.usefixtures("own_registry")
def test_an_attack_of_ones_own_is_configured_made_and_reported(tmp_path: Path) -> None:
    context = make_context(tmp_path / "project", make_frame(240), make_params(shards=2))
    run_stages(context)
    tokens = record_tokens(read_shard(context.project.shard_file("s000"), "s000").rows)
    put_on_list(context, *tokens[:12])
    before = run(replace(context, params=deciding(context.params, "loss"))).as_json()
    register(MARGIN)
    report = run(replace(context, params=deciding(context.params, "margin"))).as_json()

    assert report["membership"]["attack"] == "margin"
    assert report["membership"]["auc"] == report["membership"]["attacks"]["margin"]["auc"]
    assert 0 <= report["membership"]["auc"] <= 1
    assert list(report["membership"]["final_model"]["attacks"])[-1] == "margin"
    assert numbers_of(report) == numbers_of(before), "the numbers of other attacks stay"
    assert "margin" in context.project.roc.read_text(encoding="utf-8")
    written = read_report(context.project)
    shown = describe(Shown(written, written.verdict, written.reasons))
    assert any(line.split()[:1] == ["margin"] for line in shown.splitlines())
    page = render(Contents("project", datetime(2026, 1, 1, tzinfo=UTC), written))
    assert MARGIN.label in page
