"""`leadline compress quantize MODEL`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leadline.errors import UserError


@click.command("quantize")
@click.argument("model")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.safetensors")
@click.option("--bits", default="8", show_default=True, metavar="8|4|1|auto", help="Of the weights.")
@click.option("--bits-of", multiple=True, metavar="LAYERS=8|4|1|32",
              help="Other bits for some layers, 32: float; repeatable, the last counts; * and ? work.")  # fmt: skip
@click.option("--activation-bits", default="8", show_default=True, metavar="8|4", help="With weights of 4 bits.")
@click.option("--scheme", metavar="symmetric|asymmetric",
              help="Of the activations [asymmetric]; with --weights-only of the weights [symmetric].")  # fmt: skip
@click.option("--mode", default="static", show_default=True, metavar="static|dynamic|qat")
@click.option("--weights-only", is_flag=True, help="Activations stay float.")
@click.option("--per-channel", "granularity", flag_value="channel", default=True, help="A scale per channel [so].")
@click.option("--per-tensor", "granularity", flag_value="tensor", help="One scale for all weights of a layer.")
@click.option("--group", type=click.IntRange(min=1), metavar="N", help="A scale per N input channels.")
@click.option("--observer", default="minmax", show_default=True, metavar="minmax|percentile|mse|histogram|kl",
              help="How ranges of activations are read from calibration.")  # fmt: skip
@click.option("--outputs", default="inner", show_default=True, metavar="inner|all|none",
              help="Which outputs are quantised; inner: not what the soft-argmin sees.")  # fmt: skip
@click.option("--rounding", default="compensated", show_default=True, metavar="compensated|nearest",
              help="Of weights of 4 bits.")  # fmt: skip
@click.option("--data", metavar="FORMAT:PATH", help="Images to calibrate on [procedural scenes].")
@click.option("--scale-zero-point", type=click.Path(path_type=Path), metavar="FILE",
              help="Scales and zero points as a run wrote them; nothing is calibrated.")  # fmt: skip
@click.option("--write-scales", type=click.Path(path_type=Path), metavar="FILE", help="Write them, to be edited.")
@click.option("--skip", default="", metavar="LAYERS|auto", help="Layers that stay float; * and ? work.")
@click.option("--budget", metavar="SIZE|SHARE", help="For --bits auto: 400kB of weights, or 2% more error.")
@click.option("--finetune", type=click.Path(path_type=Path), metavar="RECIPE", help="For --mode qat.")
@click.option("--run", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Of the training [runs/NAME].")
def command(
    model: str, output: Path, bits: str, bits_of: tuple[str, ...], activation_bits: str, granularity: str,
    group: int | None, write_scales: Path | None, finetune: Path | None, **options: Any,
) -> None:  # fmt: skip
    """Quantise MODEL (a zoo name or a checkpoint) and write the result as a checkpoint.

    static: ranges of activations are fixed beforehand, from calibration images or a file. dynamic: they are found as
    the network runs. qat: the quantised network is trained on, by the recipe of --finetune.
    """
    if output.suffix != ".safetensors":
        raise UserError(f"-o {output}: a checkpoint's name ends in .safetensors")
    number = {"8": 8, "4": 4, "1": 1}
    asked = _bits_by_layer(number.get(bits, bits), bits_of)
    if finetune is not None:
        from leadline.training.recipe import load_recipe

        load_recipe(finetune)  # before torch is loaded: mistakes are told at once

    from leadline.checkpoint import load_network, save
    from leadline.compress.quantization import quantize
    from leadline.compress.scale_file import write_scales as write
    from leadline.zoo import find_checkpoint

    path = find_checkpoint(model)
    made = quantize(
        load_network(path),
        bits=asked,  # type: ignore[arg-type]
        activation_bits=number.get(activation_bits, activation_bits),  # type: ignore[arg-type]
        granularity=granularity if group is None else group,
        finetune=finetune,
        **options,
    )
    save(made, output)
    if write_scales is not None:
        write(made, write_scales)
        click.echo(f"scales: {write_scales}", err=True)
    _tell(made, path, output)


def _bits_by_layer(bits: int | str, bits_of: tuple[str, ...]) -> int | str | dict[str, int]:
    """What `quantize` takes: the bits alone, or "*" with its exceptions."""
    if not bits_of:
        return bits
    if isinstance(bits, str):
        raise UserError(f"--bits-of makes exceptions from --bits 8, 4 or 1, not from {bits}")
    found = {"*": bits}
    for text in bits_of:
        layers, _, value = text.rpartition("=")
        if not layers or value not in ("8", "4", "1", "32"):
            raise UserError(f"--bits-of {text}: write LAYERS=BITS with 8, 4, 1 or 32 bits, such as 'encoder.*=8'")
        found[layers] = int(value)
    return found


def _tell(network: Any, before: Path, after: Path) -> None:
    from collections import Counter

    from leadline.surgeries.quantize import binary_layers, quantized_layers

    counts = Counter(layer.numbers.bits for layer in quantized_layers(network).values())
    counts[1] += len(binary_layers(network))
    layers = ", ".join(f"{count} of {bits} bit" for bits, count in sorted(counts.items(), reverse=True) if count)
    old, new = before.stat().st_size, after.stat().st_size
    click.echo(f"{after}: {layers or 'no'} layers quantised; {new / 1e3:.0f} kB, {old / new:.1f} x smaller")
