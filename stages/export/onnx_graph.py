"""An ONNX graph, written node by node.

Names follow from the order of nodes, so that the same model gives the same bytes.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]

#: A version of ONNX that all releases of onnxruntime since 1.14 have.
OPSET = 18
#: The version of the operators for classical models.
ML_OPSET = 3
ML = "ai.onnx.ml"

INT64, DOUBLE, FLOAT = TensorProto.INT64, TensorProto.DOUBLE, TensorProto.FLOAT
BOOL, STRING, UINT8 = TensorProto.BOOL, TensorProto.STRING, TensorProto.UINT8

#: Numbers of rows have this name.
ROWS = "rows"


class Graph:
    """A graph that grows.

    Attributes
    ----------
    inputs
        By name, the element type and the shape without the rows.
    """

    def __init__(self) -> None:
        self.inputs: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._initializers: list[onnx.TensorProto] = []
        self._parts = 0

    def add_input(self, name: str, kind: int, shape: tuple[int, ...]) -> str:
        """Declare an input, if it is not there yet, and return its name."""
        self.inputs[name] = (kind, shape)
        return name

    def op(
        self, name: str, *inputs: str, domain: str = "", unused: int = 0, **attributes: Any
    ) -> str:
        """Add a node, and return the name of its first output; `unused` others are not used."""
        out = f"unlearn.{len(self._nodes)}"
        outs = [out, *(f"{out}.{at}" for at in range(unused))]
        self._nodes.append(
            helper.make_node(name, list(inputs), outs, name=out, domain=domain, **attributes)
        )
        return out

    def constant(self, value: Any, dtype: npt.DTypeLike | None = None) -> str:
        """Return the name of a constant; equal ones are written once."""
        array = np.array(value, dtype, order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if array.dtype.kind in "OU":
            array = np.array(value, object)
            key = ("text", array.shape, "\0".join(array.reshape(-1)).encode())
        if key not in self._constants:
            name = f"unlearn.constant.{len(self._constants)}"
            self._constants[key] = name
            self._initializers.append(numpy_helper.from_array(array, name))
        return self._constants[key]

    def cast(self, value: str, kind: int) -> str:
        """Return a value in another type."""
        return self.op("Cast", value, to=kind)

    def take(self, table: str, index: str, axis: int = 0) -> str:
        """Return entries of a table."""
        return self.op("Gather", table, index, axis=axis)

    def sum(self, value: str, axis: int, *, keep: bool = False) -> str:
        """Return a sum over an axis."""
        return self.op("ReduceSum", value, self.constant([axis], np.int64), keepdims=int(keep))

    def reshape(self, value: str, *shape: int) -> str:
        """Return a value in another shape."""
        return self.op("Reshape", value, self.constant(shape, np.int64))

    def repeated(self, row: npt.ArrayLike, like: str) -> str:
        """Return one row for each row of another value, in float64, shape (rows, width)."""
        values = np.asarray(row, np.float64)[None]
        size = self.take(self.op("Shape", like), self.constant([0], np.int64))
        shape = self.op("Concat", size, self.constant([values.shape[1]], np.int64), axis=0)
        return self.op("Expand", self.constant(values), shape)

    def rows_of(self, row: npt.ArrayLike, like: str) -> str:
        """Return one row of whole numbers for each row, as int64; see `repeated`."""
        return self.cast(self.repeated(row, like), INT64)

    def insert(self, part: onnx.GraphProto, given: Mapping[str, str]) -> list[str]:
        """Add a graph that a converter wrote, and return the names of its outputs.

        Parameters
        ----------
        part
            The graph. Its names are replaced, and what it says of its origin is left out.
        given
            By name, what its inputs are here.
        """
        self._parts += 1
        names = dict(given)

        def own(name: str) -> str:
            if name and name not in names:
                names[name] = f"unlearn.part.{self._parts}.{len(names)}"
            return names.get(name, "")

        for tensor in part.initializer:
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copy.name = own(tensor.name)
            copy.ClearField("doc_string")
            copy.ClearField("metadata_props")
            self._initializers.append(copy)
        for node in part.node:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            copied.ClearField("doc_string")
            copied.ClearField("metadata_props")
            copied.ClearField("name")
            del copied.input[:], copied.output[:]
            copied.input.extend(own(name) for name in node.input)
            copied.output.extend(own(name) for name in node.output)
            self._nodes.append(copied)
        return [own(value.name) for value in part.output]

    def model(
        self, outputs: Mapping[str, tuple[str, int, tuple[int, ...]]], facts: Mapping[str, str]
    ) -> onnx.ModelProto:
        """Return the whole model.

        Parameters
        ----------
        outputs
            By name, the value, its element type, and its shape without the rows.
        facts
            Metadata, in this order.
        """
        for name, (value, _, _) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [value], [name], name=f"to {name}"))
        infos: dict[str, tuple[int, tuple[int | str | None, ...]]] = {
            **{name: (kind, (ROWS, *shape)) for name, (kind, shape) in self.inputs.items()},
            **{name: (kind, (ROWS, *shape)) for name, (_, kind, shape) in outputs.items()},
        }
        values = {
            name: helper.make_tensor_value_info(name, kind, shape)
            for name, (kind, shape) in infos.items()
        }
        nodes = self._needed_nodes(outputs)
        used = {name for node in nodes for name in node.input}
        graph = helper.make_graph(
            nodes,
            "unlearn",
            [values[name] for name in self.inputs],
            [values[name] for name in outputs],
            [each for each in self._initializers if each.name in used],
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)]
        model = helper.make_model(
            graph, opset_imports=opsets, producer_name="unlearn", ir_version=8
        )
        for name, text in facts.items():
            model.metadata_props.add(key=name, value=text)
        return model

    def _needed_nodes(self, outputs: Iterable[str]) -> list[onnx.NodeProto]:
        """Return the nodes that outputs follow from.

        Converters also write labels, which are not used, and some fail without rows.
        """
        needed, found = set(outputs), []
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                found.append(node)
        return found[::-1]
