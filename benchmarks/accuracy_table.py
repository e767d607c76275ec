"""The accuracy of the shipped networks beside SGBM, sample by sample: the table of the README and of `leadline models`.

    python benchmarks/accuracy_table.py --data folder:/data/samples

Every valid pixel of the truth counts, occluded ones too. The classical algorithms are given what a user has to know to
call them: each sample's own search range (`ndisp_suggested` of its meta.json, or the truth's maximum, up to the next
multiple of 16); the networks always search their whole range. Writes benchmarks/results/accuracy.csv,
src/leadline/weights/measured.json and the table between the markers of README.md and README.zh-CN.md.
"""

import argparse
import csv
import io
import re
from pathlib import Path
from statistics import fmean

from _measured import note_measured

import leadline
from leadline.classical import ClassicalStereo
from leadline.data.sample import Sample
from leadline.evaluation.metrics import StereoSums
from leadline.files import write_whole
from leadline.machine import describe_machine
from leadline.predict import Predictor

ROOT = Path(__file__).parent.parent
CSV = ROOT / "benchmarks" / "results" / "accuracy.csv"
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")
SHOWN = ("plummet-s", "plummet-r", "plummet-m", "plummet-m:careful", "sgbm", "sgbm-padded", "bm")
ALSO = ("mobilestereonet-2d-rendered", "plummet-s-rooms", "plummet-s-layers", "plummet-r:careful")  # not in the READMEs
BEGIN, END = "<!-- accuracy table: written by benchmarks/accuracy_table.py -->", "<!-- end of accuracy table -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="FORMAT:PATH")
    parser.add_argument("--models", nargs="+", default=[*SHOWN, *ALSO])
    parser.add_argument("--dry", action="store_true", help="print the table, write nothing")
    options = parser.parse_args()
    predictors = {name: leadline.load(name) for name in options.models}
    samples: list[str] = []
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in predictors}
    for sample in leadline.open_data(options.data):
        samples.append(sample.name)
        for name, predictor in predictors.items():
            rows[name].append(measure(predictor, sample))
    print(markdown(samples, rows))
    if options.dry:
        return
    machine = describe_machine()
    write_csv(samples, rows, machine)
    data = f"mean of {len(samples)} pairs (KITTI 2012, Middlebury, ETH3D, Scene Flow), none of them trained on"
    note_measured("stereo", f"{data}; python benchmarks/accuracy_table.py", measured(rows))
    for readme in READMES:
        write_between(readme, markdown(samples, {name: row for name, row in rows.items() if name not in ALSO}))


def measure(predictor: Predictor, sample: Sample) -> dict[str, float]:
    """D1 (%) and EPE (px) over all valid pixels of one sample."""
    assert sample.disparity is not None
    assert sample.valid is not None
    if isinstance(predictor, ClassicalStereo):
        most = sample.meta.get("ndisp_suggested", float(sample.disparity[sample.valid].max()) + 1)
        predictor.num_disparities = -(-int(most) // 16) * 16
    predicted = predictor.predict(*sample.images)
    metrics = StereoSums.of(predicted, sample.disparity, sample.valid).metrics()
    return {"d1": metrics["d1"] or 0.0, "epe": metrics["epe"] or 0.0}


def means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: fmean(row[key] for row in rows) for key in ("d1", "epe")}


def markdown(samples: list[str], rows: dict[str, list[dict[str, float]]]) -> str:
    """One line per sample, D1 in % and EPE in px for each model."""
    head = "| D1 % · EPE px | " + " | ".join(rows) + " |"
    lines = [head, "| --- |" + " ---: |" * len(rows)]
    for i, sample in enumerate(samples):
        cells = (f"{model[i]['d1']:.1f} · {model[i]['epe']:.2f}" for model in rows.values())
        lines.append(f"| {sample.removeprefix('stereo_')} | " + " | ".join(cells) + " |")
    mean = [means(model) for model in rows.values()]
    lines.append(
        f"| **mean of {len(samples)}** | " + " | ".join(f"**{m['d1']:.1f} · {m['epe']:.2f}**" for m in mean) + " |"
    )
    return "\n".join(lines)


def write_csv(samples: list[str], rows: dict[str, list[dict[str, float]]], machine: dict) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", "sample", "d1_percent", "epe_px", *machine])
    for model, measured in rows.items():
        for name, row in [*zip(samples, measured, strict=True), ("mean", means(measured))]:
            writer.writerow([model, name, round(row["d1"], 4), round(row["epe"], 4), *machine.values()])
    write_whole(CSV, text.getvalue().encode())


def measured(rows: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """What `leadline models` prints."""
    return {
        name: {"D1 %": round(means(model)["d1"], 2), "EPE px": round(means(model)["epe"], 3)}
        for name, model in rows.items()
    }


def write_between(path: Path, table: str) -> None:
    text = path.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    write_whole(path, pattern.sub(lambda _: f"{BEGIN}\n{table}\n{END}", text).encode())


if __name__ == "__main__":
    main()
