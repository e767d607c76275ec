"""Each block on each target, by doing it: does it convert, does it say the same, how fast is it?"""

from __future__ import annotations

import csv
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from leadline.artifacts.runtimes import Session, open_session
from leadline.blocks.block import Block
from leadline.blocks.catalogue import find_block
from leadline.blocks.wrapped import WrappedBlock
from leadline.data.sample import Sample
from leadline.deploy.export import TARGETS, export
from leadline.errors import UserError, unknown_name
from leadline.files import write_whole
from leadline.predict.predictor import VIEWS

CHANNELS = 32
SIZE = (32, 48)  # (h, w) of the images, px: those of a feature map
LIMITS = {"float32": 1e-3, "float16": 1e-2, "bfloat16": 0.02, "int8": 0.05}  # of the error, by precision
REFERENCE = "conv-3x3"
FEWEST = 0.05  # of the reference's MACs, below which a time per MAC says nothing
PICTURES = 4  # images for the ranges of int8, and as many others to compare on
ROUNDS, LONGEST = 15, 1.0  # timed runs, in turns with the reference's; seconds after which 3 have to do

AGREES, DIFFERS, REFUSED = "agrees", "differs", "does not go"


@dataclass(frozen=True)
class Entry:
    """A block on a target. None: not known."""

    block: str
    family: str
    target: str
    macs: int
    parameters: int
    result: str = REFUSED  # AGREES, DIFFERS or REFUSED
    error: float | None = None  # mean |difference| over the standard deviation of what PyTorch gives
    reason: str = ""  # why it does not go, or differs
    milliseconds: float | None = None  # of the fastest run
    of_plain: float | None = None  # over a plain 3x3 convolution's of equal MACs; None where it has hardly any
    of_same_shape: float | None = None  # over a plain 3x3 convolution's with the same channels


def measure(
    blocks: Iterable[str],
    targets: Iterable[str],
    known: Iterable[Entry] = (),
    progress: Callable[[Entry], None] = lambda entry: None,
    threads: int = 1,
    times: bool = True,
) -> list[Entry]:
    """The entries of blocks x targets, those in `known` taken over and not measured again.

    Args:
        blocks: names.
        targets: names, as of `leadline export`.
        times: measure latencies too; what is known without one is then measured again.
        progress: called with each new entry.

    Raises:
        UserError: an unknown block or target.
    """
    chosen, targets = [find_block(name) for name in blocks], list(targets)
    for target in targets:
        if target not in TARGETS:
            raise unknown_name("target", target, list(TARGETS))
    entries = {(entry.block, entry.target): entry for entry in known}
    untimed = {key for key, entry in entries.items() if entry.result == AGREES and entry.milliseconds is None}
    for target in targets:
        reference: Session | str | None = None
        for block in chosen:
            if (block.name, target) in entries and not (times and (block.name, target) in untimed):
                continue
            with tempfile.TemporaryDirectory() as place:
                if reference is None:
                    reference = _reference(target, Path(place), threads) if times else "not timed"
                entry = _measure(block, target, Path(place), reference, threads)
            entries[block.name, target] = entry
            progress(entry)
    return list(entries.values())


def _measure(block: Block, target: str, place: Path, reference: Session | str, threads: int) -> Entry:
    network = WrappedBlock(block, CHANNELS).eval()
    macs = round(block.macs(CHANNELS, *SIZE))
    parameters = sum(parameter.numel() for parameter in network.block.parameters())
    entry = Entry(block.name, block.family, target, macs, parameters)
    try:
        session = _session(network, target, place, threads)
        error = _error(session, network)
    except Exception as reason:  # a converter may fail in any way of its own: that is what is asked
        return replace(entry, reason=_one_line(reason))
    limit = LIMITS[TARGETS[target].precision]
    if error is None:
        return replace(entry, result=DIFFERS, reason="values that are not finite")
    if error > limit:
        return replace(entry, result=DIFFERS, error=error, reason=f"error {error:.2g}, at most {limit:g} is allowed")
    entry = replace(entry, result=AGREES, error=error)
    if isinstance(reference, str):
        return entry
    seconds, plain = _time(session, reference, _pictures(len(VIEWS[network.task]), 1)[0], threads)
    share = macs / find_block(REFERENCE).macs(CHANNELS, *SIZE)
    of_plain = seconds / (plain * share) if share >= FEWEST else None
    return replace(entry, milliseconds=seconds * 1000, of_plain=of_plain, of_same_shape=seconds / plain)


def _reference(target: str, place: Path, threads: int) -> Session | str:
    """The plain convolution on this target, or why it does not go."""
    try:
        return _session(WrappedBlock(find_block(REFERENCE), CHANNELS).eval(), target, place / "reference", threads)
    except Exception as reason:
        return _one_line(reason)


