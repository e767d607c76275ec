"""The mean of two checkpoints of one network: of weights before a training and after it, often better than either.

    python benchmarks/weights_mean.py before.safetensors after.safetensors mean.safetensors [--share 0.5]

BatchNorm's statistics are averaged like weights. Source: Wortsman et al., "Robust fine-tuning of zero-shot models",
CVPR 2022.
"""

import argparse

import leadline
from leadline.checkpoint import load_network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", metavar="BEFORE.safetensors")
    parser.add_argument("after", metavar="AFTER.safetensors")
    parser.add_argument("output", metavar="FILE.safetensors")
    parser.add_argument("--share", type=float, default=0.5, help="of AFTER [0.5]")
    options = parser.parse_args()
    mean, after = load_network(options.before), load_network(options.after)
    if mean.config_dict() != after.config_dict():
        parser.error("the two are not of one build: benchmarks/plummet_rebuild.py brings them to it")
    later = after.state_dict()
    for name, tensor in mean.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(later[name], options.share)
        else:
            tensor.copy_(later[name])
    mean.provenance = {**after.provenance, "averaged with": options.before, "share": options.share}
    print(leadline.save(mean, options.output))


if __name__ == "__main__":
    main()
