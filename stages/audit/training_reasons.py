"""Why a training ran, by what dvc.lock says of it and of the stages before it."""

from unlearn.stages.config.settings_files import FILES
from unlearn.stages.dvc.lockfile import LockStage, LockStages
from unlearn.stages.ledger.suppressed import SUPPRESSED

#: What requests and the dataset change: they are explained by these.
_ROWS = ("data/retain_set", "data/forget_set", "data/shards")

#: The settings that all trainings share.
_RECIPE = "data/recipe.json"

#: Settings that the stage `shard` reads as files.
_LISTS = frozenset(FILES)

_SUPPRESSION = f"{SUPPRESSED} changed"


def training_reasons(
    stage: str,
    old: LockStages,
    new: LockStages,
    *,
    environment_changed: bool,
    rotated: bool = False,
) -> list[str]:
    """Return why a training stage ran, other than the forget list.

    Parameters
    ----------
    stage
        Its name; the newer lock has it.
    old, new
        The entries of both locks.
    environment_changed
        Whether the two were made in different environments.
    rotated
        Whether the project key was rotated in between.
    """
    before, after = old.get(stage), new[stage]
    if before is None:
        return ["not in the older lock"]
    reasons = []
    if rotated:
        reasons.append("the key was rotated")
        old, new = _without_key(old), _without_key(new)
        before, after = old[stage], new[stage]
    if before.get("params") != after.get("params"):
        reasons.append("settings changed")
    reasons += _recipe_reasons(before, after, old.get("recipe"), new.get("recipe"))
    if before.get("cmd") != after.get("cmd"):
        reasons.append("its command changed")
    if other := _other_deps(before, after, (*_ROWS, _RECIPE)):
        reasons.append(f"{', '.join(other)} changed")
    if before.get("deps") != after.get("deps"):
        found = _sharding_reasons(old.get("shard"), new.get("shard"))
        # Listed rows are in no retain set anyway: to drop them from the shards retrains no shard.
        reasons += [why for why in found if why != _SUPPRESSION or not stage.startswith("train@")]
    reasons += _switching_reasons(stage, old.get("forget"), new.get("forget"))
    if environment_changed and same_sections(before, after, "deps", "params", "cmd"):
        reasons.append("the environment changed")
    return reasons


def _recipe_reasons(
    before: LockStage, after: LockStage, old: LockStage | None, new: LockStage | None
) -> list[str]:
    """Return why the file changed that has what all trainings share, if it did.

    Parameters
    ----------
    before, after
        The training stage.
    old, new
        The stage that writes the file.
    """
    if not _other_deps(before, after, ()).count(_RECIPE):
        return []
    if old is None or new is None:
        return ["settings changed"]
    reasons = [f"{path} changed" for path in _other_deps(old, new, ())]
    return ["settings changed", *reasons] if old.get("params") != new.get("params") else reasons


def _sharding_reasons(before: LockStage | None, after: LockStage | None) -> list[str]:
    """Return why rows may have been added or removed that no line of the list names."""
    if before is None or after is None:
        return []
    reasons = []
    canaries = {_canaries(stage) for stage in (before, after)} - {None}
    old, new = _md5_by_path(before), _md5_by_path(after)
    changed = {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
    if changed - canaries - _LISTS - {SUPPRESSED}:
        reasons.append("the dataset changed")
    if SUPPRESSED in changed and SUPPRESSED in old:
        reasons.append(_SUPPRESSION)
    if changed & canaries:
        reasons.append("the planted canaries changed")
    if changed & _LISTS or _without_canaries(before) != _without_canaries(after):
        reasons.append("schema, shards or holdout changed")
    return reasons


def _switching_reasons(stage: str, before: LockStage | None, after: LockStage | None) -> list[str]:
    """Return why rows were added or removed by switching slices of a shard off or on."""
    shard = stage.removeprefix("train@")
    old, new = _switched_off(before).get(shard), _switched_off(after).get(shard)
    if old == new:
        return []
    fewer = new is not None and (old is None or new < old)
    return [f"slices were switched {'off' if fewer else 'on'}"]


def _switched_off(forget: LockStage | None) -> dict[str, int]:
    """Return the first slice that is off, by shard, as the stage `forget` read it."""
    settings = ({} if forget is None else forget).get("params", {}).get("params.yaml", {})
    found = settings.get("sharding.switched_off")
    return found if isinstance(found, dict) else {}


def _without_key(lock: LockStages) -> LockStages:
    """Return a lock without what identifies the project key."""
    found = {}
    for name, stage in lock.items():
        settings = dict(stage.get("params", {}).get("params.yaml", {}))
        settings.pop("key_check", None)
        found[name] = {**stage}
        if "params" in stage:
            found[name]["params"] = {**stage["params"], "params.yaml": settings}
    return found


def _canaries(shard: LockStage) -> str | None:
    """Return the file of canaries that the shard stage read, if there was one."""
    dataset = shard.get("params", {}).get("params.yaml", {}).get("dataset", {})
    return dataset.get("canaries") if isinstance(dataset, dict) else None


def _without_canaries(shard: LockStage) -> dict[str, object]:
    """Return the settings that the shard stage read, but where the canaries are."""
    params = shard.get("params", {})
    settings = params.get("params.yaml", {})
    dataset = settings.get("dataset")
    if not isinstance(dataset, dict):
        return dict(params)
    return {**params, "params.yaml": {**settings, "dataset": {**dataset, "canaries": None}}}


def _md5_by_path(stage: LockStage) -> dict[str, str]:
    return {entry["path"]: entry["md5"] for entry in stage.get("deps", [])}


def _other_deps(before: LockStage, after: LockStage, prefixes: tuple[str, ...]) -> list[str]:
    """Return dependencies that differ, other than those below `prefixes`."""
    old, new = _md5_by_path(before), _md5_by_path(after)
    return sorted(
        path
        for path in old.keys() | new.keys()
        if old.get(path) != new.get(path) and not path.startswith(prefixes)
    )


def same_sections(before: LockStage, after: LockStage, *sections: str) -> bool:
    """Return whether two entries have the same in these sections."""
    return all(before.get(section) == after.get(section) for section in sections)
