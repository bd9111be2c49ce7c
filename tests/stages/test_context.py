"""Contexts of the two pipelines: asked for once, and typed from there on."""

from pathlib import Path

import pytest
from unlearn.stages.errors import InputError

from tests.conftest import make_frame
from tests.stages.conftest import make_context, make_params
from tests.stages.posthoc import posthoc_params


def test_a_project_of_shards_has_an_exact_context_only(tmp_path: Path) -> None:
    context = make_context(tmp_path, make_frame(20), make_params(shards=2))

    assert context.params.kind == "exact"
    assert context.exact().shards == ["s000", "s001"]
    assert context.params.methods == ()
    with pytest.raises(InputError, match="no `unlearn` section: this is a pipeline of shards"):
        context.posthoc()


def test_a_project_with_methods_has_a_posthoc_context_only(tmp_path: Path) -> None:
    context = make_context(tmp_path, make_frame(20), posthoc_params("retrain", "ssd"))

    assert context.params.kind == "posthoc"
    assert context.posthoc().unlearn.deploy == "retrain"
    assert context.params.methods == ("retrain", "ssd")
    with pytest.raises(InputError, match="has an `unlearn` section"):
        context.exact()
