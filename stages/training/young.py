"""What the stage `young` trains: a fresh model, for as many epochs as an update method may take.

It is what `train` would make of the retained rows with fewer epochs, to the byte. It reads neither
the original nor a forgotten row, so it has forgotten by construction. A method that costs as much
and is no nearer to the retrained model has no use.
"""

from dataclasses import replace

from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.spec import FeatureTraining, RowSetTraining
from unlearn.stages.training.recipe import Recipe

#: An update method takes at most this share of the epochs that training took.
EPOCHS_SHARE = 5


def young_epochs(train: TrainParams) -> int:
    """Return for how many epochs `young` is trained: a fifth of `train.epochs`, at least one."""
    return max(1, train.epochs // EPOCHS_SHARE)


def young_recipe(recipe: Recipe) -> Recipe:
    """Return what `young` is made from, besides rows and environment.

    Parameters
    ----------
    recipe
        That of the project.
    """
    train = recipe.train
    return replace(recipe, train=train.model_copy(update={"epochs": young_epochs(train)}))


def counts_epochs(train: TrainParams) -> bool:
    """Return whether the training reads each row `train.epochs` times, so that fewer cost less."""
    training = find_spec(train.model).training
    if isinstance(training, FeatureTraining):
        return training.counts_epochs
    return not isinstance(training, RowSetTraining)
