"""What plummet-w can begin with: the trained plummet-s inside it, computing what it computed.

    python benchmarks/plummet_w_start.py runs/plummet-w-start.safetensors [--plummet plummet-s]

The channels of the small network are the first of the wide one's; the channels beside them begin as a new network's
do and are read by nobody but one another, and the residual units that are new begin as the identity. Only the
additional channels matched at 1/4 are heard at once, softly, as a product of two zeros would never learn.
Source of the idea: Net2Net (Chen et al., ICLR 2016). No weight is learned here. A recipe's `init` names the file.
"""

import argparse

import torch
from torch import Tensor, nn

import leadline
from leadline.checkpoint import load_network
from leadline.data.procedural import render_stereo
from leadline.models.plummet import Plummet
from leadline.zoo import find_checkpoint

SCENES, SIZE, SEED = 16, (256, 384), 998
SOFT = 0.2  # of a usual BatchNorm scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", metavar="FILE.safetensors")
    parser.add_argument("--plummet", default="plummet-s", help="the small network")
    options = parser.parse_args()
    torch.manual_seed(0)
    small = load_network(find_checkpoint(options.plummet))
    assert isinstance(small, Plummet)
    wide = beside(small)
    grow(wide, small)
    wide.provenance = {"grown from": options.plummet, "data": f"statistics of {SCENES} procedural scenes, seed {SEED}"}
    leadline.save(wide, options.output)
    print(f"{options.output}: plummet-w, computing what {options.plummet} computes")


def beside(small: Plummet) -> Plummet:
    """A wide network of the same planes and scale, with its first weights."""
    wide = leadline.create("plummet-w", max_disparity=small.config.max_disparity, scale=small.config.scale)
    assert isinstance(wide, Plummet)
    return wide


@torch.no_grad()
def grow(wide: Plummet, small: Plummet) -> None:
    target, source = wide.state_dict(), small.state_dict()
    names = {name: _name_in_small(name, source) for name in target}
    rows = {name: _rows(name, tensor, source[names[name]]) for name, tensor in target.items() if names[name]}
    for name, old in rows.items():
        _put(target[name], source[names[name]], old, _columns(name, wide, small))
    for name, module in wide.named_modules():
        if isinstance(module, nn.BatchNorm2d) and name.endswith(".second.1") and not names[f"{name}.weight"]:
            nn.init.zeros_(module.weight)  # a new residual unit
    matching = wide.encoder.match_quarter[1]
    assert isinstance(matching, nn.BatchNorm2d)
    louder = (wide.config.matching / small.config.matching) ** 0.5  # the correlation is a mean over channels
    old = small.config.matching
    for parameter in (matching.weight, matching.bias):
        parameter[:old] *= louder
    matching.weight[old:] *= SOFT
    _measure(wide, {name: source[names[name]] for name in rows if "running" in name}, rows)


def _name_in_small(name: str, source: dict[str, Tensor]) -> str:
    """The tensor's name in the small network, empty where it has none; stages of both end with the same layer."""
    for stage, last in (("encoder.quarter", 2), ("aggregation.at_sixteenth", 3)):
        if name.startswith(f"{stage}.{last - 1}."):
            return ""
        name = name.replace(f"{stage}.{last}.", f"{stage}.{last - 1}.")
    return name if name in source else ""


def _rows(name: str, target: Tensor, source: Tensor) -> Tensor:
    """Where the small network's outputs lie: first, but spread where groups that were 8 are now 16."""
    if source.ndim == 0:
        return torch.zeros(0, dtype=torch.long)
    index = torch.arange(len(source))
    if name.startswith("encoder.match_eighth."):
        return index // 8 * 16 + index % 8
    return index


def _columns(name: str, wide: Plummet, small: Plummet) -> Tensor | None:
    """Where the small network's inputs lie, if several tensors meet there; None: first."""

    def parts(config) -> dict[str, list[int]]:
        planes, groups = config.max_disparity // 4, config.coarse_groups
        return {
            "aggregation.enter.0.weight": [planes, config.quarter, 2 * planes],
            "aggregation.join_eighth.0.weight": [config.hidden_eighth, planes // 2, config.eighth],
            "guide.0.weight": [config.quarter, config.stem],
            **{f"coarse.{which}.conv.weight": [groups] * 3 for which in ("layers.0", "layers.1", "score")},
        }

    if name not in parts(wide.config):
        return None
    starts = [sum(parts(wide.config)[name][:i]) for i in range(3)]
    return torch.cat([s + torch.arange(n) for s, n in zip(starts, parts(small.config)[name], strict=False)])


def _put(target: Tensor, source: Tensor, rows: Tensor, columns: Tensor | None) -> None:
    if source.ndim == 0:
        target.copy_(source)
    elif source.ndim == 1:
        target[rows] = source
    else:
        old = torch.zeros_like(target[rows])
        old[:, torch.arange(source.shape[1]) if columns is None else columns] = source
        target[rows] = old


def _measure(network: Plummet, kept: dict[str, Tensor], rows: dict[str, Tensor]) -> None:
    """Sets the new channels' BatchNorm statistics to the mean over some scenes; the old ones keep theirs."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the plain mean over all batches
        norm.reset_running_stats()
    network.train()
    for scene in range(SCENES):
        batch = render_stereo(SEED, [scene], SIZE)
        network.forward_scores(batch.left, batch.right)
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for name, old in kept.items():
        network.state_dict()[name][rows[name]] = old


if __name__ == "__main__":
    main()
