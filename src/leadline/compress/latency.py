"""How long a network takes, in a runtime on this machine or by a table of its layers measured on a device."""

from __future__ import annotations

import copy
import csv
import io
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from leadline.compress.choice import weighted_layers
from leadline.errors import UserError
from leadline.files import write_whole
from leadline.machine import rest
from leadline.models import Network
from leadline.predict.predictor import VIEWS
from leadline.surgeries import with_plain_weights
from leadline.surgeries.prune_channels import is_depthwise, keep_channels, widths

ROUNDS = 5  # timed runs, taking turns with the network from before
COLUMNS = ("layer", "in_channels", "out_channels", "milliseconds")
REST = "rest"  # what a network takes beside its convolutions and linear layers
STEPS = (0.25, 0.5, 0.75, 1.0)  # widths at which a layer is measured
Run = Callable[[], object]


def relative_latency(
    before: Network, runtime: str, size: tuple[int, int], threads: int | None = None
) -> Callable[[Network], float]:
    """A function that gives the time of a network over that of `before`, both run in turns.

    Args:
        runtime: "pytorch", or a target of `leadline export`.
        size: (h, w) px of the images.

    Raises:
        UserError: an unknown runtime, a missing library, or a size that the network does not take.
    """
    folder = tempfile.TemporaryDirectory()  # lives as long as the function
    reference = open_run(before, runtime, size, threads, Path(folder.name) / "before")

    def measure(network: Network) -> float:
        with tempfile.TemporaryDirectory(dir=folder.name) as place:
            run = open_run(network, runtime, size, threads, Path(place))
            now, before_it = _in_turns(run, reference)
            return now / before_it

    return measure


def open_run(network: Network, runtime: str, size: tuple[int, int], threads: int | None, folder: Path) -> Run:
    """A function that runs the network once on noise."""
    height, width = network.padded_size(*size)
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(1, 3, height, width, generator=generator) for _ in VIEWS[network.task]]
    if runtime != "pytorch":
        from leadline.deploy import export

        session = export(network, runtime, folder, (height, width), verify_on=None).predictor(threads).session
        arrays = [image.numpy() for image in images]
        return lambda: session(*arrays)
    plain = with_plain_weights(network).eval()

    def run() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(threads or before)
        with torch.inference_mode():
            plain(*images)
        torch.set_num_threads(before)

    return run


def _in_turns(*runs: Run) -> list[float]:
    """Median seconds of each."""
    seconds: list[list[float]] = [[] for _ in runs]
    for turn in range(ROUNDS + 1):
        for run, kept in zip(runs, seconds, strict=True):
            if len(runs) > 1:
                rest()
            start = time.perf_counter()
            run()
            if turn:  # the first warms up
                kept.append(time.perf_counter() - start)
    return [median(kept) for kept in seconds]


@dataclass(frozen=True)
class DeviceTable:
    """Milliseconds of each layer by its channels, and of the rest."""

    points: dict[str, dict[tuple[int, int], float]]  # layer -> (inputs, outputs) -> ms
    rest: float

    @staticmethod
    def read(path: str | os.PathLike) -> DeviceTable:
        """Raises UserError where the file is missing or no such table."""
        try:
            rows = list(csv.DictReader(io.StringIO(Path(path).read_text(encoding="utf-8"))))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot read the device table ({error})") from error
        points: dict[str, dict[tuple[int, int], float]] = defaultdict(dict)
        rest = 0.0
        for line, row in enumerate(rows, 2):
            try:
                milliseconds = float(row["milliseconds"])
                if row["layer"] == REST:
                    rest = milliseconds
                else:
                    points[row["layer"]][int(row["in_channels"]), int(row["out_channels"])] = milliseconds
            except (KeyError, TypeError, ValueError):
                raise UserError(f"{path}: line {line} is not of the form {','.join(COLUMNS)}") from None
        if not points:
            raise UserError(f"{path}: no layer in it: write one with `leadline compress prune --write-device-table`")
        return DeviceTable(dict(points), rest)

    def milliseconds(self, network: Network) -> float:
        """What the network takes by the table, interpolated between the widths that were measured.

        Raises:
            UserError: a layer that is not in the table.
        """
        total = self.rest
        for name, module in weighted_layers(network).items():
            if name not in self.points:
                raise UserError(f"the device table has no layer {name!r}: it is of another network, write a new one")
            outputs, inputs = widths(module)
            total += _interpolate(self.points[name], inputs, outputs)
        return total


def _interpolate(points: dict[tuple[int, int], float], inputs: int, outputs: int) -> float:
    """Linear in the outputs at the measured inputs, then linear in the inputs; constant beyond the ends."""
    if all(i == o for i, o in points):  # depthwise
        widths_, values = zip(*sorted((i, ms) for (i, _), ms in points.items()), strict=True)
        return float(np.interp(inputs, widths_, values))
    measured = sorted({i for i, _ in points})
    at_inputs = []
    for i in measured:
        places, values = zip(*sorted((o, ms) for (j, o), ms in points.items() if j == i), strict=True)
        at_inputs.append(np.interp(outputs, places, values))
    return float(np.interp(inputs, measured, at_inputs))


