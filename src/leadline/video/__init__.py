"""More frames for sequences: which gaps to fill, and video files with their sound."""

from leadline.video.sequence import Gap, fill_gaps, similarity
from leadline.video.transcode import Transcoded, interpolate_video, is_video

__all__ = ["Gap", "Transcoded", "fill_gaps", "interpolate_video", "is_video", "similarity"]
