"""What torch computes on: settings of determinism, and what a lineage says of the machine."""

import os

import pytest
import torch
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.torch_machine import (
    be_deterministic,
    find_device,
    machine_facts,
    unfilled_memory,
)
from unlearn.stages.training.environment import environment


def test_kernels_are_deterministic_and_in_full_precision() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True

    be_deterministic()

    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cudnn.benchmark
    assert torch.get_num_threads() == 1
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
    assert os.environ["ONEDNN_DEFAULT_FPMATH_MODE"] == "STRICT"


def test_memory_is_filled_again_after_the_block() -> None:
    be_deterministic()

    with unfilled_memory():
        pass

    assert bool(torch.isnan(torch.empty(1000)).all())


def test_precision_is_a_fact_of_its_own_where_it_is_lowered() -> None:
    full = TrainParams(model="resnet", device="cpu")
    low = TrainParams(model="resnet", device="cpu", precision="bfloat16")

    facts = environment(full)

    assert "precision" not in facts
    assert environment(low).keys() - facts.keys() == {"precision"}
    assert environment(low)["precision"].startswith("bfloat16 ")
    assert "precision" not in environment(TrainParams(model="mlp", device="cpu"))


def test_a_limit_of_the_kernels_is_a_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    train = TrainParams(model="resnet", device="cpu")
    assert "onednn" not in machine_facts(train)

    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")

    assert machine_facts(train)["onednn"] == "AVX2"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_auto_takes_the_processor_and_cuda_is_an_error() -> None:
    assert find_device("auto") == torch.device("cpu")
    assert machine_facts(TrainParams(model="resnet"))["gpu"] == "none"
    with pytest.raises(InputError, match="torch sees no GPU"):
        find_device("cuda")
