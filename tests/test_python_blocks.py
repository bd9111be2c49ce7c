"""Blocks of Python in how-to guides that need no project do what the pages say."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from website.console import ROOT, blocks


def run_blocks(page: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run the blocks of a page one after another; return all names that they define.

    Parameters
    ----------
    page
        Its name below `docs/`.
    names
        What the blocks take for given.
    """
    defined = dict(names or {})
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for block in blocks(text):
        if block.kind == "python":
            exec(compile(block.text, page, "exec"), defined)  # noqa: S102 - our own pages
    return defined


def table(rows: int = 200) -> pd.DataFrame:
    """Return numbers and a category with gaps, and what follows from one of the numbers."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"age": random.uniform(20, 90, rows), "days": random.normal(size=rows)})
    frame["ward"] = pd.Categorical(random.choice(["A", "B"], rows))
    frame.loc[::7, "days"] = np.nan
    return frame


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_exact_estimators_of_the_page_forget() -> None:
    frame = table()
    X = frame[["age", "days"]].fillna(0).to_numpy()  # noqa: N806 - as the page calls it
    y = np.where(frame["age"] > 55, "yes", "no")
    visits = [f"v{number:04d}" for number in range(len(X))]
    given = {"X": X, "y": y, "X_new": X[:3], "visits": visits, "key": "0" * 64}

    model = run_blocks("exact-models.md", given)["model"]

    stay = np.array([name not in ("v0007", "v0123") for name in visits])
    again = type(model)(key=given["key"], ranges=model.ranges_)
    again.fit(X[stay], y[stay], ids=[name for name, kept in zip(visits, stay, strict=True) if kept])
    assert model.model_bytes() == again.model_bytes()


def test_the_network_of_the_page_reads_pictures() -> None:
    import torch

    network = run_blocks("networks.md")["build"]((3, 8, 8), classes=2)
    assert network(torch.zeros(4, 3, 8, 8)).shape == (4, 2)


def test_the_estimator_of_the_page_reads_a_frame_with_gaps() -> None:
    frame = table()
    labels = np.where(frame["age"] > 55, "yes", "no")
    model = run_blocks("own-models.md")["build"](trees=10).fit(frame, labels)
    assert model.score(frame, labels) > 0.9
