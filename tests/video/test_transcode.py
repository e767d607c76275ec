from fractions import Fraction

import numpy as np
import pytest
from video.clips import av, moving, read_clip, sound_packets, write_clip

from leadline import UserError
from leadline.classical_frames import ClassicalInterpolation
from leadline.video import interpolate_video

MEAN = ClassicalInterpolation("mean")


def psnr(one: np.ndarray, two: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - two.astype(float)) ** 2))


def test_twice_the_rate_with_the_sound_as_it_was(tmp_path):
    source = write_clip(tmp_path / "clip.mp4", moving(8), sound=True)
    told = []
    done = interpolate_video(MEAN, source, tmp_path / "new.mp4", 2, progress=lambda *n: told.append(n))
    before, times_before = read_clip(source)
    after, times = read_clip(tmp_path / "new.mp4")
    assert len(after) == done.frames_out == 15
    assert done.frames_in == 8
    assert done.rate_out == pytest.approx(2 * done.rate_in) == pytest.approx(20)
    assert times[::2] == pytest.approx(times_before)
    assert np.diff(times) == pytest.approx(0.05)
    for k, frame in enumerate(before):
        assert psnr(frame, after[2 * k]) > 38  # what the encoder leaves
    for k in range(7):
        assert psnr((before[k].astype(int) + before[k + 1]) / 2, after[2 * k + 1]) > 38
    assert sound_packets(tmp_path / "new.mp4") == sound_packets(source)
    assert done.audio_streams == 1
    assert told[-1] == (8, 8)


@pytest.mark.parametrize("matrix", [1, 5])  # ITU-R BT.709, BT.601
def test_colours_stay(tmp_path, matrix):
    frames = [(frame * [1.0, 0.6, 0.2]).astype(np.uint8) for frame in moving(3)]
    with av.open(str(tmp_path / "clip.mp4"), "w") as writer:
        stream = writer.add_stream("libx264", rate=10)
        stream.options = {"crf": "1"}
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.colorspace = matrix
        for image in frames:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            writer.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=matrix)))
        writer.mux(stream.encode(None))
    interpolate_video(MEAN, tmp_path / "clip.mp4", tmp_path / "new.mp4", 2)
    with av.open(str(tmp_path / "new.mp4")) as reader:
        assert reader.streams.video[0].codec_context.colorspace == matrix
    with av.open(str(tmp_path / "clip.mp4")) as one, av.open(str(tmp_path / "new.mp4")) as two:
        before, after = (next(reader.decode(video=0)).to_ndarray() for reader in (one, two))  # the stored Y, U, V
    for part in (slice(0, 48), slice(48, 60), slice(60, 72)):
        assert abs(before[part].astype(float).mean() - after[part].mean()) < 1.5


def test_a_variable_rate_stays_one(tmp_path):
    source = write_clip(tmp_path / "clip.mkv", moving(4), stamps=[0, 1, 4, 5])
    interpolate_video(MEAN, source, tmp_path / "new.mkv", 4)
    times = read_clip(tmp_path / "new.mkv")[1]
    expected = [0, 0.025, 0.05, 0.075, 0.1, 0.175, 0.25, 0.325, 0.4, 0.425, 0.45, 0.475, 0.5]
    assert times == pytest.approx(expected, abs=1.1e-3)  # Matroska counts milliseconds


def test_odd_sides(tmp_path):
    frames = moving(3, size=(48, 64))
    with av.open(str(tmp_path / "odd.mkv"), "w") as writer:
        stream = writer.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = 47, 63, "bgr0"
        for image in frames:
            writer.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:47, :63]), format="rgb24")))
        writer.mux(stream.encode(None))
    interpolate_video(MEAN, tmp_path / "odd.mkv", tmp_path / "new.mp4", 2)
    assert read_clip(tmp_path / "new.mp4")[0][0].shape == (47, 63, 3)


@pytest.mark.parametrize("count", [0, 1])
def test_videos_with_too_few_frames(tmp_path, count):
    source = write_clip(tmp_path / "clip.mkv", moving(count)) if count else tmp_path / "clip.mkv"
    if not count:
        write_clip(source, moving(2))
        source.write_bytes(source.read_bytes()[:600])  # the header alone
    with pytest.raises(UserError, match=r"single frame|no frame|not a readable") as error:
        interpolate_video(MEAN, source, tmp_path / "new.mkv", 2)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("*new*"))


@pytest.mark.parametrize(
    ("make", "target", "factor", "codec", "reason"),
    [
        (lambda path: None, "new.mp4", 2, "libx264", "no such video file"),
        (lambda path: path.write_bytes(b"not a video at all"), "new.mp4", 2, "libx264", "not a readable video"),
        (lambda path: write_clip(path, moving(3)), "new.txt", 2, "libx264", "names no container"),
        (lambda path: write_clip(path, moving(3)), "clip.mkv", 2, "libx264", "is the video itself"),
        (lambda path: write_clip(path, moving(3)), "new.mp4", 1, "libx264", "makes no new frames"),
        (lambda path: write_clip(path, moving(3)), "new.mp4", 2, "noodle", "no encoder noodle"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, make, target, factor, codec, reason):
    make(tmp_path / "clip.mkv")
    with pytest.raises(UserError, match=reason) as error:
        interpolate_video(MEAN, tmp_path / "clip.mkv", tmp_path / target, factor, codec=codec)
    assert "\n" not in str(error.value)


def test_frames_that_change_their_size(tmp_path):
    with av.open(str(tmp_path / "clip.mkv"), "w") as writer:
        stream = writer.add_stream("mjpeg", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        for k, size in enumerate([(48, 64), (48, 64), (32, 64)]):
            # Motion JPEG carries its size in every picture, as some cameras' files do.
            coder = av.CodecContext.create("mjpeg", "w")
            coder.height, coder.width, coder.pix_fmt, coder.time_base = *size, "yuvj420p", Fraction(1, 10)
            frame = av.VideoFrame.from_ndarray(moving(1, size)[0], format="rgb24").reformat(format="yuvj420p")
            frame.pts = k
            for packet in [*coder.encode(frame), *coder.encode(None)]:
                packet.stream, packet.pts, packet.dts = stream, k, k
                writer.mux(packet)
    with pytest.raises(UserError, match="change from 64x48 to 64x32"):
        interpolate_video(MEAN, tmp_path / "clip.mkv", tmp_path / "new.mp4", 2)
    assert not list(tmp_path.glob("*new*"))
