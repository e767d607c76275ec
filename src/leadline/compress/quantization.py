"""Quantisation of a trained network: static, dynamic, quantisation-aware; 8, 4 and 1 bit; mixed.

BatchNorm is folded before anything is quantised, in quantisation-aware training too: a trained network's statistics are
settled, what trains on is then exactly what ships, and small batches cannot disturb it. (Layers of 1 bit keep theirs:
their sums are new, and so are their statistics.)

Fake-quantising modules of our own are used and not torchao's: theirs rewrite an exported graph, which has one size and
one mode, and a checkpoint has to stay a network that trains, takes any size and is pruned or distilled as well.
"""

from __future__ import annotations

import copy
import fnmatch
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.parametrize import type_before_parametrizations

from leadline import checkpoint
from leadline.compress.calibration import Images, InputStatistics, Ranges, calibration_images, run_watched
from leadline.compress.flow import Flow, watch
from leadline.compress.rounding import compensated_codes
from leadline.compress.scale_file import apply_scales, fixed_quantizers
from leadline.errors import UserError, unknown_name
from leadline.evaluation.runner import Samples
from leadline.models import Network
from leadline.nn.quantize.affine import scale_and_zero
from leadline.nn.quantize.layers import CHANNEL, TENSOR, Numbers, QuantizedLayer, quantizable
from leadline.nn.quantize.observers import OBSERVERS
from leadline.surgeries import called_layers
from leadline.surgeries.parametrised import stored_in
from leadline.surgeries.prune_mask import Mask
from leadline.surgeries.quantize import (
    KIND,
    binary_layers,
    layer_record,
    quantize_layers,
    quantized_layers,
)
from leadline.surgeries.share import Shared

FLOAT = 32
OFFERED = (8, 4, 1)
MODES = ("static", "dynamic", "qat")
SCHEMES = ("symmetric", "asymmetric")
OUTPUTS = ("inner", "all", "none")
ROUNDINGS = ("compensated", "nearest")
WEIGHT_RATIOS = torch.linspace(0.4, 1.0, 61).tolist()  # of the extremes, tried for the scales of 4 bits


def quantize(
    network: Network,
    *,
    bits: int | str | Mapping[str, int] = 8,
    activation_bits: int = 8,
    scheme: str | None = None,
    mode: str = "static",
    weights_only: bool = False,
    granularity: str | int = "channel",
    observer: str = "minmax",
    outputs: str = "inner",
    rounding: str = "compensated",
    skip: Iterable[str] | str = (),
    data: Samples | str | None = None,
    scale_zero_point: str | os.PathLike | None = None,
    budget: str | None = None,
    finetune: Any = None,
    folder: str | os.PathLike | None = None,
) -> Network:
    """A quantised copy of a trained network.

    Args:
        network: of any task, with its trained weights; pruned and shared ones too: what was pruned stays 0, in
            quantisation-aware training as well, while values that were shared then part. It is left as it is.
        bits: of the weights: 8, 4 or 1; "auto": 8, 4 or float per layer, from measured sensitivities and `budget`; or
            by layer's name (with * and ?), where the last that matches counts and 32 means float; "*" alone means what
            its number alone would, so that others make exceptions.
            With 4 and 1, the layers that see the images or give the prediction get 8. A number for all layers holds
            for the weights of those that serve training alone, too, with 4 in the place of 1.
        activation_bits: of the activations, 8 or 4, at weights of less than 8 bits. Layers of 1 bit have binary ones.
        scheme: "symmetric" or "asymmetric", of the activations (None: asymmetric); with `weights_only` of the weights
            (None: symmetric), which are symmetric else.
        mode: "static", ranges of activations fixed from calibration; "dynamic", found as the network runs; "qat",
            static and then trained by `finetune`.
        weights_only: activations stay float.
        granularity: of the weights' scales: "channel" (output channels), "tensor", or a number of input channels that
            share a scale within each output channel.
        observer: of the ranges of activations, one of OBSERVERS.
        outputs: which layers' outputs are quantised beside all inputs: "inner", those that reach the prediction
            through other layers only, so that scores, coordinates and what a soft-argmin sees stay in high
            precision; "all"; "none".
        rounding: of weights of less than 8 bits: "compensated", or "nearest".
        skip: layers that stay float, by name with * and ?; "auto": those that alone cost more than 1 % of the error.
        data: samples, or FORMAT:PATH, to calibrate on, without truth; None: procedural scenes.
        scale_zero_point: a file of scales, instead of calibration: see `write_scales`.
        budget: for bits "auto": a size of all weights ("400kB", "1.2MB"), or a rise of the error ("2%").
        finetune: for mode "qat": a recipe (path, `Recipe` or plain values) that trains the quantised network; its
            network and `init` are filled in.
        folder: of that training run; default runs/NAME.

    Returns:
        the quantised network, in eval mode; what was done stands at the end of its `.surgeries`.

    Raises:
        UserError: bits, observer, layers or files that are not there; a network that is quantised already; data without
            samples; activations that are constant or not finite.
    """
    scheme = scheme or ("symmetric" if weights_only else "asymmetric")
    _check(bits, activation_bits, scheme, mode, observer, outputs, rounding, budget, finetune, weights_only)
    if quantized_layers(network) or binary_layers(network):
        raise UserError(f"{network.name} is quantised already: quantise the float network that it was made of")
    network = copy.deepcopy(network).cpu().eval()
    sparse = {name for name, module in network.named_modules() if _is_sparse(module)}
    called = called_layers.apply(network)  # from here on, some layers are others under the same names
    flow = watch(network)
    names = [name for name in flow.order if quantizable(network.get_submodule(name))]
    per_layer = _bits_per_layer(network, names, flow, bits, skip, budget, data) | _idle_bits(network, flow, bits)
    record = _record(
        network, flow, per_layer, activation_bits, scheme, mode, weights_only, granularity, outputs, sparse
    )
    network.surgeries = [*getattr(network, "surgeries", []), *([called] if called else []), record]
    needs_ranges = mode != "dynamic" and not weights_only
    given = scale_zero_point is not None
    compensates = rounding == "compensated" and any(value == 4 for value in per_layer.values())
    binary = record.get("binary") or {}
    needs_images = (needs_ranges and not given) or compensates or bool(binary)
    images = calibration_images(network, data) if needs_images else []
    _operate(network, record, flow, images, observer, compensates, needs_ranges and not given)
    if given:
        assert scale_zero_point is not None
        apply_scales(network, scale_zero_point)
    if mode == "qat":
        return finetuned(network, finetune, folder)
    return network.eval()


