"""Projects of pictures: the report tells nothing of a picture, and networks are imported."""

import base64
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from unlearn.stages.context import open_project
from unlearn.stages.estimators.resnet import build_resnet
from unlearn.stages.final_model.ensemble import load_ensemble
from unlearn.stages.project.paths import Project
from unlearn.stages.reading.png import png_bytes
from unlearn.stages.rows.shard_file import TARGET, read_shard, record_tokens

from tests.cli.conftest import refused, unchanged
from tests.conftest import make_project, places, token_of

ROWS, SIDE = 120, 16
CLASSES = ["left", "right"]


def make_pictures(people: int = 12) -> tuple[pd.DataFrame, npt.NDArray[np.uint8]]:
    """Return a table of data URIs, and their pixels: noise with a bar on the side of the class."""
    draw = np.random.default_rng(2)
    label = draw.integers(0, 2, ROWS)
    pixels = draw.integers(0, 120, (ROWS, 3, SIDE, SIDE)).astype(np.uint8)
    for row, own in enumerate(label):
        pixels[row, :, 2:14, 3 + 9 * own] += 110
    frame = pd.DataFrame(
        {
            "id": [f"r{number:04d}" for number in range(ROWS)],
            "person": [f"p{number % people:03d}" for number in range(ROWS)],
            "photo": [
                f"data:image/png;base64,{base64.b64encode(png_bytes(each)).decode()}"
                for each in pixels
            ],
            "label": [CLASSES[own] for own in label],
        }
    )
    return frame, pixels


SMALL: dict[str, Any] = {
    "options": {"width": 8},
    "epochs": 4,
    "optimizer": {"name": "adam", "rate": 0.01},
    "device": "cpu",
}


def shown_forms(values: npt.NDArray[np.float64]) -> set[str]:
    """Return numbers as reports could show them, with four digits and more."""
    written = {f"{value:.{digits}f}" for value in values for digits in (4, 5, 6)}
    written |= {f"{value:.{digits}g}" for value in values for digits in (5, 6)}
    return {each for each in written if len(each.lstrip("-0.").replace(".", "")) >= 4}


@pytest.mark.slow
def test_no_report_shows_a_forgotten_picture_or_a_score_of_a_record(tmp_path: Path) -> None:
    frame, pixels = make_pictures()
    options = ("--subject", "person", "--shards", "2", "--slices", "1")
    repo = make_project(tmp_path / "P", frame, *options, train=SMALL)
    repo.stages()
    repo.dvc("commit", "--force", "--quiet")
    repo.commit("run")
    context = open_project(Project(repo.root))
    before = load_ensemble(repo.root / "models/final_model")
    where = places(repo)
    first = next(raw for raw in frame["id"] if not where[raw].is_holdout)
    person = frame.set_index("id")["person"][first]
    gone = frame.index[frame["person"] == person]
    shard = read_shard(context.project.shard_file(where[first].shard), "shard").rows
    tokens = {token_of(repo, raw) for raw in frame["id"][gone]}
    own = shard.filter([token in tokens for token in record_tokens(shard)])
    assert own.num_rows == len(gone)
    (repo.root / "ids.txt").write_text(f"{person}\n", encoding="ascii")
    assert repo.inline("forget", "--subjects", "ids.txt").code == 0
    (repo.root / "ids.txt").unlink()
    out = repo.stages()
    repo.dvc("commit", "--force", "--quiet")
    after = load_ensemble(repo.root / "models/final_model")
    repo.commit("forget")
    shown = repo.inline("report")
    officer = repo.inline("report", "--officer", "--output", "officer.html")

    assert shown.code == officer.code == 0, (shown.err, officer.err)
    tracked = repo.git("ls-files", "reports", "models", "data").split()
    assert "reports/verdict.json" in tracked
    texts = [out, shown.out, shown.err]
    names = ("reports/report.html", "officer.html", *tracked)
    texts += [(repo.root / name).read_text(encoding="utf-8") for name in names]
    everything = "\n".join(texts)
    places_of = [CLASSES.index(label) for label in own[TARGET].to_pylist()]
    for model in (before, after):
        likely = model.probabilities(own)[np.arange(own.num_rows), places_of]
        for numbers in (likely, -np.log(likely), np.log(likely / (1 - likely))):
            found = {form for form in shown_forms(numbers) if _is_shown(form, everything)}
            # A page has many numbers, and one of four digits may be another's by chance.
            assert len(found) <= 1, found
    for row in gone:
        assert frame["photo"][row][30:80] not in everything
        assert frame["id"][row] not in everything
        assert token_of(repo, frame["id"][row]) not in everything
        raw = pixels[row].tobytes()
        assert all(raw[16:48] not in (repo.root / name).read_bytes() for name in tracked)
    assert "data:image/png" not in everything
    assert "<img" not in everything


def _is_shown(form: str, text: str) -> bool:
    # Numbers such as 1.0000 are of no record.
    if not math.isfinite(float(form)) or len(set(form.strip("-").replace(".", ""))) < 3:
        return False
    return re.search(rf"(?<![\d.]){re.escape(form)}(?!\d)", text) is not None


@pytest.mark.trained
def test_a_network_for_pictures_is_imported_and_another_one_is_refused(tmp_path: Path) -> None:
    frame, pixels = make_pictures()
    options = ("--template", "posthoc", "--holdout", "0.3")
    repo = make_project(tmp_path / "P", frame.drop(columns="person"), *options, train=SMALL)
    repo.set_params(
        unlearn={
            "original": "imported",
            "methods": ["retrain", "finetune"],
            "deploy": "retrain",
        }
    )
    repo.commit("settings")
    shapes = (3, SIDE, SIDE)
    torch.manual_seed(0)
    net = build_resnet(shapes, 2, width=8)
    inputs = (torch.from_numpy(pixels).float() / 255 - 0.5) / 0.5
    answers = torch.tensor([CLASSES.index(label) for label in frame["label"]])
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(25):
        optimizer.zero_grad()
        torch.autograd.backward(torch.nn.functional.cross_entropy(net(inputs), answers))
        optimizer.step()
    save_file(net.state_dict(), repo.root / "net.safetensors")
    other = build_resnet(shapes, 2, width=16)
    save_file(other.state_dict(), repo.root / "other.safetensors")
    with unchanged(repo.root):
        wrong = repo.inline("import-model", "other.safetensors")
    done = repo.inline("import-model", "net.safetensors", "--json")

    assert "do not fit the module" in refused(wrong)
    assert done.code == 0, done.err
    assert done.json["holdout_accuracy"] > 0.9
