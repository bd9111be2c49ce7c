"""What the checks of models are given, and what they find."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from unlearn.stages.context import Context
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.training.lineage import Lineage

#: Trains the shards named, each from its rows in data/shards without the listed ones and from
#: nothing else, and returns their lineages in the same order.
Retrain = Callable[[Context, ForgetList, Sequence[str]], Iterable[Lineage]]


@dataclass(frozen=True)
class ShardRows:
    """A shard's rows as data/shards and the list have them."""

    retain: pa.Table
    forget: pa.Table


@dataclass
class Exactness:
    """What the checks found.

    Parameters
    ----------
    touched
        Shards that the list names.
    reran, matched
        Touched shards retrained, or trees fitted again, and those that came out the same.
    trees
        Trees of the touched shards; None where `reran` counts shards.
    lineage_clean
        Whether every lineage is that of the rows it should come from.
    problems
        A sentence for each mismatch.
    constant
        Why a shard's model is a constant one, by shard.
    environment
        How the models' environment differs from this one, where that kept a check from being made.
    """

    touched: int = 0
    reran: int = 0
    matched: int = 0
    trees: int | None = None
    lineage_clean: bool = True
    problems: tuple[str, ...] = ()
    constant: dict[str, str] = field(default_factory=dict)
    environment: tuple[str, ...] = ()

    def add(self, problem: str) -> None:
        """Note a mismatch."""
        self.problems = (*self.problems, problem)