def _check(
    bits: Any, activation_bits: int, scheme: str, mode: str, observer: str, outputs: str, rounding: str,
    budget: str | None, finetune: Any, weights_only: bool,
) -> None:  # fmt: skip
    for what, value, known in (
        ("scheme", scheme, SCHEMES), ("mode", mode, MODES), ("observer", observer, OBSERVERS),
        ("outputs", outputs, OUTPUTS), ("rounding", rounding, ROUNDINGS),
    ):  # fmt: skip
        if value not in known:
            raise unknown_name(what, value, list(known))
    asked = bits.values() if isinstance(bits, Mapping) else [bits]
    for value in asked:
        if value not in (*OFFERED, "auto") and not (isinstance(bits, Mapping) and value == FLOAT):
            raise UserError(f"{value!r} bits are not offered: take 8, 4, 1 or auto")
    if activation_bits not in (8, 4):
        raise UserError(f"activations of {activation_bits!r} bits are not offered: take 8 or 4")
    if (bits == "auto") != (budget is not None):
        raise UserError("bits auto and a budget belong together: give both, such as --bits auto --budget 400kB")
    if (mode == "qat") != (finetune is not None):
        raise UserError("mode qat and a recipe to finetune with belong together: give both, or mode static")
    if weights_only and mode == "dynamic":
        raise UserError("with weights_only there are no activations to find ranges of: leave mode dynamic out")


def _bits_per_layer(
    network: Network, names: list[str], flow: Flow, bits: Any, skip: Any, budget: str | None, data: Any
) -> dict[str, int]:
    """Bits of the weights by layer; a layer that is not named stays float."""
    chosen: dict[str, int] = {}
    if bits == "auto":
        from leadline.compress.sensitivities import choose_bits

        assert budget is not None
        chosen = choose_bits(network, budget, data=data)
    elif isinstance(bits, Mapping):
        for pattern, value in bits.items():
            if pattern == "*":
                chosen = _same_bits(network, names, flow, int(value))
            else:
                chosen |= {name: int(value) for name in _matching(network, names, pattern)}
    else:
        chosen = _same_bits(network, names, flow, int(bits))
    for name in _skipped(network, names, skip, data):
        chosen.pop(name, None)
    for name, value in chosen.items():
        if value == 1 and not _can_be_binary(network, name):
            raise UserError(f"{name}: only 2-D convolutions have a form of 1 bit: give it 8 or 4")
    return {name: chosen[name] for name in names if name in chosen and chosen[name] != FLOAT}


def _same_bits(network: Network, names: list[str], flow: Flow, bits: int) -> dict[str, int]:
    """These for all layers, but 8 for those that could not have so few or that stand at an end."""
    ends = flow.first | flow.last if bits < 8 else set()
    keep = {name for name in names if name in ends or (bits == 1 and not _can_be_binary(network, name))}
    return {name: 8 if name in keep else bits for name in names}


