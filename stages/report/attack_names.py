"""What the page calls attacks and the models that they are made on."""

from unlearn.stages.report import formatting
from unlearn.stages.verify.membership.registry import registered
from unlearn.stages.verify_report.membership import Membership
from unlearn.stages.verify_report.report import Report

_MODELS = {"shard_models": "The shard models", "final_model": "The final model"}
#: Without shards there is only the deployed model; it is reported under both names.
_ONE_MODEL = {"shard_models": "The deployed model"}


def models_of(report: Report) -> dict[str, str]:
    """Return the models that attacks were made on, by their name in the report."""
    return _ONE_MODEL if report.kind == "posthoc" else _MODELS


def deciding_attack(found: Membership) -> str:
    """Return the attack that decides; older reports knew one only."""
    return found.attack or "confidence"


def labels() -> dict[str, str]:
    """Return the labels of the registered attacks, the calibrated ones first."""
    found = sorted(registered(), key=lambda attack: not attack.is_calibrated)
    return {attack.name: attack.label for attack in found}


def attack_name(name: str) -> str:
    """Return an attack's name as a person knows it."""
    return labels().get(name) or formatting.plain(name, 40)
