"""Pictures of procedural stereo scenes beside their disparity: layers, furnished rooms and streets, a row each.

    python benchmarks/scene_pictures.py [--seed 7]

Draws docs/images/scenes.jpg. Disparity is coloured from 0 to each scene's own largest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from leadline.colors import color_disparity
from leadline.data.procedural import SceneConfig, render_stereo
from leadline.files import write_whole

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "scenes.jpg"
SIZE = (192, 384)
ROWS = ({"furnished": 0.0}, {"furnished": 1.0}, {"outdoors": 1.0})
SCENES = range(3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    rows = [np.hstack(list(map(np.vstack, pictures(options.seed, shares)))) for shares in ROWS]
    encoded = cv2.imencode(".jpg", np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    print(write_whole(PICTURE, encoded.tobytes()))


def pictures(seed: int, shares: dict[str, float]) -> list[tuple[UInt8[np.ndarray, "h w 3"], ...]]:
    """Of each scene the left view and its disparity."""
    batch = render_stereo(seed, SCENES, SIZE, SceneConfig(low_light=0.0, greyscale=0.0, **shares))
    lefts = (batch.left.permute(0, 2, 3, 1) * 255).round().byte().numpy()
    return [
        (left, color_disparity(d, max_disparity=float(d.max())))
        for left, d in zip(lefts, batch.disparity[:, 0].numpy(), strict=True)
    ]


if __name__ == "__main__":
    main()
