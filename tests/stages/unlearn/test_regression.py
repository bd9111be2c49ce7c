"""Post-hoc methods on a network that predicts numbers."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.config.methods import METHODS, InfluenceSettings, methods_of
from unlearn.stages.config.train import OptimizerParams, TrainParams
from unlearn.stages.context import Context, check_params
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.mlp import MlpEstimator
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.training.importing import import_weights
from unlearn.stages.training.method_record import WHOLE
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.unlearn import stage
from unlearn.stages.unlearn.base.problem import apply
from unlearn.stages.unlearn.base.registry import Method, find_method
from unlearn.stages.unlearn.tabular.apply import make_problem
from unlearn.stages.unlearn.tabular.bridge import objective_of_training, open_model
from unlearn.stages.unlearn.tabular.guard import Probes, TabularGuard
from unlearn.stages.unlearn.tabular.problem import Objective, TabularProblem
from unlearn.stages.unlearn.tabular.rows import Rows
from unlearn.stages.unlearn.tabular.targets import unseen_loss
from unlearn.stages.unlearn.tabular.teacher import Taught, divergence
from unlearn.stages.unlearn.tuning import tune

from tests.stages.conftest import make_context, put_on_list
from tests.stages.posthoc import tokens_of, train_original
from tests.stages.regression import make_amounts, regression_params
from tests.stages.unlearn.cases import wild
from tests.stages.unlearn.conformance import CHECKS, Case
from tests.stages.verify.reports import run as verify

#: Learns its rows by heart.
NETWORK: dict[str, Any] = {
    "model": "mlp",
    "options": {"hidden": [32]},
    "epochs": 120,
    "batch": 16,
    "device": "cpu",
    "optimizer": {"name": "adam", "rate": 0.02},
}
APPLY = methods_of("regression")
OUTPUTS = Outputs(centre=50.0, scale=10.0)


def posthoc(root: Path, *methods: str, train: dict[str, Any] = NETWORK, rows: int = 150) -> Context:
    raw = regression_params(train, shards=1).model_dump(mode="json")
    names = list(methods or APPLY)
    raw["unlearn"] = {"methods": names, "deploy": names[0]}
    raw["verify"] |= {"attack": "squared_error"}
    return make_context(root, make_amounts(rows, noise=6_000.0), check_params(raw))


def r_squared(model: nn.Module, rows: Rows) -> float:
    with torch.no_grad():
        errors = (model.eval()(rows.inputs)[:, 0] - rows.targets).double() ** 2
    return 1 - float(errors.mean() / rows.targets.double().var(correction=0))


def _ended(context: Context, method: Method) -> tuple[str, float] | None:
    project = wild(context, method).posthoc()
    seed = project.key.seed(project.params.seed, WHOLE, "init")
    opened = open_model(
        read_shard_model(project.project.original, "original"), None, init_seed=seed
    )
    problem = make_problem(project, method.name, opened, stage.read_rows(project))
    before = r_squared(copy.deepcopy(problem.model), problem.retain)
    apply(method, problem)
    if problem.guard.start is None:
        return None
    return problem.guard.stopped_by, before - r_squared(problem.model, problem.retain)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Context:
    context = posthoc(tmp_path_factory.mktemp("numbers") / "project")
    train_original(context)
    put_on_list(context, *tokens_of(context)[:14])
    forget_stage.run(context)
    return context


@pytest.fixture(scope="module")
def case(trained: Context) -> Case:
    return Case(trained, lambda method: _ended(trained, method))


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", APPLY)
def test_every_method_with_a_loss_for_numbers_conforms(name: str, check: str, case: Case) -> None:
    CHECKS[check](find_method(name, "tabular"), case)


def test_methods_without_one_are_refused_with_the_reason(trained: Context) -> None:
    refused = set(METHODS["tabular"]) - set(APPLY)
    assert refused == {"certified_removal", "salun", "bad_teacher"}

    for name in refused:
        raw = trained.params.model_dump(mode="json")
        raw["unlearn"]["methods"].append(name)
        with pytest.raises(InputError, match=f"{name} does not apply to a regression: it"):
            check_params(raw)


@pytest.mark.parametrize(
    ("section", "change", "said"),
    [
        ("verify", {"negatives": "matched"}, "verify.negatives: matched pairs have classes"),
        ("verify", {"online": True, "reference_models": 8}, "verify.online: its attacks are for"),
        ("aggregate", {"rule": "majority_vote"}, "must be one of mean, median, size_weighted"),
    ],
)
def test_settings_for_classes_are_refused(
    section: str, change: dict[str, Any], said: str, trained: Context
) -> None:
    raw = trained.params.model_dump(mode="json")
    raw[section] |= change

    with pytest.raises(InputError, match=said):
        check_params(raw)


@pytest.mark.slow
def test_methods_of_a_regression_are_compared_with_the_retrained_model(
    trained: Context,
) -> None:
    for name in APPLY:
        stage.run(trained, name)
    aggregate_stage.run(trained)
    report = verify(trained)
    methods = report["methods"]

    assert report["verdict"] == methods["retrain"]["verdict"] == "pass"
    assert set(methods) == set(APPLY)
    retrained, untouched = methods["retrain"], methods["ssd"]
    assert retrained["forget_error"] > 1.3 * untouched["forget_error"], "it never saw these rows"
    assert retrained["forget_accuracy"] is retrained["disagreement_with_retrain"] is None
    assert "distance_from_retrain" not in retrained
    for name, found in methods.items():
        assert found["verdict"] != "not applicable", name
        assert found["holdout_error"] > 0
        assert found["membership"]["attacks"]["squared_error"]["auc"] is not None
        if name != "retrain":
            assert found["distance_from_retrain"] > 0
            assert found["distance_on_forgotten"] > 0
            assert found["relative"]["rows"] == 14
    table = (trained.project.plots / "methods.csv").read_text(encoding="utf-8")
    assert table.startswith("method,label,forget_error,retain_error,holdout_error\n")
    assert "influence,approximate," in table


def test_a_search_measures_distances_of_numbers(trained: Context) -> None:
    found = tune(trained.posthoc(), "negative_gradient_plus", 1, 5_000)

    assert found.sample == 10 or found.sample_of == "retained rows"
    assert all(trial.on_sample is not None and trial.on_sample > 0 for trial in found.trials)


def test_no_method_changes_a_regressor_of_scikit_learn(tmp_path: Path) -> None:
    context = posthoc(
        tmp_path / "project",
        "retrain",
        "finetune",
        train={"model": "sklearn.linear_model.Ridge"},
    )
    train_original(context)
    put_on_list(context, *tokens_of(context)[:14])
    forget_stage.run(context)

    assert stage.run(context, "retrain").record.why_not is None
    reason = stage.run(context, "finetune").record.why_not
    assert reason == "of regressors, methods change the weights of networks alone"


def test_a_model_of_a_regression_is_not_imported(trained: Context) -> None:
    nothing = trained.layout.schema.empty_table()

    with pytest.raises(InputError, match="a model of a regression cannot be imported"):
        import_weights(trained, Path("weights.safetensors"), nothing, nothing)


def _problem(model: nn.Module, forget: Rows, retain: Rows, **given: Any) -> TabularProblem:
    nobody = Rows(retain.inputs[:0], retain.targets[:0])
    guard = TabularGuard(Probes(nobody, nobody, None), budget=1.0, gradient_limit=1e9)
    return TabularProblem(
        forget,
        retain,
        InfluenceSettings(),
        3,
        10,
        guard,
        model,
        8,
        Objective("squared_error"),
        lambda: copy.deepcopy(model),
        **given,
    )


def test_the_newton_step_of_a_linear_model_ends_at_least_squares() -> None:
    draw = torch.Generator().manual_seed(5)
    inputs = torch.randn(60, 3, generator=draw, dtype=torch.float64)
    targets = inputs @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + 0.3
    targets += torch.randn(60, generator=draw, dtype=torch.float64)
    model = nn.Linear(3, 1).double()
    rows = Rows(inputs, targets)
    problem = _problem(model, rows.take(torch.arange(10)), rows.take(torch.arange(10, 60)))
    apply(find_method("influence", "tabular"), problem)

    design = np.hstack([inputs[10:].numpy(), np.ones((50, 1))])
    expected = np.linalg.lstsq(design, targets[10:].numpy())[0]
    found = torch.cat([model.weight[0], model.bias]).detach().numpy()
    assert found == pytest.approx(expected, rel=1e-9)
    assert problem.facts == {"solver": "exact"}


def test_losses_distances_and_targets_by_hand() -> None:
    targets = torch.tensor([1.0, 2.0])
    outputs = torch.tensor([[3.0], [2.5]])
    taught = Taught(torch.zeros(2, 1), targets, torch.tensor([[1.0], [2.0]]))

    assert Objective("squared_error").losses(outputs, targets).tolist() == [4.0, 0.25]
    # Half the squared distance, over the square of the temperature.
    assert divergence(taught, outputs, 1.0).tolist() == [2.0, 0.125]
    assert divergence(taught, outputs, 2.0).tolist() == [0.5, 0.03125]
    objective = objective_of_training(OptimizerParams(weight_decay=0.25), OUTPUTS)
    assert (objective.loss, objective.l2_per_row) == ("squared_error", 0.25)
    zero = nn.Linear(1, 1)
    nn.init.zeros_(zero.weight)
    nn.init.zeros_(zero.bias)
    unseen = Rows(torch.zeros(2, 1), targets)
    assert unseen_loss(zero, unseen, np.zeros(3)) == 2.5
    assert unseen_loss(zero, unseen.take(torch.arange(0)), np.zeros(3)) is None


def test_the_guard_limits_what_r_squared_is_lost() -> None:
    targets = torch.tensor([1.0, 3.0])
    rows = Rows(torch.tensor([[1.0], [3.0]]), targets)
    model = nn.Linear(1, 1)
    nn.init.ones_(model.weight)
    nn.init.zeros_(model.bias)
    guard = TabularGuard(Probes(rows, rows, 100.0), budget=0.2, gradient_limit=1e9)
    guard.watch(model)
    assert guard.start is not None
    assert (guard.start.retain_accuracy, guard.start.forget_loss) == (1.0, 0.0)

    with torch.no_grad():
        model.bias.fill_(0.4)  # errors of .4, a variance of 1: R squared .84
    assert not guard.stops(model)
    with torch.no_grad():
        model.bias.fill_(0.5)  # R squared .75
    assert guard.stops(model)
    assert guard.stopped_by == "retain_budget"


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_quick_steps_are_those_of_autograd(optimizer: str) -> None:
    settings = {"model": "mlp", "options": {"hidden": [7]}, "batch": 8, "device": "cpu"}
    train = TrainParams.model_validate(settings | {"optimizer": {"name": optimizer}})
    estimator = MlpEstimator(train, 4, OUTPUTS)
    module, plain = estimator.fresh(4), estimator.fresh(4)
    kind = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
    own, steps = kind(plain.parameters(), lr=0.01), estimator.steps(module, torch.Generator())
    inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    targets = inputs[:, 0] * 2 + 1
    for _ in range(5):
        steps.take(inputs, targets, rate=0.01)
        own.zero_grad()
        Objective("squared_error").losses(plain(inputs), targets).mean().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        own.step()
    steps.write()

    for one, other in zip(module.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
