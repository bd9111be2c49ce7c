"""Small language models for tests: bases of two layers, and rows of made-up authors."""

import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from unlearn.cli.examples.authors import Population, Row, make_authors
from unlearn.stages.config.params import ALGORITHM, Params, shard_names
from unlearn.stages.config.train import TrainParams
from unlearn.stages.context import check_params
from unlearn.stages.rows.shard_file import RECORD, SUBJECT, Layout, in_order, with_digests
from unlearn.stages.rows.tokens import Key, Tokenizer
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import ShardModel, describe_model

from tests.stages.conftest import KEY

#: What each column of made-up authors is.
FEATURES = {
    "prompt": "prompt",
    "completion": "completion",
    "paraphrase": "paraphrase",
    "perturbed_1": "perturbed",
    "perturbed_2": "perturbed",
    "perturbed_3": "perturbed",
    "topic": "topic",
}
LAYOUT = Layout.from_json({"features": list(FEATURES.items()), "classes": [], "subjects": True})
BODY_LAYOUT = Layout({"body": "body"}, (), subjects=False)

#: No row of made-up authors is longer.
CONTEXT = 96


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that whichever worker of this session first asks for makes.

    Parameters
    ----------
    factory
        Of temporary folders.
    name
        The folder's.
    make
        Fills it; what it leaves when it fails is not taken for a whole.
    """
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "language" / name
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not folder.exists():
            half = factory.mktemp(name)
            make(half)
            half.rename(folder)
    return folder


def make_blank_base(folder: Path, *, layers: int = 2, seed: int = 1, **config: Any) -> None:
    """Write a base that has learned nothing: a tokenizer, and a Llama of random weights.

    Parameters
    ----------
    folder
        Folder of the project; created if missing.
    layers, seed
        How many layers, and the seed of the weights.
    **config
        What else is not as in the tiny base's configuration.
    """
    import torch
    from transformers import LlamaForCausalLM
    from unlearn.cli.examples import tiny_base as tiny

    rows = make_authors(12, seed, population=Population.PUBLIC)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny.make_tokenizer(text for row in rows for text in (row.prompt, row.completion))
    tokenizer.save_pretrained(folder)
    shape = tiny.make_config("tiny")
    shape.update({"num_hidden_layers": layers, **config})
    torch.manual_seed(seed)
    LlamaForCausalLM(shape).save_pretrained(folder)


def table_of(rows: Sequence[Row], layout: Layout = LAYOUT, key: Key = KEY) -> pa.Table:
    """Return authors' rows as a shard file holds them, in order.

    Parameters
    ----------
    rows
        The rows.
    layout
        Its features name columns of `Row.record`.
    key
        What their tokens are made with.
    """
    tokens = Tokenizer(key)
    columns: dict[str, list[str]] = {RECORD: [tokens.token("record", row.id) for row in rows]}
    if layout.subjects:
        columns[SUBJECT] = [tokens.token("subject", row.author) for row in rows]
    columns |= {name: [row.record()[name] for row in rows] for name in layout.features}
    return in_order(with_digests(pa.table(columns)).cast(layout.schema))


def author_rows(authors: int = 2, *, seed: int = 1, canaries: int = 0, key: Key = KEY) -> pa.Table:
    """Return the rows of private made-up authors, ten each, as a shard file holds them."""
    return table_of(make_authors(authors, seed, canaries=canaries), key=key)


def body_rows(texts: Sequence[str], key: Key = KEY, layout: Layout = BODY_LAYOUT) -> pa.Table:
    """Return rows of one column of text, running text by default, in the order of their tokens."""
    tokens = Tokenizer(key)
    names = [tokens.token("record", f"d{number}") for number in range(len(texts))]
    (column,) = layout.features
    table = pa.table({RECORD: names, column: list(texts)})
    return in_order(with_digests(table).cast(layout.schema))


def language_train(
    base: Path, model: str = "lora", *, options: dict[str, Any] | None = None, **train: Any
) -> TrainParams:
    """Return quick settings of tuning on a base, which is named relative to its parent folder.

    Parameters
    ----------
    base
        The base's folder.
    model
        `lora`, or `causal_lm`.
    options
        What in `train.options` is not as here.
    **train
        What in `train` is not.
    """
    from unlearn.stages.text.base import pin_files

    given: dict[str, Any] = {
        "base": base.name,
        "files": pin_files(base, base.name),
        "context": CONTEXT,
    }
    if model == "lora":
        given |= {"rank": 4, "alpha": 8}
    rate = 3e-3 if model == "lora" else 1e-3
    settings = {
        "model": model,
        "options": given | (options or {}),
        "epochs": 1,
        "batch": 8,
        "optimizer": {"name": "adamw", "rate": rate},
        "device": "cpu",
    }
    return TrainParams.model_validate(settings | train)


def language_recipe(
    base: Path,
    model: str = "lora",
    *,
    slices: int = 1,
    layout: Layout = LAYOUT,
    key: Key = KEY,
    options: dict[str, Any] | None = None,
    **train: Any,
) -> Recipe:
    """Return a recipe for rows of `author_rows` on a base; see `language_train`."""
    settings = language_train(base, model, options=options, **train)
    return Recipe(settings, slices, layout, 0, key, None, base.parent)


def language_params(
    train: TrainParams,
    *,
    shards: int = 1,
    slices: int = 1,
    rule: str = "mean_log_probability",
    layout: Layout = LAYOUT,
    **sections: Any,
) -> Params:
    """Return settings of a project on a dataset of made-up authors.

    Parameters
    ----------
    train
        As `language_train` returns it.
    shards, slices, rule
        How many there are, and how adapters answer together.
    layout
        What the columns are.
    **sections
        Other sections of params.yaml.
    """
    return check_params(
        {
            "algorithm": ALGORITHM,
            "key_check": KEY.check,
            "dataset": {
                "path": "data/dataset.jsonl",
                "id": "id",
                "subject": "author" if layout.subjects else None,
                "features": dict(layout.features),
            },
            "sharding": {"shards": shard_names(shards), "slices": slices, "holdout": 0.2},
            "train": train.model_dump(mode="json"),
            "aggregate": {"rule": rule},
            **sections,
        }
    )


def drawn_adapters(
    base: Path, names: Sequence[str], *, seed: int = 1, strength: float = 0.05, **options: Any
) -> list[tuple[str, ShardModel]]:
    """Return shard models by name: adapters whose weights are drawn, and not trained.

    Parameters
    ----------
    base
        The base's folder.
    names
        Of the shards.
    seed
        Of the weights.
    strength
        Standard deviation of the second matrices, which are zero in a new adapter.
    **options
        What in `train.options` is not as in `language_train`.
    """
    import torch
    from safetensors.torch import save
    from unlearn.stages.estimators.causal import LoraEstimator
    from unlearn.stages.text import adapters

    train = language_train(base, options=options)
    estimator = LoraEstimator(train, LAYOUT, base.parent)
    generator = torch.Generator().manual_seed(seed)
    zero = adapters.snapshot(adapters.wrap(estimator.base, estimator.shape))
    found = []
    for number, name in enumerate(names):
        weights = {
            key: torch.randn(value.shape, generator=generator)
            * (strength if ".lora_B." in key else value.shape[1] ** -0.5)
            for key, value in zero.items()
        }
        description = describe_model(train, LAYOUT, 10 + number, estimator.describe())
        found.append((name, ShardModel(description, save(weights))))
    return found
