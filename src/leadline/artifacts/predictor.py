"""An exported model as a Predictor."""

from __future__ import annotations

import numpy as np

from leadline.artifacts.manifest import Manifest
from leadline.artifacts.runtimes import Session
from leadline.errors import UserError
from leadline.models.network import Task
from leadline.predict.predictor import TIME
from leadline.predict.tiled import MAX_AREA, ROW_OVERLAP, TiledPredictor, one_piece
from leadline.predict.tiles import Span, spans, tile_grid


class ArtifactPredictor(TiledPredictor):
    """Runs an artifact on images of any size.

    A model of fixed size sees smaller images padded, larger ones as overlapping tiles of its size; one of free size
    is used as its network would be.
    """

    def __init__(self, manifest: Manifest, session: Session, name: str, max_area: int = MAX_AREA):
        self.manifest = manifest
        self.session = session
        self.task = manifest.task
        self.takes_time = TIME in manifest.inputs
        self.name = name
        self.max_disparity = manifest.max_disparity
        self.max_area = max_area

    def _padded_size(self, height: int, width: int) -> tuple[int, int]:
        return self.manifest.padded_size(height, width)

    def _tiles(self, height: int, width: int) -> list[tuple[Span, Span]]:
        if self.task is Task.MONO:
            return one_piece(self.name, (height, width), self.manifest.size)
        multiple = self.manifest.size_multiple
        overlap = (ROW_OVERLAP, 2 * ((self.manifest.max_disparity or 0) + ROW_OVERLAP))
        if self.manifest.size is None:
            return tile_grid((height, width), self._area_for(height, width), overlap, multiple)
        model_height, model_width = self.manifest.size
        rows = self._spans("height", height, model_height, overlap[0], multiple)
        columns = self._spans("width", width, model_width, overlap[1], multiple)
        return [(row, column) for row in rows for column in columns]

    def _spans(self, side: str, length: int, tile: int, overlap: int, multiple: int) -> list[Span]:
        if length > tile and tile < overlap + multiple:
            raise UserError(
                f"{self.name}: an image of {side} {length} exceeds the model's {tile} px, and tiles of {tile} px "
                f"cannot share the {overlap} px that a match may need: export it with --dynamic or a larger --size"
            )
        return spans(length, tile, overlap, multiple)

    def _run(self, *images: np.ndarray, time: float | None = None) -> np.ndarray:
        more = [np.full((1, 1, 1, 1), 0.5 if time is None else time, np.float32)] if self.takes_time else []
        try:
            found = self.session(*images, *more)
        except UserError:
            raise
        except Exception as error:  # each runtime has its own
            line = (str(error).strip() or type(error).__name__).splitlines()[0]
            height, width = images[0].shape[2:]
            raise UserError(
                f"{self.name}: its runtime fails on images of {height}x{width} ({line}): export the model again"
            ) from error
        if found.shape[2:] != images[0].shape[2:]:
            raise UserError(
                f"{self.name}: gives {found.shape} for images of {images[0].shape}: the model is not the one of its "
                "manifest: export it again"
            )
        return found
