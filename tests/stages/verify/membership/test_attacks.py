"""Attacks put together: samples matched, controls beside them, and what too little data gives."""

import json

import numpy as np
import pytest
from scipy.special import expit
from unlearn.stages.verify.membership.answers import Answers
from unlearn.stages.verify.membership.arrays import Bools, Floats, Ints
from unlearn.stages.verify.membership.attack import Attack
from unlearn.stages.verify.membership.attacks import Attacked, Samples, run_attack, run_attacks
from unlearn.stages.verify.membership.calibrated import LIRA, RMIA
from unlearn.stages.verify.membership.registry import attacks_on
from unlearn.stages.verify.membership.row_scores import RowScores, of_classes
from unlearn.stages.verify.membership.scores import LOSS
from unlearn.stages.verify.membership.views import View, of_shard_models, without_home

MODELS = 5


def answers(
    rows: int, *, gain: float, seed: int, targets: Ints | None = None, models: int = MODELS
) -> Answers:
    """Return answers of models on rows that are hard or easy, to which the home model adds."""
    draw = np.random.default_rng(seed)
    home = draw.integers(0, models, rows)
    logits = draw.normal(0, 3, (rows, 1)) + draw.normal(0, 0.5, (rows, models))
    logits[np.arange(rows), home] += gain
    truth = draw.integers(0, 2, rows) if targets is None else targets

    def as_probabilities(of_truth: Floats) -> RowScores:
        both = np.empty((rows, 2))
        both[np.arange(rows), truth] = expit(of_truth)
        both[np.arange(rows), 1 - truth] = expit(-of_truth)
        return of_classes(both, truth)

    asked = as_probabilities(logits[np.arange(rows), home])
    final = as_probabilities(logits.mean(axis=1))
    return Answers(home, truth, np.arange(rows), logits, asked, final)


def halves(rows: int) -> Bools:
    found: Bools = np.arange(rows) % 2 == 0
    return found


def viewed(
    forgotten: Answers, others: Answers | None = None, *, probable: bool = True
) -> tuple[View, Samples]:
    others = answers(300, gain=0, seed=1) if others is None else others
    members = answers(200, gain=2, seed=2)
    population = answers(100, gain=0, seed=3)
    view = of_shard_models(forgotten, members, others, population, probable=probable)
    return view, Samples(forgotten, members, others, halves(len(others)))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def run_all(found: tuple[View, Samples]) -> dict[str, Attacked | None]:
    return run_attacks(*found, attacks_on("classes"), rng(), min_rows=10)


@pytest.mark.parametrize("calibrated", [LIRA, RMIA], ids=["lira", "rmia"])
def test_calibrated_attacks_see_what_a_home_model_adds(calibrated: Attack) -> None:
    found = run_attack(*viewed(answers(100, gain=2, seed=4)), calibrated, rng(), min_rows=10)

    assert found is not None
    assert found.forgotten.wide[0] > 0.6
    assert found.control.wide[0] > 0.6
    assert found.result.control.rows == 200


@pytest.mark.slow
@pytest.mark.parametrize("calibrated", [LIRA, RMIA], ids=["lira", "rmia"])
def test_their_intervals_miss_what_is_not_there_one_time_in_twenty(calibrated: Attack) -> None:
    missed, missed_halves = 0, 0
    for seed in range(20):
        forgotten, others = (answers(rows, gain=0, seed=1000 * seed + rows) for rows in (100, 300))
        found = run_attack(*viewed(forgotten, others), calibrated, rng(), min_rows=10)
        assert found is not None
        negative = found.result.negative_control
        assert negative.ci is not None
        missed += not found.forgotten.wide[0] < 0.5 < found.forgotten.wide[1]
        missed_halves += not negative.ci[0] < 0.5 < negative.ci[1]

    # One is to be expected; five have a chance of .003.
    assert missed < 5
    assert missed_halves < 5


def test_they_see_more_than_attacks_on_one_answer() -> None:
    found = run_attacks(
        *viewed(answers(100, gain=2, seed=4)), attacks_on("classes"), rng(), min_rows=10
    )
    values = {name: one.forgotten.value for name, one in found.items() if one is not None}

    assert list(found) == ["confidence", "loss", "entropy", "modified_entropy", "lira", "rmia"]
    assert values["lira"] > values["loss"] + 0.15
    assert values["lira"] > values["confidence"] + 0.15


def test_a_result_has_every_number_and_its_sample_sizes() -> None:
    found = run_attack(*viewed(answers(100, gain=2, seed=4)), LIRA, rng(), min_rows=10)

    assert found is not None
    value = found.result.as_json()
    assert (value["forget_rows"], value["holdout_rows"]) == (100, 300)
    assert value["ci"][0] < value["auc"] < value["ci"][1]
    low, high = value["tpr_at_fpr_1pct_ci"]
    assert low < value["tpr_at_fpr_1pct"] < high
    assert value["tpr_at_fpr_0_1pct"] is None, "300 rows say nothing about one in a thousand"
    assert value["balanced_accuracy"] > 0.6
    assert 0.5 < value["detectable_auc"] < 0.65
    json.dumps(value, allow_nan=False)


