"""`leadline compress spike`: a trained network whose encoder spikes."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("spike")
@click.argument("model", metavar="MODEL")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The checkpoint to write (.safetensors).",
)
@click.option("--steps", type=click.IntRange(1, 256), default=16, show_default=True, help="Time steps.")
@click.option(
    "--data",
    default="procedural:8,seed=77000000,size=256x512",
    show_default=True,
    metavar="FORMAT:PATH",
    help="Pairs on which the neurons' thresholds are found.",
)
@click.option("--limit", type=click.IntRange(min=1), default=8, show_default=True, metavar="N", help="At most N pairs.")
def command(model: str, output: Path, steps: int, data: str, limit: int) -> None:
    """Turn the ReLUs of a trained plummet's encoder into integrate-and-fire neurons, without training.

    Prints how far the spiking network's disparities are from the original's on the same pairs.
    """  # fmt: skip
    import numpy as np

    from leadline import checkpoint
    from leadline.compress.spiking import to_spiking
    from leadline.data import open_data
    from leadline.errors import UserError
    from leadline.predict.network import NetworkPredictor
    from leadline.zoo import find_checkpoint

    if output.suffix != ".safetensors":
        raise UserError(f"{output}: a checkpoint's name ends in .safetensors")
    network = checkpoint.load_network(find_checkpoint(model))
    samples = open_data(data)
    pairs = [samples[index].images for index in range(min(limit, len(samples)))]
    spiking = to_spiking(network, pairs, steps)
    checkpoint.save(spiking, output)
    both = (NetworkPredictor(network, "cpu"), NetworkPredictor(spiking, "cpu"))
    differences = [np.abs(np.subtract(*(predictor.predict(*pair) for predictor in both))) for pair in pairs]
    mean = np.mean([difference.mean() for difference in differences])
    median = np.mean([np.median(difference) for difference in differences])
    click.echo(f"{steps} time steps: mean difference {mean:.3f} px, median {median:.3f} px, on {len(pairs)} pairs")
    click.echo(f"written: {output}")
