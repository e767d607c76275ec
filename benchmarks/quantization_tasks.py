"""Quantisation of the shipped networks of all tasks, by the two metrics that each task is judged by.

    python benchmarks/quantization_tasks.py --data folder:/data/samples [--models plumb-frame plumb-flow]

Post-training, calibrated on rendered scenes, measured on the real samples of the model's task. Writes
benchmarks/results/quantization_tasks.csv and the table between the markers of docs/quantization.md.
"""

import argparse
import csv
import io
import tempfile
from pathlib import Path
from typing import Any

import leadline
from leadline.compress import quantize
from leadline.evaluation.measures import MEASURES
from leadline.files import write_whole
from leadline.machine import describe_machine
from leadline.predict import NetworkPredictor

ROOT = Path(__file__).parent.parent
CSV = ROOT / "benchmarks" / "results" / "quantization_tasks.csv"
PAGE = ROOT / "docs" / "quantization.md"
BEGIN, END = (
    "<!-- tasks table: written by benchmarks/quantization_tasks.py -->",
    "<!-- end of tasks table -->",
)
VARIANTS: dict[str, dict[str, Any] | None] = {
    "float": None,
    "static int8": {},
    "dynamic int8": {"mode": "dynamic"},
    "W4A8": {"bits": 4, "observer": "mse"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="FORMAT:PATH")
    parser.add_argument("--models", nargs="+", default=["plummet-s", "plumb-frame", "plumb-flow"])
    parser.add_argument("--dry", action="store_true", help="print the table, write nothing")
    options = parser.parse_args()
    made = {name: [row | describe_machine() for row in measure(name, options.data)] for name in options.models}
    known = {} if options.dry else rows_by_model()
    rows = [row for of_model in (known | made).values() for row in of_model]
    shown = table(rows)
    print(shown)
    if options.dry:
        return
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(CSV, text.getvalue().encode())
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    write_whole(PAGE, f"{before}{BEGIN}\n{shown}\n{END}{rest.split(END)[1]}".encode())


def rows_by_model() -> dict[str, list[dict[str, Any]]]:
    """What the table holds already: models that a call does not name stay as they were measured before."""
    if not CSV.is_file():
        return {}
    with CSV.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [row for row in rows if row["model"] == name] for name in dict.fromkeys(r["model"] for r in rows)}


def measure(name: str, data: str) -> list[dict[str, Any]]:
    """The rows of a model."""
    loaded = leadline.load(name, "cpu")
    assert isinstance(loaded, NetworkPredictor)
    network, rows = loaded.network, []
    samples = leadline.open_data(data, network.task)
    for variant, how in VARIANTS.items():
        made = network if how is None else quantize(network, **how)
        with tempfile.TemporaryDirectory() as place:
            # Shipped weights may be stored in half: in float32 as well as compressed, it is saved anew.
            size = leadline.save(made, Path(place) / "it.safetensors").stat().st_size
        results = leadline.evaluate({"it": NetworkPredictor(made, "cpu")}, samples)
        mean, measured = results.over_samples("it"), MEASURES[network.task]
        row: dict[str, Any] = {"model": name, "task": network.task.value, "variant": variant, "bytes": size}
        for place_, key in enumerate(measured.headline):
            row |= {f"metric_{place_ + 1}": measured.column(key), f"value_{place_ + 1}": round(mean[key], 4)}
        rows.append(row | {"samples": len(results.rows)})
        print(row, flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The table as the page shows it."""
    lines = [
        "| model | variant | kB | smaller | metric | value | change | metric | value | change |",
        "| --- | --- | ---: | ---: | --- | ---: | ---: | --- | ---: | ---: |",
    ]
    for row in rows:
        base = next(other for other in rows if other["model"] == row["model"])
        cells = [row["model"], row["variant"], f"{int(row['bytes']) / 1e3:.0f}"]
        cells.append(f"{int(base['bytes']) / int(row['bytes']):.1f} ×")
        for i in (1, 2):
            value = float(row[f"value_{i}"])
            cells += [row[f"metric_{i}"], f"{value:.3f}", f"{value - float(base[f'value_{i}']):+.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    machines = sorted({f"{row['cpu']} ({row['date']})" for row in rows})
    return "\n".join([*lines, "", f"Measured on: {', '.join(machines)}."])


if __name__ == "__main__":
    main()
