"""torchunlearn: trainers for unlearning, as its package on the registry or a clone has them."""

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Subset

from benchmarks.tools import network
from benchmarks.tools.adapter import RefusedError, Rows, Tool, Verdict


def _folder() -> Path:
    """Return where the library is, without importing it: its imports need torchvision."""
    spec = importlib.util.find_spec("torchunlearn")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("torchunlearn is not installed")
    return Path(spec.origin).parent


class TorchUnlearn(network.Library):
    """Its `finetune` for five epochs at a rate of .01: it has no defaults for these."""

    version = property(lambda _: importlib.metadata.version("torchunlearn"))

    def train(self, rows: Rows, like: Tool | None = None) -> None:  # noqa: ARG002 - no settings
        """Train a plain network: the library's trainers are for images."""
        if not (_folder() / "unlearn" / "trainers").is_dir():
            raise RuntimeError("torchunlearn/unlearn/trainers, which it imports, is not in it")
        from torchunlearn import RobModel

        self.model = RobModel(self.begin(rows), n_classes=self.classes)
        self._gone: set[int] = set()

    def forget(self, ids: Sequence[str]) -> None:
        """Fine-tune on the other rows."""
        from torchunlearn.unlearn.easymode import Unlearn

        torch.manual_seed(network.SEED)
        self._gone |= set(self.positions(ids))
        retain, forget = sorted(set(self.places.values()) - self._gone), sorted(self._gone)
        train = {"Retain": self._loader(retain), "Forget": self._loader(forget)}
        test, folder = {"Test": self._loader(retain)}, str(self.folder / "runs")
        try:
            tool = Unlearn(self.model, None, train, test, folder, overwrite=True)
            self.model = tool.finetune(epoch=5, lr=0.01)
        except IndexError as error:
            raise RefusedError(str(error)) from None

    def _loader(self, places: Sequence[int]) -> DataLoader[tuple[torch.Tensor, ...]]:
        return DataLoader(Subset(self.data, places), batch_size=network.BATCH, shuffle=True)

    def verify_untouched(self, untouched: Tool) -> Verdict:  # noqa: ARG002 - no verdict
        """Return none: it computes accuracies, and leaves the verdict to the reader."""
        return "none"

    def verify_retrained(self, clean: Tool) -> Verdict:
        """Return none as well."""
        return self.verify_untouched(clean)
