"""A comparison of parts as a picture."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

from leadline.blocks.compare import Row
from leadline.files import write_whole


def draw_comparison(path: str | os.PathLike, family: str, rows: Sequence[Row]) -> Path:
    """Mean error against latency, one point per kind; the first kind is ringed. Writes a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    panel = figure.subplots()
    for i, row in enumerate(rows):
        panel.plot(row.milliseconds, row.epe_px, "o", color=f"C{i % 10}", markersize=8)
        panel.annotate(row.kind, (row.milliseconds, row.epe_px), xytext=(7, 4), textcoords="offset points", fontsize=9)
    panel.plot(rows[0].milliseconds, rows[0].epe_px, "o", mfc="none", mec="black", markersize=14)
    panel.axhline(rows[0].epe_px, color="grey", linewidth=0.7, linestyle=":")
    panel.margins(x=0.18, y=0.15)
    panel.grid(alpha=0.3)
    panel.set(
        xlabel="latency in PyTorch [ms], 192x384, 1 pair",
        ylabel="mean error on unseen scenes [px]",
        title=f"{family}: {rows[0].steps} steps each, about {rows[0].gmac:.2f} GMAC each; lower left is better",
    )
    image = io.BytesIO()
    figure.savefig(image, dpi=110, format="png")
    return write_whole(path, image.getvalue())
