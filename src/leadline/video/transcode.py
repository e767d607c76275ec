"""A video file with more frames: pictures are decoded, interpolated and encoded, the sound is copied as it is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from leadline.artifacts.runtimes import need
from leadline.errors import UserError
from leadline.predict import Predictor
from leadline.video.sequence import Gap, Step, fill_gaps

CODEC = "libx264"
QUALITY = {"crf": "16", "preset": "medium"}  # of libx264 and libx265: hardly any visible loss
CONTAINERS = (".mp4", ".mkv", ".mov", ".avi", ".webm")

Progress = Callable[[int, int | None], None]  # frames read, of how many where that is known


@dataclass(frozen=True)
class Transcoded:
    """What was done."""

    path: Path
    frames_in: int
    frames_out: int
    rate_in: float  # frames per second, on average
    rate_out: float
    cuts: int
    static: int
    audio_streams: int
    left_out: list[str]  # kinds of streams that were not copied


def is_video(path: str | os.PathLike) -> bool:
    """Whether the name is that of a video file."""
    return Path(path).suffix.lower() in (*CONTAINERS, ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".gif")


def interpolate_video(
    predictor: Predictor,
    source: str | os.PathLike,
    target: str | os.PathLike,
    factor: int,
    *,
    cuts: bool = True,
    static: bool = True,
    codec: str = CODEC,
    progress: Progress | None = None,
) -> Transcoded:
    """Writes `source` with `factor` times the frame rate.

    New frames stand evenly between the frames' own time stamps, so that a variable frame rate stays one and sound
    stays in step. Pictures pass through 8-bit RGB. Sound is copied packet by packet, subtitles and data are left out.

    Args:
        predictor: for interpolation.
        source: any file with a video stream that FFmpeg reads.
        target: its suffix names the container; a file that is there is replaced once the new one is whole.
        factor: 2 and more.
        cuts, static: as for `fill_gaps`.
        codec: an encoder of FFmpeg's.

    Raises:
        UserError: no readable video, fewer than two frames, frames that change their size, a container or encoder
            that cannot be written, or PyAV is missing.
    """
    av = need("av", "video")
    source, target = Path(source), Path(target)
    if factor < 2:
        raise UserError(f"a factor of {factor} makes no new frames: give 2 or more")
    if target.suffix.lower() not in CONTAINERS:
        raise UserError(f"{target}: the suffix names no container that is written: {', '.join(CONTAINERS)}")
    if codec not in av.codecs_available:
        raise UserError(f"this FFmpeg has no encoder {codec}: try mpeg4")
    if not source.is_file():
        raise UserError(f"{source}: no such video file")
    if target.exists() and target.resolve() == source.resolve():
        raise UserError(f"{target}: is the video itself: write to another file")
    temporary = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _opened(av, source) as reader, av.open(os.fspath(temporary), "w") as writer:
            done = _transcode(av, reader, writer, predictor, factor, cuts, static, codec, progress, source)
        os.replace(temporary, target)
    except av.error.FFmpegError as error:
        raise UserError(f"{source}: cannot be turned into {target} ({error.strerror or error})") from error
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror}): choose another place") from error
    finally:
        temporary.unlink(missing_ok=True)
    return Transcoded(target, *done)


def _opened(av: Any, source: Path) -> Any:
    try:
        reader = av.open(os.fspath(source))
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(f"{source}: not a readable video ({error.strerror}): copy it again") from error
    if not reader.streams.video:
        reader.close()
        raise UserError(f"{source}: holds no video stream")
    return reader


class _Output:
    """The new file: encodes pictures as they come, and passes sound on."""

    def __init__(self, av: Any, reader: Any, writer: Any, factor: int, codec: str):
        self.av, self.writer, self.factor = av, writer, factor
        self.source = reader.streams.video[0]
        rate = self.source.average_rate or self.source.guessed_rate or Fraction(25)
        self.rate = Fraction(rate)
        self.time_base = Fraction(self.source.time_base) / factor
        self.stream = writer.add_stream(codec, rate=self.rate * factor)
        if codec in ("libx264", "libx265"):
            self.stream.options = dict(QUALITY)
        self.sound = {stream.index: writer.add_stream_from_template(stream) for stream in reader.streams.audio}
        self.waiting: list[Any] | None = []  # sound that comes before the first picture; None: all is set up
        self.pictures = 0
        self.last = -1

    def start(self, frame: Any) -> None:
        """Takes size and colours over from the first picture."""
        context = self.stream.codec_context
        if frame.width % 2 or frame.height % 2:  # 4:2:0 needs even sides
            self.stream.pix_fmt = "yuv444p"
        else:
            self.stream.pix_fmt = "yuv420p"
        self.stream.width, self.stream.height = frame.width, frame.height
        context.time_base = self.time_base
        self.stream.time_base = self.time_base
        for name in ("color_range", "color_primaries", "color_trc", "colorspace"):
            setattr(context, name, getattr(self.source.codec_context, name))
        if self.source.sample_aspect_ratio:
            context.sample_aspect_ratio = self.source.sample_aspect_ratio
        early, self.waiting = self.waiting or [], None
        for packet in early:
            self.writer.mux(packet)

    def pass_on(self, packet: Any) -> None:
        """A packet of sound, as it is."""
        packet.stream = self.sound[packet.stream.index]
        if self.waiting is None:
            self.writer.mux(packet)
        else:
            self.waiting.append(packet)

    def picture(self, image: np.ndarray, time: Fraction) -> None:
        """`time` in ticks of the source's time base."""
        frame = self.av.VideoFrame.from_ndarray(image, format="rgb24")
        frame = frame.reformat(format=self.stream.pix_fmt, dst_colorspace=self.source.codec_context.colorspace)
        # Time stamps must grow, also where the source repeats one.
        frame.pts = self.last = max(int(time * self.factor), self.last + 1)
        frame.time_base = self.time_base
        self.pictures += 1
        self.writer.mux(self.stream.encode(frame))

    def finish(self) -> None:
        self.writer.mux(self.stream.encode(None))


