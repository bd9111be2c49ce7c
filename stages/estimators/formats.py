"""The file formats of models and states: each family declares which one its files have."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from unlearn.stages.estimators.tensors import NamedTensor, digest_tensors, read_safetensors


@dataclass(frozen=True)
class WeightsFormat:
    """A file format of models and states.

    Parameters
    ----------
    name
        The format's name.
    suffix
        How names of its files end, from the dot on.
    load
        Returns the tensors of a file, whatever their order in it. Raises InputError if the content
        is not in this format. Never unpickles.
    """

    name: str
    suffix: str
    load: Callable[[bytes], Iterable[NamedTensor]]

    def digest(self, content: bytes) -> str:
        """Digest of the tensors in a file, in hex; not of their container.

        Raises
        ------
        InputError
            If the content is not in this format.
        """
        return digest_tensors(self.load(content))


def _read_skops(content: bytes) -> Iterable[NamedTensor]:
    from unlearn.stages.estimators.skops_file import read_members

    return read_members(content)


SAFETENSORS = WeightsFormat("safetensors", ".safetensors", read_safetensors)
SKOPS = WeightsFormat("skops", ".skops", _read_skops)
