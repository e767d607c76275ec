"""Calibration files of rectified pairs: Middlebury's calib.txt, KITTI's projection matrices, JSON."""

from __future__ import annotations

import json
import math
import os
import re
from typing import Any, Literal

from leadline.data.formats.content import read_content
from leadline.errors import UserError
from leadline.geometry.camera import StereoCamera

Pair = Literal["grey", "color"]

# The keys of the left and right camera in KITTI's files (object and stereo 2012 style; 2015 and raw style).
_KITTI_KEYS: dict[Pair, tuple[tuple[str, str], ...]] = {
    "color": (("P2", "P3"), ("P_rect_02", "P_rect_03")),
    "grey": (("P0", "P1"), ("P_rect_00", "P_rect_01")),
}


def read_calib(path: str | os.PathLike) -> StereoCamera:
    """Reads a calibration file of any kind known here, told apart by its content.

    KITTI files with both pairs give the colour cameras' (a hundredth of difference in the baseline).

    Raises:
        UserError: none of Middlebury's, KITTI's or JSON with a focal length and a baseline.
    """
    text = _read_text(path)
    if text.lstrip().startswith("{"):
        return _parse_json(path, text)
    if "cam0" in text:
        return parse_middlebury_calib(text, path)
    for pair in _KITTI_KEYS:
        if _kitti_matrices(text, pair) is not None:
            return _parse_kitti(text, pair, path)
    raise UserError(f"{path}: not a calibration file: Middlebury's (cam0=...), KITTI's (P0: ...) and JSON are read")


def read_middlebury_calib(path: str | os.PathLike) -> StereoCamera:
    """Reads Middlebury's or ETH3D's calib.txt (cam0, cam1, doffs, baseline in mm).

    Format: https://vision.middlebury.edu/stereo/data/scenes2014/. Raises UserError where a value is missing.
    """
    return parse_middlebury_calib(_read_text(path), path)


def parse_middlebury_calib(text: str, path: str | os.PathLike = "calibration") -> StereoCamera:
    """The camera from calib.txt's text; `path` names it in errors. Without `doffs`, cam1's cx - cam0's is taken."""
    values = dict(re.findall(r"^\s*(\w+)\s*=\s*(.+?)\s*$", text, re.MULTILINE))
    if "cam0" not in values or "baseline" not in values:
        raise UserError(f"{path}: not a Middlebury calibration: it needs the lines cam0=... and baseline=...")
    left = _numbers(path, "cam0", values["cam0"], 9)
    if "doffs" in values:
        doffs = _numbers(path, "doffs", values["doffs"], 1)[0]
    elif "cam1" in values:
        doffs = _numbers(path, "cam1", values["cam1"], 9)[2] - left[2]
    else:
        doffs = 0.0
    millimetres = _numbers(path, "baseline", values["baseline"], 1)[0]
    return _camera(path, focal=left[0], baseline=millimetres / 1000, cx=left[2], cy=left[5], doffs=doffs)


def read_kitti_calib(path: str | os.PathLike, pair: Pair) -> StereoCamera:
    """Reads a KITTI calibration: P0..P3 (2012) or P_rect_00..P_rect_03 (2015, raw).

    Args:
        path: the file.
        pair: "grey" for cameras 0 and 1, "color" for 2 and 3.

    Raises:
        UserError: the pair's matrices are missing or damaged.
    """
    return _parse_kitti(_read_text(path), pair, path)


def camera_from_dict(values: dict[str, Any], path: str | os.PathLike = "calibration") -> StereoCamera | None:
    """The camera from a dictionary, None where the focal length or a baseline in metric units is not known.

    Keys: `focal` or `f` (px); `baseline` or `baseline_m` (m) or `baseline_mm`; optional `cx` or `cx0`, `cy`, `doffs`
    (px). Where `text` holds a calib.txt, that is read instead.
    """
    text = values.get("text")
    if isinstance(text, str) and "cam0" in text:
        return parse_middlebury_calib(text, path)
    focal = values.get("focal", values.get("f"))
    metres, millimetres = values.get("baseline", values.get("baseline_m")), values.get("baseline_mm")
    if focal is None or (metres is None and millimetres is None):
        return None
    return _camera(
        path,
        focal=focal,
        baseline=metres if metres is not None else _number(path, millimetres) / 1000,
        cx=values.get("cx", values.get("cx0")),
        cy=values.get("cy"),
        doffs=values.get("doffs") or 0.0,
    )


def read_projections(path: str | os.PathLike, keys: tuple[str, ...]) -> dict[str, list[float]]:
    """The numbers of those `KEY: number ...` lines of a KITTI-style file whose key is in `keys`."""
    lines = _key_lines(_read_text(path))
    return {key: _numbers(path, key, lines[key], None) for key in keys if key in lines}


def _parse_kitti(text: str, pair: Pair, path: str | os.PathLike) -> StereoCamera:
    matrices = _kitti_matrices(text, pair)
    if matrices is None:
        wanted = " or ".join("/".join(keys) for keys in _KITTI_KEYS[pair])
        raise UserError(f"{path}: no {wanted} lines: name a KITTI calibration with the {pair} cameras")
    left, right = (_numbers(path, key, numbers, 12) for key, numbers in matrices)
    # P = K [I | t]: its fourth entry is -focal * (the camera's x in the reference camera's frame).
    focal = left[0]
    baseline = (left[3] - right[3]) / focal if focal else 0.0
    return _camera(path, focal=focal, baseline=baseline, cx=left[2], cy=left[6], doffs=right[2] - left[2])


def _kitti_matrices(text: str, pair: Pair) -> tuple[tuple[str, str], tuple[str, str]] | None:
    lines = _key_lines(text)
    for left, right in _KITTI_KEYS[pair]:
        if left in lines and right in lines:
            return (left, lines[left]), (right, lines[right])
    return None


def _key_lines(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\s*(\w+)\s*:\s*(.+?)\s*$", text, re.MULTILINE))


def _parse_json(path: str | os.PathLike, text: str) -> StereoCamera:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON (line {error.lineno}: {error.msg}): mend it") from error
    nested = next((values[key] for key in ("camera", "calib", "calibration") if values.get(key)), values)
    camera = camera_from_dict(nested, path) if isinstance(nested, dict) else None
    if camera is None:
        raise UserError(f"{path}: no calibration in it: give `focal` (px) and `baseline` (m)")
    return camera


def _numbers(path: str | os.PathLike, key: str, text: str, count: int | None) -> list[float]:
    try:
        numbers = [float(part) for part in re.split(r"[\s;,\[\]]+", text) if part]
    except ValueError:
        numbers = []
    if not numbers or (count is not None and len(numbers) != count):
        raise UserError(f"{path}: {key} is not {count or 'a list of'} numbers: mend the line")
    return numbers


def _camera(path: str | os.PathLike, focal: Any, baseline: Any, cx: Any, cy: Any, doffs: Any) -> StereoCamera:
    focal, baseline, doffs = (_number(path, value) for value in (focal, baseline, doffs))
    cx, cy = (None if value is None else _number(path, value) for value in (cx, cy))
    if focal <= 0 or baseline <= 0:
        raise UserError(
            f"{path}: focal length {focal:g} px and baseline {baseline:g} m must be positive: "
            "check the values and that left and right are not swapped"
        )
    return StereoCamera(focal=focal, baseline=baseline, cx=cx, cy=cy, doffs=doffs)


def _number(path: str | os.PathLike, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{path}: a calibration value is not a number, {value!r}: mend it")
    return number


def _read_text(path: str | os.PathLike) -> str:
    try:
        return read_content(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file: name a calibration file") from None
