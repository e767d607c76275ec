"""From the layers as they were lowered to those that Caffe knows, as few as there need to be."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict

from leadline.deploy.targets.caffe.layers import Blob, Layer

_MOST_PIECES = 4  # per window, of a tensor that several windows look at, before each gets a Slice of its own


def simplify(layers: list[Layer], output: Blob) -> list[Layer]:
    """Drops what nothing reads, folds affine steps into convolutions, and writes windows as Slice or Crop."""
    layers = _used(_join_reshapes(layers), output)
    layers = _fold_affine(layers)
    layers = _write_windows(layers)
    layers = _join_concats(layers)
    return [_write_affine(layer) for layer in layers] + _silence(layers, output)


def _used(layers: list[Layer], output: Blob) -> list[Layer]:
    needed, kept = {output.name}, []
    for layer in reversed(layers):
        if layer.type == "Input" or any(top.name in needed for top in layer.tops):
            kept.append(layer)
            needed.update(blob.name for blob in layer.bottoms)
    return kept[::-1]


def _join_reshapes(layers: list[Layer]) -> list[Layer]:
    """The last of several reshapes is all that is seen; one back to the first shape is none."""
    source: dict[str, Blob] = {}
    for layer in layers:
        layer.bottoms = [_unreshaped(blob, source, layer.type) for blob in layer.bottoms]
        if layer.type == "Reshape":
            source[layer.tops[0].name] = layer.bottoms[0]
    return layers


def _unreshaped(blob: Blob, source: dict[str, Blob], reader: str) -> Blob:
    before = source.get(blob.name)
    if before is None or (reader != "Reshape" and before.shape != blob.shape):
        return blob
    return before


def _fold_affine(layers: list[Layer]) -> list[Layer]:
    """An affine step goes into the convolution or the affine step before it, where nothing else reads that."""
    readers = Counter(blob.name for layer in layers for blob in layer.bottoms)
    made_by: dict[str, Layer] = {}
    kept = []
    for layer in layers:
        before = made_by.get(layer.bottoms[0].name) if layer.type == "Affine" else None
        if before is not None and readers[layer.bottoms[0].name] == 1 and _fold(before, layer):
            before.tops = layer.tops
            made_by[layer.tops[0].name] = before
            continue
        made_by.update((top.name, layer) for top in layer.tops)
        kept.append(layer)
    return kept


def _fold(before: Layer, affine: Layer) -> bool:
    scale, shift = affine.blobs
    if before.type == "Affine":
        before.blobs = [before.blobs[0] * scale, before.blobs[1] * scale + shift]
        return True
    if before.type not in ("Convolution", "Deconvolution"):
        return False
    weight, bias = before.blobs
    if before.type == "Convolution":
        weight = weight * scale[:, None, None, None]
    else:  # (in, out / groups, kh, kw): input channels of one group share its outputs
        groups = before.parameters["group"]
        of_group = scale.reshape(groups, -1)  # (groups, out / groups)
        grouped = weight.reshape(groups, -1, *weight.shape[1:])
        weight = (grouped * of_group[:, None, :, None, None]).reshape(weight.shape)
    before.blobs = [weight, bias * scale + shift]
    return True


def _write_affine(layer: Layer) -> Layer:
    """As Scale, also where one factor would do for all channels: more readers know Scale than Power."""
    if layer.type != "Affine":
        return layer
    return Layer(layer.name, "Scale", layer.bottoms, layer.tops, {"axis": 1, "bias_term": True}, layer.blobs)


def _write_windows(layers: list[Layer]) -> list[Layer]:
    """Windows onto one tensor become one Slice where they share cuts; shifted ones become Crops."""
    groups: dict[tuple[str, int], list[Layer]] = defaultdict(list)
    for layer in layers:
        if layer.type == "Window":
            groups[layer.bottoms[0].name, layer.parameters["axis"]].append(layer)
    pieces: dict[tuple[str, int], dict[tuple[int, int], Blob]] = {}
    kept: list[Layer] = []
    for layer in layers:
        if layer.type != "Window":
            kept.append(layer)
            continue
        key = (layer.bottoms[0].name, layer.parameters["axis"])
        cuts = _cuts(groups[key])
        if _count_pieces(groups[key], cuts) > _MOST_PIECES * len(groups[key]):
            kept.append(_crop(layer, kept) or _slice(layer, _cuts([layer])))
            continue
        if key not in pieces:
            kept.append(_slice(layer, cuts))
            pieces[key] = dict(zip(itertools.pairwise(cuts), kept[-1].tops, strict=True))
            if layer.tops[0] in kept[-1].tops:
                continue
        kept.append(_from_pieces(layer, pieces[key]))
    return kept


def _cuts(windows: list[Layer]) -> list[int]:
    length = windows[0].bottoms[0].shape[windows[0].parameters["axis"]]
    ends = {end for window in windows for end in (window.parameters["start"], window.parameters["stop"])}
    return sorted(ends | {0, length})


def _count_pieces(windows: list[Layer], cuts: list[int]) -> int:
    return sum(sum(window.parameters["start"] <= cut < window.parameters["stop"] for cut in cuts) for window in windows)


def _slice(window: Layer, cuts: list[int]) -> Layer:
    """Of the tensor that the window looks at; the top that is the window alone keeps the window's name."""
    source, axis = window.bottoms[0], window.parameters["axis"]
    tops = []
    for start, stop in itertools.pairwise(cuts):
        shape = (*source.shape[:axis], stop - start, *source.shape[axis + 1 :])
        mine = (start, stop) == (window.parameters["start"], window.parameters["stop"])
        tops.append(window.tops[0] if mine else Blob(f"{window.name}.{start}:{stop}", shape))
    return Layer(f"{window.name}.slice", "Slice", [source], tops, {"slice_point": cuts[1:-1], "axis": axis})


