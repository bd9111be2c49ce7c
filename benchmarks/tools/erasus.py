"""Erasus: strategies for unlearning, as its package on the registry has them."""

import importlib.metadata
from collections.abc import Sequence
from typing import Any, cast

import torch

from benchmarks.tools import network
from benchmarks.tools.adapter import RefusedError, Rows, Tool, Verdict


class Erasus(network.Library):
    """Its continual unlearner, with the strategy that its documentation shows first."""

    version = property(lambda _: importlib.metadata.version("erasus"))
    _last: Any = None

    def train(self, rows: Rows, like: Tool | None = None) -> None:  # noqa: ARG002 - no settings
        """Train a plain network: the library has no training of its own."""
        from erasus.data.datasets.unlearning import UnlearningDataset
        from erasus.unlearners.continual_unlearner import ContinualUnlearner

        self._tool = ContinualUnlearner(self.begin(rows), strategy="gradient_ascent")
        self._marked = UnlearningDataset(self.data)

    def forget(self, ids: Sequence[str]) -> None:
        """Mark rows by their positions, and go on from the last result."""
        torch.manual_seed(network.SEED)
        self._marked.mark_forget(self.positions(ids))
        try:
            self._last = self._tool.incremental_fit(self._marked, previous_result=self._last)
        except IndexError as error:
            raise RefusedError(str(error)) from None
        self.model = self._tool.model

    def verify_untouched(self, untouched: Tool) -> Verdict:
        """Return the verdict of its benchmark for a model that was trained on all rows."""
        return self._verdict(untouched)

    def verify_retrained(self, clean: Tool) -> Verdict:
        """Return it for a model that never had the rows."""
        return self._verdict(clean)

    def _verdict(self, other: Tool) -> Verdict:
        from erasus.evaluation import UnlearningBenchmark

        model = cast("network.Library", other).model
        loaders = self._marked.to_loaders(batch_size=network.BATCH, shuffle=False)
        report = UnlearningBenchmark(protocol="general").evaluate(model, *loaders)
        words: dict[str, Verdict] = {"PASS": "pass", "FAIL": "fail"}
        return words.get(report.verdict, "neither")
