"""dvc.yaml, as far as stages have to know it."""

from pathlib import PurePosixPath
from typing import Any

import yaml
from unlearn.stages.config.methods import YOUNG
from unlearn.stages.config.params import Params, parse_yaml
from unlearn.stages.config.settings_files import SCHEMA_FILE, SHARDS_FILE
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.ledger.suppressed import SUPPRESSED, contact_lines, read_suppressed
from unlearn.stages.project.paths import Project
from unlearn.stages.verify_report.reading import VERDICT

#: The setting that names slices that are off.
SWITCHED_OFF = "sharding.switched_off"

#: What the stage `young` writes, and every `unlearn@` reads.
YOUNG_FOLDER = f"models/unlearned/{YOUNG}"


def read_pipeline(project: Project) -> dict[str, Any]:
    """Return the stages that dvc.yaml describes, by name.

    Raises
    ------
    InputError
        If the file is not a pipeline.
    """
    return dict(_read(project)["stages"])


def _read(project: Project) -> dict[str, Any]:
    """Return all of dvc.yaml; `stages` is a mapping."""
    try:
        content = parse_yaml(project.pipeline.read_text(encoding="utf-8"))
        if not isinstance(content["stages"], dict):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        raise InputError("dvc.yaml is not readable as a pipeline") from None
    return dict(content)


def check_lists_are_read(project: Project, params: Params) -> None:
    """Make sure that DVC trains what the settings list, and notices a change of their files.

    The names of shards are those of shards.yaml, and post-hoc methods those of `unlearn.methods`.
    With a list of its own in dvc.yaml, DVC would train other models, and leave some as they were.

    Raises
    ------
    InputError
        If dvc.yaml takes names from elsewhere, or a stage does not depend on schema.yaml or
        shards.yaml.
    """
    content = _read(project)
    needed = {"recipe": [SCHEMA_FILE], "shard": [SCHEMA_FILE]}
    if params.kind == "exact":
        if not _takes_shards(content):
            raise InputError(
                f"dvc.yaml does not take the names of shards from {SHARDS_FILE}",
                f"write `vars: [{SHARDS_FILE}]` above `stages` in dvc.yaml",
            )
        _check_matrix(content, "train", "shard", "shards")
        needed |= {"shard": [SCHEMA_FILE, SHARDS_FILE], "aggregate": [SHARDS_FILE]}
    else:
        _check_matrix(content, "unlearn", "method", "unlearn.methods")
        _check_young(content["stages"], has_young=params.posthoc.young)
    for name, files in needed.items():
        for file in files:
            _check_dependency(content["stages"], name, file)


def _takes_shards(content: dict[str, Any]) -> bool:
    """Return whether the variable `shards` of dvc.yaml is that of shards.yaml.

    DVC takes all variables of `FILE`, and those after the colon of `FILE:NAME,NAME`.
    """
    found = content.get("vars")
    for entry in found if isinstance(found, list) else []:
        file, _, names = entry.partition(":") if isinstance(entry, str) else ("", "", "")
        if PurePosixPath(file) == PurePosixPath(SHARDS_FILE):
            return not names or "shards" in names.split(",")
    return False


def _check_matrix(content: dict[str, Any], name: str, variable: str, setting: str) -> None:
    """Refuse a stage that does not run once for each item of a setting."""
    stage = content["stages"].get(name)
    matrix = stage.get("matrix") if isinstance(stage, dict) else None
    items = list(matrix.values()) if isinstance(matrix, dict) else []
    found = [item.replace(" ", "") if isinstance(item, str) else item for item in items]
    if found != [f"${{{setting}}}"]:
        raise InputError(
            f"dvc.yaml: the stage {name} does not run for each of {setting}",
            f"write `matrix: {{{variable}: ${{{setting}}}}}` under stages.{name} in dvc.yaml",
        )


