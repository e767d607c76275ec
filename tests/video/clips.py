"""Small video files made for the tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")

RATE = 10
SIZE = (48, 64)  # (h, w)


def moving(count: int, size: tuple[int, int] = SIZE, step: float = 2.0) -> list[np.ndarray]:
    """A smooth pattern that moves to the right by `step` px a frame."""
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]]
    frames = []
    for k in range(count):
        wave = 127 + 60 * np.sin((columns - step * k) / 5) + 50 * np.cos(rows / 7)
        frames.append(np.repeat(wave.round().astype(np.uint8)[..., None], 3, 2))
    return frames


def write_clip(path: Path, frames: list[np.ndarray], sound: bool = False, stamps: list[int] | None = None) -> Path:
    """A clip of 10 frames per second, with a tone if asked for."""
    with av.open(str(path), "w") as writer:
        video = writer.add_stream("libx264", rate=RATE)
        video.options = {"crf": "1"}
        if frames:
            video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = Fraction(1, RATE)
        audio = writer.add_stream("aac", rate=8000, layout="mono") if sound else None
        for k, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = k if stamps is None else stamps[k]
            frame.time_base = Fraction(1, RATE)
            writer.mux(video.encode(frame))
        writer.mux(video.encode(None))
        if audio is not None:
            tone = (0.3 * np.sin(np.arange(8000 * len(frames) // RATE) * 0.3)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            frame.sample_rate = 8000
            frame.pts = 0
            writer.mux(audio.encode(frame))
            writer.mux(audio.encode(None))
    return path


def read_clip(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """The frames and their times, s."""
    with av.open(str(path)) as reader:
        found = [(frame.to_ndarray(format="rgb24"), float(frame.time)) for frame in reader.decode(video=0)]
    return [image for image, _ in found], [time for _, time in found]


def sound_packets(path: Path) -> list[tuple[bytes, float]]:
    with av.open(str(path)) as reader:
        packets = [packet for packet in reader.demux(audio=0) if packet.size]
        return [(bytes(packet), float(packet.pts * packet.time_base)) for packet in packets]