def _idle_bits(network: Network, flow: Flow, bits: Any) -> dict[str, int]:
    """Of the weights that no prediction is made with, such as those of heads that are there for training alone."""
    for_all = bits.get("*", FLOAT) if isinstance(bits, Mapping) else bits
    if for_all not in OFFERED:
        return {}
    idle = (name for name, _ in network.named_modules() if name in flow.idle)
    return {name: max(for_all, 4) for name in idle if quantizable(network.get_submodule(name))}


def _skipped(network: Network, names: list[str], skip: Iterable[str] | str, data: Any) -> set[str]:
    patterns = [part.strip() for part in skip.split(",") if part.strip()] if isinstance(skip, str) else list(skip)
    found: set[str] = set()
    for pattern in patterns:
        if pattern == "auto":
            from leadline.compress.sensitivities import fragile_layers

            found |= fragile_layers(network, data=data)
        else:
            found |= set(_matching(network, names, pattern))
    return found


def _matching(network: Network, names: list[str], pattern: str) -> list[str]:
    found = [name for name in names if fnmatch.fnmatchcase(name, pattern) or name.startswith(f"{pattern}.")]
    if not found:
        raise unknown_name(f"layer of {network.name}", pattern, names)
    return found


def _can_be_binary(network: Network, name: str) -> bool:
    return type_before_parametrizations(network.get_submodule(name)) is torch.nn.Conv2d


def _record(
    network: Network, flow: Flow, per_layer: dict[str, int], activation_bits: int, scheme: str, mode: str,
    weights_only: bool, granularity: str | int, outputs: str, sparse: set[str],
) -> dict[str, Any]:  # fmt: skip
    """The surgery: how each tensor is quantised."""
    symmetric = scheme == "symmetric"
    binary = {name: {"shortcut": _has_shortcut(network, name)} for name, value in per_layer.items() if value == 1}
    layers = {}
    for name, value in per_layer.items():
        if name in binary:
            continue
        shared = _granularity(network, name, granularity)
        weight = Numbers(value, symmetric or not weights_only, granularity=shared)
        given = made = None
        if not weights_only and name not in flow.idle:
            width = 8 if value == 8 else activation_bits
            given = Numbers(width, symmetric, dynamic=mode == "dynamic")
            inner = outputs == "all" or (outputs == "inner" and name not in flow.last)
            if mode != "dynamic" and inner:
                made = Numbers(width, symmetric)
        layers[name] = layer_record(weight, given, made)
        if name in sparse:
            layers[name]["sparse"] = True
    for name, how in layers.items():
        owner = _owner_of_input(name, layers, flow)
        if owner is not None:
            layers[name] = how | {"input_as": owner}
    folded = [list(pair) for pair in flow.folded if pair[0] in layers]
    record = {"kind": KIND, "mode": mode, "layers": layers, "folded": folded}
    return {**record, "binary": binary} if binary else record


def _is_sparse(layer: torch.nn.Module) -> bool:
    shared = stored_in(layer, Shared)
    return stored_in(layer, Mask) is not None or (isinstance(shared, Shared) and shared.has_zero)


def _owner_of_input(name: str, layers: dict[str, Any], flow: Flow) -> str | None:
    """The tensor that a layer's input is: values on the grid of an output, or what another layer is given as well.

    It is rounded once then, and scales that are learned cannot drift apart, which converters refuse.
    """
    numbers = layers[name].get("input")
    if numbers is None or numbers.get("dynamic"):
        return None
    source = flow.source.get(name, "")
    if layers.get(source, {}).get("output") == numbers:
        return f"{source}.output"
    beside = flow.same_input.get(name, "")
    return f"{beside}.input" if layers.get(beside, {}).get("input") == numbers else None


def _granularity(network: Network, name: str, granularity: str | int) -> int:
    if granularity == "tensor":
        return TENSOR
    layer = network.get_submodule(name)
    if granularity == "channel":
        return CHANNEL
    if not isinstance(granularity, int) or granularity < 1:
        raise UserError(f"granularity {granularity!r}: take channel, tensor, or a number of input channels")
    fits = not isinstance(layer, torch.nn.ConvTranspose2d) and layer.weight.shape[1] % granularity == 0  # type: ignore[union-attr]
    return granularity if fits and layer.weight.shape[1] > granularity else CHANNEL  # type: ignore[union-attr]


def _has_shortcut(network: Network, name: str) -> bool:
    layer = network.get_submodule(name)
    assert isinstance(layer, torch.nn.Conv2d)
    return layer.in_channels == layer.out_channels and layer.stride == (1, 1)


