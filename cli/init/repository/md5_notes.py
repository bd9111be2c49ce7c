"""What `unlearn init` says about rows that git has, or whose md5 it has."""

from collections.abc import Collection
from pathlib import Path

from unlearn.cli.output import names, say
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.erasure.dataset.nonce import missing_nonces
from unlearn.stages.erasure.dataset.origins import Pipelines, has_been_in_git
from unlearn.stages.project.paths import Project


def say_about_outputs(root: Path, outputs: Collection[str], dataset: DatasetParams) -> None:
    """Say what git has of rows that stay where they are."""
    for why in missing_nonces(Project(root), dataset).values():
        if outputs and why.startswith(tuple(outputs)):
            say(f"note: {why}")
    for name in outputs:
        if has_been_in_git(Project(root), name):
            say(
                f"note: git has {name} with its rows, and `unlearn erase` deletes nothing from "
                "git's history"
            )


def say_about_md5s(root: Path, copies: dict[str, Path]) -> None:
    """Say which md5s in git can be tested against a guess of a row."""
    single = [name for name in copies if (root / name).is_file()]
    if single:
        say(
            f"note: git keeps the md5 of {names(single)}, against which a guess of a row can be "
            "tested; --in-folder prevents that"
        )
    pipelines = Pipelines.of(Project(root))
    for name, source in copies.items():
        if (written := pipelines.stage_of(source)) is not None:
            say(
                f"note: {name} is a copy of an out of the stage {written[0]} in {written[1]}, "
                "whose md5 in git can be tested against a guess of a row as well"
            )
