"""Digests of tensors: of the numbers and their names, not of their container."""

import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.formats import SAFETENSORS
from unlearn.stages.estimators.tensors import NamedTensor, digest_tensors

ONE = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


def test_a_digest_does_not_depend_on_order_or_metadata() -> None:
    tensors = {"a": ONE, "b": ONE.flip(0)}
    turned = dict(reversed(tensors.items()))

    digests = {SAFETENSORS.digest(save(each)) for each in (tensors, turned)}
    digests.add(SAFETENSORS.digest(save(tensors, metadata={"made": "yesterday"})))
    assert len(digests) == 1


def test_a_digest_depends_on_name_type_shape_and_every_number() -> None:
    others = [
        {"a": ONE},
        {"b": ONE},
        {"a": ONE.double()},
        {"a": ONE.reshape(4)},
        {"a": ONE.T.contiguous()},
        {"a": torch.tensor([[1.0, 2.0], [3.0, 4.0000005]])},
        {"a": torch.tensor([[1.0, 2.0], [3.0, -4.0]])},
        {"a": ONE, "b": torch.zeros(0)},
        {},
    ]

    assert len({SAFETENSORS.digest(save(each)) for each in others}) == len(others)


@given(st.lists(st.tuples(st.text(max_size=3), st.binary(max_size=4)), unique_by=lambda t: t[0]))
def test_names_and_bytes_do_not_run_into_each_other(tensors: list[tuple[str, bytes]]) -> None:
    def digest(pairs: list[tuple[str, bytes]]) -> str:
        return digest_tensors(NamedTensor(name, "U8", (len(data),), data) for name, data in pairs)

    assert digest(tensors) == digest(tensors[::-1])
    assert digest([*tensors, ("more", b"")]) != digest(tensors)
    if tensors and tensors[0][1]:
        (name, data), *rest = tensors
        assert digest([(name, data[1:]), *rest]) != digest(tensors)


@pytest.mark.parametrize("content", [b"", b"PK", pickle.dumps({"a": [1.0]}), save({"a": ONE})[:-1]])
def test_what_is_no_safetensors_file_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match="not in the safetensors format"):
        SAFETENSORS.digest(content)
