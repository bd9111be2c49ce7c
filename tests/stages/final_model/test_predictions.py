"""Predictions for a whole file: the same in every format, and as the Python call gives them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.ensemble import load_ensemble
from unlearn.stages.final_model.predictions import predict_file

from tests.conftest import make_frame
from tests.stages.conftest import CLASSES

FRAME = make_frame(30, seed=8).assign(id=[f"{number:03d}" for number in range(29)] + ['a,"b'])


def write_input(folder: Path, kind: str, frame: pd.DataFrame = FRAME) -> Path:
    path = folder / f"input.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "jsonl":
        frame.to_json(path, orient="records", lines=True, double_precision=15)
    else:
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
    return path


def read_output(path: Path) -> pd.DataFrame:
    if path.suffix == ".csv":
        numbers = {f"probability_{label}": float for label in CLASSES}
        return pd.read_csv(path, dtype={"id": str}, converters=numbers)
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return pd.DataFrame(rows)
    return pd.read_parquet(path)


@pytest.mark.parametrize("source", ["csv", "parquet", "jsonl"])
@pytest.mark.parametrize("output", ["csv", "parquet", "jsonl"])
def test_any_format_goes_in_and_out(
    built: Context, tmp_path: Path, source: str, output: str
) -> None:
    model = load_ensemble(built.project.final_model)
    path = tmp_path / f"output.{output}"
    told: list[int] = []

    rows = predict_file(model, write_input(tmp_path, source), path, told.append)

    found = read_output(path)
    assert rows == len(found) == sum(told) == 30
    assert list(found) == ["id", "prediction", *(f"probability_{label}" for label in CLASSES)]
    assert found["id"].tolist() == FRAME["id"].tolist()
    assert found["prediction"].tolist() == model.predict(FRAME)
    assert np.array_equal(found.iloc[:, 2:].to_numpy(), model.predict_proba(FRAME))


def test_an_id_is_written_where_there_is_one(built: Context, tmp_path: Path) -> None:
    model = load_ensemble(built.project.final_model)
    frame = FRAME.drop(columns=["id", "label"])

    predict_file(model, write_input(tmp_path, "csv", frame), tmp_path / "out.csv")

    assert "id" not in read_output(tmp_path / "out.csv")


def test_a_directory_is_one_input(built: Context, tmp_path: Path) -> None:
    model = load_ensemble(built.project.final_model)
    folder = tmp_path / "parts"
    folder.mkdir()
    FRAME[:10].to_csv(folder / "a.csv", index=False)
    write_input(folder, "jsonl", FRAME[10:]).rename(folder / "b.jsonl")

    assert predict_file(model, folder, tmp_path / "out.parquet") == 30
    assert read_output(tmp_path / "out.parquet")["id"].tolist() == FRAME["id"].tolist()


def test_an_output_that_is_there_is_replaced_whole_or_not_at_all(
    built: Context, tmp_path: Path
) -> None:
    """The broken row stands in the second file, after some output was written."""
    model = load_ensemble(built.project.final_model)
    folder = tmp_path / "parts"
    folder.mkdir()
    FRAME[:10].to_csv(folder / "a.csv", index=False)
    broken = FRAME[10:].astype({"age": object})
    broken.loc[12, "age"] = "jane.roe"
    broken.to_csv(folder / "b.csv", index=False)
    output = tmp_path / "out.csv"
    output.write_text("before", encoding="utf-8")

    place = r"parts/b\.csv: column 'age' is numeric.*\(data row 3\)"
    with pytest.raises(InputError, match=place) as caught:
        predict_file(model, folder, output)

    assert "jane" not in caught.value.message
    assert output.read_text(encoding="utf-8") == "before"
    assert {path.name for path in tmp_path.iterdir()} == {"parts", "out.csv", "project"}


@pytest.mark.parametrize(
    ("content", "said"),
    [("id,age\n", "has no rows"), ("id,age\n1,2\n", "has no column"), ("", "has no columns")],
)
def test_an_input_that_cannot_be_answered_is_an_error(
    built: Context, tmp_path: Path, content: str, said: str
) -> None:
    source = tmp_path / "input.csv"
    source.write_text(content, encoding="utf-8")

    with pytest.raises(InputError, match=said):
        predict_file(load_ensemble(built.project.final_model), source, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_a_column_of_ids_may_have_any_name_and_type(built: Context, tmp_path: Path) -> None:
    model = load_ensemble(built.project.final_model)
    frame: Any = FRAME.assign(id=range(30))

    predict_file(model, write_input(tmp_path, "parquet", frame), tmp_path / "out.jsonl")

    assert read_output(tmp_path / "out.jsonl")["id"].tolist() == [str(n) for n in range(30)]


def test_an_id_column_is_not_overwritten_by_a_prediction(built: Context, tmp_path: Path) -> None:
    model = load_ensemble(built.project.final_model)
    dataset = model.dataset.model_copy(update={"id": f"probability_{CLASSES[0]}"})
    clashing = replace(model, dataset=dataset)
    source = write_input(tmp_path, "csv", FRAME.rename(columns={"id": dataset.id}))

    with pytest.raises(InputError, match="same name as a column of the predictions"):
        predict_file(clashing, source, tmp_path / "output.csv")
    assert not (tmp_path / "output.csv").exists()
