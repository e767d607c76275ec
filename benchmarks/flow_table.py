"""The accuracy of flow models, sample by sample, beside OpenCV's algorithms.

    python benchmarks/flow_table.py --data folder:/data/samples [--models plumb-flow dis ...]

Every valid pixel of the truth counts, occluded ones too. Writes benchmarks/results/flow.csv: a row per model and
sample, and one per model over the samples (each counts the same).
"""

import argparse
import csv
import io
import time
from pathlib import Path
from statistics import fmean

from _measured import note_measured

import leadline
from leadline.evaluation.flow_metrics import METRICS, of_sample
from leadline.files import write_whole
from leadline.machine import describe_machine
from leadline.zoo import known_names

CSV = Path(__file__).parent / "results" / "flow.csv"
COLUMNS = ("epe", "fl", "bad_1", "bad_3", "bad_5", "angle", "epe_occ", "epe_s0-10", "epe_s10-40", "epe_s40+")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="FORMAT:PATH")
    shipped = [name for name in ("plumb-flow",) if name in known_names()]
    parser.add_argument("--models", nargs="+", default=[*shipped, "dis", "dis-fast", "dis-ultrafast", "farneback"])
    parser.add_argument("--dry", action="store_true", help="print the table, write nothing")
    options = parser.parse_args()
    rows = []
    samples = leadline.open_data(options.data, "flow")
    for name in options.models:
        predictor = leadline.load(name)
        found = []
        for sample in samples:
            start = time.perf_counter()
            predicted = predictor.predict(*sample.images)
            seconds = time.perf_counter() - start
            metrics = of_sample(predicted, sample, sample.valid).metrics()
            found.append([sample.name, *(metrics[key] for key in COLUMNS), seconds])
        means = [_mean([row[k] for row in found]) for k in range(1, len(COLUMNS) + 2)]
        rows += [[Path(name).stem, *row] for row in (*found, ["mean", *means])]
        print(f"{Path(name).stem:24} EPE {means[0]:7.3f} px   Fl {means[1]:6.2f} %")
    if not options.dry:
        write_csv(rows)
        means = {row[0]: row for row in rows if row[1] == "mean" and row[0] in known_names()}
        data = f"mean of {len(samples)} real pairs, none of them trained on"
        columns = {name: {"flow EPE px": round(row[2], 3)} for name, row in means.items()}
        note_measured("flow", f"{data}; python benchmarks/flow_table.py", columns)


def _mean(values: list) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def write_csv(rows: list[list]) -> None:
    text = io.StringIO()
    text.write(f"# {describe_machine()}\n")
    writer = csv.writer(text, lineterminator="\n")
    units = {"%": "percent", "°": "degrees"}
    head = [f"{key}_{units.get(METRICS[key].unit, METRICS[key].unit)}" for key in COLUMNS]
    writer.writerow(["model", "sample", *head, "seconds"])
    for row in rows:
        writer.writerow(["" if v is None else f"{v:.4f}" if isinstance(v, float) else v for v in row])
    write_whole(CSV, text.getvalue().encode())


if __name__ == "__main__":
    main()
