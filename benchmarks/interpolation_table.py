"""Interpolation side by side on triplets with a true middle frame, by sample: the table of docs/interpolation.md.

    python benchmarks/interpolation_table.py --data folder:/data/triplets

A network without shipped weights is measured as it is before training where `--untrained` names it; of plumb-frame that
is registration without any learned correction. Writes benchmarks/results/interpolation.csv and the table between the
markers of docs/interpolation.md.
"""

import argparse
import csv
import io
from pathlib import Path

import torch
from _measured import note_measured

import leadline
from leadline.evaluation import Results
from leadline.files import write_whole
from leadline.machine import describe_machine, one_line
from leadline.predict import NetworkPredictor, Predictor
from leadline.zoo import known_names

ROOT = Path(__file__).parent.parent
CSV = ROOT / "benchmarks" / "results" / "interpolation.csv"
PAGE = ROOT / "docs" / "interpolation.md"
BEGIN, END = (
    "<!-- interpolation table: written by benchmarks/interpolation_table.py -->",
    "<!-- end of interpolation table -->",
)
COLUMNS = {"psnr": ("PSNR, dB", ".2f"), "ssim": ("SSIM", ".4f"), "ssim_matlab": ("SSIM, 3-D", ".4f"),
           "ie": ("IE", ".2f"), "sharpness": ("sharpness", ".3f")}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="FORMAT:PATH")
    parser.add_argument("--models", nargs="+", help="[mean dis-warp, and plumb-frame where it is shipped]")
    parser.add_argument("--untrained", nargs="*", default=["plumb-frame"])
    parser.add_argument("--dry", action="store_true", help="print the table, write nothing")
    options = parser.parse_args()
    shipped = [name for name in ("plumb-frame",) if name in known_names()]
    predictors: dict[str, Predictor] = {n: leadline.load(n) for n in options.models or ["mean", "dis-warp", *shipped]}
    torch.manual_seed(0)
    for name in options.untrained:
        predictors[f"{name}, untrained"] = NetworkPredictor(leadline.create(name), "cpu")
    results = leadline.evaluate(predictors, leadline.open_data(options.data, "interpolation"))
    for problem in results.problems:
        print(problem)
    machine = describe_machine()
    table = markdown(results, one_line(machine))
    print(table)
    if options.dry:
        return
    write_csv(results, machine)
    data = f"mean of {len(results.rows_of(results.models[0]))} real triplets, none of them trained on"
    known = {model: results.over_samples(model) for model in results.models if model in known_names()}
    columns = {model: {"PSNR dB": round(mean["psnr"], 2)} for model, mean in known.items()}
    note_measured("interpolation", f"{data}; python benchmarks/interpolation_table.py", columns)
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    write_whole(PAGE, f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}".encode())


def markdown(results: Results, machine: str) -> str:
    count = len(results.rows_of(results.models[0]))
    lines = [
        f"On {count} real triplets, which no model has been trained on:",
        "",
        "| model | " + " | ".join(heading for heading, _ in COLUMNS.values()) + " |",
        "| --- |" + " ---: |" * len(COLUMNS),
    ]
    for model in results.models:
        mean = results.over_samples(model)
        lines.append(f"| {model} | " + " | ".join(format(mean[key], form) for key, (_, form) in COLUMNS.items()) + " |")
    return "\n".join([*lines, "", f"Measured on: {machine}."])


def write_csv(results: Results, machine: dict) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    keys = ["psnr", "ssim", "ssim_matlab", "ie", "ie_rms", "psnr_y", "sharpness"]
    writer.writerow(["model", "sample", *keys, *machine])
    for model in results.models:
        for row in results.rows_of(model):
            writer.writerow([model, row.sample, *(f"{row.metrics[key]:.5f}" for key in keys), *machine.values()])
    write_whole(CSV, text.getvalue().encode())


if __name__ == "__main__":
    main()
