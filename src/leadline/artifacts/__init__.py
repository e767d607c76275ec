"""Artifacts: exported models with their manifests, and the runtimes that run them."""

from leadline.artifacts.artifact import Artifact, is_artifact, load_artifact
from leadline.artifacts.manifest import Manifest
from leadline.artifacts.predictor import ArtifactPredictor

__all__ = ["Artifact", "ArtifactPredictor", "Manifest", "is_artifact", "load_artifact"]