def _transcode(
    av: Any,
    reader: Any,
    writer: Any,
    predictor: Predictor,
    factor: int,
    cuts: bool,
    static: bool,
    codec: str,
    progress: Progress | None,
    source: Path,
) -> tuple[int, int, float, float, int, int, int, list[str]]:
    output = _Output(av, reader, writer, factor, codec)
    total = output.source.frames or None
    stamps: list[int] = []
    pictures = _pictures(av, reader, output, stamps, source, lambda: progress and progress(len(stamps), total))
    gaps: Counter[Gap | None] = Counter()
    times = [k / factor for k in range(1, factor)]
    for step in fill_gaps(predictor, pictures, times, cuts=cuts, static=static):
        gaps[step.gap] += 1
        if step.number == 0 and step.gap is None:
            raise UserError(f"{source}: has a single frame, and nothing lies between")
        _write(output, step, stamps)
    if not stamps:
        raise UserError(f"{source}: holds no frame that can be decoded")
    output.finish()
    kinds = Counter(stream.type for stream in reader.streams)
    more_video = kinds.pop("video", 1) - 1
    left_out = sorted({kind for kind in kinds if kind != "audio"} | ({"video"} if more_video else set()))
    seconds = float((stamps[-1] - stamps[0]) * output.source.time_base) or 1.0
    rate = (len(stamps) - 1) / seconds
    return (
        len(stamps), output.pictures, rate, rate * factor, gaps[Gap.CUT], gaps[Gap.STATIC], len(output.sound), left_out,
    )  # fmt: skip


def _write(output: _Output, step: Step, stamps: list[int]) -> None:
    start = Fraction(stamps[step.number])
    output.picture(step.frame, start)
    if step.gap is not None:
        length = stamps[step.number + 1] - start
        for k, image in enumerate(step.between, 1):
            output.picture(image, start + length * k / output.factor)


def _pictures(
    av: Any, reader: Any, output: _Output, stamps: list[int], source: Path, tell: Callable[[], Any]
) -> Iterator[np.ndarray]:
    """The pictures, their time stamps noted; packets of sound are passed on in between."""
    size = None
    output.source.thread_type = "AUTO"
    for packet in reader.demux([output.source, *reader.streams.audio]):
        if packet.stream.index in output.sound:
            if packet.dts is not None:  # else it is the empty one at the end
                output.pass_on(packet)
            continue
        for frame in packet.decode():
            if size is None:
                size = frame.width, frame.height
                output.start(frame)
            elif (frame.width, frame.height) != size:
                raise UserError(
                    f"{source}: its frames change from {size[0]}x{size[1]} to {frame.width}x{frame.height}: "
                    "cut it where they do, and take the parts one by one"
                )
            after = stamps[-1] + 1 if stamps else 0
            stamps.append(frame.pts if frame.pts is not None and frame.pts >= after else after)
            tell()
            yield frame.to_ndarray(format="rgb24")
