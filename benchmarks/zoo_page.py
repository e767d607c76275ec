"""The tables of docs/zoo.md, from the checkpoints that ship and from the tables that other benchmarks wrote.

    python benchmarks/zoo_page.py

It measures nothing: run benchmarks/accuracy_table.py, flow_table.py, interpolation_table.py, accuracy_latency.py,
quantization_tasks.py and roofline.py before it.
"""

from __future__ import annotations

import csv
import hashlib
import re
from pathlib import Path

from leadline.checkpoint import load_network
from leadline.files import write_whole
from leadline.models import Network
from leadline.zoo import WEIGHTS, find_checkpoint

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "zoo.md"
RESULTS = ROOT / "benchmarks" / "results"


def main() -> None:
    networks = {path.stem: load_network(find_checkpoint(path.stem)) for path in sorted(WEIGHTS.glob("*.safetensors"))}
    tables = {
        "cards": cards(networks),
        "compressed": compressed(list(networks)),
        "latency": latency(),
        "roofline": roofline(),
    }
    text = PAGE.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- table {name}: written by benchmarks/zoo_page.py -->\n", "<!-- end of table -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        text = pattern.sub(lambda _: begin + table + "\n" + end, text)  # noqa: B023
    print(write_whole(PAGE, text.encode()))


def cards(networks: dict[str, Network]) -> str:
    rows = []
    for name, network in networks.items():
        file = find_checkpoint(name)
        made = network.provenance
        recipe = made["recipe"]
        rows.append(
            {
                "name": f"`{name}`",
                "task": network.task.value,
                "parameters": f"{sum(p.numel() for p in network.parameters()):,}",
                "bytes": f"{file.stat().st_size:,}",
                "SHA-256": f"`{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}…`",
                "last stage": f"`{recipe['name']}`, seed {made['seed']}",
                "trained on": "procedural scenes alone",
                "made": f"{made['time'][:10]}, {made['machine']}, torch {made['torch']}",
            }
        )
    return markdown(rows, numbers=("parameters", "bytes"))


def compressed(names: list[str]) -> str:
    rows = []
    for row in read("quantization_tasks"):
        if row["model"] in names:
            rows.append(
                {
                    "name": f"`{row['model']}`",
                    "variant": row["variant"],
                    "kB": f"{int(row['bytes']) / 1000:,.0f}",
                    row_label(row["metric_1"]): row["value_1"],
                    row_label(row["metric_2"]): row["value_2"],
                }
            )
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return markdown([{key: row.get(key, "") for key in columns} for row in rows], numbers=tuple(columns[2:]))


def row_label(metric: str) -> str:
    name, _, unit = metric.rpartition("_")
    known = {"px": "px", "percent": "%", "db": "dB"}
    return f"{name.upper()} {known[unit]}" if unit in known else metric.partition("_")[0].upper()


def latency() -> str:
    rows = [
        {
            "model": row["model"].removesuffix(" (untrained)"),
            "ms": f"{float(row['median_ms']):.0f}",
            "D1 %": f"{float(row['d1_percent']):.2f}" if row["d1_percent"] else "",
            "EPE px": f"{float(row['epe_px']):.3f}" if row["epe_px"] else "",
            "file MB": row["file_mb"],
            "memory MB": row["peak_mb"],
        }
        for row in read("accuracy_latency")
    ]
    about = read("accuracy_latency")[0]
    caption = f"`predict` at {about['size']}, {about['threads']} threads, {about['cpu']}, {about['date']}."
    return markdown(rows, numbers=tuple(list(rows[0])[1:])) + "\n\n" + caption


def roofline() -> str:
    found = read("roofline")
    rows = [
        {
            "network": f"`{row['network']}`",
            "GMAC": row["gmac"],
            "runtime": row["runtime"],
            "ms": f"{float(row['ms']):.0f}",
            "floor ms": row["floor_ms"],
            "ceilings": f"{row['ceiling_gmac_fp32']} · {row['ceiling_gmac_int8']} · {row['ceiling_gb']}",
            "of the floor": f"{float(row['of_floor']):.0%}",
            "faster than plain PyTorch": f"{row['faster_than_plain']} ×" if row["faster_than_plain"] else "",
        }
        for row in found
    ]
    about = found[0]
    caption = (
        "Ceilings, as measured before each network: GMAC/s in fp32, in int8, GB/s; "
        f"{about['size']}, {about['threads']} threads, {about['cpu']}, {about['date']}."
    )
    return markdown(rows, numbers=("GMAC", "ms", "floor ms", "of the floor", "faster than plain PyTorch")) + (
        "\n\n" + caption
    )


def read(name: str) -> list[dict[str, str]]:
    with (RESULTS / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def markdown(rows: list[dict[str, str]], numbers: tuple[str, ...]) -> str:
    columns = list(rows[0])
    lines = [
        "| " + " | ".join(columns) + " |",
        "| " + " | ".join("---:" if column in numbers else "---" for column in columns) + " |",
        *("| " + " | ".join(row[column] for column in columns) + " |" for row in rows),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