def _operate(
    network: Network, record: dict[str, Any], flow: Flow, images: Images, observer: str, compensates: bool,
    needs_ranges: bool,
) -> None:  # fmt: skip
    """Does the surgery and finds the scales; in place."""
    # What layers see is measured before the surgery, on layers whose BatchNorm is folded, so that outputs are final.
    binary, layers = record.get("binary") or {}, record["layers"]
    quantize_layers(network, {}, record["folded"])
    names = list(layers)
    ranges = Ranges(network, names, images, observer, flow.relu) if needs_ranges and names else None
    statistics = _input_statistics(network, layers, images) if compensates else {}
    thresholds = _medians(network, list(binary), images) if binary else {}
    quantize_layers(network, layers, [], binary)
    for name, layer in quantized_layers(network).items():
        _fit_weight(layer, statistics.get(name))
    for name, layer in binary_layers(network).items():
        layer.threshold.data.copy_(thresholds[name])
    if ranges is not None:
        _set_activations(network, ranges)


def _fit_weight(layer: QuantizedLayer, statistics: InputStatistics | None) -> None:
    """Scales of the weights, and at 4 bits their rounding; the weights are moved onto their codes."""
    layer.fit_weight()
    if layer.numbers.bits < 8:
        layer.fit_weight(_best_ratio(layer))
    before = layer.weight.detach().clone()
    codes = layer.weight_codes()
    if statistics is not None and statistics.moments is not None and layer.numbers.bits < 8:
        codes = compensated_codes(layer, statistics.moments)
    layer.set_weight_codes(codes)
    if statistics is not None and statistics.mean is not None and layer.bias is not None:
        # The mean of the output stays what it was.
        lost = (before - layer.weight.detach()).flatten(1).unflatten(0, (len(statistics.mean), -1))
        layer.bias.data += (lost @ (statistics.mean / statistics.count)[:, :, None]).flatten()


def _best_ratio(layer: QuantizedLayer) -> torch.Tensor:
    """By how much the weight's range is drawn in, per scale, so that its squared error is least."""
    quantizer, weight = layer.weight_quantizer, layer.weight.detach()
    shape = quantizer.scale.shape
    best, least = torch.ones(shape), torch.full(shape, float("inf"))
    for ratio in WEIGHT_RATIOS:
        layer.fit_weight(ratio)
        whole, scale = layer.whole_weight()
        error = (whole.detach() * layer.spread(scale.detach()) - weight).square()
        if layer.grouped:
            error = error.unflatten(layer.in_axis, (-1, layer.numbers.granularity)).sum(layer.in_axis + 1)
        error = error.sum([a for a in range(error.ndim) if shape[a] == 1], keepdim=True)
        better = error < least
        best, least = torch.where(better, ratio, best), torch.where(better, error, least)
    return best


def _set_activations(network: Network, ranges: Ranges) -> None:
    for tensor, quantizer in fixed_quantizers(network).items():
        if not tensor.endswith(".weight"):
            low, high = ranges.find(tensor, quantizer.grid)
            quantizer.set(*scale_and_zero(torch.tensor([low]), torch.tensor([high]), quantizer.grid))


def _input_statistics(network: Network, layers: dict[str, Any], images: Images) -> dict[str, InputStatistics]:
    found = {
        name: InputStatistics(network.get_submodule(name))
        for name, how in layers.items()
        if how["weight"]["bits"] < 8 and InputStatistics.knows(network.get_submodule(name))
    }
    run_watched(network, found, images, lambda name, given, _: found[name].add(given))
    return found


def _medians(network: Network, names: list[str], images: Images) -> dict[str, torch.Tensor]:
    """The median of each input channel: the threshold that sends half of the values to either side."""
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in names}

    def see(name: str, given: torch.Tensor, _: torch.Tensor) -> None:
        seen[name].append(given.transpose(0, 1).flatten(1)[:, ::7].median(1).values)

    run_watched(network, names, images, see)
    return {name: torch.stack(medians).median(0).values for name, medians in seen.items()}


def finetuned(network: Network, recipe: Any, folder: str | os.PathLike | None) -> Network:
    """Trains a quantised network on, as a recipe says, and gives the result.

    The recipe's network and `init` are replaced by this one, which is written as `start.safetensors` into the folder.
    """
    from leadline.training import train
    from leadline.training.recipe import Recipe, check_recipe, dump_recipe, load_recipe

    if isinstance(recipe, str | os.PathLike):
        recipe = load_recipe(recipe)
    content = dump_recipe(recipe) if isinstance(recipe, Recipe) else dict(recipe)
    place = Path("runs") / str(content.get("name", network.name)) if folder is None else Path(folder)
    start = place / "start.safetensors"
    if not (place / "last.ckpt").is_file():  # else the run is taken up again
        checkpoint.save(network, start)
    content |= {"network": {"name": network.name, **network.config_dict()}, "init": str(start)}
    return checkpoint.load_network(train(check_recipe(content), place))
