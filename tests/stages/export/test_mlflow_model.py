"""What has to be installed where MLflow loads a final model."""

from unlearn.stages.export.mlflow_model import requirements
from unlearn.stages.training.shard_model import ShardModel


def test_the_library_of_a_boosted_model_is_required_too() -> None:
    def names(model: str) -> list[str]:
        found = ShardModel({"train": {"model": model}}, None)
        constant = ShardModel({"kind": "constant"}, None)
        return [line.partition("==")[0] for line in requirements([found, constant, found])]

    of_network = names("mlp")

    assert "torch" in of_network
    assert names("lightgbm.LGBMClassifier") == [*of_network, "lightgbm"]
    # Where it is this distribution that has the module.
    assert names("xgboost.XGBClassifier") == [*of_network, "xgboost-cpu"]
