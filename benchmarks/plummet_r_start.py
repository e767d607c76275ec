"""What plummet-r can begin with: a trained plummet, whose disparity it refines.

    python benchmarks/plummet_r_start.py OLD.safetensors runs/plummet-r-start.safetensors

All weights are taken over; the refinement begins as a new network's does. A recipe's `init` names the file.
"""

import argparse

import torch

import leadline
from leadline.checkpoint import load_network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD.safetensors")
    parser.add_argument("output", metavar="FILE.safetensors")
    options = parser.parse_args()
    torch.manual_seed(0)
    old = load_network(options.old)
    refined = leadline.create("plummet-r", **{**old.config_dict(), "refine": 24})
    missing, unexpected = refined.load_state_dict(old.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith("refine.") for name in missing)
    refined.provenance = {"grown from": options.old, "before": old.provenance}
    leadline.save(refined, options.output)
    print(f"{options.output}: {old.name} with a second look at 1/2")


if __name__ == "__main__":
    main()
