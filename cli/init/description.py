"""What `unlearn init` says about a new project."""

import shlex
from pathlib import Path

from unlearn.cli.init.answer import KeyName, TableProject, TextProject
from unlearn.cli.init.dataset.csv_format import describe_csv, has_gzip
from unlearn.cli.init.files.requirements import REQUIREMENTS
from unlearn.cli.init.files.workflow import is_included
from unlearn.cli.init.request.choices import Template
from unlearn.cli.init.scaffold import BREAK_EVEN
from unlearn.cli.output import plural

_KEYS: dict[KeyName, str] = {
    "unlearn.key": "key: unlearn.key, without a backup: keep a copy where you keep secrets",
    "UNLEARN_KEY": "key: the one in UNLEARN_KEY; no file was written",
    "demo": "key: the published demo key of the example",
}

#: The shortest training whose seconds are shown.
_SHORTEST = 0.1


def describe(summary: TableProject | TextProject, directory: Path, dataset: Path | None) -> str:
    """Return what people read.

    Parameters
    ----------
    summary
        The project.
    directory, dataset
        The arguments of the command.
    """
    go = "" if directory == Path() else f"cd {shlex.quote(str(directory))} && "
    found = [plural(summary.rows, "row")]
    if isinstance(summary, TextProject):
        found.append(f"base {summary.base}")
    else:
        found.append(plural(summary.features, "feature"))
        is_number = summary.task == "regression"
        found.append("regression" if is_number else plural(summary.classes, "class", "classes"))
    plan = f"{plural(summary.shards, 'shard')} of {plural(summary.slices, 'slice')}"
    if summary.template == Template.POSTHOC:
        plan = "one model without shards"
    compressed = dataset is not None and has_gzip(dataset)
    lines = [
        f"{', '.join(found)}: {plan}, model {summary.model}",
        *([] if isinstance(summary, TextProject) else _reason(summary)),
        *([] if summary.csv is None else [describe_csv(summary.csv, compressed=compressed)]),
        _KEYS[summary.key],
        *_pipelines_above(Path(summary.root)),
        f"next: {go}unlearn repro",
    ]
    if summary.ci is not None:
        lines.insert(
            2,
            f"wrote {summary.ci} and {REQUIREMENTS}, which it installs; it reads the key from the "
            "secret UNLEARN_KEY",
        )
        if is_included(summary.ci):
            lines.insert(3, f'GitLab runs it once .gitlab-ci.yml has `include: "{summary.ci}"`')
    return "\n".join(lines)


def _pipelines_above(root: Path) -> list[str]:
    """Return how the project's stages run with those of folders above, if there are any.

    A plain `dvc repro` runs the dvc.yaml of its own folder, and what that depends on.
    """
    top = next((folder for folder in (root, *root.parents) if (folder / ".dvc").is_dir()), root)
    above = [folder for folder in root.parents if folder.is_relative_to(top)]
    if not any((folder / "dvc.yaml").is_file() for folder in above):
        return []
    return ["`dvc repro --all-pipelines` runs it with the other pipelines; `dvc repro` does not"]


def _reason(summary: TableProject) -> list[str]:
    """Return why it is this model, or so many shards where the time of a training decided."""
    if summary.why_model is not None:
        return [summary.why_model]
    seconds = summary.plain_training
    if seconds is None:
        return []
    time = "under 0.1 s" if seconds < _SHORTEST else f"about {seconds:,.1f} s"
    one = f"training one plain model on all rows takes {time}"
    least = f"{BREAK_EVEN:.0f} s"
    if seconds < BREAK_EVEN and summary.shards > 1:  # an example
        return [f"shards show how requests work: {one}, and shards save time from {least} on"]
    if seconds < BREAK_EVEN:
        why = f"more shards save time from {least} on (--shards sets another number)"
        return [f"one shard: {one}, and {why}"]
    if summary.shards == 1:
        return [f"one shard: {one}, but these rows are too few for two"]
    return [f"{summary.shards} shards: {one}, and shards save time from {least} on"]
