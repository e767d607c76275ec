"""The packed XNOR-popcount convolution against fp32 and int8 convolutions of the same shape, on this machine.

    python benchmarks/xnor_convolution.py [--threads 1] [--rounds 30]

Per shape: the compiled packed kernel on bits that are packed already (a chain of binary layers), the same with sign and
packing of a float input (one binary layer among float ones), torch and ONNX Runtime in fp32, and ONNX Runtime in int8.
All take turns; times are medians. Sizes are the weights in memory. The packed sums equal torch's float convolution of
the signs exactly, which is checked here as well. Writes benchmarks/results/xnor_convolution.csv.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

from leadline.artifacts.runtimes import need
from leadline.deploy.targets.calling import quiet
from leadline.deploy.targets.onnx_quantized import OPSET, tidy_graph, translations
from leadline.files import write_whole
from leadline.kernels.xnor import PackedConvolution, pack_channels
from leadline.machine import describe_machine, one_line, pin_threads
from leadline.nn.quantize.binary import BinaryConv2d
from leadline.nn.quantize.layers import CHANNEL, Numbers, quantized

CSV = Path(__file__).parent / "results" / "xnor_convolution.csv"
SHAPES = [(64, 64, 3, 96, 312), (128, 128, 3, 48, 156), (256, 256, 3, 24, 78), (64, 64, 1, 96, 312)]  # c o k h w


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    pin_threads(options.threads)
    torch.set_num_threads(options.threads)
    machine = describe_machine()
    rows = [measure(*shape, options) for shape in SHAPES]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*rows[0], *machine], lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | machine for row in rows)
    write_whole(CSV, text.getvalue().encode())
    for row in rows:
        print(row)
    print(one_line(machine))


@torch.no_grad()
def measure(c: int, o: int, k: int, h: int, w: int, options: argparse.Namespace) -> dict[str, Any]:
    """One shape."""
    torch.manual_seed(0)
    x = torch.randn(1, c, h, w)
    binary, plain = BinaryConv2d(c, o, k, padding=k // 2), nn.Conv2d(c, o, k, padding=k // 2).eval()
    packed = PackedConvolution(binary, compiled=True, threads=options.threads)
    words = pack_channels((x >= 0).numpy())
    assert np.array_equal(packed.count((x >= 0).numpy()), binary.count(binary.signs_of(x)).numpy())
    float_run, int8_run = session(plain, x, options.threads), session(int8(plain, x), x, options.threads)
    runs = {
        "packed_ms": lambda: packed.count_packed(words),
        "packed_from_float_ms": lambda: packed(x),
        "torch_fp32_ms": lambda: plain(x),
        "onnxruntime_fp32_ms": lambda: float_run(x.numpy()),
        "onnxruntime_int8_ms": lambda: int8_run(x.numpy()),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(options.rounds + 3):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn >= 3:
                seconds[name].append(time.perf_counter() - start)
    times = {name: round(1000 * median(values), 3) for name, values in seconds.items()}
    best = min(times["torch_fp32_ms"], times["onnxruntime_fp32_ms"])
    return {
        "shape": f"{c}->{o} {k}x{k} at {h}x{w}", "threads": options.threads, **times,
        "times_faster_than_fp32": round(best / times["packed_ms"], 2),
        "times_faster_than_int8": round(times["onnxruntime_int8_ms"] / times["packed_ms"], 2),
        "fp32_weight_bytes": plain.weight.nbytes, "packed_weight_bytes": packed.bytes,
    }  # fmt: skip


def int8(plain: nn.Conv2d, x: torch.Tensor) -> nn.Module:
    """The convolution in int8, from int8 to int8."""
    activation = Numbers(8, False)
    layer = quantized(plain, Numbers(8, True, granularity=CHANNEL), activation, activation)
    layer.fit_weight()
    for quantizer, values in ((layer.input_quantizer, x), (layer.output_quantizer, plain(x))):
        assert quantizer is not None
        scale = (values.max() - values.min()) / 255
        quantizer.set(scale.reshape(1), (-128 - values.min() / scale).round().reshape(1))
    layer.freeze()
    return layer.eval()


def session(layer: nn.Module, x: torch.Tensor, threads: int) -> Any:
    """The layer in ONNX Runtime."""
    onnxruntime = need("onnxruntime", "onnx")
    with quiet():
        program = torch.onnx.export(
            layer, (x,), dynamo=True, opset_version=OPSET, verbose=False, custom_translation_table=translations()
        )
    assert program is not None
    tidy_graph(program.model_proto.graph)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    made = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), options)
    name = made.get_inputs()[0].name
    return lambda image: made.run(None, {name: image})


if __name__ == "__main__":
    main()
