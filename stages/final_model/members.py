"""The members of a final model: shard models ready to answer, or in their folders."""

from dataclasses import dataclass
from pathlib import Path

from unlearn.stages.errors import InputError
from unlearn.stages.training.shard_model import RowPredictor, read_shard_model


@dataclass(frozen=True)
class Member:
    """One shard model in an ensemble.

    Parameters
    ----------
    shard
        The shard's name.
    rows
        How many rows it has.
    predictor
        The model.
    has_probabilities
        Whether its answers are more than votes.
    """

    shard: str
    rows: int
    predictor: RowPredictor
    has_probabilities: bool


@dataclass(frozen=True)
class StoredMember:
    """A member that is opened whenever it is asked, and not kept; see `Member`.

    Parameters
    ----------
    folder
        Where the model is.
    digest
        The digest that it had when the final model was opened.
    code
        The user's own module, for a model made with one.
    trusted
        Types of other packages that its file may hold.
    root, base
        Where a frozen backbone is; see `ShardModel.predictor`.
    """

    shard: str
    rows: int
    has_probabilities: bool
    folder: Path
    digest: str
    code: Path | None
    trusted: tuple[str, ...] = ()
    root: Path | None = None
    base: Path | None = None

    @property
    def predictor(self) -> RowPredictor:
        """The model.

        Raises
        ------
        InputError
            If it has changed since the final model was opened.
        """
        name = f"member {self.shard} of the final model"
        model = read_shard_model(self.folder, name, public=True)
        if model.digest != self.digest:
            raise InputError(f"{name} changed while it was read")
        return model.predictor(self.code, self.trusted, self.root, self.base)
