"""A trained plummet's weights in a plummet of another build: what the next stage of a training begins with.

    python benchmarks/plummet_rebuild.py plummet-s runs/plummet-r-start.safetensors --network plummet-r edge=false
    python benchmarks/plummet_rebuild.py runs/plummet-r/plummet-r.safetensors runs/rooms-start.safetensors edge=true
    python benchmarks/plummet_rebuild.py runs/rooms/rooms.safetensors plummet-s.safetensors --network plummet-s

Weights that both have are taken over, parts that only the new one has begin as a new network's do, and those that only
the old one has are left behind; which, is said. A recipe's `init` names the file.
"""

import argparse

import torch
import yaml

import leadline
from leadline.checkpoint import load_network
from leadline.models.plummet import Plummet
from leadline.zoo import find_checkpoint

SECOND_LOOK = ("refine", "looks", "beside", "informed")


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
    found = new.load_state_dict(old.state_dict(), strict=False)
    new.provenance = {**old.provenance, "rebuilt from": options.old}
    leadline.save(new, options.output)
    for what, keys in (("new", found.missing_keys), ("left behind", found.unexpected_keys)):
        parts = sorted({key.split(".")[0] for key in keys})
        print(f"{what}: {', '.join(parts) or 'nothing'}")


if __name__ == "__main__":
    main()
