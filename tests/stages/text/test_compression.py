"""An adapter of a lower rank is the nearest one, and has the same bytes each time."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from unlearn.stages.errors import InputError
from unlearn.stages.text.adapters import Shape, Tensors
from unlearn.stages.text.compression import compress

KEY = "base_model.model.q"


def adapter(rank: int, wide: int = 7, high: int = 6, seed: int = 1) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{KEY}.lora_A.weight": torch.randn(rank, wide, generator=generator),
        f"{KEY}.lora_B.weight": torch.randn(high, rank, generator=generator),
    }


def update(shape: Shape, of: Tensors) -> torch.Tensor:
    product = of[f"{KEY}.lora_B.weight"].double() @ of[f"{KEY}.lora_A.weight"].double()
    return product * (shape.alpha / shape.rank)


@given(
    rank=st.integers(2, 12),
    wide=st.integers(1, 9),
    high=st.integers(1, 9),
    alpha=st.floats(0.5, 32),
    data=st.data(),
)
@settings(max_examples=25, deadline=None)
def test_it_is_the_best_approximation(
    rank: int, wide: int, high: int, alpha: float, data: st.DataObject
) -> None:
    shape, tensors = Shape(rank, alpha, ("q",)), adapter(rank, wide, high)
    lower = data.draw(st.integers(1, rank - 1))

    found = compress(shape, tensors, lower)

    whole = update(shape, tensors)
    left, values, right = torch.linalg.svd(whole, full_matrices=False)
    best = left[:, :lower] @ torch.diag(values[:lower]) @ right[:lower]
    torch.testing.assert_close(update(found.shape, found.tensors), best, rtol=1e-4, atol=1e-4)
    left_out = float((whole - best).norm() / whole.norm())
    assert found.errors["q"] == pytest.approx(left_out, abs=1e-5)
    assert found.error == pytest.approx(left_out, abs=1e-5)
    assert found.tensors[f"{KEY}.lora_A.weight"].shape == (lower, wide)


def test_an_adapter_that_changes_nothing_stays_so() -> None:
    tensors = adapter(4)
    tensors[f"{KEY}.lora_B.weight"].zero_()

    found = compress(Shape(4, 8, ("q",)), tensors, 2)

    assert found.error == 0
    assert not update(found.shape, found.tensors).any()


@pytest.mark.slow
def test_another_process_and_other_threads_write_the_same_bytes() -> None:
    code = (
        "import sys, torch; torch.set_num_threads(2);"
        "from tests.stages.text.test_compression import adapter, compress, save, Shape;"
        "found = compress(Shape(24, 8, ('q',)), adapter(24, 65, 33), 9);"
        "sys.stdout.buffer.write(save(found.tensors))"
    )
    there = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout

    assert save(compress(Shape(24, 8, ("q",)), adapter(24, 65, 33), 9).tensors) == there


@pytest.mark.parametrize("rank", [0, 4, 5])
def test_a_rank_that_is_not_lower_is_refused(rank: int) -> None:
    with pytest.raises(InputError, match=f"rank {rank} is not below"):
        compress(Shape(4, 8, ("q",)), adapter(4), rank)
