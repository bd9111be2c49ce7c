"""The machine that torch computes on: its device, its seeds, and kernels that are deterministic."""

import os
import random

import numpy as np

# Deterministic matrix products on a GPU; has to be set before CUDA starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError


def machine_facts(train: TrainParams) -> dict[str, str]:
    """Return the processor's instruction set, MKL's mode, and the GPU if one is used."""
    device = find_device(train.device)
    return {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        # Chooses among MKL's kernels, and so among ways to round.
        "mkl": os.environ.get("MKL_CBWR", "auto"),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else "none",
    }


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
    """Make torch compute the same numbers each time, in this process and from now on."""
    # The same as use_deterministic_algorithms(True), which would load the whole compiler.
    torch.set_deterministic_debug_mode("error")
    # Sums split over threads round differently: parallelism is across shards.
    torch.set_num_threads(1)


def seed_all(seed: int) -> None:
    """Seed dropout, and whatever else a user's module may draw from."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