def _check_young(stages: dict[str, Any], *, has_young: bool) -> None:
    """Refuse a pipeline that has the stage `young` and settings that do not, or the reverse.

    A stage of the user's own may have that name in a project without ours.
    """
    stage = stages.get(YOUNG)
    found = isinstance(stage, dict) and stage.get("cmd") == f"unlearn stage {YOUNG}"
    if has_young and not found:
        raise InputError(
            f"unlearn.young is true, but dvc.yaml has no stage {YOUNG}",
            "`unlearn upgrade` adds it; or set unlearn.young to false",
        )
    if found and not has_young:
        raise InputError(
            f"dvc.yaml has the stage {YOUNG}, but unlearn.young is false",
            "set unlearn.young to true; or remove the stage, and the dependency of unlearn on it",
        )
    if has_young:
        _check_dependency(stages, "unlearn", YOUNG_FOLDER)


def _check_dependency(stages: dict[str, Any], name: str, file: str) -> None:
    stage = stages.get(name)
    dependencies = stage.get("deps") if isinstance(stage, dict) else None
    if file not in (dependencies or []):
        raise InputError(
            f"dvc.yaml does not list {file} as a dependency of {name}",
            f"add `- {file}` under stages.{name}.deps, so that DVC notices changes of it",
        )


def check_off_is_read(project: Project, params: Params) -> None:
    """Make sure that `forget` runs again when slices are switched off or on.

    Raises
    ------
    InputError
        If slices have layers of their own, and dvc.yaml does not list `sharding.switched_off` as a
        parameter of `forget`.
    """
    if not params.train.options.get("layers_by_slice", False):
        return
    stage = read_pipeline(project).get("forget")
    found = stage.get("params") if isinstance(stage, dict) else None
    if SWITCHED_OFF not in (found or []):
        raise InputError(
            f"dvc.yaml does not list {SWITCHED_OFF} as a parameter of forget",
            f"add `- {SWITCHED_OFF}` under stages.forget.params in dvc.yaml, and "
            "`switched_off: {}` under `sharding` in params.yaml",
        )


def check_code_is_a_dependency(project: Project, params: Params) -> None:
    """Make sure that a change of a file that models are made with would rerun what reads it.

    Of the user's own module, training code and methods; of a language model's base where it is in
    the project, and of the text that its guard and `verify` ask about. Weights that are frozen are
    pinned by their digest.

    Raises
    ------
    InputError
        If params.yaml names a file that dvc.yaml does not list under the stages that read it.
    """
    needed = []
    base = own_base(project, params)
    made_with = params.train.code_paths + ([] if base is None else [base])
    needed += [("recipe", path) for path in made_with]
    if params.kind == "posthoc":
        needed += [("unlearn", path) for path in params.posthoc.code_paths]
    if params.generic is not None:
        needed += [("unlearn", params.generic), ("verify", params.generic)]
    stages = read_pipeline(project) if needed else {}
    for name, path in needed:
        stage = stages.get(name, {})
        if path not in (stage.get("deps", []) if isinstance(stage, dict) else []):
            raise InputError(
                f"params.yaml names {path}, which dvc.yaml does not list as a dependency of {name}",
                f"add `- {path}` under stages.{name}.deps, so that DVC notices changes of it",
            )


def own_base(project: Project, params: Params) -> str | None:
    """Return what of the project models are trained on top of.

    It is the folder of a language model's base, if that is in the project; or the file of a
    network's frozen backbone.
    """
    if params.train.freeze is not None:
        return params.train.freeze.weights
    if params.modality != "text":
        return None
    base = text_options(params.train).base
    return base if not base.startswith("/") and (project.root / base).is_dir() else None


def check_rows_are_dependencies(project: Project, params: Params) -> None:
    """Make sure that a change of canaries, held-out rows or suppressed people is seen by `shard`.

    Raises
    ------
    InputError
        If `dataset` names such a file, or people are suppressed, and dvc.yaml does not list the
        file under `shard`.
    """
    if read_suppressed(project) or contact_lines(project):
        check_suppression_is_read(project)
    for setting in ("canaries", "held_out"):
        path = getattr(params.dataset, setting)
        if path is None:
            continue
        shard = read_pipeline(project).get("shard", {})
        dependencies = shard.get("deps", []) if isinstance(shard, dict) else []
        if path not in dependencies and f"${{dataset.{setting}}}" not in dependencies:
            raise InputError(
                f"dataset.{setting} names {path}, but dvc.yaml does not list it as a dependency "
                "of shard",
                f"add `- {path}` under stages.shard.deps, so that DVC notices changes of it",
            )


