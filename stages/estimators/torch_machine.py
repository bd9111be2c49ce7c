"""The machine that torch computes on: its device, its seeds, and kernels that are deterministic."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

# Deterministic matrix products on a GPU; has to be set before CUDA starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# These two would lower the precision of products, whatever the settings say.
os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
os.environ["ONEDNN_DEFAULT_FPMATH_MODE"] = "STRICT"

import torch
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError


def machine_facts(train: TrainParams) -> dict[str, str]:
    """Return the processor's instruction set, MKL's mode, and the GPU if one is used."""
    device = find_device(train.device)
    facts = {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        # Chooses among MKL's kernels, and so among ways to round.
        "mkl": os.environ.get("MKL_CBWR", "auto"),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else "none",
    }
    # Recorded only where they are set: other models have the same lineage as before them.
    if limit := os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA")):
        facts["onednn"] = limit
    if train.precision != "float32":
        facts["precision"] = f"{train.precision} {_low_precision_units(device)}"
    return facts


def _low_precision_units(device: torch.device) -> str:
    """Return what computes with bfloat16: its rounding is not that of another unit."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"on compute capability {major}.{minor}"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    units = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags]
    return f"by {' and '.join(units)}" if units else "in float32 units"


def find_device(wanted: str) -> torch.device:
    """Return the device that `train.device` names; `auto` takes a GPU where there is one."""
    if wanted == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if wanted == "cuda":
        raise InputError("train.device is cuda, but torch sees no GPU")
    return torch.device("cpu")


def be_deterministic() -> None:
    """Make torch compute the same numbers each time, in this process and from now on.

    And in full float32: a GPU would round the factors of products to 10 bits (TF32), of
    convolutions even by default. What is to be fast has `train.precision`.
    """
    # The same as use_deterministic_algorithms(True), which would load the whole compiler.
    torch.set_deterministic_debug_mode("error")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    # Trying kernels out and taking the fastest would take another one each time.
    torch.backends.cudnn.benchmark = False
    # Sums split over threads round differently: parallelism is across shards.
    torch.set_num_threads(1)


@contextmanager
def unfilled_memory() -> Iterator[None]:
    """Let new tensors hold what stood in their memory, within the block.

    Where torch is deterministic it fills each of them first, for a module that would read what it
    did not write. Modules of this tool do not, and are trained about 8 % faster.
    """
    before = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]  # set by torch itself
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # set by torch itself
    try:
        yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = before  # type: ignore[attr-defined]  # set by torch itself


def seed_all(seed: int) -> None:
    """Seed dropout, and whatever else a user's module may draw from."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
