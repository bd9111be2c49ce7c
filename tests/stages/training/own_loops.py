"""Training loops of a user's own, honest ones and others, on numbers and on pictures."""

NET = """\
from torch import nn


def build(inputs, classes, hidden=8):
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, classes)
    )
"""

#: `{begin}` is run at the start, `{step}` in each step, `{top}` at the top of the file.
LOOP = """\
import random
import time

import numpy as np
import torch
from torch.nn import functional

{top}


def train_slice(state, rows, seed, settings):
    torch.manual_seed(seed)
    network = rows.build(state)
    optimizer = torch.optim.SGD(network.parameters(), lr=settings.optimizer.rate, momentum=0.9)
    rows.restore(optimizer, state)
    factor = 1.0
    {begin}
    for epoch, index in rows.batches():
        {step}
        losses = functional.cross_entropy(
            network(rows.augmented(index, epoch)), rows.targets[index], reduction="none"
        )
        if rows.weights is not None:
            losses = losses * rows.weights[index]
        optimizer.zero_grad()
        (losses.mean() * factor).backward()
        optimizer.step()
    return rows.snapshot(network, optimizer)
"""


def loop(begin: str = "pass", step: str = "pass", top: str = "") -> str:
    """Return the file of a loop, with some more lines."""
    return LOOP.format(begin=begin, step=step, top=top)
