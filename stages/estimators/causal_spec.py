"""The families of causal language models: adapters on a frozen base, and whole models."""

from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.stages.config.text import CausalOptions, LoraOptions
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.formats import SAFETENSORS
from unlearn.stages.estimators.spec import EstimatorSpec, TextTraining
from unlearn.stages.estimators.torch_spec import TORCH_FILE, TORCH_LIBRARIES, torch_facts
from unlearn.stages.rows.shard_file import Layout

if TYPE_CHECKING:
    from unlearn.stages.estimators.causal import CausalEstimator

#: Name of an adapter's weights file, which is the one that PEFT reads.
ADAPTER_FILE = "adapter_model.safetensors"

_LIBRARIES = (*TORCH_LIBRARIES, "transformers", "peft", "tokenizers")


def _build_adapter(train: TrainParams, layout: Layout, root: Path) -> "CausalEstimator":
    from unlearn.stages.estimators.causal import LoraEstimator
    from unlearn.stages.estimators.layer_groups import LayeredLoraEstimator

    by_layers = LoraOptions.model_validate(train.options).layers_by_slice
    return (LayeredLoraEstimator if by_layers else LoraEstimator)(train, layout, root)


def _build_whole(train: TrainParams, layout: Layout, root: Path) -> "CausalEstimator":
    from unlearn.stages.estimators.causal import CausalEstimator

    return CausalEstimator(train, layout, root)


LORA = EstimatorSpec(
    name="lora",
    models=("lora",),
    kind="lora",
    training=TextTraining(_build_adapter),
    options=LoraOptions,
    format=SAFETENSORS,
    file_name=ADAPTER_FILE,
    libraries=_LIBRARIES,
    facts=torch_facts,
    preload=("unlearn.stages.estimators.causal", "unlearn.stages.estimators.layer_groups"),
)

CAUSAL_LM = EstimatorSpec(
    name="causal_lm",
    models=("causal_lm",),
    kind="causal_lm",
    training=TextTraining(_build_whole, combines=False),
    options=CausalOptions,
    format=SAFETENSORS,
    file_name=TORCH_FILE,
    libraries=_LIBRARIES,
    facts=torch_facts,
    preload=("unlearn.stages.estimators.causal",),
)
