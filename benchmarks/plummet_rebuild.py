"""A trained plummet's weights in a plummet of another build: what the next stage of a training begins with.

    python benchmarks/plummet_rebuild.py plummet-s runs/plummet-r-start.safetensors --network plummet-r edge=false
    python benchmarks/plummet_rebuild.py runs/plummet-r/plummet-r.safetensors runs/rooms-start.safetensors edge=true
    python benchmarks/plummet_rebuild.py runs/rooms/rooms.safetensors plummet-s.safetensors --network plummet-s

    python benchmarks/plummet_rebuild.py plummet-r runs/plummet-far-start.safetensors max_disparity=256

Weights that both have are taken over, parts that only the new one has begin as a new network's do, and those that only
the old one has are left behind; which, is said. Planes at farther disparities are not heard by the hourglass at first,
and what it says of them is the mean of what it says of the last ones; planes too many are cut off. A recipe's `init`
names the file.
"""

import argparse

import torch
import yaml
from torch import Tensor

import leadline
from leadline.checkpoint import load_network
from leadline.models.plummet import Plummet
from leadline.zoo import find_checkpoint

SECOND_LOOK = ("refine", "looks", "beside", "informed")
LIKE = 12  # planes whose mean a new one begins as


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="a checkpoint, or a name of the zoo")
    parser.add_argument("output", metavar="FILE.safetensors")
    parser.add_argument("changes", nargs="*", metavar="FIELD=VALUE", help="of the config; the rest stays as it was")
    parser.add_argument("--network", help="the new one's name; the old one's")
    options = parser.parse_intermixed_args()
    torch.manual_seed(0)
    path = options.old if options.old.endswith(".safetensors") else find_checkpoint(options.old)
    old = load_network(path)
    assert isinstance(old, Plummet), "only a plummet becomes another plummet"
    name = options.network or old.name
    # Whether there is a second look is what a network's name says.
    config = {k: v for k, v in old.config_dict().items() if name == old.name or k not in SECOND_LOOK}
    changes = {field: yaml.safe_load(value) for field, value in (change.split("=", 1) for change in options.changes)}
    new = leadline.create(name, **{**config, **changes})
    assert isinstance(new, Plummet)
    found = new.load_state_dict(fit_planes(old, new.planes), strict=False)
    new.provenance = {**old.provenance, "rebuilt from": options.old}
    leadline.save(new, options.output)
    for what, keys in (("new", found.missing_keys), ("left behind", found.unexpected_keys)):
        parts = sorted({key.split(".")[0] for key in keys})
        print(f"{what}: {', '.join(parts) or 'nothing'}")


def fit_planes(old: Plummet, planes: int) -> dict[str, Tensor]:
    """The old one's weights for so many planes at 1/4."""
    state, before, config = dict(old.state_dict()), old.planes, old.config
    if planes == before:
        return state
    # What the hourglass hears at 1/4: scores, the left view's features, correlations at even and odd planes.
    name = "aggregation.enter.0.weight"
    scores, guide, *fine = state[name].split([before, config.quarter] + [before] * (2 if config.fine else 0), 1)
    state[name] = torch.cat([_heard(scores, planes), guide, *(_heard(part, planes) for part in fine)], 1)
    name = "aggregation.join_eighth.0.weight"
    inner, coarse, guide = state[name].split([config.hidden_eighth, before // 2, config.eighth], 1)
    state[name] = torch.cat([inner, _heard(coarse, planes // 2), guide], 1)
    for name, tensor in state.items():
        if name.startswith("aggregation.score.") and tensor.ndim:
            more = max(planes - before, 0)
            state[name] = torch.cat(
                [tensor[:planes], tensor[-LIKE:].mean(0, keepdim=True).expand(more, *tensor.shape[1:])]
            )
    return state


def _heard(weight: Tensor, planes: int) -> Tensor:
    """Columns for so many planes; new ones are silent."""
    return torch.cat([weight[:, :planes], weight.new_zeros(len(weight), max(planes - weight.shape[1], 0), 1, 1)], 1)


if __name__ == "__main__":
    main()
