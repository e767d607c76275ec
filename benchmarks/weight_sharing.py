"""Weight sharing: how codebooks are best begun, and what is left of a file step by step.

    python benchmarks/weight_sharing.py init     [MODEL]                       initialisation × clusters × granularity
    python benchmarks/weight_sharing.py pipeline [--data folder:/data/samples] [--pruned FILE] [MODEL]
    python benchmarks/weight_sharing.py pictures

`pipeline` writes a real file after each step and measures its size beside the entropy and the Huffman bound of its
indices: float32, pruned, shared with packed indices, entropy-coded, the rest in half precision. --pruned gives a
fine-tuned sparse checkpoint (such as benchmarks/pruning.py finetune leaves in runs/pruning) in place of pruning
here without training, --shared what `leadline compress share --finetune` made of it. Rows that are in
benchmarks/results/weight_sharing_*.csv are not measured again. MODEL is
plummet-s unless given.
"""

from __future__ import annotations

import argparse
import io

from _slim import IMAGES, RESULTS, Table, accuracy, file_bytes, load

from leadline.compress import prune, share
from leadline.compress.kmeans import INITS
from leadline.compress.sharing import describe, huffman, round_to_half
from leadline.files import write_whole
from leadline.models import Network
from leadline.surgeries.prune_choice import share_pruned
from leadline.surgeries.share import shared_layers

