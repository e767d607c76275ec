"""Optical flow in whichever format: .flo, KITTI's PNG, Scene Flow's PFM, Spring's .flo5, .npz and .npy."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from leadline.data.formats.arrays import read_array
from leadline.data.formats.flo import read_flo
from leadline.data.formats.kitti import read_kitti_flow
from leadline.data.formats.pfm import read_pfm
from leadline.errors import UserError

SUFFIXES = (".npz", ".npy", ".flo", ".flo5", ".pfm", ".png")


def read_flow(path: str | os.PathLike) -> tuple[Float32[np.ndarray, "h w 2"], Bool[np.ndarray, "h w"]]:
    """Reads a flow map; the format is told by the suffix.

    Returns:
        Flow (u, v) in px, 0 where not valid, and validity: in arrays what is finite, in the others as they encode it.

    Raises:
        UserError: a suffix that holds no flow, a damaged file, or one of another shape.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".flo":
        return read_flo(path)
    if suffix == ".png":
        return read_kitti_flow(path)
    if suffix == ".pfm":
        flow, _ = read_pfm(path)
    elif suffix in (".npz", ".npy"):
        flow = read_array(path, default="flow")
    elif suffix == ".flo5":
        flow = _read_flo5(path)
    else:
        raise UserError(f"{path}: flow is read from {', '.join(SUFFIXES)}: convert it")
    if flow.ndim == 3 and flow.shape[0] == 2 and flow.shape[2] != 2:
        flow = flow.transpose(1, 2, 0)
    if flow.ndim != 3 or flow.shape[2] not in (2, 3) or flow.dtype.kind != "f":
        shape = "x".join(map(str, flow.shape))
        raise UserError(f"{path}: holds {flow.dtype} values of shape {shape}; a flow is float (h, w, 2)")
    flow = flow[:, :, :2].astype(np.float32)  # Scene Flow's third channel is empty
    valid = np.isfinite(flow).all(2) & (np.abs(np.nan_to_num(flow)).max(axis=2) < 1e9)
    return np.where(valid[..., None], flow, np.float32(0)), valid


def _read_flo5(path: str | os.PathLike) -> np.ndarray:
    """HDF5 with one array, "flow"."""
    try:
        import h5py
    except ImportError:
        raise UserError(f"{path}: .flo5 files need h5py: pip install 'leadline[hdf5]'") from None
    try:
        with h5py.File(path, "r") as file:
            if "flow" not in file:
                raise UserError(f"{path}: holds no array named flow: is it another file of the data set?")
            return np.asarray(file["flow"])
    except OSError as error:
        raise UserError(f"{path}: damaged or no HDF5 file ({str(error).splitlines()[0]}): copy it again") from error
