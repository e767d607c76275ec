"""Layers of a Caffe network under construction, and the files made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from leadline.artifacts.runtimes import need
from leadline.deploy.targets.caffe.messages import message_types
from leadline.files import write_whole

PROTOTXT, CAFFEMODEL = "model.prototxt", "model.caffemodel"
PARAMETERS = {  # layer type -> its field in LayerParameter, where it has one
    "Concat": "concat_param", "Convolution": "convolution_param", "Crop": "crop_param", "ELU": "elu_param",
    "Deconvolution": "convolution_param", "Eltwise": "eltwise_param", "Input": "input_param",
    "PReLU": "prelu_param", "Permute": "permute_param", "Pooling": "pooling_param",
    "Power": "power_param", "ReLU": "relu_param", "Reshape": "reshape_param", "Scale": "scale_param",
    "Slice": "slice_param", "Softmax": "softmax_param",
}  # fmt: skip


@dataclass(frozen=True)
class Blob:
    """A tensor that flows through the network."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return prod(self.shape)


@dataclass
class Layer:
    """One layer. Two types exist here alone, until `simplify` has replaced them: Affine (blobs: scale and shift, both
    per channel) and Window (from start to stop along an axis)."""

    name: str
    type: str
    bottoms: list[Blob]
    tops: list[Blob]
    parameters: dict[str, Any] = field(default_factory=dict)
    blobs: list[np.ndarray] = field(default_factory=list)


class Layers:
    """A list of layers that grows; what a lowering writes to."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.place = ""  # of what is being lowered; in the names of its layers
        self._names: dict[str, int] = {}
        self._windows: dict[tuple, Blob] = {}

    def add(
        self,
        type_: str,
        bottoms: list[Blob],
        shape: tuple[int, ...],
        blobs: list[np.ndarray] | None = None,
        /,
        **parameters: Any,
    ) -> Blob:
        """Appends a layer with one top of this shape, and gives the top."""
        name = self.unique(f"{self.place}.{type_.lower()}" if self.place else type_.lower())
        top = Blob(name, tuple(shape))
        self.layers.append(Layer(name, type_, bottoms, [top], parameters, blobs or []))
        return top

    def input(self, name: str, shape: tuple[int, ...]) -> Blob:
        blob = Blob(name, shape)
        self.layers.append(Layer(name, "Input", [], [blob], {"shape": list(shape)}))
        return blob

    def window(self, blob: Blob, axis: int, start: int, stop: int) -> Blob:
        """From start to stop along an axis, once however often it is asked for."""
        if (start, stop) == (0, blob.shape[axis]):
            return blob
        key = (blob, axis, start, stop)
        if key not in self._windows:
            shape = (*blob.shape[:axis], stop - start, *blob.shape[axis + 1 :])
            self._windows[key] = self.add("Window", [blob], shape, axis=axis, start=start, stop=stop)
        return self._windows[key]

    def concat(self, blobs: list[Blob], axis: int) -> Blob:
        shape = list(blobs[0].shape)
        shape[axis] = sum(blob.shape[axis] for blob in blobs)
        return blobs[0] if len(blobs) == 1 else self.add("Concat", blobs, tuple(shape), axis=axis)

    def reshape(self, blob: Blob, shape: tuple[int, ...]) -> Blob:
        return blob if blob.shape == tuple(shape) else self.add("Reshape", [blob], tuple(shape), shape=list(shape))

    def elementwise(self, type_: str, bottoms: list[Blob], /, **parameters: Any) -> Blob:
        """A layer that looks at nothing but the element; readers know no more than five axes there, some only four."""
        shape = bottoms[0].shape
        folded = [self.reshape(blob, _fourfold(shape)) for blob in bottoms]
        return self.reshape(self.add(type_, folded, folded[0].shape, **parameters), shape)

    def affine(self, blob: Blob, scale: np.ndarray | float, shift: np.ndarray | float) -> Blob:
        """scale * blob + shift, per channel or the same for all."""
        if len(blob.shape) > 4 and np.size(scale) == np.size(shift) == 1:
            return self.reshape(self.affine(self.reshape(blob, _fourfold(blob.shape)), scale, shift), blob.shape)
        both = [np.broadcast_to(np.asarray(value, np.float64), blob.shape[1:2]).copy() for value in (scale, shift)]
        return self.add("Affine", [blob], blob.shape, both)

    def convolution(
        self,
        blob: Blob,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        *,
        stride: tuple[int, int] = (1, 1),
        pad: tuple[int, int] = (0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        transposed: bool = False,
    ) -> Blob:
        """As PyTorch's conv2d and conv_transpose2d without output_padding; Caffe lays weights out the same way."""
        sizes = zip(blob.shape[2:], weight.shape[2:], stride, pad, dilation, strict=True)
        if transposed:
            to = weight.shape[1] * groups
            sides = [(n - 1) * s + d * (k - 1) + 1 - 2 * p for n, k, s, p, d in sizes]
        else:
            to = weight.shape[0]
            sides = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes]
        blobs = [weight.astype(np.float64), np.zeros(to) if bias is None else bias.astype(np.float64)]
        return self.add(
            "Deconvolution" if transposed else "Convolution", [blob], (blob.shape[0], to, *sides), blobs,
            num_output=to, bias_term=True, group=groups, pad_h=pad[0], pad_w=pad[1], kernel_h=weight.shape[2],
            kernel_w=weight.shape[3], stride_h=stride[0], stride_w=stride[1],
            dilation=[dilation[0]] if dilation[0] == dilation[1] else list(dilation),
        )  # fmt: skip

    def unique(self, name: str) -> str:
        self._names[name] = self._names.get(name, 0) + 1
        return name if self._names[name] == 1 else f"{name}_{self._names[name]}"


def _fourfold(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if len(shape) <= 4 else (prod(shape[:-3]), *shape[-3:])


def write_files(layers: list[Layer], name: str, folder: Path) -> None:
    """Writes model.prototxt, which has the structure for people and for readers, and model.caffemodel, which has the
    same with the weights."""
    text_format = need("google.protobuf.text_format", "caffe")
    write_whole(folder / PROTOTXT, text_format.MessageToString(to_message(layers, name, weights=False)).encode())
    write_whole(folder / CAFFEMODEL, to_message(layers, name, weights=True).SerializeToString())


def to_message(layers: list[Layer], name: str, weights: bool) -> Any:
    """The network as a NetParameter."""
    net = message_types()["NetParameter"](name=name)
    for layer in layers:
        entry = net.layer.add(name=layer.name, type=layer.type)
        entry.bottom.extend(blob.name for blob in layer.bottoms)
        entry.top.extend(blob.name for blob in layer.tops)
        if layer.type in PARAMETERS and layer.parameters:
            _fill(getattr(entry, PARAMETERS[layer.type]), layer.parameters)
        for blob in layer.blobs if weights else ():
            stored = entry.blobs.add()
            stored.shape.dim.extend(blob.shape)
            stored.data.extend(np.asarray(blob, np.float32).ravel().tolist())
    return net


def _fill(message: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if key == "shape":  # a BlobShape, of which Input has several
            shapes = getattr(message, key)
            (shapes.add() if hasattr(shapes, "add") else shapes).dim.extend(value)
        elif isinstance(value, list | tuple):
            getattr(message, key).extend(value)
        elif isinstance(value, str):
            kind = message.DESCRIPTOR.fields_by_name[key].enum_type
            setattr(message, key, kind.values_by_name[value].number)
        else:
            setattr(message, key, value)
