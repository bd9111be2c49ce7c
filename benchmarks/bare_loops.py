"""What bare loops share with the tool that they are held against, and the clock."""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import torch
from torch import nn
from unlearn.cli.examples.authors import Population, make_authors
from unlearn.cli.examples.tiny_base import SEPARATOR, make_config, make_tokenizer
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.base import SliceData
from unlearn.stages.estimators.causal import CausalEstimator
from unlearn.stages.estimators.registry import make_text_estimator
from unlearn.stages.rows.shard_file import RECORD, Layout
from unlearn.stages.text.base import pin_files
from unlearn.stages.text.sequences import Batch, Ints, Sequences

from benchmarks.harness import spread

#: The goal: as fast as a bare loop, or this much slower at most.
GOAL = 0.1

LAYOUT = Layout({"prompt": "prompt", "completion": "completion"}, (), subjects=False)
BATCH, RANK, RATE, CLIP, SEED = 16, 16, 1e-3, 1.0, 7

#: Authors whose rows are read.
AUTHORS = 40


@dataclass
class Clocked:
    """Turns of one contender: wall and processor seconds of each."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


#: Prepares a turn outside the clock, and returns what is to be timed.
Contender = Callable[[], Callable[[], object]]


def make_blank_base(folder: Path, size: str) -> Path:
    """Write a base of random weights; return its folder."""
    from transformers import LlamaForCausalLM

    base = folder / size
    base.mkdir()
    rows = make_authors(AUTHORS, 1, population=Population.PUBLIC)
    make_tokenizer(f"{row.prompt}{SEPARATOR}{row.completion}" for row in rows).save_pretrained(base)
    torch.manual_seed(SEED)
    LlamaForCausalLM(make_config(size)).save_pretrained(base)
    return base


def rows_of(first: int, last: int) -> pa.Table:
    """Return the rows of some made-up authors, by their numbers."""
    rows = make_authors(last, 1)
    chosen = [row for row in rows if int(row.author[1:]) >= first]
    columns = {
        RECORD: [row.id for row in chosen],
        "prompt": [row.prompt for row in chosen],
        "completion": [row.completion for row in chosen],
    }
    return pa.table(columns)


def estimator_of(base: Path, model: str) -> CausalEstimator:
    """Return the tool's own estimator on a base."""
    options: dict[str, Any] = {
        "base": base.name,
        "files": pin_files(base, base.name),
        "context": 128,
        "clip": CLIP,
    }
    if model == "lora":
        options |= {"rank": RANK, "alpha": 2 * RANK}
    train = TrainParams.model_validate(
        {
            "model": model,
            "options": options,
            "batch": BATCH,
            "optimizer": {"name": "adamw", "rate": RATE},
            "device": "cpu",
        }
    )
    return make_text_estimator(train, LAYOUT, base.parent)


def load_bare(base: Path, *, adapter: bool) -> Any:
    """Return a base as anyone would load it, with an adapter of PEFT or without."""
    from transformers import AutoModelForCausalLM

    module = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if not adapter:
        return module
    from peft import LoraConfig, get_peft_model

    shape = LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    torch.manual_seed(SEED)
    return get_peft_model(module, shape)


def optimizer_of(module: nn.Module) -> tuple[list[nn.Parameter], torch.optim.Optimizer]:
    """Return what of a model is trained, and the optimizer that the tool has."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    return weights, torch.optim.AdamW(weights, lr=RATE, weight_decay=0.0, fused=True)


def mask_of(sequences: Sequences, part: Ints, batch: Batch) -> torch.Tensor:
    """Return the mask that a collator of transformers makes."""
    lengths = torch.from_numpy(sequences.lengths[part])
    mask = torch.arange(batch.inputs.shape[1])[None, :] < lengths[:, None]
    return mask.long()


def train_bare(
    module: nn.Module, optimizer: torch.optim.Optimizer, data: SliceData, batch: int
) -> None:
    """Train a network on rows of features by autograd; the rows are gathered once an epoch.

    Parameters
    ----------
    module, optimizer
        What is trained, and by what.
    data
        All rows, in whole epochs.
    batch
        Rows of a step.
    """
    inputs, targets = torch.from_numpy(data.inputs), torch.from_numpy(data.targets)
    module.train()
    for epoch in range(data.steps // -(-len(inputs) // batch)):
        torch.manual_seed(data.seed(epoch))
        order = torch.randperm(len(inputs))
        pairs = zip(
            torch.split(inputs[order], batch), torch.split(targets[order], batch), strict=True
        )
        for rows, classes in pairs:
            loss = nn.functional.cross_entropy(module(rows), classes)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()


def take_turns(contenders: Mapping[str, Contender], pairs: int) -> dict[str, Clocked]:
    """Run contenders in turns, each turn in another order, after one that does not count."""
    found = {name: Clocked() for name in contenders}
    names = list(contenders)
    for turn in range(-1, pairs):
        at = turn % len(names)
        for name in names[at:] + names[:at]:
            work = contenders[name]()
            gc.collect()
            wall, processor = time.perf_counter(), time.process_time()
            work()
            spent = time.perf_counter() - wall, time.process_time() - processor
            if turn >= 0:
                found[name].wall.append(spent[0])
                found[name].processor.append(spent[1])
    return found


def ratios(bare: Sequence[float], own: Sequence[float]) -> list[float]:
    """Return how long a bare loop took over the tool's time, turn by turn."""
    return [one / other for one, other in zip(bare, own, strict=True)]


def compared(found: Mapping[str, Clocked], tokens: int) -> list[str]:
    """Return the cells of `ours` against `bare`: tokens a second, ratios, and the goal."""
    own, bare = found["ours"], found["bare"]
    walls, processors = ratios(bare.wall, own.wall), ratios(bare.processor, own.processor)
    return [
        f"{tokens / median(own.wall):,.0f}",
        f"{tokens / median(bare.wall):,.0f}",
        spread(walls, 3),
        spread(processors, 3),
        "yes" if median(processors) >= 1 - GOAL else "no",
    ]
