"""Projects whose tuned language model is to forget, in bare folders, run in this process."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from unlearn.cli.examples.authors import Population, jsonl, make_authors
from unlearn.cli.examples.tiny_base import RECOMMENDED
from unlearn.stages.config.methods import METHODS
from unlearn.stages.config.params import ALGORITHM, Params
from unlearn.stages.context import Context, check_params
from unlearn.stages.final_model.text_ensemble import LanguageEnsemble
from unlearn.stages.final_model.text_loading import open_language_models
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.paths import Project
from unlearn.stages.recipe import stage as recipe_stage
from unlearn.stages.rows.shard_file import read_shard, subject_tokens
from unlearn.stages.shard import stage as shard_stage
from unlearn.stages.text.base import pin_files
from unlearn.stages.text.sequences import Sequences
from unlearn.stages.train import stage as train_stage
from unlearn.stages.training.method_record import WHOLE
from unlearn.stages.training.shard_model import ShardModel, read_shard_model
from unlearn.stages.unlearn import stage
from unlearn.stages.unlearn.base.registry import find_method
from unlearn.stages.unlearn.text.apply import make_problem
from unlearn.stages.unlearn.text.problem import TextProblem

from tests.language_models import CONTEXT, FEATURES
from tests.stages.conftest import KEY, put_on_list

AUTHORS = 7

#: All methods but `retrain`.
TEXT_METHODS = METHODS["text"][1:]

#: Settings under which all methods do something to a model this small in a few steps.
QUICK = {
    "generic": "data/generic.jsonl",
    "adapter": {"rank": 8, "alpha": 16},
    "rate": 1e-3,
    "epochs": 8,
    "batch": 8,
    "perplexity_limit": 4.0,
}


def text_params(
    base: Path,
    model: str = "lora",
    *,
    options: Mapping[str, Any] | None = None,
    features: Mapping[str, str] = FEATURES,
    train: Mapping[str, Any] | None = None,
    language: Mapping[str, Any] | None = None,
    **unlearn: Any,
) -> Params:
    """Return settings for made-up authors on a base; all methods, of which npo is deployed."""
    tuning = RECOMMENDED["tiny", model]
    given: dict[str, Any] = {
        "base": str(base),
        "files": pin_files(base, "base"),
        "context": CONTEXT,
    }
    return check_params(
        {
            "algorithm": ALGORITHM,
            "key_check": KEY.check,
            "dataset": {
                "path": "data/dataset.jsonl",
                "id": "id",
                "subject": "author",
                "features": dict(features),
            },
            "sharding": {"shards": [WHOLE], "slices": 1, "holdout": 0.3},
            "train": {
                "model": model,
                "options": given | dict(options or {}),
                "epochs": tuning.epochs,
                "batch": tuning.batch,
                "optimizer": {"name": "adamw", "rate": tuning.rate},
                "device": "cpu",
                **(train or {}),
            },
            "unlearn": {
                "methods": ["retrain", *TEXT_METHODS],
                "deploy": "npo",
                "language": QUICK | dict(language or {}),
                **unlearn,
            },
            "aggregate": {"rule": "mean_log_probability"},
        }
    )


def text_context(root: Path, params: Params) -> Context:
    """Return a project with a tuned model and nobody on the list."""
    (root / "data").mkdir(parents=True)
    (root / "data/dataset.jsonl").write_bytes(jsonl(make_authors(AUTHORS, 1)))
    others = make_authors(4, 1, population=Population.SPARE)
    (root / "data/generic.jsonl").write_bytes(jsonl(others))
    (root / "data/forget_list.txt").write_bytes(b"")
    context = Context(Project(root), params, KEY)
    recipe_stage.run(context)
    shard_stage.run(context)
    train_stage.run_whole(context)
    return context


def forget_authors(context: Context, count: int = 1) -> list[str]:
    """Put the first authors of the model on the list, have `forget` apply it; return them."""
    rows = read_shard(context.project.shard_file(WHOLE), WHOLE).rows
    tokens = sorted(set(subject_tokens(rows)))[:count]
    put_on_list(context, *tokens)
    forget_stage.run(context)
    return tokens


def changed(
    context: Context, *, train: Mapping[str, Any] | None = None, **language: Any
) -> Context:
    """Return the project with other settings of unlearning, or of training."""
    raw = context.params.model_dump(mode="json")
    raw["unlearn"]["language"] |= language
    raw["train"] |= train or {}
    return replace(context, params=check_params(raw))


def guarded(context: Context, **guard: Any) -> Context:
    """Return the project with other settings of the guard."""
    raw = context.params.model_dump(mode="json")
    raw["unlearn"]["guard"] |= guard
    return replace(context, params=check_params(raw))


def problem_of(context: Context, name: str, **options: Any) -> TextProblem:
    """Return what a method is given in a project where something is to be forgotten.

    Parameters
    ----------
    context, name
        The project and the method.
    **options
        What in `train.options` of the original is to be read otherwise.
    """
    original = read_shard_model(context.project.original, "original")
    train = original.description["train"]
    train = train | {"options": train["options"] | options}
    model = ShardModel(original.description | {"train": train}, original.weights)
    problem = make_problem(context.posthoc(), name, model, stage.read_rows(context))
    # Whatever it costs: what is tested is what the guard does when it looks.
    problem.guard._share = math.inf  # noqa: SLF001 - no setting of a project
    return problem


def run_method(name: str, problem: TextProblem) -> None:
    """Run a built-in method on a problem."""
    function = find_method(name, "text").function
    assert function is not None
    function(problem)


def closed(problem: TextProblem, context: Context) -> ShardModel:
    """Return the model that would be written after a method."""
    original = read_shard_model(context.project.original, "original")
    weights, more = problem.tuned.close()
    return ShardModel({**original.description, **more}, weights)


def opened(context: Context, model: ShardModel) -> LanguageEnsemble:
    """Open a model as the deployed one would be."""
    root, dataset = context.project.root, context.params.dataset
    return open_language_models([(WHOLE, model)], dataset, "mean_log_probability", root)


def read_model(context: Context, name: str) -> ShardModel:
    """Return the model that a method wrote."""
    return read_shard_model(context.project.unlearned / name, name)


def mean_loss(model: LanguageEnsemble, rows: pa.Table) -> float:
    """Return the mean cross-entropy of an answer token, as deployed models are asked."""
    return -float(model.scores(rows).logprobs.mean())


def losses_by_hand(module: Any, sequences: Sequences) -> torch.Tensor:
    """Return each sequence's summed loss, one sequence at a time, without any padding."""
    found = []
    for index in range(len(sequences)):
        tokens = torch.from_numpy(sequences.sequence(index))[None]
        logs = torch.log_softmax(module(input_ids=tokens).logits.float(), dim=-1)[0]
        start = int(sequences.answers[index])
        found.append(-sum(logs[at - 1, tokens[0, at]] for at in range(start, tokens.shape[1])))
    return torch.stack(found)  # type: ignore[arg-type]  # sums of tensors


def weights_of(problem: TextProblem) -> dict[str, torch.Tensor]:
    """Return a copy of what is trained."""
    return {name: weight.detach().clone() for name, weight in problem.tuned.weights.items()}


def record_of(context: Context, name: str) -> dict[str, Any]:
    """Return the record beside a method's model."""
    path = context.project.unlearned / name / "record.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
