"""What plummet with planes every 2 px can begin with: a trained one whose planes are 4 px apart.

    python benchmarks/plummet_fine_start.py OLD.safetensors runs/plummet-s-start.safetensors

All weights are taken over. The part that matches every 2 px begins as a new network's does, and the hourglass does not
hear it yet: its inputs from there are zero. No weight is learned here. A recipe's `init` names the file.
"""

import argparse

import torch

import leadline
from leadline.checkpoint import load_network
from leadline.models.plummet import Plummet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD.safetensors")
    parser.add_argument("output", metavar="FILE.safetensors")
    options = parser.parse_args()
    torch.manual_seed(0)
    old = load_network(options.old)
    assert isinstance(old, Plummet)
    fine = leadline.create(old.name, **{**old.config_dict(), "fine": 24})
    assert isinstance(fine, Plummet)
    grow(fine, old)
    fine.provenance = {"grown from": options.old, "before": old.provenance}
    leadline.save(fine, options.output)
    print(f"{options.output}: {old.name} with planes every 2 px")


@torch.no_grad()
def grow(fine: Plummet, old: Plummet) -> None:
    target = fine.state_dict()
    for name, tensor in old.state_dict().items():
        if tensor.ndim == 4:
            target[name].zero_()
            target[name][:, : tensor.shape[1]] = tensor
        else:
            target[name].copy_(tensor)


if __name__ == "__main__":
    main()
