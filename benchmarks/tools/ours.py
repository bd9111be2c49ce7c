"""The tool of this repository, with three of its models."""

import importlib.metadata
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from benchmarks.harness import Bench, new_project, run
from benchmarks.methods import AGAIN, UNTOUCHED, YARDSTICKS
from benchmarks.tools.adapter import RefusedError, Rows, Tool, Verdict

#: What `init` chooses by the rows: among others the ends of the grids of exact models.
_SETTINGS = ("params.yaml", "schema.yaml", "shards.yaml")


class Shards:
    """An MLP in four shards: `unlearn repro` retrains those that held the rows."""

    has_files = True
    version = importlib.metadata.version("dvc-unlearn")
    options: tuple[str, ...] = ("--model", "mlp", "--shards", "4")
    model = "models/final_model"

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder / "project")
        self.source = folder / "rows.csv"

    def train(self, rows: Rows, like: Tool | None = None) -> None:
        """Write the rows to a CSV file, and run `unlearn init` and `unlearn repro`."""
        frame = pd.DataFrame(rows.features).add_prefix("x")
        frame.insert(0, "id", rows.ids)
        frame["label"] = rows.labels
        frame.to_csv(self.source, index=False)
        new_project(self.bench.root, self.source, *self.options)
        self.source.unlink()
        self.start()
        if like is not None:
            theirs = cast("Shards", like).bench.root
            for name in _SETTINGS:
                if (theirs / name).is_file():
                    shutil.copy(theirs / name, self.bench.root / name)
        self.bench.unlearn("repro", "-j", "1")
        self._commit("train")

    def _commit(self, message: str) -> None:
        run(["git", "add", "-A"], self.bench.root)
        run(["git", "commit", "--quiet", "--allow-empty", "-m", message], self.bench.root)

    def start(self) -> None:
        """Choose settings before the first run."""

    def forget(self, ids: Sequence[str]) -> None:
        """Run `unlearn forget` and `unlearn repro`."""
        listing = ("forget", "--ids", "-", "--json")
        answer = self.bench.unlearn(*listing, stdin="\n".join(ids), codes=(0, 2)).json
        if "error" in answer:
            raise RefusedError(answer["error"]["message"])
        self.bench.unlearn("repro", "-j", "1")
        self._commit("forget")

    def erase(self) -> None:
        """Run `unlearn erase`, which refuses if the report does not pass."""
        self.bench.unlearn("erase", "--yes", codes=(0, 1, 2))

    def models(self) -> Mapping[str, bytes]:
        """Return the files of the model that is deployed."""
        root = self.bench.root / self.model
        files = (path for path in root.rglob("*") if path.is_file())
        return {str(path.relative_to(root)): path.read_bytes() for path in files}

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Run `unlearn predict`."""
        frame = pd.DataFrame(features).add_prefix("x")
        frame.to_csv(self.source, index=False)
        answers = self.source.with_name("answers.csv")
        files = ("--input", str(self.source), "--output", str(answers))
        self.bench.unlearn("predict", *files, "--model", self.model)
        found: NDArray[np.float64] = (
            pd.read_csv(answers).filter(like="probability_").to_numpy(np.float64)
        )
        for path in (self.source, answers):
            path.unlink()
        return found

    def verify_untouched(self, untouched: Tool) -> Verdict:
        """Put the models of before the request back, and verify them."""
        return self._verdict(untouched)

    def verify_retrained(self, clean: Tool) -> Verdict:
        """Put models that never had the rows in place of these, and verify them."""
        return self._verdict(clean)

    def _verdict(self, other: Tool) -> Verdict:
        """Put the models of another project in place of these, and verify them."""
        shutil.rmtree(self.bench.root / "models")
        shutil.copytree(cast("Shards", other).bench.root / "models", self.bench.root / "models")
        self.bench.unlearn("stage", "verify", codes=(0, 1))
        return as_verdict(self.bench.report()["verdict"])


class Forest(Shards):
    """An exact forest, which is changed instead of retrained."""

    options = ("--model", "exact_forest")


class PostHoc(Shards):
    """One model without shards, changed by SCRUB, which is approximate.

    Its verifier judges methods: one that does nothing, and one that trains a fresh network.
    """

    options = ("--template", "posthoc", "--model", "mlp")

    def start(self) -> None:
        """Choose the methods."""
        (self.bench.root / "yardsticks.py").write_text(YARDSTICKS, encoding="utf-8")
        pipeline = self.bench.root / "dvc.yaml"
        stages = yaml.safe_load(pipeline.read_text(encoding="utf-8"))
        stages["stages"]["unlearn"]["deps"].append("yardsticks.py")
        pipeline.write_text(yaml.safe_dump(stages, sort_keys=False), encoding="utf-8")
        methods = ["retrain", "scrub", UNTOUCHED, AGAIN]
        self.bench.set_params(unlearn={"methods": methods, "deploy": "scrub"})

    def verify_untouched(self, untouched: Tool) -> Verdict:  # noqa: ARG002 - of the project itself
        """Return the verdict for a method that does nothing."""
        return as_verdict(self.bench.report()["methods"][UNTOUCHED]["verdict"])

    def verify_retrained(self, clean: Tool) -> Verdict:  # noqa: ARG002 - of the project itself
        """Return the verdict for a method that trains a fresh network."""
        return as_verdict(self.bench.report()["methods"][AGAIN]["verdict"])


def as_verdict(word: str) -> Verdict:
    """Return a verdict in the words of the checks."""
    return "pass" if word == "pass" else "fail" if word == "fail" else "neither"
