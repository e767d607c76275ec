"""`leadline interpolate A B`: frames between two images, or more frames for a folder or a video."""

from __future__ import annotations

import contextlib
import json
import time as clock
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leadline.errors import UserError

if TYPE_CHECKING:  # heavy imports stand in the functions, so that --help stays quick
    from leadline.predict import Predictor

MODEL = "plumb-frame"


@click.command("interpolate")
@click.argument("first", metavar="A")
@click.argument("second", metavar="[B]", required=False)
@click.option("-o", "--output", required=True, metavar="PATH", help="A folder; for a video, or one frame, a file.")
@click.option("-m", "--model", default=MODEL, show_default=True, help="A name of `leadline models`, or a file.")
@click.option("-t", "--times", metavar="T,T,...", help="When the new frames are: 0 is A, 1 is B [0.5].")
@click.option("--fps", metavar="Nx", help="Instead of -t: N times the frame rate, such as 2x or 4x.")
@click.option("--device", help="cpu, cuda, cuda:1; by default the GPU where there is one.")
@click.option("--cuts/--no-cuts", default=True, show_default=True, help="Repeat the frame before a scene cut.")
@click.option("--static/--no-static", default=True, show_default=True, help="Replace frames that are shown twice.")
@click.option("--codec", default="libx264", show_default=True, help="FFmpeg's encoder for a video.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def command(
    first: str,
    second: str | None,
    output: str,
    model: str,
    times: str | None,
    fps: str | None,
    device: str | None,
    cuts: bool,
    static: bool,
    codec: str,
    as_json: bool,
) -> None:
    """Make frames between frames.

    \b
    A B      two images: the new frames go to PATH, a folder (t0.250.png ...), or one image file
    A        a folder of frames, in the order of their names: all frames, old and new, go to the folder PATH
    A        a video: PATH is the new video, with the sound as it was (needs `pip install 'leadline[video]'`)

    A model that knows the middle alone is asked for middles of middles. In folders and videos scene cuts are found
    by the similarity of the frames; `--no-cuts` and `--no-static` switch off what is done about them.
    """
    from leadline.models.network import Task
    from leadline.video import is_video
    from leadline.zoo import load

    if times is not None and fps is not None:
        raise UserError("-t and --fps both say when the new frames are: give one of them")
    wanted = _times(times, fps)
    _check_inputs(first, second, times, output)
    predictor = load(model, device)
    if predictor.task is not Task.INTERPOLATION:
        raise UserError(f"{model} is for {predictor.task.value}: interpolate takes a model for interpolation")
    start = clock.perf_counter()
    if second is not None:
        done = _pair(predictor, Path(first), Path(second), Path(output), wanted)
    elif is_video(first) and not Path(first).is_dir():
        done = _video(predictor, first, output, len(wanted) + 1, cuts, static, codec)
    else:
        done = _folder(predictor, Path(first), Path(output), wanted, cuts, static)
    done |= {"model": predictor.name, "seconds": round(clock.perf_counter() - start, 3)}
    if as_json:
        click.echo(json.dumps(done, indent=2))
    else:
        found = "".join(f", {done[key]} {what}" for key, what in _REMARKS.items() if done.get(key))
        click.echo(f"{done['frames_out']} frames in {done['output']}{found} ({done['seconds']:.1f} s)")


_REMARKS = {"cuts": "scene cut(s)", "static": "frame(s) shown twice replaced"}


def _times(times: str | None, fps: str | None) -> list[float]:
    from leadline.predict.predictor import check_time

    if fps is not None:
        factor = fps.lower().removesuffix("x")
        if not factor.isdigit() or not 2 <= int(factor) <= 64:
            raise UserError(f"--fps {fps}: give a whole factor from 2x to 64x")
        return [k / int(factor) for k in range(1, int(factor))]
    try:
        found = [float(part) for part in (times or "0.5").split(",")]
    except ValueError:
        raise UserError(f"-t {times}: give numbers between 0 and 1 with commas, such as 0.25,0.5,0.75") from None
    for value in found:
        check_time(value)
    if sorted(set(found)) != found:
        raise UserError(f"-t {times}: give the times in growing order, each once")
    return found


