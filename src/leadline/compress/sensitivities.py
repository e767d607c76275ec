"""Which layer, and which stage, of a network suffers how much from quantisation alone; and bits chosen from that.

Each layer is quantised while all others stay float, and the error is measured on the same samples. What one layer costs
is assumed to add up over layers; that is only roughly true, which is why what is chosen from it is measured again.
"""

from __future__ import annotations

import copy
import csv
import io
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from leadline.data import open_data
from leadline.errors import UserError
from leadline.evaluation.measures import MEASURES
from leadline.evaluation.runner import Samples
from leadline.files import write_whole
from leadline.models import Network, Task
from leadline.predict.predictor import VIEWS
from leadline.predict.tiled import as_prediction, to_model_image

SEED = 91_000_000  # scenes that no training, calibration or verification sees
PAIRS = 4
SIZE = (128, 256)  # px
FRAGILE = 0.01  # share of the error that a layer alone may cost before `--skip auto` leaves it float
LARGEST = (544, 1280)  # px: of larger images the upper left window is taken

# The stages of a network, by words in the names of its layers; the first that fits.
_STAGES = (
    ("upsampling", r"upsample|guide|detail|spx|mask|refine"),
    ("volume", r"coarse|fine\.|volume|corr|cost|preconv|conv3d|match"),
    ("regression", r"score|classif|regress|disp|head|flow_?out"),
    ("features", r"encoder\.|feature|backbone|stem|fnet|cnet|pyramid"),
    ("aggregation", r"aggreg|hourglass|encoder_decoder|dres|update|gru"),
)


@dataclass(frozen=True)
class SensitivityRow:
    """One layer, or all of a stage, quantised alone."""

    layer: str  # or "all", of its stage
    stage: str
    bits: int  # of weights; activations have 8
    parameters: int  # weights
    error_change: float | None  # of the task's first metric (EPE, px), None without truth
    difference: float  # mean absolute difference from the float network's prediction, in the task's unit


@dataclass
class Sensitivity:
    """What `sensitivity` returns."""

    network: str
    data: str
    error: float | None  # of the float network
    metric: str  # what is measured, with its unit
    rows: list[SensitivityRow]

    @property
    def layers(self) -> list[SensitivityRow]:
        return [row for row in self.rows if row.layer != "all"]

    @property
    def stages(self) -> list[SensitivityRow]:
        return [row for row in self.rows if row.layer == "all"]

    def to_csv(self, path: str | os.PathLike) -> Path:
        """One line per layer and bits. Raises UserError where it cannot be written."""
        text = io.StringIO(newline="")
        about = {"network": self.network, "data": self.data, "metric": self.metric, "error": self.error}
        writer = csv.DictWriter(text, [*about, *asdict(self.rows[0])], lineterminator="\n")
        writer.writeheader()
        writer.writerows(about | asdict(row) for row in self.rows)
        return write_whole(path, text.getvalue().encode())

    def draw(self, path: str | os.PathLike) -> Path:
        """What each layer costs, coloured by stage, and what each stage costs as a whole."""
        from matplotlib.figure import Figure

        bits = sorted({row.bits for row in self.rows}, reverse=True)
        names = list(dict.fromkeys(row.layer for row in self.layers))
        stages = list(dict.fromkeys(row.stage for row in self.rows))
        figure = Figure(figsize=(max(9, 0.22 * len(names) + 4), 3.2 * len(bits)), layout="constrained")
        panels = figure.subplots(len(bits), 2, squeeze=False, width_ratios=[3, 1])
        for (left, right), width in zip(panels, bits, strict=True):
            for stage in stages:
                mine = [row for row in self.layers if row.bits == width and row.stage == stage]
                left.bar([names.index(row.layer) for row in mine], [_cost(row) for row in mine],
                         color=f"C{stages.index(stage) % 10}", label=stage)  # fmt: skip
            left.set_xticks(range(len(names)), names if width == bits[-1] else [], rotation=90, fontsize=6)
            left.set_xlim(-0.7, len(names) - 0.3)
            left.set_ylabel(f"{width} bit: {self._label}")
            whole = [row for row in self.stages if row.bits == width]
            right.barh([row.stage for row in whole], [_cost(row) for row in whole],
                       color=[f"C{stages.index(row.stage) % 10}" for row in whole])  # fmt: skip
            right.invert_yaxis()
            for panel in (left, right):
                panel.grid(alpha=0.3)
        panels[0][0].legend(frameon=False, fontsize=7)
        panels[0][0].set_title("one layer quantised, the others float")
        panels[0][1].set_title("one stage quantised")
        figure.suptitle(f"{self.network} on {self.data}")
        image = io.BytesIO()
        figure.savefig(image, dpi=120, format="png")
        return write_whole(path, image.getvalue())

    @property
    def _label(self) -> str:
        return f"mean difference of {self.metric}" if self.error is None else f"change of {self.metric}"


