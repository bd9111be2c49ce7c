"""Files below models/ that no stage wrote, and those that are the user's own."""

from pathlib import Path

from unlearn.stages.context import check_params
from unlearn.stages.project.paths import Project
from unlearn.stages.training.unplanned import unplanned_files

from tests.stages.config.test_dataset import WHOLE
from tests.stages.conftest import make_params


def test_the_base_of_a_language_model_is_no_stages_and_no_finding(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for name in (
        "models/base/config.json",
        "models/base.dvc",
        "models/base-old/config.json",
        "models/.gitignore",
        "models/README.md",
        "models/shard_models/s000/model.json",
        "models/shard_models/s009/model.json",
        "models/final_model/ensemble.json",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    assert unplanned_files(project, check_params(WHOLE)) == [
        "models/base-old/config.json",
        "models/shard_models/s009/model.json",
    ]
    # A table has no base.
    assert "models/base/config.json" in unplanned_files(project, make_params(shards=2))