def test_non_members_are_matched_by_class() -> None:
    # Of class 0 all rows are easy, of class 1 all are hard; the forgotten rows are of class 0.
    forgotten = answers(100, gain=0, seed=4, targets=np.zeros(100, dtype=np.int64))
    others = answers(300, gain=0, seed=1)
    harder = np.where(others.targets[:, None] == 1, others.logits - 9, others.logits)
    rows = np.arange(300)
    asked = np.empty((300, 2))
    asked[rows, others.targets] = expit(harder[rows, others.home])
    asked[rows, 1 - others.targets] = expit(-harder[rows, others.home])
    uneven = Answers(
        others.home,
        others.targets,
        others.groups,
        harder,
        of_classes(asked, others.targets),
        others.of_final,
    )
    found = run_attack(*viewed(forgotten, uneven), LOSS, rng(), min_rows=10)

    assert found is not None
    assert found.forgotten.value == pytest.approx(0.5, abs=0.1)
    assert found.result.holdout_rows == np.count_nonzero(others.targets == 0)


def test_forgotten_rows_of_a_class_without_non_members_are_left_out() -> None:
    forgotten = answers(50, gain=0, seed=4, targets=(np.arange(50) < 20).astype(np.int64))
    others = answers(80, gain=0, seed=1, targets=np.zeros(80, dtype=np.int64))
    found = run_attack(*viewed(forgotten, others), LIRA, rng(), min_rows=10)

    assert found is not None
    assert (found.result.forget_rows, found.result.holdout_rows) == (30, 80)


@pytest.mark.parametrize("rows", [0, 1, 9])
def test_few_forgotten_rows_give_no_number(rows: int) -> None:
    found = run_attacks(
        *viewed(answers(rows, gain=2, seed=4)), attacks_on("classes"), rng(), min_rows=10
    )

    assert set(found.values()) == {None}


def test_few_non_members_of_the_class_give_no_number() -> None:
    forgotten = answers(50, gain=0, seed=4, targets=np.ones(50, dtype=np.int64))
    others = answers(80, gain=0, seed=1, targets=(np.arange(80) < 9).astype(np.int64))

    assert run_attack(*viewed(forgotten, others), LOSS, rng(), min_rows=10) is None


def test_votes_have_no_scores() -> None:
    found = run_attacks(
        *viewed(answers(100, gain=2, seed=4), probable=False),
        attacks_on("classes"),
        rng(),
        min_rows=10,
    )

    assert set(found.values()) == {None}


def test_without_a_population_there_is_no_rmia() -> None:
    """As where no held-out row falls into the calibration half."""
    parts = [answers(60, gain=gain, seed=seed) for seed, gain in enumerate((0, 2, 0))]
    nobody = answers(0, gain=0, seed=3)
    view = of_shard_models(parts[0], parts[1], parts[2], nobody, probable=True)
    found = run_all((view, Samples(parts[0], parts[1], parts[2], halves(60))))

    assert {name for name, one in found.items() if one is None} == {"rmia"}


@pytest.mark.parametrize(("models", "made"), [(1, False), (2, False), (3, False), (4, True)])
def test_calibration_takes_four_shards(models: int, *, made: bool) -> None:
    parts = [
        answers(60, gain=gain, seed=seed, models=models) for seed, gain in enumerate((0, 2, 0, 0))
    ]
    view = of_shard_models(parts[0], parts[1], parts[2], parts[3], probable=True)
    samples = Samples(parts[0], parts[1], parts[2], halves(60))
    found = run_all((view, samples))

    assert found["loss"] is not None
    assert (found["lira"] is not None) == made
    assert (found["rmia"] is not None) == made


def test_the_same_draws_give_the_same_numbers() -> None:
    one, two = (
        run_attack(*viewed(answers(100, gain=1, seed=4)), RMIA, rng(), min_rows=10)
        for _ in range(2)
    )

    assert one is not None
    assert two is not None
    assert one.result == two.result


def test_ensembles_without_a_member_are_those_of_the_others() -> None:
    chances = np.array([[0.9, 0.2, 0.5, 0.4], [0.1, 0.6, 0.7, 0.3]])
    found = without_home(np.log(chances / (1 - chances)), np.array([0, 2]), np.ones(4))
    first = [(0.2 + 0.5 + 0.4) / 3, (0.5 + 0.4) / 2, (0.2 + 0.4) / 2, (0.2 + 0.5) / 2]
    second = [(0.6 + 0.3) / 2, (0.1 + 0.3) / 2, (0.1 + 0.6 + 0.3) / 3, (0.1 + 0.6) / 2]

    assert expit(found) == pytest.approx(np.array([first, second]))
    weighted = without_home(np.log(chances / (1 - chances)), np.array([0, 2]), np.arange(1.0, 5))
    assert expit(weighted)[0, 1] == pytest.approx((3 * 0.5 + 4 * 0.4) / 7)


def test_of_two_members_nothing_is_left_to_compare_with() -> None:
    assert without_home(np.zeros((3, 2)), np.zeros(3, dtype=np.int64), np.ones(2)).shape == (3, 0)