def _from_pieces(window: Layer, pieces: dict[tuple[int, int], Blob]) -> Layer:
    first, last = window.parameters["start"], window.parameters["stop"]
    inside = [blob for (start, stop), blob in pieces.items() if first <= start and stop <= last]
    return Layer(window.name, "Concat", inside, window.tops, {"axis": window.parameters["axis"]})


def _crop(window: Layer, before: list[Layer]) -> Layer | None:
    """Crop has one top where Slice has the rest as well, but takes its size from another tensor."""
    axis, shape = window.parameters["axis"], window.tops[0].shape
    made = [top for layer in before for top in layer.tops]
    alike = [top for top in made if len(top.shape) == len(shape) and top.shape[axis:] == shape[axis:]]
    if not alike or window.tops[0].shape[axis + 1 :] != window.bottoms[0].shape[axis + 1 :]:
        return None
    offset = [window.parameters["start"]] + [0] * (len(shape) - axis - 1)
    return Layer(window.name, "Crop", [window.bottoms[0], alike[0]], window.tops, {"axis": axis, "offset": offset})


def _join_concats(layers: list[Layer]) -> list[Layer]:
    """A Concat of Concats along one axis is one Concat."""
    readers = Counter(blob.name for layer in layers for blob in layer.bottoms)
    concats: dict[str, Layer] = {}
    gone = set()
    for layer in layers:
        if layer.type != "Concat":
            continue
        bottoms: list[Blob] = []
        for blob in layer.bottoms:
            inner = concats.get(blob.name)
            if inner is not None and inner.parameters == layer.parameters and readers[blob.name] == 1:
                bottoms += inner.bottoms
                gone.add(inner.name)
            else:
                bottoms.append(blob)
        layer.bottoms = bottoms
        concats[layer.tops[0].name] = layer
    # a Concat of one would be refused by some readers, and is nothing but another name
    return _without_single_concats([layer for layer in layers if layer.name not in gone])


def _without_single_concats(layers: list[Layer]) -> list[Layer]:
    same: dict[str, Blob] = {}
    kept = []
    for layer in layers:
        layer.bottoms = [same.get(blob.name, blob) for blob in layer.bottoms]
        if layer.type == "Concat" and len(layer.bottoms) == 1:
            same[layer.tops[0].name] = layer.bottoms[0]
        else:
            kept.append(layer)
    return kept


def _silence(layers: list[Layer], output: Blob) -> list[Layer]:
    """What a Slice gives and nothing reads: Caffe would count it among the outputs."""
    read = {blob.name for layer in layers for blob in layer.bottoms} | {output.name}
    unread = [top for layer in layers for top in layer.tops if top.name not in read and layer.type != "Input"]
    return [Layer("unused", "Silence", unread, [])] if unread else []


def name_output(layers: list[Layer], output: Blob, name: str) -> list[Layer]:
    """The layer that makes the output, and its top, get this name; it goes to the end, where readers look for it."""
    last = next(layer for layer in layers if output in layer.tops)
    named = Blob(name, output.shape)
    for layer in layers:
        layer.bottoms = [named if blob == output else blob for blob in layer.bottoms]
    last.name, last.tops = name, [named if top == output else top for top in last.tops]
    return [layer for layer in layers if layer is not last] + [last]
