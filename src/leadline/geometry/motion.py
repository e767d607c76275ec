"""Depth from optical flow and the motion of a camera: triangulation of every pixel, with its uncertainty.

A pinhole camera sees a point of frame 0 at x0 (px) and of frame 1 at x1 = x0 + flow. With x1 ~ K (R (z K^-1 x0) + t)
the point's depth z is one number and the flow are two: what lies along the epipolar line gives z, what lies across it
says how well flow and motion agree. The least-squares solution and its variance follow R. Hartley and A. Zisserman,
"Multiple View Geometry in Computer Vision", 2nd ed., chapters 9 and 12, in the parametrisation by inverse depth of
J. Civera et al., "Inverse Depth Parametrization for Monocular SLAM", T-RO 2008.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32

from leadline.errors import UserError


@dataclass(frozen=True)
class PinholeCamera:
    """A camera without distortion, of images of one size; all in px."""

    fx: float
    fy: float
    cx: float
    cy: float

    def matrix(self) -> Float[np.ndarray, "3 3"]:
        """K"""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])


@dataclass(frozen=True)
class Motion:
    """How points move from camera 0's coordinates (x right, y down, z forward) to camera 1's: X1 = R X0 + t."""

    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, 3]  # m; of unit length where `is_metric` is False
    is_metric: bool = True

    @staticmethod
    def between(pose0: Float[np.ndarray, "4 4"], pose1: Float[np.ndarray, "4 4"]) -> Motion:
        """From the poses of both cameras, each taking the camera's coordinates into the world's."""
        relative = np.linalg.inv(pose1) @ pose0
        return Motion(relative[:3, :3], relative[:3, 3])

    @property
    def angle(self) -> float:
        """Of the rotation, degrees."""
        skew = self.rotation - self.rotation.T
        sine = np.linalg.norm([skew[2, 1], skew[0, 2], skew[1, 0]]) / 2
        return float(np.degrees(np.arctan2(sine, (np.trace(self.rotation) - 1) / 2)))


@dataclass(frozen=True)
class MotionDepth:
    """Depth of frame 0 and how far it is to be trusted. h, w are those of the flow."""

    depth: Float32[np.ndarray, "h w"]  # m (unit: the translation's length, where that is unknown); 0 where not valid
    valid: Bool[np.ndarray, "h w"]
    deviation: Float32[np.ndarray, "h w"]  # standard deviation of the depth, in its unit; inf where not valid
    parallax: Float32[np.ndarray, "h w"]  # px that translation alone moves the pixel by; 0 where not known
    residual: Float32[np.ndarray, "h w"]  # px, distance of the flow's end from the epipolar line
    low_parallax: Bool[np.ndarray, "h w"]  # too little parallax to tell the depth
    moving: Bool[np.ndarray, "h w"]  # does not fit the epipolar geometry: moves by itself, or the flow is wrong
    behind: Bool[np.ndarray, "h w"]  # would lie behind the camera, or beyond infinity


def depth_from_motion(
    flow: Float[np.ndarray, "h w 2"],
    camera: PinholeCamera,
    motion: Motion,
    valid: Bool[np.ndarray, "h w"] | None = None,
    flow_error: Float[np.ndarray, "h w"] | float = 0.5,
    min_parallax: float = 1.0,
    max_residual: float = 2.0,
) -> MotionDepth:
    """Triangulates every pixel of frame 0.

    The inverse depth r is the least-squares solution of the two equations that are linear in it,
    `(a + r b)_xy - x1 (a + r b)_z = 0` with a = K R K^-1 x0 and b = K t, each weighted so that its residual is in
    pixels of frame 1. One Gauss-Newton step with the true weights follows, which makes it the maximum-likelihood
    solution to first order.

    Args:
        flow: (u, v) from frame 0 to frame 1, px.
        camera: of both frames.
        motion: of the camera. Where its scale is unknown, so is the depth's.
        valid: where the flow is known, such as where it is consistent with the flow back; None: everywhere.
        flow_error: standard deviation of each component of the flow, px: one number, or one per pixel.
        min_parallax: px of motion by translation; below, the depth is not valid.
        max_residual: px from the epipolar line; above, the pixel counts as moving by itself.

    Raises:
        UserError: a motion without translation, which gives no parallax.
    """
    if not np.linalg.norm(motion.translation) > 0:
        raise UserError(
            "the camera does not move between the frames, so nothing has parallax: take frames farther apart"
        )
    height, width = flow.shape[:2]
    k = camera.matrix()
    known = np.isfinite(flow).all(2)
    if valid is not None:
        known &= valid
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    x1, y1 = x + np.where(known, flow[:, :, 0], 0), y + np.where(known, flow[:, :, 1], 0)
    a = np.einsum("ij,jhw->ihw", k @ motion.rotation @ np.linalg.inv(k), np.stack([x, y, np.ones_like(x)]))
    b = k @ motion.translation

    with np.errstate(all="ignore"):
        # residuals in px times the depth ratio s = a_z + r b_z; s is 1 at first
        e0 = np.stack([a[0] - x1 * a[2], a[1] - y1 * a[2]])
        e1 = np.stack([b[0] - x1 * b[2], b[1] - y1 * b[2]])
        inverse = -(e0 * e1).sum(0) / (e1 * e1).sum(0)
        # J: how the projection moves with the inverse depth, px per 1/m
        s, jacobian = _projection_rate(a, b, inverse)
        miss = np.stack([x1 - (a[0] + inverse * b[0]) / s, y1 - (a[1] + inverse * b[1]) / s])
        inverse = inverse + (jacobian * miss).sum(0) / (jacobian * jacobian).sum(0)
        s, jacobian = _projection_rate(a, b, inverse)
        landed = np.stack([(a[0] + inverse * b[0]) / s, (a[1] + inverse * b[1]) / s])
        miss = np.stack([x1, y1]) - landed
        rate = np.sqrt((jacobian * jacobian).sum(0))
        residual = np.abs(miss[0] * jacobian[1] - miss[1] * jacobian[0]) / rate
        rotated = a[:2] / a[2]
        parallax = np.hypot(*(np.stack([x1, y1]) - rotated))
        depth = 1 / inverse
        deviation = np.asarray(flow_error, np.float64) / rate * depth * depth
    in_front = (inverse > 0) & (s > 0)
    finite = known & np.isfinite(inverse) & np.isfinite(residual) & np.isfinite(parallax) & np.isfinite(deviation)
    low = finite & (parallax < min_parallax)
    moving = finite & (residual > max_residual)
    behind = finite & ~low & ~in_front
    good = finite & in_front & ~low & ~moving & (depth < np.finfo(np.float32).max) & (deviation < 1e30)
    return MotionDepth(
        depth=np.where(good, depth, 0).astype(np.float32),
        valid=good,
        deviation=np.where(good, deviation, np.inf).astype(np.float32),
        parallax=np.where(finite, parallax, 0).astype(np.float32),
        residual=np.where(finite, residual, 0).astype(np.float32),
        low_parallax=low,
        moving=moving,
        behind=behind,
    )


def _projection_rate(
    a: Float[np.ndarray, "3 h w"], b: Float[np.ndarray, 3], inverse: Float[np.ndarray, "h w"]
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "2 h w"]]:
    """Depth in frame 1 over that in frame 0, and the derivative of the projection by the inverse depth."""
    s = a[2] + inverse * b[2]
    jacobian = np.stack([(b[i] * a[2] - a[i] * b[2]) / (s * s) for i in range(2)])
    return s, jacobian


def flow_of_motion(
    depth: Float[np.ndarray, "h w"], camera: PinholeCamera, motion: Motion
) -> Float32[np.ndarray, "h w 2"]:
    """The flow that a still scene of this depth shows under the motion, px; NaN where depth or motion leave none.

    The inverse of `depth_from_motion`, and what stays of a flow after it is taken away moves by itself.
    """
    height, width = depth.shape
    k = camera.matrix()
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    a = np.einsum("ij,jhw->ihw", k @ motion.rotation @ np.linalg.inv(k), np.stack([x, y, np.ones_like(x)]))
    b = (k @ motion.translation)[:, None, None]
    with np.errstate(all="ignore"):
        there = a + b / depth
        known = np.isfinite(depth) & (depth > 0) & (there[2] > 0)
        flow = np.stack([there[0] / there[2] - x, there[1] / there[2] - y], -1)
    return np.where(known[..., None], flow, np.nan).astype(np.float32)


def estimate_motion(
    flow: Float[np.ndarray, "h w 2"],
    camera: PinholeCamera,
    valid: Bool[np.ndarray, "h w"] | None = None,
    rotation: Float[np.ndarray, "3 3"] | None = None,
    threshold: float = 1.0,
    points: int = 5000,
    seed: int = 0,
) -> tuple[Motion, float]:
    """The camera's motion from the flow alone, up to scale: the translation comes out with length 1.

    Without a rotation: the essential matrix by RANSAC (D. Nistér's five points, in OpenCV's
    `findEssentialMat` and `recoverPose`). With one, as a gyroscope measures it, the rotation is taken out and the
    translation is the direction that most pixels move away from, by RANSAC over pairs and least squares at the end.

    Args:
        rotation: X1 = R X0, known beforehand.
        threshold: px from the epipolar line for a pixel to agree.
        points: pixels that are looked at, drawn at random.

    Returns:
        the motion, not metric, and the share of the pixels looked at that agree with it.

    Raises:
        UserError: too few known pixels, or none that moves.
    """
    known = np.isfinite(flow).all(2)
    if valid is not None:
        known &= valid
    rows, columns = np.nonzero(known)
    if len(rows) < 100:
        raise UserError(f"only {len(rows)} pixels have a known flow: too few to estimate the camera's motion from")
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(rows), min(points, len(rows)), replace=False)
    rows, columns = rows[chosen], columns[chosen]
    first = np.stack([columns, rows], 1).astype(np.float64)
    second = first + flow[rows, columns]
    if np.median(np.hypot(*(second - first).T)) < 0.1:
        raise UserError("nothing moves between the frames (median flow below 0.1 px): take frames farther apart")
    if rotation is not None:
        return _translation_given_rotation(first, second, camera, rotation, threshold, rng)
    import cv2

    cv2.setRNGSeed(seed)
    k = camera.matrix()
    essential, inliers = cv2.findEssentialMat(first, second, k, cv2.RANSAC, 0.999, threshold)
    if essential is None or essential.shape != (3, 3):
        raise UserError("no camera motion explains the flow: too little moves, or everything moves by itself")
    share = float(inliers.mean())
    _, r, t, _ = cv2.recoverPose(essential, first, second, k, mask=inliers.copy())
    return Motion(r, t[:, 0] / np.linalg.norm(t), is_metric=False), share


def _translation_given_rotation(
    first: Float[np.ndarray, "n 2"],
    second: Float[np.ndarray, "n 2"],
    camera: PinholeCamera,
    rotation: Float[np.ndarray, "3 3"],
    threshold: float,
    rng: np.random.Generator,
) -> tuple[Motion, float]:
    inverse = np.linalg.inv(camera.matrix())
    ones = np.ones((len(first), 1))
    turned = np.hstack([first, ones]) @ inverse.T @ rotation.T
    rays = np.hstack([second, ones]) @ inverse.T
    normals = np.cross(turned, rays)  # t lies in every plane through both rays: t . normal = 0
    # |t . normal| over this is the distance of x1 from its epipolar line, in px to first order
    focal = 0.5 * (camera.fx + camera.fy)
    sizes = np.linalg.norm(normals, axis=1)

    def distance(t: Float[np.ndarray, 3]) -> Float[np.ndarray, " n"]:
        lines = np.cross(t, turned)  # epipolar lines in normalised coordinates
        length = np.maximum(np.hypot(lines[:, 0], lines[:, 1]), 1e-12)
        return focal * np.abs((lines * rays).sum(1)) / length

    usable = np.flatnonzero(sizes * focal > 0.3)
    if len(usable) < 50:
        raise UserError("after taking out the rotation nothing moves: the camera only turned, so there is no parallax")
    best, agreeing = None, -1
    for _ in range(300):
        pair = normals[rng.choice(usable, 2, replace=False)]
        t = np.cross(pair[0], pair[1])
        length = np.linalg.norm(t)
        if length < 1e-12:
            continue
        count = int((distance(t / length)[usable] < threshold).sum())
        if count > agreeing:
            best, agreeing = t / length, count
    if best is None:
        raise UserError("no direction of translation explains the flow: too little of the scene has parallax")
    for _ in range(3):
        inside = usable[distance(best)[usable] < threshold]
        unit = normals[inside] / np.maximum(sizes[inside, None], 1e-12)
        _, _, axes = np.linalg.svd(unit * np.minimum(sizes[inside, None] * focal, 20.0), full_matrices=False)
        best = axes[-1]
    # Of the two signs the one that puts points in front: turned * z + t ~ rays
    inside = usable[distance(best)[usable] < threshold]
    cross_t, cross_x = np.cross(rays[inside], best), np.cross(rays[inside], turned[inside])
    depth = -(cross_t * cross_x).sum(1)
    if (depth > 0).mean() < 0.5:
        best = -best
    return Motion(np.asarray(rotation, np.float64), best, is_metric=False), float(len(inside) / len(usable))


def rotation_from_gyro(
    times: Float[np.ndarray, " n"], rates: Float[np.ndarray, "n 3"], start: float, end: float
) -> Float[np.ndarray, "3 3"]:
    """R of X1 = R X0 from angular rates in the camera's axes, integrated from `start` to `end`.

    Args:
        times: s, increasing. Rates are interpolated linearly between them.
        rates: rad/s about x, y, z, as the camera turns.

    Raises:
        UserError: the measurements do not cover the time between the frames.
    """
    if len(times) < 2 or start < times[0] - 1e-9 or end > times[-1] + 1e-9 or not end > start:
        reach = f"{times[0]:.6f} to {times[-1]:.6f} s" if len(times) else "nothing"
        raise UserError(f"the gyroscope covers {reach}, not the frames at {start:.6f} and {end:.6f} s")
    inner = times[(times > start) & (times < end)]
    moments = np.concatenate([[start], inner, [end]])
    at = np.stack([np.interp(moments, times, rates[:, axis]) for axis in range(3)], 1)
    turned = np.eye(3)  # camera at t in the axes of the camera at start
    for i in range(len(moments) - 1):
        turned = turned @ rotation_matrix(0.5 * (at[i] + at[i + 1]) * (moments[i + 1] - moments[i]))
    return turned.T


def rotation_matrix(vector: Float[np.ndarray, 3]) -> Float[np.ndarray, "3 3"]:
    """By `|vector|` radians about its direction (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    sine = np.sinc(angle / np.pi)
    versine = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return np.eye(3) + sine * skew + versine * (skew @ skew)
