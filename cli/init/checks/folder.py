"""Whether a project can be put into a folder without changing what is there."""

from collections.abc import Mapping
from pathlib import Path

from unlearn.cli.examples.authors import AUTHORS_PATH, BASE_PATH, GENERIC_PATH
from unlearn.cli.examples.digits import DIGITS_PATH
from unlearn.cli.examples.shapes import SHAPES_PATH
from unlearn.cli.examples.visits import VISITS_PATH
from unlearn.cli.init.checks.taken import outputs_around, taken_names
from unlearn.cli.init.files.requirements import REQUIREMENTS
from unlearn.cli.init.repository.joining import INTO, joins
from unlearn.cli.init.repository.shared_files import SHARED
from unlearn.cli.init.request.choices import Example
from unlearn.cli.init.request.request import InitRequest
from unlearn.cli.output import names
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.suppressed import SUPPRESSED
from unlearn.stages.project.containment import check_contained
from unlearn.stages.project.shared import PRIVATE
from unlearn.stages.rows.canaries import CANARIES_PATH

#: Files and folders of the dataset of each example.
_DATASETS: Mapping[Example | None, tuple[str, ...]] = {
    Example.DIGITS: (DIGITS_PATH,),
    Example.VISITS: (VISITS_PATH,),
    Example.SHAPES: (SHAPES_PATH, f"{SHAPES_PATH}.dvc", CANARIES_PATH, f"{CANARIES_PATH}.dvc"),
    Example.AUTHORS: (AUTHORS_PATH, BASE_PATH, f"{BASE_PATH}.dvc"),
}

#: What else the stages write: what is there would be lost.
_WRITTEN = (
    *PRIVATE,
    "data/receipts",
    "reports/verdict.json",
    "reports/verify.json",
    "reports/metrics.json",
    "reports/methods",
    "reports/roc.csv",
    "reports/scores.csv",
    "reports/plots/roc.csv",
    "reports/plots/scores.csv",
)


def check_folder(request: InitRequest) -> None:
    """Refuse a folder whose files would be overwritten."""
    root = request.root
    if root.exists() and not root.is_dir():
        raise InputError(f"{root.name} is a file")
    check_contained(root)
    _refuse_links(root)
    hint = "init does not overwrite: choose another folder, or move the file"
    if all((root / name).exists() for name in ("schema.yaml", "shards.yaml")):
        raise InputError(
            "a project is in this folder: schema.yaml is there already; nothing was changed",
            hint,
            *_into(root),
        )
    taken = ["schema.yaml", "shards.yaml", "unlearn.key", "data/forget_list.txt", SUPPRESSED]
    taken += ["data/requests", *_DATASETS.get(request.example, ())]
    found = []
    if request.example is not None:
        taken += ["dvc.yaml", "params.yaml"]
    elif joins(root):
        found = taken_names(root, request.template)
        taken += _WRITTEN
    if request.example is Example.AUTHORS and request.is_posthoc:
        taken.append(GENERIC_PATH)
    if request.ci is not None:
        taken.append(REQUIREMENTS)
    found += [f"{name} is there already" for name in dict.fromkeys(taken) if (root / name).exists()]
    found += outputs_around(root, _WRITTEN)
    if found:
        raise InputError(f"{'; '.join(found)}; nothing was changed", hint, *_into(root))


def _refuse_links(root: Path) -> None:
    """Refuse links in the place of files that lines are added to: a write would replace the link.

    Git does not even read a .gitignore that is one.
    """
    if links := [name for name in SHARED if (root / name).is_symlink()]:
        raise InputError(
            f"{names(links)}: a symbolic link cannot be added to; nothing was changed",
            "put the file itself in the place of the link",
            *_into(root),
        )


def _into(root: Path) -> list[str]:
    """Return what to do where the folder is that of other stages."""
    return [INTO] if joins(root) else []
