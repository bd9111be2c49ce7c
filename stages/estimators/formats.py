"""The file formats of models and states: each family declares which one its files have."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from unlearn.stages.estimators.tensors import NamedTensor, digest_tensors, read_safetensors

#: Digests of tensors that this process has computed, by format and SHA-256 of the whole file.
_digests: dict[tuple[str, bytes], str] = {}


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

        A run asks for that of one model several times, and unpacks it once.

        Raises
        ------
        InputError
            If the content is not in this format.
        """
        known = (self.name, hashlib.sha256(content).digest())
        if known not in _digests:
            _digests[known] = digest_tensors(self.load(content))
        return _digests[known]


def _read_skops(content: bytes) -> Iterable[NamedTensor]:
    from unlearn.stages.estimators.skops_file import read_members

    return read_members(content)


SAFETENSORS = WeightsFormat("safetensors", ".safetensors", read_safetensors)
SKOPS = WeightsFormat("skops", ".skops", _read_skops)
