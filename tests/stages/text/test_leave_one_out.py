"""Ensembles without some of their members, and how far two models are apart."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from unlearn.stages.final_model.text_ensemble import LanguageEnsemble
from unlearn.stages.final_model.text_loading import open_language_models
from unlearn.stages.final_model.token_distance import measure_apart
from unlearn.stages.text.leave_one_out import log_probabilities_without
from unlearn.stages.text.sequences import ragged
from unlearn.stages.training.shard_model import ShardModel

from tests.language_models import author_rows, language_recipe
from tests.stages.conftest import train_at_once
from tests.stages.verify.text_projects import language_params


def test_of_three_members_the_others_mean_is_renormalised() -> None:
    # One token of a vocabulary of three; the second token is the true one.
    chances = torch.tensor([[[0.5, 0.25, 0.25]], [[0.2, 0.4, 0.4]], [[0.1, 0.8, 0.1]]])
    home, target = torch.tensor([0]), torch.tensor([1])
    found = log_probabilities_without(chances.log(), target, home)

    # Without member 0: the geometric mean of the other two; without one more, the other alone.
    both = [math.sqrt(0.2 * 0.1), math.sqrt(0.4 * 0.8), math.sqrt(0.4 * 0.1)]
    wanted = [math.log(both[1] / sum(both)), math.log(0.8), math.log(0.4)]
    assert found.shape == (1, 3)
    assert found[0].tolist() == pytest.approx(wanted, rel=1e-6)


def test_of_two_members_nothing_is_left() -> None:
    with pytest.raises(ValueError, match="nothing is left"):
        log_probabilities_without(torch.zeros(2, 1, 3), torch.tensor([0]), torch.tensor([0]))


@dataclass(frozen=True)
class Four:
    """Four adapters that were tuned apart, as one, and rows to ask about."""

    models: list[tuple[str, ShardModel]]
    opened: LanguageEnsemble
    rows: pa.Table
    root: Path

    def without(self, *names: str) -> LanguageEnsemble:
        """Return an ensemble of the other members, opened by itself."""
        kept = [(name, model) for name, model in self.models if name not in names]
        return open_language_models(kept, self.opened.dataset, "mean_log_probability", self.root)


@pytest.fixture(scope="module")
def four(blank_base: Path) -> Four:
    recipe = language_recipe(blank_base, epochs=4, optimizer={"name": "adamw", "rate": 0.02})
    models = []
    for number in range(4):
        files = train_at_once(recipe, author_rows(1, seed=number + 1))
        models.append((f"s{number:03d}", ShardModel.of_files(files)))
    root = blank_base.parent
    dataset = language_params(blank_base).dataset
    opened = open_language_models(models, dataset, "mean_log_probability", root)
    return Four(models, opened, author_rows(2, seed=9).slice(0, 7), root)


@pytest.mark.slow
def test_ensembles_without_members_are_those_of_the_others(four: Four) -> None:
    rows, home = four.rows, np.array([0, 1, 2, 3, 0, 1, 2])
    answered = four.opened.answer_without(rows, home)
    assert answered.without is not None
    slices = answered.final.slices

    for row, number in enumerate(home):
        asked = rows.slice(row, 1)
        for other in range(4):
            names = {f"s{number:03d}", f"s{other:03d}"}
            direct = four.without(*names).scores(asked).logprobs
            assert answered.without[slices[row], other] == pytest.approx(direct, abs=2e-5)


@pytest.mark.trained
def test_one_pass_says_what_asking_one_by_one_says(four: Four) -> None:
    opened, rows = four.opened, four.rows
    together = opened.answer_without(rows, np.zeros(7, dtype=np.int64))
    apart = opened.answer(rows)

    assert together.final.logprobs == pytest.approx(apart.final.logprobs, abs=2e-5)
    assert together.final.spread == pytest.approx(apart.final.spread, abs=2e-4)
    for one, other in zip(together.members, apart.members, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=2e-5)
        assert (one.right == other.right).mean() > 0.99
    spread = np.ptp([member.logprobs.mean() for member in apart.members])
    assert spread > 0.05, "members that say the same would hide a mistake"


@pytest.mark.slow
def test_text_that_is_generated_with_a_cache_is_that_without_one(four: Four) -> None:
    opened, rows = four.opened, four.rows
    said = opened.generate(rows, 12)
    for row, text in enumerate(said):
        (prompt,) = opened.encoder.prompts(rows.slice(row, 1))
        tokens: list[int] = []
        for _ in range(12):
            inputs = torch.tensor([[*prompt, *tokens]])
            with torch.inference_mode():
                following = int(opened.forward(inputs)[0, -1].argmax())
            if following == opened.encoder.end:
                break
            tokens.append(following)
        assert text == opened.encoder.decode(tokens)


def test_how_far_two_models_are_apart_is_as_by_hand() -> None:
    one = torch.tensor([0.7, 0.2, 0.1])
    two = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])

    def model(inputs: torch.Tensor) -> torch.Tensor:
        return one.log().expand(*inputs.shape, 3)

    def reference(inputs: torch.Tensor) -> torch.Tensor:
        # By the token that is read, so that the two answer tokens differ.
        return two.log()[inputs.clamp(max=1)]

    sequences = ragged([[0, 1, 2]], [1], [0])
    found = measure_apart(model, reference, sequences, 0)
    gaps = [
        sum(q * math.log(q / p) for q, p in zip(row, one.tolist(), strict=True))
        for row in two.tolist()
    ]
    assert found.divergence == pytest.approx(sum(gaps) / 2, rel=1e-5)
    assert found.disagreement == 0.5
    same = measure_apart(model, model, sequences, 0)
    assert (same.divergence, same.disagreement) == (0, 0)