def _cost(row: SensitivityRow) -> float:
    return row.difference if row.error_change is None else row.error_change


def sensitivity(
    network: Network,
    bits: tuple[int, ...] = (8, 4),
    data: Samples | str | None = None,
    limit: int = PAIRS,
    calibrate_on: Samples | str | None = None,
) -> Sensitivity:
    """Quantises each layer, and each stage, alone, and measures what it costs.

    A layer's weights, its input and its output are quantised (statically, activations at 8 bits), the scores before a
    soft-argmin as well: which breaks first is the question.

    Args:
        network: float, trained.
        bits: of the weights.
        data: samples to measure on, or FORMAT:PATH; None: procedural scenes.
        limit: of the samples.
        calibrate_on: as of `quantize`.

    Raises:
        UserError: as `quantize`; no samples.
    """
    from leadline.compress.quantization import quantize
    from leadline.surgeries.quantize import fold_batchnorm, quantized_layers, replace_module

    judge = _Judge(network, data, limit)
    expected = judge.expected
    rows = []
    for width in bits:
        all_quantized = quantize(network, bits={"*": width}, outputs="all", data=calibrate_on)
        layers = {n: layer for n, layer in quantized_layers(all_quantized).items() if layer.input_quantizer is not None}
        base = copy.deepcopy(network).eval()
        for conv, norm in all_quantized.surgeries[-1]["folded"]:
            fold_batchnorm(base, conv, norm)
        plain = {name: base.get_submodule(name) for name in layers}
        stages: dict[str, list[str]] = {}
        for name in layers:
            stages.setdefault(stage_of(name), []).append(name)
        groups = [([name], name, stage_of(name)) for name in layers]
        groups += [(names, "all", stage) for stage, names in stages.items()]
        for names, label, stage in groups:
            for name in names:
                replace_module(base, name, layers[name])
            error, difference = judge.measure(base, expected)
            for name in names:
                replace_module(base, name, plain[name])
            change = None if error is None or judge.error is None else error - judge.error
            count = sum(layers[name].weight.numel() for name in names)
            rows.append(SensitivityRow(label, stage, width, count, change, difference))
    return Sensitivity(network.name, judge.name, judge.error, judge.metric, rows)


def stage_of(layer: str) -> str:
    """The stage that a layer's name tells of; else the first part of the name."""
    for stage, words in _STAGES:
        if re.search(words, layer):
            return stage
    return layer.partition(".")[0]


class _Judge:
    """The samples, what the float network says of them, and how far that is from the truth."""

    def __init__(self, network: Network, data: Samples | str | None, limit: int):
        source = f"procedural:{limit},seed={SEED},size={SIZE[0]}x{SIZE[1]}" if data is None else data
        kind = network.task
        if data is None and kind not in (Task.STEREO, Task.FLOW):
            kind = {Task.INTERPOLATION: Task.FLOW, Task.MONO: Task.STEREO}[kind]
        samples = open_data(source, kind) if isinstance(source, str) else source
        self.samples = [samples[index] for index in range(min(limit, len(samples)))]
        if not self.samples:
            raise UserError(f"{data}: no samples to measure on: give some")
        self.name = getattr(samples, "name", f"{len(self.samples)} samples")
        self.task, self.views = network.task, len(VIEWS[network.task])
        self.inputs = [self._inputs(network, sample.images) for sample in self.samples]
        self.expected = self._predict(network.eval())
        self.error = self._error(self.expected)
        measure = MEASURES.get(self.task)
        shown = None if measure is None or self.error is None else measure.metrics[measure.headline[0]]
        self.metric = "prediction" if shown is None else f"{shown.label} [{shown.unit}]"

    def _inputs(self, network: Network, images: tuple[np.ndarray, ...]) -> list[torch.Tensor]:
        cut = [image[: LARGEST[0], : LARGEST[1]] for image in images[: self.views]]
        size = network.padded_size(*cut[0].shape[:2])
        return [torch.from_numpy(to_model_image(image, size)) for image in cut]

    @torch.inference_mode()
    def _predict(self, network: Network) -> list[np.ndarray]:
        found = []
        for sample, images in zip(self.samples, self.inputs, strict=True):
            height, width = (min(side, most) for side, most in zip(sample.size, LARGEST, strict=True))
            found.append(network(*images)[0, :, :height, :width].numpy())
        return found

    def _error(self, predictions: list[np.ndarray]) -> float | None:
        measure = MEASURES.get(self.task)
        if measure is None or any(sample.truth(self.task) is None for sample in self.samples):
            return None
        total = measure.empty()
        for prediction, sample in zip(predictions, self.samples, strict=True):
            valid = np.ones(sample.size, bool) if sample.valid is None else sample.valid
            if valid.shape != prediction.shape[1:]:
                return None
            map_of = as_prediction(prediction.transpose(1, 2, 0).copy(), self.task, sample.images[0].dtype)
            total = total + measure.of_sample(map_of, sample, valid)
        return total.metrics()[measure.headline[0]]

    def measure(self, network: Network, expected: list[np.ndarray]) -> tuple[float | None, float]:
        """The error, and the mean absolute difference from what the float network says."""
        found = self._predict(network)
        apart = [np.abs(a.astype(np.float64) - b).mean() for a, b in zip(found, expected, strict=True)]
        return self._error(found), float(np.mean(apart))


