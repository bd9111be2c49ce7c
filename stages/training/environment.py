"""What, beside code, data and settings, decides a trained model's bytes."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.registry import find_spec


def environment(train: TrainParams) -> dict[str, str]:
    """Return the facts that lineages name, by topic.

    Two runs with equal facts are expected to give equal bytes; a check in another environment
    can find a difference that means nothing, and is called inconclusive.

    Parameters
    ----------
    train
        Its family decides which libraries and facts count, and it whether a GPU is used.
    """
    facts = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()} {'-'.join(platform.libc_ver())}",
        "processor": _processor_vendor(),
        "numpy": version("numpy"),
    }
    spec = find_spec(train.model)
    if spec.extra is not None:
        facts[spec.extra.name] = spec.extra.version or "none"
    return facts | {name: _version(name) for name in spec.libraries} | spec.facts(train)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _processor_vendor() -> str:
    """Return who made the processor: numerical libraries choose their kernels by it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    vendors = (line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id"))
    return next(vendors, platform.processor() or "unknown")


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Return a line for each fact that differs, naming both values."""
    return [
        f"{name}: {one.get(name, 'unknown')} here, {other.get(name, 'unknown')} there"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]
