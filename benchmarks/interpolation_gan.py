"""What adversarial training does to interpolated frames: sharpness gained and PSNR lost, step for step.

    python benchmarks/interpolation_gan.py --data folder:/data/triplets --steps 2000

Trains plumb-frame's blending twice from the same start for the same steps on the same triplets, without and with a
discriminator, and measures both on triplets that neither has seen: procedural ones, and `--data` where given. Writes
benchmarks/results/interpolation_gan.csv and the table between the markers of docs/interpolation.md.
"""

import argparse
import csv
import io
import tempfile
from pathlib import Path

import leadline
from leadline.data.procedural import SceneConfig
from leadline.data.procedural.dataset import ProceduralTriplets
from leadline.files import write_whole
from leadline.machine import describe_machine, one_line
from leadline.predict import NetworkPredictor, Predictor
from leadline.training.recipe import load_recipe

ROOT = Path(__file__).parent.parent
CSV = ROOT / "benchmarks" / "results" / "interpolation_gan.csv"
PAGE = ROOT / "docs" / "interpolation.md"
BEGIN, END = "<!-- gan table: written by benchmarks/interpolation_gan.py -->", "<!-- end of gan table -->"
KEYS = ("psnr", "ssim", "sharpness")
SEEN_BY_NONE = 2_000_003  # seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FORMAT:PATH", help="real triplets")
    parser.add_argument("--steps", type=int, default=2000, help="of either run")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--crop", type=int, default=96)
    parser.add_argument("--weight", type=float, default=0.5, help="of the adversarial term's gradient")
    parser.add_argument("--init", help="checkpoint that both start from")
    parser.add_argument("--runs", type=Path, help="folder of the runs, to go on with [a temporary one]")
    parser.add_argument("--dry", action="store_true", help="print the table, write nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.runs or Path(temporary)
        predictors: dict[str, Predictor] = {}
        for name, more in (("without", []), ("with a discriminator", discriminator(options))):
            path = leadline.train(recipe(options, more), folder / name.replace(" ", "-"))
            predictors[name] = leadline.load(path)
    new = NetworkPredictor(leadline.create("plumb-frame"), "cpu")
    predictors = {"before": new if options.init is None else leadline.load(options.init), **predictors}
    scenes = SceneConfig(photometric=0, noise=0, low_light=0)
    sets = {"procedural": ProceduralTriplets(24, seed=SEEN_BY_NONE, size=(208, 256), config=scenes)}
    if options.data:
        sets["real"] = leadline.open_data(options.data, "interpolation")
    rows = []
    for data, samples in sets.items():
        results = leadline.evaluate(predictors, samples)
        for model in results.models:
            mean = results.over_samples(model)
            rows.append((data, len(samples), model, *(mean[key] for key in KEYS)))
    machine = describe_machine()
    table = markdown(rows, options, one_line(machine))
    print(table)
    if not options.dry:
        write_csv(rows, options, machine)
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        write_whole(PAGE, f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}".encode())


def discriminator(options: argparse.Namespace) -> list[str]:
    return [f"adversarial={{weight: {options.weight}, width: 16, halvings: 2}}"]


def recipe(options: argparse.Namespace, more: list[str]):
    changes = [
        f"steps={options.steps}", f"batch={options.batch}", f"crop=[{options.crop}, {options.crop}]",
        f"render_size=[{options.crop + 32}, {options.crop + 48}]", "ema=0.98", "workers=0", "threads=1",
        "schedule={name: constant, warmup: 20}", f"validate.every={options.steps}", "log.images_every=0",
        # True frames without noise: its blur would otherwise be what the discriminator sees first.
        "data.0.scenes.noise=0",
        # The motion stays: it is blending that a discriminator can make sharper, and what it costs is seen sooner.
        "freeze=[match_sixteenth, match_eighth, match_quarter]", *more,
    ]  # fmt: skip
    if options.init is not None:
        changes.append(f"init={options.init}")
    return load_recipe(ROOT / "recipes" / "plumb-frame.yaml", changes)


def markdown(rows: list[tuple], options: argparse.Namespace, machine: str) -> str:
    lines = [
        f"{options.steps} steps of {options.batch} crops of {options.crop} px, weight {options.weight:g}:",
        "",
        "| triplets | training | PSNR, dB | SSIM | sharpness |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for data, count, model, psnr, ssim, sharpness in rows:
        lines.append(f"| {count} {data} | {model} | {psnr:.2f} | {ssim:.4f} | {sharpness:.3f} |")
    return "\n".join([*lines, "", f"Measured on: {machine}."])


def write_csv(rows: list[tuple], options: argparse.Namespace, machine: dict) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["data", "triplets", "training", *KEYS, "steps", "batch", "crop", "weight", *machine])
    asked = (options.steps, options.batch, options.crop, options.weight)
    for data, count, model, *values in rows:
        numbers = (f"{value:.5f}" for value in values)
        writer.writerow([data, count, model, *numbers, *asked, *machine.values()])
    write_whole(CSV, text.getvalue().encode())


if __name__ == "__main__":
    main()
