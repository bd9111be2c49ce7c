"""Other rules for ids must not bring anybody back: lines of the list are made by the old ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.rows.ids import IdRules
from unlearn.stages.rows.tokens import Tokenizer
from unlearn.stages.shard import stage as shard_stage

from tests.conftest import make_frame
from tests.stages.conftest import KEY, make_context, make_params, put_on_list

FRAME = make_frame(40).assign(id=[f"{number}.0" for number in range(40)])

TEXT = {"id_type": "text", "identity": "exact"}
INTEGER = {"id_type": "integer", "identity": "exact"}
FOLDED = {"id_type": "text", "identity": "folded"}


def with_rules(context: Context, rules: dict[str, Any]) -> Context:
    dataset = context.params.dataset.model_copy(update=rules)
    return replace(context, params=context.params.model_copy(update={"dataset": dataset}))


def ran_with(root: Path, rules: dict[str, Any]) -> Context:
    """Return a project, and the lock of a run with these rules."""
    context = with_rules(make_context(root, FRAME, make_params()), rules)
    section = context.params.dataset.model_dump(mode="json", exclude_none=True)
    entry = {"path": "data/shards", "md5": f"{'0' * 32}.dir", "size": 1, "nfiles": 1}
    stage = {
        "cmd": "unlearn stage shard",
        "deps": [],
        "params": {"params.yaml": {"dataset": section}},
        "outs": [entry],
    }
    lock = yaml.safe_dump({"schema": "2.0", "stages": {"shard": stage}})
    context.project.lock.write_text(lock, encoding="utf-8")
    return context


def forget(context: Context, *ids: str) -> None:
    tokenizer = Tokenizer(KEY, IdRules.of(context.params.dataset))
    put_on_list(context, *(tokenizer.token("record", raw) for raw in ids))


@pytest.mark.parametrize("before", [TEXT, {}])
def test_a_type_that_would_bring_rows_back_is_refused(
    tmp_path: Path, before: dict[str, Any]
) -> None:
    context = ran_with(tmp_path, before)
    forget(context, "7.0", "8.0")

    with pytest.raises(InputError, match="dataset.id_type.* was changed: 2 rows") as caught:
        shard_stage.run(with_rules(context, INTEGER))

    assert "set it back" in caught.value.hints[0]
    assert not context.project.shards.exists()
    shard_stage.run(context)


@pytest.mark.parametrize(("before", "after"), [(TEXT, FOLDED), (FOLDED, TEXT), ({}, FOLDED)])
def test_another_identity_is_refused_for_people_who_are_not_in_the_data(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    context = ran_with(tmp_path, before)
    forget(context, "Jane.Roe")

    with pytest.raises(InputError, match="dataset.identity was changed|, dataset.identity was"):
        shard_stage.run(with_rules(context, after))


def test_what_loses_no_line_is_allowed(tmp_path: Path) -> None:
    context = ran_with(tmp_path / "a", TEXT)
    shard_stage.run(with_rules(context, INTEGER))  # nobody was forgotten
    context = ran_with(tmp_path / "b", {})
    forget(context, "7.0")
    shard_stage.run(with_rules(context, TEXT))  # the same tokens