INIT_KEYS = ("model", "clusters", "per", "init")
PIPELINE_KEYS = ("model", "chain", "clusters", "step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("model", nargs="?", default="plummet-s")
    parser.add_argument("--data", metavar="FORMAT:PATH")
    parser.add_argument("--pruned", metavar="FILE", help="a sparse checkpoint")
    parser.add_argument("--shared", metavar="FILE", help="that, shared and with its codebooks fine-tuned")
    parser.add_argument("--amounts", type=float, nargs="+", default=[0.5, 0.6, 0.7, 0.8])
    parser.add_argument("--clusters", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--quick", action="store_true", help="init: the weights' error alone")
    options = parser.parse_args()
    PARTS[options.part](options)


def init(options: argparse.Namespace) -> None:
    """The error of the weights and of the disparity, by where k-means begins."""
    table, network = Table(RESULTS / "weight_sharing_init.csv", INIT_KEYS), load(options.model)
    for clusters in (4, 8, 16, 32, 256):
        for per in ("layer", "channel"):
            for start in INITS:
                key = {"model": options.model, "clusters": clusters, "per": per, "init": start}
                if table.find(**key) is not None:
                    continue
                if per == "channel" and clusters > 16:
                    continue  # most channels have fewer weights
                shared = share(network, clusters=clusters, per=per, init=start)
                rows = describe(shared, network)
                weights = sum(row.weights for row in rows)
                table.add(
                    **key,
                    weight_error=round(sum((row.error or 0) * row.weights for row in rows) / weights, 5),
                    entropy_bits=round(sum(row.entropy_bits * row.weights for row in rows) / weights, 3),
                    file_bytes=file_bytes(shared), **({} if options.quick else accuracy(shared, options.data)),
                )  # fmt: skip


def pipeline(options: argparse.Namespace) -> None:
    """prune → share → entropy-code, with the file after each step."""
    table, network = Table(RESULTS / "weight_sharing_pipeline.csv", PIPELINE_KEYS), load(options.model)
    dense = file_bytes(network)
    chains: dict[str, Network] = {"not pruned": network}
    if options.pruned:
        sparse = load(options.pruned)
        chains = {f"{share_pruned(sparse):.0%} pruned, fine-tuned": sparse}
    else:
        chains |= {f"{a:.0%} pruned": prune(network, granularity="weight", amount=a) for a in options.amounts}
    if options.shared:
        made = load(options.shared)
        round_to_half(made)
        (record,) = (record for record in made.surgeries if record["kind"] == "share")
        chain = next(reversed(chains))
        _step(table, options, chain, record["clusters"], "codebooks fine-tuned", made, dense)
    for chain, sparse in chains.items():
        _step(table, options, chain, 0, "float32", network, dense)
        if sparse is not network:
            _step(table, options, chain, 0, "pruned", sparse, dense)
        for clusters in options.clusters:
            for name, coding, rest in (
                ("shared, indices packed", "plain", "float32"),
                ("entropy-coded", "entropy", "float32"),
                ("rest in float16", "entropy", "float16"),
            ):
                made = share(sparse, clusters=clusters, coding=coding, rest=rest)
                _step(table, options, chain, clusters, name, made, dense)


def _step(
    table: Table, options: argparse.Namespace, chain: str, clusters: int, step: str, network: Network, dense: int
) -> None:
    key = {"model": options.model, "chain": chain, "clusters": clusters, "step": step}
    if table.find(**key) is not None:
        return
    size, rows = file_bytes(network), describe(network)
    bounds = {"index_entropy_bytes": "", "index_huffman_bytes": ""}
    if rows:
        coded = sum(huffman(s.index.numpy()) * s.index.numel() for _, s in shared_layers(network).values()) / 8
        bounds = {
            "index_entropy_bytes": str(round(sum(row.entropy_bits * row.weights for row in rows) / 8)),
            "index_huffman_bytes": str(round(coded)),
        }
    measured = {"epe_px": "", "d1_percent": "", "scenes_epe_px": "", "scenes_d1_percent": ""}
    if step in ("float32", "pruned", "rest in float16", "codebooks fine-tuned"):  # the coding changes nothing
        measured = accuracy(network, options.data)
    table.add(**key, file_bytes=size, times_smaller=round(dense / size, 2), **bounds, **measured)


def pictures(options: argparse.Namespace) -> None:
    """EPE against the file's size, for every chain that was tried."""
    from matplotlib.figure import Figure

    rows = [
        r for r in Table(RESULTS / "weight_sharing_pipeline.csv", PIPELINE_KEYS).rows if r["model"] == options.model
    ]
    column = "epe_px" if any(row["epe_px"] for row in rows) else "scenes_epe_px"
    dense = next(row for row in rows if row["step"] == "float32")
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    panel = figure.subplots()
    chains = sorted({row["chain"] for row in rows}, key=lambda chain: (chain != "not pruned", chain))
    for number, chain in enumerate(chains):
        members = [row for row in rows if row["chain"] == chain and row["step"] == "rest in float16"]
        members.sort(key=lambda row: int(row["clusters"]))
        sizes, errors = ([float(row[c]) for row in members] for c in ("times_smaller", column))
        panel.plot(sizes, errors, "o-", color=f"C{number}", label=chain)
        for row, x, y in zip(members, sizes, errors, strict=True):
            panel.annotate(row["clusters"], (x, y), textcoords="offset points", xytext=(4, 4), fontsize=8)
        for row in (row for row in rows if row["chain"] == chain and row["step"] == "codebooks fine-tuned"):
            x, y = float(row["times_smaller"]), float(row[column])
            panel.plot(x, y, "*", color=f"C{number}", markersize=14, label=f"{chain}, codebooks too")
            panel.annotate(row["clusters"], (x, y), textcoords="offset points", xytext=(6, 5), fontsize=8)
    base = float(dense[column])
    panel.axhline(base, color="grey", linewidth=1)
    panel.axhspan(0, 1.05 * base, xmin=0, color="tab:green", alpha=0.08)
    panel.axvline(20, color="grey", linestyle=":", linewidth=1)
    panel.set(xlabel="times smaller than float32", ylabel="EPE [px]", ylim=(0.95 * base, None))
    panel.grid(alpha=0.3)
    panel.legend(title="numbers: values per codebook")
    panel.set_title("Prune, share, entropy-code (green: at most 5 % above the dense network)")
    content = io.BytesIO()
    figure.savefig(content, dpi=120, format="png")
    print(write_whole(IMAGES / "weight_sharing.png", content.getvalue()))


PARTS = {"init": init, "pipeline": pipeline, "pictures": pictures}


if __name__ == "__main__":
    main()
