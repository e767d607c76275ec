"""What plumb-flow begins with: plummet's encoder, and the statistics of what its matching layers see.

    python benchmarks/plumb_flow_start.py runs/plumb-flow-start.safetensors [--plummet plummet-s]

No weight is learned here. The recipes' `init` names the file.
"""

import argparse

import torch

import leadline
from leadline.checkpoint import load_network
from leadline.data.procedural import render_motion
from leadline.models.plumb_flow import PlumbFlow, share_encoder
from leadline.models.plummet import Plummet
from leadline.zoo import find_checkpoint

SCENES, SIZE, SEED = 16, (256, 384), 999


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", metavar="FILE.safetensors")
    parser.add_argument("--plummet", default="plummet-s", help="a plummet of the same widths")
    options = parser.parse_args()
    torch.manual_seed(0)
    network, plummet = leadline.create("plumb-flow"), load_network(find_checkpoint(options.plummet))
    assert isinstance(network, PlumbFlow)
    assert isinstance(plummet, Plummet)
    share_encoder(network, plummet)
    measure(network)
    network.provenance = {"encoder": options.plummet, "data": f"statistics of {SCENES} procedural scenes, seed {SEED}"}
    leadline.save(network, options.output)
    print(f"{options.output}: plumb-flow with the encoder of {options.plummet}")


@torch.no_grad()
def measure(network: PlumbFlow) -> None:
    """Sets the BatchNorm statistics of the layers before matching to the mean over some scenes."""
    network.eval()
    norms = [network.match16[1], network.match8[1]]
    for norm in norms:
        norm.train()
        norm.momentum = None  # the plain mean over all batches
    for scene in range(SCENES):
        network(*render_motion(SEED, [scene], SIZE).frames)
    for norm in norms:
        norm.momentum = 0.1


if __name__ == "__main__":
    main()
