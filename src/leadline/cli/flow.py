"""`leadline flow FRAME0 FRAME1`: optical flow of pairs, folders and videos."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leadline.cli.report import report
from leadline.errors import UserError
from leadline.version import __version__

if TYPE_CHECKING:  # heavy imports stand in the functions, so that --help stays quick
    import numpy as np

    from leadline.cli.frames import FramePair
    from leadline.predict import Predictor

MODEL = "plumb-flow"
FORMATS = ("flo", "kitti", "npz")


@dataclass(frozen=True)
class Options:
    """What the caller asked for, the same for every pair."""

    formats: tuple[str, ...]
    consistency: bool
    mask: bool
    threshold: float | None
    max_motion: float | None


@click.command("flow")
@click.argument("frames", nargs=-1, required=True, metavar="FRAME0 FRAME1 [...]")
@click.option("-o", "--output", required=True, metavar="DIR", help="Where the results go; made where missing.")
@click.option("-m", "--model", default=MODEL, show_default=True, help="A name of `leadline models`, or a file.")
@click.option("--device", help="cpu, cuda, cuda:1; by default the GPU where there is one.")
@click.option("--format", "formats", default="flo", show_default=True, metavar="LIST", help="Of flo, kitti, npz.")
@click.option("--consistency", is_flag=True, help="Predict the flow back too; write it and where both agree.")
@click.option("--mask", is_flag=True, help="Mark pixels that fail the forward-backward check as unknown.")
@click.option("--threshold", type=float, metavar="PX", help="Largest difference that passes [grows with the motion].")
@click.option("--step", type=int, default=1, show_default=True, help="Of a sequence: frames from one to the other.")
@click.option("--max-motion", type=float, metavar="PX", help="Motion at full colour [99th percentile of each flow].")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.pass_context
def command(
    context: click.Context,
    frames: tuple[str, ...],
    output: str,
    model: str,
    device: str | None,
    formats: str,
    consistency: bool,
    mask: bool,
    threshold: float | None,
    step: int,
    max_motion: float | None,
    as_json: bool,
) -> None:
    """Predict how every pixel of FRAME0 moves until FRAME1.

    Two images are one pair; two folders are pairs in the order of their sorted names; one folder, one video, or three
    images and more are a sequence of which each frame goes with the next. Results of one pair go into DIR, those of
    several into DIR/NAME:

    \b
    flow.flo             px, float32 (u, v); 1e10 where unknown         --format flo
    flow.png             KITTI: 16-bit RGB, px x 64 + 2^15, validity    --format kitti
    flow.npz             flow (h, w, 2), valid (h, w)                   --format npz
    flow_color.png       Middlebury's colours: hue is the direction, still is white
    flow_backward.flo    FRAME1 to FRAME0                               --consistency
    consistent.png       255 where both flows agree                     --consistency
    occluded.png         255 where they do not, or the pixel leaves     --consistency
    meta.json            sizes, units, model, time, share that agrees

    A pixel at (x, y) of FRAME0 is at (x + u, y + v) in FRAME1.
    """
    from leadline.cli.frames import find_frames
    from leadline.files import writable_folder
    from leadline.models.network import Task
    from leadline.zoo import load

    wanted = tuple(part.strip() for part in formats.split(",") if part.strip())
    unknown = [part for part in wanted if part not in FORMATS]
    if unknown or not wanted:
        raise UserError(f"--format {formats}: give one or several of {', '.join(FORMATS)}, with commas")
    for name, value in (("--threshold", threshold), ("--max-motion", max_motion)):
        if value is not None and not value > 0:
            raise UserError(f"{name} {value:g}: give px, more than 0")
    options = Options(wanted, consistency, mask, threshold, max_motion)
    pairs, count = find_frames(frames, step)
    folder = writable_folder(output)
    predictor = load(model, device)
    if predictor.task is not Task.FLOW:
        raise UserError(f"{model} is for {predictor.task.value}: flow takes a model for optical flow")

    done, failed = _predict_all(predictor, pairs, count, folder, options)
    report(done, failed, folder, as_json, ["frame0", "frame1"])
    if failed:
        context.exit(1)


def _predict_all(
    predictor: Predictor, pairs: Any, count: int | None, folder: Path, options: Options
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """What meta.json says of each pair, and the pairs that failed, with the reason."""
    from rich.console import Console
    from rich.progress import track

    if count == 1:  # nothing else to go on with: its error is the command's error
        return [_predict_one(predictor, next(pairs), folder, options)], []
    done, failed = [], []
    console = Console(stderr=True)
    for pair in track(pairs, "flow", total=count, console=console, disable=not console.is_terminal):
        try:
            done.append(_predict_one(predictor, pair, folder / pair.name, options))
        except (UserError, RuntimeError, MemoryError) as error:  # out of memory is a RuntimeError in torch
            reason = " ".join(str(error).split()) or type(error).__name__
            failed.append({"frame0": pair.first, "frame1": pair.second, "error": reason})
    return done, failed


@dataclass
class Results:
    """Writes files into one folder and remembers each with what it holds, for meta.json."""

    folder: Path
    files: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def flow(
        self,
        flow: np.ndarray,
        valid: np.ndarray,
        formats: tuple[str, ...],
        max_motion: float | None,
    ) -> None:
        import numpy as np

        from leadline.colors import color_flow
        from leadline.data.formats.arrays import write_array
        from leadline.data.formats.flo import write_flo
        from leadline.data.formats.images import write_image
        from leadline.data.formats.kitti import write_kitti_flow

        if "flo" in formats:
            write_flo(self.folder / "flow.flo", flow, valid)
            self.files["flow.flo"] = "flow (u, v), px, float32; 1e10 where unknown"
        if "kitti" in formats:
            fits = valid & (np.abs(flow) < 511.5).all(2)
            if (valid & ~fits).any():
                self.warnings.append(
                    f"{int((valid & ~fits).sum())} pixels move by more than 511 px, which a 16-bit PNG cannot hold: "
                    "they are invalid in flow.png"
                )
            write_kitti_flow(self.folder / "flow.png", flow, fits)
            self.files["flow.png"] = "16-bit RGB: u, v as px x 64 + 2^15, 1 where valid"
        if "npz" in formats:
            write_array(self.folder / "flow.npz", flow=flow, valid=valid)
            self.files["flow.npz"] = "flow (h, w, 2), px, float32; valid (h, w)"
        write_image(self.folder / "flow_color.png", color_flow(flow, valid, max_motion))
        self.files["flow_color.png"] = "flow in Middlebury's colours; black where unknown"


def _predict_one(predictor: Predictor, pair: FramePair, folder: Path, options: Options) -> dict[str, Any]:
    """Reads a pair, predicts, writes the results and returns what meta.json says."""
    import numpy as np

    from leadline.data.formats.flo import write_flo
    from leadline.data.formats.images import write_image
    from leadline.files import write_whole
    from leadline.predict import predict_flow_checked

    frame0, frame1 = pair.read()
    results = Results(folder)
    start = time.perf_counter()
    checked = None
    if options.consistency or options.mask:
        checked = predict_flow_checked(predictor, frame0, frame1, options.threshold)
        flow = checked.flow
    else:
        flow = predictor.predict(frame0, frame1)
    seconds = time.perf_counter() - start
    valid = np.asarray(np.isfinite(flow).all(2))
    if options.mask and checked is not None:
        valid &= checked.consistent
    if not valid.any():
        results.warnings.append("no pixel has a valid flow")
    results.flow(flow, valid, options.formats, options.max_motion)
    if options.consistency and checked is not None:
        write_flo(folder / "flow_backward.flo", checked.backward)
        results.files["flow_backward.flo"] = "flow from the second frame to the first, px"
        write_image(folder / "consistent.png", checked.consistent.astype(np.uint8) * 255)
        results.files["consistent.png"] = "255 where flow and flow back agree, else 0"
        write_image(folder / "occluded.png", checked.occluded.astype(np.uint8) * 255)
        results.files["occluded.png"] = "255 where they do not agree, or the pixel leaves the frame"
    for warning in results.warnings:
        click.echo(f"leadline: warning: {pair.first}: {warning}", err=True)
    lengths = np.hypot(flow[..., 0], flow[..., 1])[valid]
    about = {
        "leadline": __version__,
        "model": predictor.name,
        "device": str(getattr(predictor, "device", "cpu")),
        "frame0": pair.first,
        "frame1": pair.second,
        "times": pair.times,
        "output": str(folder),
        "width": frame0.shape[1],
        "height": frame0.shape[0],
        "flow": {"unit": "px", "direction": "frame0 to frame1", "order": "u to the right, v down"},
        "valid": float(valid.mean()),
        "mean_motion": float(lengths.mean()) if lengths.size else None,
        "largest_motion": float(lengths.max()) if lengths.size else None,
        "consistent": None if checked is None else float(checked.consistent.mean()),
        "seconds": round(seconds, 4),
        "files": results.files,
        "warnings": results.warnings,
    }
    write_whole(folder / "meta.json", (json.dumps(about, indent=2) + "\n").encode())
    return about