def fragile_layers(network: Network, data: Samples | str | None = None) -> set[str]:
    """Layers that at 8 bits, alone, cost more than 1 % of the error."""
    found = sensitivity(network, bits=(8,), calibrate_on=data)
    limit = FRAGILE * (found.error if found.error is not None else 1.0)
    return {row.layer for row in found.layers if _cost(row) > limit}


@dataclass(frozen=True)
class Budget:
    """What `--budget` asks: at most so many bytes of weights, or at most so large a share of the error more."""

    bytes: float | None = None
    share: float | None = None


def parse_budget(text: str) -> Budget:
    """ "400kB", "1.2MB" or "2%". Raises UserError where it is neither."""
    match = re.fullmatch(r"\s*([\d.]+)\s*(%|B|kB|KB|MB)\s*", text)
    number = float(match[1]) if match and re.fullmatch(r"\d+(\.\d*)?|\.\d+", match[1]) else 0
    if match is None or number <= 0:
        raise UserError(
            f"budget {text!r}: write a size of the weights such as 400kB, or a rise of the error such as 2%"
        )
    if match[2] == "%":
        return Budget(share=number / 100)
    return Budget(bytes=number * {"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6}[match[2]])


def choose_bits(network: Network, budget: str, data: Samples | str | None = None) -> dict[str, int]:
    """Bits of the weights by layer: 8, 4 or 32 (float), the cheapest way to the budget.

    Layers are narrowed one step at a time, each time the one that moves the prediction least per byte saved, until the
    weights fit the size, or until any step would exceed the error.

    Raises:
        UserError: a budget that cannot be read or met.
    """
    asked = parse_budget(budget)
    found = sensitivity(network, bits=(8, 4), calibrate_on=data)
    moved: dict[str, dict[int, float]] = {}
    cost: dict[str, dict[int, float]] = {}
    sizes: dict[str, int] = {}
    for row in found.layers:
        # On a few samples an error falls as easily as it rises; how far the prediction moves has no such luck in it.
        moved.setdefault(row.layer, {32: 0.0})[row.bits] = row.difference
        cost.setdefault(row.layer, {32: 0.0})[row.bits] = max(0.0, _cost(row))
        sizes[row.layer] = row.parameters
    chosen = dict.fromkeys(cost, 32)

    def weight_bytes() -> float:
        return sum(sizes[name] * bits / 8 for name, bits in chosen.items())

    spent, allowed = 0.0, None
    if asked.share is not None:
        allowed = asked.share * (found.error if found.error is not None else 1.0)
    while asked.bytes is None or weight_bytes() > asked.bytes:
        steps = []
        for name, bits in chosen.items():
            for narrower in (8, 4):
                if narrower < bits:
                    more = cost[name][narrower] - cost[name][bits]
                    move = moved[name][narrower] - moved[name][bits]
                    steps.append((move / (sizes[name] * (bits - narrower)), more, name, narrower))
        if allowed is not None:
            steps = [step for step in steps if spent + step[1] <= allowed]
        if not steps:
            break
        _, more, name, narrower = min(steps)
        chosen[name] = narrower
        spent += more
    if asked.bytes is not None and weight_bytes() > asked.bytes:
        raise UserError(f"budget {budget}: at 4 bits the weights still take {weight_bytes() / 1e3:.0f} kB: give more")
    return chosen