def reads_suppressed(project: Project) -> bool:
    """Return whether the stage `shard` depends on data/suppressed.txt; older projects' does not."""
    if not project.pipeline.is_file():
        return True  # stages that run without DVC read the file in any case
    shard = read_pipeline(project).get("shard", {})
    dependencies = shard.get("deps") if isinstance(shard, dict) else None
    return SUPPRESSED in (dependencies or [])


def check_suppression_is_read(project: Project) -> None:
    """Raise an InputError unless DVC would notice a change of data/suppressed.txt."""
    if not reads_suppressed(project):
        raise InputError(
            f"dvc.yaml does not list {SUPPRESSED} as a dependency of shard",
            "a project of an older version: `unlearn upgrade` brings it to this one",
        )


def check_figures_are_where_they_belong(project: Project, params: Params) -> None:
    """Make sure that dvc.yaml puts into git of the report what `verify.publish` says.

    Raises
    ------
    InputError
        If dvc.yaml caches what git is to have, or the other way round.
    """
    stage = read_pipeline(project).get("verify", {})
    entries = [
        entry
        for kind in ("outs", "metrics", "plots")
        for entry in (stage.get(kind, []) if isinstance(stage, dict) else [])
    ]
    uncached = {
        name: isinstance(options, dict) and options.get("cache") is False
        for entry in entries
        for name, options in (entry if isinstance(entry, dict) else {entry: None}).items()
    }
    if not uncached.get(VERDICT):
        raise InputError(
            f"dvc.yaml does not list {VERDICT} under stages.verify.outs with `cache: false`",
            "a project of an older version: `unlearn upgrade` brings it to this one",
        )
    in_git = params.verify.publish == "figures"
    wrong = [name for name, found in uncached.items() if name != VERDICT and found != in_git]
    if wrong:
        change = "lacks `cache: false`" if in_git else "has `cache: false`, which puts it into git"
        mend = "add it" if in_git else "remove it, then `git rm --cached` the file"
        raise InputError(
            f"verify.publish is {params.verify.publish}, but in dvc.yaml {', '.join(wrong)} "
            f"{change}",
            f"{mend}, for each of these outs of stages.verify",
        )
    ignored = [line for line in _IGNORED_REPORTS if line in _ignored(project)] if in_git else []
    if ignored:
        raise InputError(
            f"verify.publish is figures, but .gitignore has {ignored[0]}",
            "remove that line, so that git gets the figures",
        )


#: The line of .gitignore that keeps figures out of git.
IGNORED_REPORTS = "/reports/?*"
#: And those of a project in the folders of a team, one of which stands for each report.
_IGNORED_REPORTS = (
    IGNORED_REPORTS,
    *(f"/reports/{name}" for name in ("verify.json", "metrics.json", "roc.csv", "scores.csv")),
    *(f"/reports/plots/{name}.csv" for name in ("roc", "scores", "methods")),
    "/reports/methods",
)


def _ignored(project: Project) -> list[str]:
    """Return the lines of .gitignore; none where it cannot be read."""
    try:
        return (project.root / ".gitignore").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []


def stage_names(params: Params) -> list[str]:
    """Return the names of all stages in the order in which they run."""
    if params.kind == "posthoc":
        training = ["train"] if params.posthoc.original == "trained" else []
        makers = [stage for stage, _ in model_folders(params).values()]
        return ["recipe", "shard", *training, "forget", *makers, "aggregate", "verify"]
    training = [f"train@{shard}" for shard in params.sharding.shards]
    return ["recipe", "shard", "forget", *training, "aggregate", "verify"]


def model_folders(params: Params) -> dict[str, tuple[str, str]]:
    """Return the stage and the folder of every model that a report looks at, by its name there."""
    if params.kind == "posthoc":
        return {
            method: (
                YOUNG if method == YOUNG else f"unlearn@{method}",
                f"models/unlearned/{method}",
            )
            for method in params.methods
        }
    return {
        shard: (f"train@{shard}", f"models/shard_models/{shard}")
        for shard in params.sharding.shards
    }