def write_device_table(
    network: Network,
    path: str | os.PathLike,
    runtime: str = "pytorch",
    size: tuple[int, int] = (384, 1248),
    threads: int | None = None,
) -> Path:
    """Measures every layer of a network at several widths on this machine, and writes the table.

    Args:
        runtime: "pytorch" or "onnx". For another device write a file of the same columns with its own tools: one line
            per layer and width, and one of the layer "rest".

    Raises:
        UserError: another runtime, or a file that cannot be written.
    """
    if runtime not in ("pytorch", "onnx"):
        raise UserError(f"a device table can be measured in pytorch and onnx here, not {runtime}")
    plain = with_plain_weights(network).cpu().eval()
    shapes = _input_shapes(plain, size)
    rows: list[tuple[str, int, int, float]] = []
    full = 0.0
    for name, module in weighted_layers(plain).items():
        if name not in shapes:  # of training alone
            outputs, inputs = widths(module)
            rows.append((name, inputs, outputs, 0.0))
            continue
        for inputs, outputs in _grid(module):
            shape, calls = shapes[name]
            milliseconds = calls * _time_layer(module, inputs, outputs, shape, runtime, threads)
            rows.append((name, inputs, outputs, round(milliseconds, 4)))
            if (outputs, inputs) == widths(module):
                full += milliseconds
    with tempfile.TemporaryDirectory() as folder:
        (whole,) = _in_turns(open_run(network, runtime, size, threads, Path(folder)))
    rows.append((REST, 0, 0, round(max(whole * 1000 - full, 0.0), 4)))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, *rows])
    return write_whole(path, text.getvalue().encode())


def _input_shapes(network: Network, size: tuple[int, int]) -> dict[str, tuple[tuple[int, ...], int]]:
    """The shape that each layer sees when the network runs, and how often it is called."""
    seen: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    handles = [
        module.register_forward_hook(lambda m, args, out, name=name: seen[name].append(tuple(args[0].shape)))
        for name, module in weighted_layers(network).items()
    ]
    images = [torch.zeros(1, 3, *network.padded_size(*size)) for _ in VIEWS[network.task]]
    with torch.inference_mode():
        network(*images)
    for handle in handles:
        handle.remove()
    return {name: (shapes[0], len(shapes)) for name, shapes in seen.items()}


def _grid(module: nn.Module) -> list[tuple[int, int]]:
    outputs, inputs = widths(module)
    groups = getattr(module, "groups", 1)
    if is_depthwise(module):
        return sorted({(max(1, round(s * inputs)), max(1, round(s * inputs))) for s in STEPS})
    if groups > 1:
        return [(inputs, outputs)]
    return sorted({(max(1, round(a * inputs)), max(1, round(b * outputs))) for a in STEPS for b in STEPS})


def _time_layer(
    module: nn.Module, inputs: int, outputs: int, shape: tuple[int, ...], runtime: str, threads: int | None
) -> float:
    """Milliseconds of a layer like this one with fewer channels."""
    layer = copy.deepcopy(module)
    keep_channels(layer, torch.arange(outputs), torch.arange(inputs))
    x = torch.rand(*shape[:-1], inputs) if isinstance(layer, nn.Linear) else torch.rand(shape[0], inputs, *shape[2:])
    run = _torch_run(layer.eval(), x, threads) if runtime == "pytorch" else _onnx_run(layer, x, threads)
    return _in_turns(run)[0] * 1000


def _torch_run(layer: nn.Module, x: Tensor, threads: int | None) -> Run:
    def run() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(threads or before)
        with torch.inference_mode():
            layer(x)
        torch.set_num_threads(before)

    return run


def _onnx_run(layer: nn.Module, x: Tensor, threads: int | None) -> Run:
    """The layer as a graph of one node."""
    from leadline.artifacts.runtimes import need

    onnx, ort = need("onnx", "onnx"), need("onnxruntime", "onnx")
    tensors = {"weight": layer.weight.detach(), **({} if layer.bias is None else {"bias": layer.bias.detach()})}  # type: ignore[operator, union-attr]
    if isinstance(layer, nn.Linear):
        tensors["weight"] = tensors["weight"].T.contiguous()
        nodes = [onnx.helper.make_node("MatMul", ["x", "weight"], ["y"])]
    else:
        assert isinstance(layer, _ConvNd)
        attributes = {
            "strides": layer.stride, "dilations": layer.dilation, "group": layer.groups,
            "pads": [*layer.padding, *layer.padding],
        }  # fmt: skip
        if layer.transposed:
            attributes["output_padding"] = layer.output_padding
        kind = "ConvTranspose" if layer.transposed else "Conv"
        nodes = [onnx.helper.make_node(kind, ["x", *tensors], ["y"], **attributes)]
    float_type = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes, "layer", [onnx.helper.make_tensor_value_info("x", float_type, list(x.shape))],
        [onnx.helper.make_tensor_value_info("y", float_type, None)],
        [onnx.numpy_helper.from_array(tensors[name].numpy(), name) for name in nodes[0].input if name in tensors],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x.numpy()})
