"""The network and its training, for libraries that have no training of their own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.tools.adapter import Rows

EPOCHS, BATCH, HIDDEN, RATE, SEED = 40, 32, 64, 1e-3, 0


class Library:
    """What all libraries have in common: tensors and positions, no files, no ids."""

    has_files = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, rows: Rows) -> nn.Module:
        """Keep the rows as tensors, and return a network that was trained on them by Adam."""
        self.places = {name: place for place, name in enumerate(rows.ids)}
        features = torch.tensor(rows.features, dtype=torch.float32)
        self.data = TensorDataset(features, torch.tensor(rows.labels))
        self.classes = int(rows.labels.max()) + 1
        self.model: nn.Module = _trained(self.data, self.classes)
        return self.model

    def positions(self, ids: Sequence[str]) -> list[int]:
        """Return positions of rows; that of an unknown name is behind the last row."""
        return [self.places.get(name, len(self.places)) for name in ids]

    def erase(self) -> None:
        """Do nothing: there are no files."""

    def models(self) -> Mapping[str, bytes]:
        """Return the weights, in an order of their own."""
        weights = sorted(self.model.state_dict().items())
        return {name: value.cpu().numpy().tobytes() for name, value in weights}

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return class probabilities, shape (n, classes)."""
        with torch.no_grad():
            logits = self.model.eval()(torch.tensor(features, dtype=torch.float32))
        found: NDArray[np.float64] = logits.double().softmax(1).numpy()
        return found


def _trained(data: TensorDataset, classes: int) -> nn.Module:
    torch.manual_seed(SEED)
    width = data.tensors[0].shape[1]
    model = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        for features, labels in DataLoader(data, batch_size=BATCH, shuffle=True):
            optimizer.zero_grad()
            loss: torch.Tensor = nn.functional.cross_entropy(model(features), labels)
            torch.autograd.backward(loss)
            optimizer.step()
    return model