def _check_inputs(first: str, second: str | None, times: str | None, output: str) -> None:
    from leadline.video import is_video

    one, two = Path(first), Path(second) if second is not None else None
    for path in (one, two):
        if path is not None and not path.exists():
            raise UserError(f"{path}: no such file or folder: check the path")
    if two is None:
        if one.is_file() and not is_video(one):
            raise UserError(f"{one}: one image alone has nothing to go to: name a second one, a folder or a video")
        if one.is_file() and times is not None:
            raise UserError("-t is for images and folders: a video takes --fps 2x")
        if one.is_dir() and Path(output).exists() and one.resolve() == Path(output).resolve():
            raise UserError(f"{output}: the frames are in there: choose another folder")
    elif one.is_dir() or two.is_dir() or is_video(one) or is_video(two):
        raise UserError("A and B are two images; a folder or a video is named alone")


def _pair(predictor: Predictor, first: Path, second: Path, output: Path, times: list[float]) -> dict[str, Any]:
    from leadline.data.formats.images import SUFFIXES, read_image, write_image
    from leadline.files import writable_folder
    from leadline.predict import frames_between

    images = read_image(first), read_image(second)
    single = output.suffix.lower() in SUFFIXES
    if single and len(times) > 1:
        raise UserError(f"{output}: is one file for {len(times)} frames: name a folder")
    places = [output] if single else [writable_folder(output) / f"t{time:.3f}.png" for time in times]
    if len(set(places)) < len(places):
        raise UserError("-t: times that agree in three digits would have the same file name: take them farther apart")
    for place, frame in zip(places, frames_between(predictor, *images, times), strict=True):
        write_image(place, frame)
    return {"frames_in": 2, "frames_out": len(times), "times": times, "output": str(output)}


def _folder(
    predictor: Predictor, folder: Path, output: Path, times: list[float], cuts: bool, static: bool
) -> dict[str, Any]:
    from leadline.data.datasets.files import images_in
    from leadline.data.formats.images import read_image, write_image
    from leadline.files import writable_folder
    from leadline.video import Gap, fill_gaps

    files = images_in(folder)
    if len(files) < 2:
        raise UserError(f"{folder}: holds {len(files)} image(s), and frames are made between two: add frames")
    target = writable_folder(output)
    written, gaps = 0, []
    with _bar() as tell:

        def frames() -> Iterator[Any]:
            size = None
            for number, path in enumerate(files, 1):
                image = read_image(path)
                if size not in (None, image.shape):
                    raise UserError(f"{path}: is {_size(image.shape)} and the frames before are {_size(size)}")
                size = image.shape
                tell(number, len(files))
                yield image

        for step in fill_gaps(predictor, frames(), times, cuts=cuts, static=static):
            gaps.append(step.gap)
            for frame in (step.frame, *step.between):
                write_image(target / f"{written:08d}.png", frame)
                written += 1
    return {
        "frames_in": len(files), "frames_out": written, "times": times, "output": str(output),
        "cuts": gaps.count(Gap.CUT), "static": gaps.count(Gap.STATIC),
    }  # fmt: skip


def _size(shape: Any) -> str:
    return f"{shape[1]}x{shape[0]}" + ("" if len(shape) == 3 else " grey")


def _video(
    predictor: Predictor, source: str, output: str, factor: int, cuts: bool, static: bool, codec: str
) -> dict[str, Any]:
    from leadline.video import interpolate_video

    with _bar() as tell:
        done = interpolate_video(
            predictor, source, output, factor, cuts=cuts, static=static, codec=codec, progress=tell
        )
    if done.left_out:
        click.echo(f"leadline: warning: {source}: {' and '.join(done.left_out)} streams were left out", err=True)
    return {
        "frames_in": done.frames_in, "frames_out": done.frames_out, "output": str(done.path),
        "rate_in": round(done.rate_in, 3), "rate_out": round(done.rate_out, 3),
        "cuts": done.cuts, "static": done.static, "audio_streams": done.audio_streams,
    }  # fmt: skip


@contextlib.contextmanager
def _bar() -> Iterator[Any]:
    """A function that is told (frames read, of how many); shows a bar on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    with Progress(console=console) as progress:
        task = progress.add_task("interpolating", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
