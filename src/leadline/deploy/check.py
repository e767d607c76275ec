"""Before training: would this network go to that target, and what should be written instead where it would not?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from leadline.artifacts.manifest import FAILED
from leadline.artifacts.runtimes import NotInstalled
from leadline.data import open_data
from leadline.deploy.export import TARGETS, VERIFICATION_SEED, export
from leadline.deploy.fold import fold_batchnorm
from leadline.deploy.place import module_of, operation_of
from leadline.deploy.targets.caffe import unsupported
from leadline.deploy.targets.request import Request
from leadline.errors import UserError, unknown_name
from leadline.models.network import Network

GOES, REFUSED, NOT_TRIED = "goes", "would not go", "not tried"
SIZE = (64, 128)  # (h, w), px: what does not go does not at any size, and small ones are converted fast
_SORTED = "LiteRT runs no sort"
_PEAK = "take softmax of sharpened scores and a sum over channels (leadline.nn.regression.local_soft_argmin)"
# What converters take and runtimes then refuse, or what they refuse with words that help nobody: by ATen's name.
# Whatever is not in here is found by converting.
KNOWN: dict[str, dict[str, tuple[str, str]]] = {
    "tflite": {
        "topk": (_SORTED, _PEAK),
        "sort": (_SORTED, _PEAK),
        "argsort": (_SORTED, _PEAK),
        "unfold": ("it is lowered to a padding of more axes than TFLite has", "stack slices instead"),
    },
    "ncnn": {
        "topk": ("ncnn has no layer for it", _PEAK),
        "sort": ("ncnn has no layer for it", _PEAK),
        "gather": ("ncnn has no layer for it", "weigh all planes: softmax and a sum over channels"),
    },
}


@dataclass(frozen=True)
class Finding:
    """Something that keeps a network from a target."""

    target: str
    module: str  # path within the network; "" where it is not known, or is the network's own forward
    operation: str  # as ATen calls it; "" where it is not known
    reason: str
    advice: str = ""


@dataclass(frozen=True)
class Verdict:
    """What was found for one target."""

    target: str
    status: str  # GOES, REFUSED, or NOT_TRIED where the target's libraries are missing
    findings: tuple[Finding, ...] = ()

    @property
    def goes(self) -> bool:
        return self.status == GOES


def check(network: Network, targets: Sequence[str], size: tuple[int, int] | None = None) -> list[Verdict]:
    """What keeps `network` from each target; weights do not matter, so it may be untrained.

    Places that are known not to go are named first, all at once. Where there are none, the network is exported at a
    small size to a folder that is thrown away, and run in the runtime on a rendered sample: the verdict is that of
    `export` itself.

    Args:
        size: (h, w) to do it at; None: SIZE, or the nearest that the network takes.

    Raises:
        UserError: an unknown target, or a size that the network refuses.
    """
    for target in targets:
        if target not in TARGETS:
            raise unknown_name("target", target, list(TARGETS))
    network = network.cpu().eval()
    height, width = size or network.padded_size(*SIZE)
    network.check_size(height, width)
    return [_check_one(network, target, (height, width)) for target in targets]


def _check_one(network: Network, target: str, size: tuple[int, int]) -> Verdict:
    try:
        findings = tuple(_named(network, target, size)) or tuple(_by_exporting(network, target, size))
    except NotInstalled as error:
        return Verdict(target, NOT_TRIED, (Finding(target, "", "", str(error)),))
    return Verdict(target, REFUSED if findings else GOES, findings)


def _named(network: Network, target: str, size: tuple[int, int]) -> Iterable[Finding]:
    """The places that are known not to go."""
    kind = TARGETS[target].module
    if kind == "caffe":
        for place in unsupported(network, size):
            yield Finding(target, place.module, place.operation, place.reason, place.advice)
        return
    known = KNOWN.get(kind)
    if not known:
        return
    for node in _graph(network, size).nodes:
        operation = operation_of(node)
        if operation.partition(".")[0] in known:
            reason, advice = known[operation.partition(".")[0]]
            yield Finding(target, module_of(node), operation, reason, advice)


def _graph(network: Network, size: tuple[int, int]) -> torch.fx.Graph:
    try:
        return fold_batchnorm(network, Request(size).example(network)).graph
    except UserError:
        raise
    except Exception as error:  # whatever torch.export met
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{network.name}: torch.export cannot follow the network: {line}") from error


def _by_exporting(network: Network, target: str, size: tuple[int, int]) -> Iterable[Finding]:
    """What `export` says."""
    sample = open_data(f"procedural:1,seed={VERIFICATION_SEED},size={size[0]}x{size[1]}", network.task)
    with tempfile.TemporaryDirectory() as folder:
        try:
            record = export(network, target, folder, size, verify_on=sample).manifest.verification
        except NotInstalled:
            raise
        except UserError as error:
            yield Finding(target, "", "", str(error).removeprefix(f"{network.name}: "))
            return
    if record["status"] == FAILED:
        yield Finding(
            target, "", "", record["reason"], "compare the parts one by one: it converts, to another function"
        )
