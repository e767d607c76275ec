"""An exported model on disk: its folder and its manifest."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from leadline.artifacts.manifest import NAME, Manifest
from leadline.artifacts.predictor import ArtifactPredictor
from leadline.artifacts.runtimes import open_session


@dataclass(frozen=True)
class Artifact:
    """What `leadline.export` returns and `load_artifact` finds."""

    folder: Path
    manifest: Manifest

    @property
    def verified(self) -> bool:
        """Whether it was proven in its runtime and held the tolerance."""
        return self.manifest.verified

    def predictor(self, threads: int | None = None) -> ArtifactPredictor:
        """The model in its runtime, as a Predictor.

        Args:
            threads: for the runtime; None: its own choice.

        Raises:
            UserError: a file that is missing or not the exported one, a runtime that is not installed, or a model
                that the runtime refuses.
        """
        self.manifest.check_files(self.folder)
        session = open_session(self.manifest.target, self.folder, self.manifest, threads)
        return ArtifactPredictor(self.manifest, session, name=f"{self.manifest.network['name']} ({self.folder.name})")


def is_artifact(path: str | os.PathLike) -> bool:
    """Whether `path` is a folder with a manifest."""
    return (Path(path) / NAME).is_file()


def load_artifact(folder: str | os.PathLike) -> Artifact:
    """The artifact in `folder`. Raises UserError where there is none, or a newer leadline made it."""
    return Artifact(Path(folder), Manifest.read(Path(folder)))
