"""The tree of `unlearn plan`: what will run, why, and what that takes."""

import sys

import pytest
from unlearn.cli.plan_answer import PlanAnswer, PlanCosts
from unlearn.cli.plan_tree import describe_tree

from tests.cli.conftest import IDS
from tests.conftest import Repo, places
from tests.terminals import unlearn_in_terminal


def planned(shards: int, of: int) -> PlanAnswer:
    names = [f"s{number:03d}" for number in range(shards)]
    rows = {name: 100 + number for number, name in enumerate(names)}
    return PlanAnswer(
        shards=names,
        records=shards,
        rows_to_retrain=sum(rows.values()),
        fraction_of_full_training=0.1,
        stages=["forget", *(f"train@{name}" for name in names), "aggregate", "verify"],
        seconds_expected=9.0,
        slices=dict.fromkeys(names, 2),
        rows_remaining=10_000,
        costs=PlanCosts(
            this_request=9.0,
            whole_pipeline=90.0,
            one_plain_model=20.0,
            training=5.0,
            check=1.5,
            cheapest="this_request",
            jobs=2,
        ),
        changed=names[:1],
        rows_by_shard=rows,
        seconds_by_shard=dict.fromkeys(names, 0.5),
        seconds_by_stage={"forget": 0.2, "verify": 3.0},
        causes={"train@s001": ["train.epochs"]},
        unchanged=["recipe", "shard"],
        shards_in_all=of,
        slices_in_all=3,
    )


def test_a_tree_names_shards_their_slices_rows_and_seconds() -> None:
    assert describe_tree(planned(2, 5)) == [
        "what will run:",
        "├─ forget: 0.2 s",
        "├─ train: 2 of 5 shards, 201 rows, 5.0 s",
        "│  ├─ s000 by changing its model: 100 rows, 0.5 s",
        "│  └─ s001 from slice 2 of 3: 101 rows, 0.5 s; changed train.epochs",
        "├─ aggregate",
        "└─ verify: the retraining check 1.5 s",
        "unchanged: 3 shards; the stages recipe, shard",
    ]


def test_many_shards_are_summed_up() -> None:
    answer = planned(400, 401)
    lines = describe_tree(answer)

    assert len(lines) < 16
    assert max(map(len, lines)) <= 80
    named = [name for name in answer.shards if any(f"─ {name} " in line for line in lines)]
    assert named == answer.shards[-7:]  # those with most rows
    rest = sum(answer.rows_by_shard[name] for name in answer.shards if name not in named)
    assert f"│  └─ and 393 more: {rest:,} rows, 196.5 s" in lines
    assert lines[-1].startswith("unchanged: 1 shard;")


def test_letters_stand_in_where_a_stream_has_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ascii:
        encoding = "ascii"

    monkeypatch.setattr(sys, "stdout", Ascii())
    lines = describe_tree(planned(2, 5))

    assert all(line.isascii() for line in lines)
    assert "|  `- s001 from slice 2 of 3: 101 rows, 0.5 s; changed train.epochs" in lines


def test_a_request_shows_what_it_retrains(done: Repo) -> None:
    where = places(done)
    done.forget([next(raw for raw in where if not where[raw].is_holdout)])
    plain, tree = done.inline("plan").out, done.inline("plan", "--tree").out
    answer = done.inline("plan", "--json").json

    assert "what will run" not in plain
    assert "stages: " in plain
    (shard,) = answer["shards"]
    assert answer["rows_by_shard"] == {shard: answer["rows_to_retrain"]}
    assert answer["unchanged"][:2] == ["recipe", "shard"]
    lines = tree.splitlines()
    assert any(line.startswith("|- forget: changed data/forget_list.txt") for line in lines)
    assert any(line.startswith(f"|  `- {shard} from slice 1 of 1: ") for line in lines)
    assert "unchanged: 2 shards; the stages recipe, shard" in lines
    assert [line for line in plain.splitlines() if line in lines]


def test_a_changed_setting_is_named(done: Repo) -> None:
    done.set_params(train={"epochs": 4})

    answer = done.inline("plan", "--json").json
    assert any("train" in cause for cause in answer["causes"]["recipe"])


def test_on_a_terminal_the_tree_is_the_default(done: Repo) -> None:
    done.forget(IDS[:1])
    shown = unlearn_in_terminal(done.root, "plan", columns=60)

    assert "what will run:" in shown.text
    assert "stages: " not in shown.text
    assert shown.widest() <= 60
