"""Every post-hoc method on a network that reads pictures, with each of its two norms."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from unlearn.stages.config.methods import METHODS
from unlearn.stages.context import Context
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.rows.shard_file import RECORD, SUBJECT, TARGET, read_shard
from unlearn.stages.rows.token_arrays import token_list
from unlearn.stages.training.method_record import WHOLE
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.unlearn import stage
from unlearn.stages.unlearn.base.registry import find_method
from unlearn.stages.unlearn.stage import unlearn_rows
from unlearn.stages.unlearn.tabular.row_work import row_work

from tests.stages.conftest import put_on_list
from tests.stages.posthoc import changed_params, copied
from tests.stages.unlearn.cases import picture_case
from tests.stages.unlearn.conformance import CHECKS, Case
from tests.stages.unlearn.pictures import picture_project

#: All but the one that is for convex linear models.
NETWORK_METHODS = [
    name for name in METHODS["tabular"] if not find_method(name, "tabular").certifies
]

FindCase = Callable[[str], Case]


@pytest.fixture(scope="session")
def case_by_norm(tmp_path_factory: pytest.TempPathFactory) -> FindCase:
    cases: dict[str, Case] = {}

    def find(norm: str) -> Case:
        if norm not in cases:
            cases[norm] = picture_case(tmp_path_factory.mktemp(f"pictures-{norm}"), norm=norm)
        return cases[norm]

    return find


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORK_METHODS)
def test_a_method_is_deterministic_on_pictures(name: str, case_by_norm: FindCase) -> None:
    CHECKS["determinism"](find_method(name, "tabular"), case_by_norm("group"))


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize("check", ["determinism", "label", "guard", "nothing to forget"])
@pytest.mark.parametrize("name", NETWORK_METHODS)
def test_every_method_conforms_on_pictures(
    name: str, check: str, norm: str, case_by_norm: FindCase
) -> None:
    CHECKS[check](find_method(name, "tabular"), case_by_norm(norm))


def test_the_certified_method_says_that_a_network_has_no_certificate(
    case_by_norm: FindCase,
) -> None:
    record = case_by_norm("group").run(find_method("certified_removal", "tabular")).record

    assert record.why_not is not None
    assert "perturbed_logistic" in record.why_not


@pytest.fixture(scope="session")
def project_of_people(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return picture_project(tmp_path_factory.mktemp("people") / "project", subject=True)


@pytest.mark.slow
@pytest.mark.parametrize("request_of", ["class", "subject"])
@pytest.mark.parametrize("name", NETWORK_METHODS)
def test_a_class_or_a_person_is_forgotten_by_every_method(
    name: str, request_of: str, project_of_people: Context, tmp_path: Path
) -> None:
    context = copied(project_of_people, tmp_path / "project")
    rows = read_shard(context.project.shard_file(WHOLE), WHOLE).rows
    people, records = token_list(rows[SUBJECT]), token_list(rows[RECORD])
    if request_of == "class":
        labels = rows[TARGET].to_pylist()
        triples = zip(people, records, labels, strict=True)
        lines = [f"{person}.{record}" for person, record, label in triples if label == "c1"]
    else:
        lines = [people[0]]
    put_on_list(context, *lines)
    forget_stage.run(context)
    posthoc = changed_params(context, "unlearn", methods=[name], deploy=name).posthoc()
    found = stage.read_rows(posthoc)
    result = unlearn_rows(
        posthoc, name, read_shard_model(posthoc.project.original, "original"), found
    )

    assert found.forget.num_rows > 0
    assert result.record.why_not is None
    assert result.files


class Counted(nn.Module):
    """A convolution of 2 x 27 weights on 6 x 6 places, and a layer of 2 x 3 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, bias=False)
        self.head = nn.Linear(2, 3, bias=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.head(self.conv(inputs.float().view(-1, 3, 8, 8)).mean((2, 3)))
        return answers


def test_the_work_of_a_row_counts_each_weight_for_each_place_that_it_is_applied_to() -> None:
    module = Counted().train()
    rows = torch.zeros((4, 192), dtype=torch.uint8)

    assert row_work(module, rows) == 2 * 27 * 36 + 6
    assert row_work(module, rows[:0]) == 2 * 27 + 6
    assert row_work(module, rows.float()) == 2 * 27 + 6
    assert module.training
    assert not module.conv._forward_hooks  # noqa: SLF001 - none is left
