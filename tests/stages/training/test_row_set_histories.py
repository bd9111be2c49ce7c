"""Whatever happens between two runs, models of sets of rows are those of a clean room."""

import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.context import Context
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.recipe import stage as recipe_stage
from unlearn.stages.shard import stage as shard_stage
from unlearn.stages.train import stage as train_stage

from tests.conftest import make_frame
from tests.stages.conftest import (
    EXACT,
    change_a_number,
    make_context,
    make_params,
    put_on_list,
    run_stages,
    token_of,
)
from tests.stages.regression import EXACT_LINEAR, make_amounts, regression_params

OPTIONS = {
    "exact_forest": {"trees": 8, "share": 0.5, "leaf": 2},
    "exact_boosting": {"trees": 8, "depth": 3},
    "exact_linear": {"fourier": 5},
    "exact_naive_bayes": {},
}

#: Models and tasks.
CASES = [
    *((model, "classification") for model in OPTIONS),
    *((model, "regression") for model in OPTIONS if model != "exact_naive_bayes"),
]
ROWS, RUNS = 160, 4


@dataclass
class History:
    """A project, its dataset as it is and may be, and who is on the list.

    Parameters
    ----------
    context
        The project.
    everyone
        All rows that the dataset may have.
    present, listed
        Ids of the rows that it has, and of those that are forgotten.
    backups
        Folders of models from earlier runs.
    """

    context: Context
    everyone: pd.DataFrame
    present: set[str]
    draw: random.Random
    listed: set[str] = field(default_factory=set)
    backups: list[Path] = field(default_factory=list)

    @property
    def dataset(self) -> pd.DataFrame:
        return self.everyone[self.everyone["id"].isin(self.present)]

    @property
    def files(self) -> list[Path]:
        """Files of the state."""
        state = self.context.project.shard_models / "s000" / "state"
        return sorted(state.rglob("*.safetensors"))

    def forget(self) -> None:
        self.listed |= set(self.draw.sample(sorted(self.present - self.listed), 2))

    def restore(self) -> None:
        self.listed -= set(self.draw.sample(sorted(self.listed), min(1, len(self.listed))))

    def drop(self) -> None:
        self.present -= set(self.draw.sample(sorted(self.present), 2))

    def add(self) -> None:
        absent = sorted(set(self.everyone["id"]) - self.present)
        self.present |= set(self.draw.sample(absent, min(2, len(absent))))

    def edit(self) -> None:
        row = self.draw.choice(sorted(self.present - self.listed))
        self.everyone.loc[self.everyone["id"] == row, "age"] += 2

    def delete(self) -> None:
        for path in self.draw.sample(self.files, min(1, len(self.files))):
            path.unlink()

    def damage(self) -> None:
        for path in self.draw.sample(self.files, min(1, len(self.files))):
            change_a_number(path)

    def put_back(self) -> None:
        if self.backups:
            models = self.context.project.root / "models"
            shutil.rmtree(models)
            shutil.copytree(self.draw.choice(self.backups), models)

    def run(self) -> train_stage.Trained:
        context, root = self.context, self.context.project.root
        self.dataset.to_csv(root / context.params.dataset.path, index=False)
        context.project.forget_list.write_bytes(b"")
        put_on_list(context, *map(token_of, sorted(self.listed)))
        recipe_stage.run(context)
        shard_stage.run(context)
        forget_stage.run(context)
        done = train_stage.run(context, "s000")
        aggregate_stage.run(context)
        self.backups.append(root.parent / f"models-{len(self.backups)}")
        shutil.copytree(root / "models", self.backups[-1])
        return done


def models_of(context: Context) -> dict[str, bytes]:
    folder = context.project.root / "models"
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
@pytest.mark.parametrize(("model", "task"), CASES)
def test_any_history_of_a_project_ends_in_the_bytes_of_a_clean_room(
    model: str, task: str, tmp_path: Path
) -> None:
    if task == "regression":
        frame, train = make_amounts(ROWS), EXACT_LINEAR | {"model": model}
        train["options"] = train["options"] | OPTIONS[model]
        params = regression_params(train, shards=1)
    else:
        frame, options = make_frame(ROWS), EXACT["options"] | OPTIONS[model]
        params = make_params(shards=1, train=EXACT | {"model": model, "options": options})
    draw = random.Random(model)  # noqa: S311 - no secret: what happens in which order
    present = set(draw.sample(sorted(frame["id"]), ROWS - 20))
    first = frame[frame["id"].isin(present)]
    history = History(make_context(tmp_path / "project", first, params), frame, present, draw)
    history.run()
    harmless = (history.forget, history.restore, history.add)
    others = (history.drop, history.edit, history.delete, history.damage, history.put_back)
    changed = 0
    for number in range(RUNS):
        # Every other time the state can be used; two or more things happen between two runs.
        steps = harmless if number % 2 else (*harmless, *others)
        for step in draw.sample(steps, draw.randint(2, 3)):
            step()
        changed += history.run().changed is not None

        room = tmp_path / f"room-{number}"
        rest = history.dataset[~history.dataset["id"].isin(history.listed)]
        clean = make_context(room, rest, params)
        run_stages(clean)
        assert models_of(history.context) == models_of(clean)
        shutil.rmtree(room)
    assert changed
