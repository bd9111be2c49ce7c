"""The dvc.yaml of an older project, as this version writes it."""

import re
from typing import Any

import yaml
from unlearn.cli.init.files.pipeline import render_pipeline
from unlearn.cli.init.request.choices import Template
from unlearn.cli.text_edits import stage_block, with_dependency, with_stages, with_variables
from unlearn.stages.config.methods import YOUNG
from unlearn.stages.config.params import Params
from unlearn.stages.config.settings_files import SHARDS_FILE
from unlearn.stages.dvc.pipeline import YOUNG_FOLDER
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.suppressed import SUPPRESSED

#: What a stage of an older version may have; all else is the user's own.
_KNOWN = frozenset({"cmd", "deps", "params", "outs", "metrics", "plots", "matrix"})


def upgraded_pipeline(text: str, params: Params, made_with: str | None) -> str:
    """Return dvc.yaml with the stages of this version.

    Stages of the user's own, and dependencies that were added to other stages, are kept.

    Parameters
    ----------
    text
        The file as it is.
    params
        The settings of the project.
    made_with
        The user's own module, or the base of a language model in the project.

    Raises
    ------
    InputError
        If the file is not one of an older version, or a stage has more than dependencies of the
        user's own.
    """
    before = _stages(text)
    if "verify" not in before:
        raise InputError("dvc.yaml has no stage verify with outputs")
    has_young = params.unlearn is not None and params.unlearn.young
    new_text = render_pipeline(
        Template.SISA if params.kind == "exact" else Template.POSTHOC,
        is_text=params.modality == "text",
        made_with=made_with,
        held_out=params.dataset.held_out is not None,
        generic=params.generic,
        young=has_young,
        task=params.dataset.task,
    ).decode()
    if "recipe" in before:
        upgraded = text
        if SUPPRESSED not in _deps(before, "shard"):
            upgraded = with_dependency(upgraded, "shard", SUPPRESSED)
        if has_young and not _has_young(before):
            block = stage_block(new_text, YOUNG)
            upgraded = with_stages(upgraded, {YOUNG: block}, before="unlearn")
            upgraded = with_dependency(upgraded, "unlearn", YOUNG_FOLDER)
        return upgraded
    if params.verify.publish == "figures":
        new_text = _with_figures_in_git(new_text)
    new = _stages(new_text)
    # Of an imported model, no stage is the training.
    names = [name for name in new if name in before or name in ("recipe", YOUNG)]
    upgraded = with_stages(text, {name: stage_block(new_text, name) for name in names})
    for name in names:
        if name not in before:
            continue
        _refuse_own_settings(name, before[name], new[name])
        known = {*new[name]["deps"], made_with}
        for path in before[name].get("deps", []):
            if path not in known:
                upgraded = with_dependency(upgraded, name, path)
    return with_variables(upgraded, SHARDS_FILE) if params.kind == "exact" else upgraded


def is_current(text: str, params: Params) -> bool:
    """Return whether a dvc.yaml has the stages of this version."""
    stages = _stages(text)
    has_young = params.unlearn is not None and params.unlearn.young
    return (
        "recipe" in stages
        and SUPPRESSED in _deps(stages, "shard")
        and (_has_young(stages) or not has_young)
    )


def has_own_young(text: str) -> bool:
    """Return whether a dvc.yaml has a stage `young` of the user's own."""
    stages = _stages(text)
    return YOUNG in stages and not _has_young(stages)


def _has_young(stages: dict[str, Any]) -> bool:
    stage = stages.get(YOUNG)
    return isinstance(stage, dict) and stage.get("cmd") == f"unlearn stage {YOUNG}"


def _deps(stages: dict[str, Any], name: str) -> list[Any]:
    stage = stages.get(name)
    return list((stage.get("deps") if isinstance(stage, dict) else None) or [])


def _stages(text: str) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(text)["stages"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        raise InputError("dvc.yaml is not readable as a pipeline") from None


def _refuse_own_settings(name: str, before: dict[str, Any], new: dict[str, Any]) -> None:
    own = sorted(set(before) - _KNOWN)
    own += sorted(_outs(before) - _outs(new))
    if own:
        raise InputError(
            f"dvc.yaml: stages.{name} has {', '.join(own)}, which the upgrade would lose",
            "remove it, upgrade, and add it again",
        )


def _outs(stage: dict[str, Any]) -> set[str]:
    entries = [entry for key in ("outs", "metrics", "plots") for entry in stage.get(key, [])]
    return {str(next(iter(entry))) if isinstance(entry, dict) else str(entry) for entry in entries}


def _with_figures_in_git(text: str) -> str:
    """Return dvc.yaml with `cache: false` for every report."""
    return re.sub(
        r"^( +)- (reports/[^\s:]+)$", r"\1- \2:\n\1    cache: false", text, flags=re.MULTILINE
    )