def _session(network: WrappedBlock, target: str, place: Path, threads: int) -> Session:
    """The block, converted, in its runtime."""
    calibration = [
        Sample(f"noise{i}", tuple(_as_stored(image) for image in images))
        for i, images in enumerate(_pictures(len(VIEWS[network.task]), PICTURES, seed=1))
    ]
    artifact = export(network, target, place, SIZE, verify_on=None, calibrate_on=calibration, threads=threads)
    return open_session(artifact.manifest.target, artifact.folder, artifact.manifest, threads)


def _pictures(views: int, count: int, seed: int = 0) -> list[tuple[np.ndarray, ...]]:
    """Images (1, 3, h, w) in [0, 1] of smooth noise, as the converters and runtimes take them."""
    generator = torch.Generator().manual_seed(seed)
    pictures = []
    for _ in range(count):
        coarse = torch.rand(views, 3, SIZE[0] // 4, SIZE[1] // 4, generator=generator)
        fine = torch.nn.functional.interpolate(coarse, size=SIZE, mode="bilinear", align_corners=False)
        stored = (fine * 255).round() / 255
        pictures.append(tuple(image[None].numpy() for image in stored))
    return pictures


def _as_stored(image: np.ndarray) -> np.ndarray:
    return (image[0].transpose(1, 2, 0) * 255).round().astype(np.uint8)


def _error(session: Session, network: WrappedBlock) -> float | None:
    """The mean difference over the standard deviation of what is expected; None where a value is not finite."""
    difference, expected = [], []
    for images in _pictures(len(VIEWS[network.task]), PICTURES):
        with torch.inference_mode():
            wanted = network(*(torch.from_numpy(image) for image in images)).numpy()
        found = session(*images)
        if found.shape != wanted.shape:
            raise UserError(f"gives the shape {found.shape}, not {wanted.shape}")
        difference.append(np.abs(found.astype(np.float64) - wanted).ravel())
        expected.append(wanted.ravel())
    if not np.isfinite(np.concatenate(difference)).all():
        return None
    return float(np.concatenate(difference).mean() / max(np.concatenate(expected).std(), 1e-12))


def _time(session: Session, reference: Session, images: tuple[np.ndarray, ...], threads: int) -> tuple[float, float]:
    """Seconds of the fastest run of both, taking turns, so that what else the machine does disturbs both alike."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        repeats = _repeats(session, images), _repeats(reference, images[:1])
        seconds: tuple[list[float], list[float]] = ([], [])
        start = time.perf_counter()
        for taken in range(ROUNDS):
            if taken >= 3 and time.perf_counter() - start > LONGEST:
                break
            for run, given, count, found in zip(
                (session, reference), (images, images[:1]), repeats, seconds, strict=True
            ):
                begun = time.perf_counter()
                for _ in range(count):
                    run(*given)
                found.append((time.perf_counter() - begun) / count)
    finally:
        torch.set_num_threads(before)
    return min(seconds[0]), min(seconds[1])


def _repeats(run: Session, images: tuple[np.ndarray, ...]) -> int:
    """How many runs take about 5 ms; the first run is not counted."""
    run(*images)
    start = time.perf_counter()
    run(*images)
    return max(1, min(50, round(0.005 / max(time.perf_counter() - start, 1e-6))))


def _one_line(reason: BaseException) -> str:
    """What went wrong, short enough for a table, without the places of this machine and of the block."""
    text = " ".join(str(reason).split())
    text = re.sub(r"^block-\S+: (not for Caffe: )?((block|forward)[\w.]*: )?", "", text)
    text = re.sub(r" \(and \d+ more places?\)", "", text)
    words = [word.rsplit("/", 1)[-1] if word.count("/") > 1 else word for word in text.split(" ")]
    text = " ".join(words) or type(reason).__name__
    return text if len(text) <= 160 else text[:157] + "..."


def read_entries(path: str | os.PathLike) -> list[Entry]:
    """The entries of a CSV that `write_entries` made. Raises UserError where it is none."""
    kinds = {field.name: field.type for field in fields(Entry)}
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [Entry(**{name: _value(str(kinds[name]), text) for name, text in row.items()}) for row in rows]
    except (OSError, ValueError, TypeError, KeyError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a matrix of blocks ({error}): name another file, or remove it") from error


def _value(kind: str, text: str) -> Any:
    if kind == "str":
        return text
    if kind == "int":
        return int(text)
    return float(text) if text else None


def write_entries(path: str | os.PathLike, entries: Iterable[Entry]) -> Path:
    """Writes entries as CSV, in the catalogue's order, whole or not at all."""
    from io import StringIO

    text = StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Entry)], lineterminator="\n")
    writer.writeheader()
    for entry in entries:
        row = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in asdict(entry).items()}
        writer.writerow({key: "" if value is None else value for key, value in row.items()})
    write_whole(Path(path), text.getvalue().encode())
    return Path(path)
