"""What `unlearn init` says about a new project."""

from pathlib import Path

from unlearn.cli.init.answer import KeyName, TableProject, TextProject
from unlearn.cli.init.csv_format import describe_csv, has_gzip
from unlearn.cli.init.request import REQUIREMENTS, Template
from unlearn.cli.output import plural

_KEYS: dict[KeyName, str] = {
    "unlearn.key": "key: unlearn.key, without a backup: keep a copy where you keep secrets",
    "UNLEARN_KEY": "key: the one in UNLEARN_KEY; no file was written",
    "demo": "key: the published demo key of the example",
}


def describe(summary: TableProject | TextProject, directory: Path, dataset: Path | None) -> str:
    """Return what people read.

    Parameters
    ----------
    summary
        The project.
    directory, dataset
        The arguments of the command.
    """
    go = "" if directory == Path() else f"cd {directory} && "
    found = [plural(summary.rows, "row")]
    if isinstance(summary, TextProject):
        found.append(f"base {summary.base}")
    else:
        found.append(plural(summary.features, "feature"))
        found.append(plural(summary.classes, "class", "classes"))
    plan = f"{plural(summary.shards, 'shard')} of {plural(summary.slices, 'slice')}"
    if summary.template == Template.POSTHOC:
        plan = "one model without shards"
    compressed = dataset is not None and has_gzip(dataset)
    lines = [
        f"{', '.join(found)}: {plan}, model {summary.model}",
        *([] if summary.csv is None else [describe_csv(summary.csv, compressed=compressed)]),
        _KEYS[summary.key],
        f"next: {go}unlearn repro",
    ]
    if summary.ci is not None:
        lines.insert(
            2,
            f"wrote {summary.ci} and {REQUIREMENTS}, which it installs; it reads the key from the "
            "secret UNLEARN_KEY",
        )
    return "\n".join(lines)
