"""Which parts a network is made of, by name."""

from __future__ import annotations

from dataclasses import dataclass

from leadline.errors import UserError, unknown_name

KINDS = {
    "conv": ("plain", "separable", "factorised", "grouped", "dilated", "deformable-v1", "deformable", "partial",
             "binary"),
    "residual": ("basic", "bottleneck", "pre-activation", "inverted", "shuffle-v1", "shuffle-v2", "dilated", "binary"),
    "attention": ("none", "se", "cbam", "non-local", "windowed", "epipolar"),
    "context": ("none", "aspp", "pyramid", "strip", "global", "transformer", "rnn", "gru", "lstm"),
    "down": ("stride", "max", "average", "blur", "soft", "stochastic", "generalised-mean", "unshuffle", "shuffle-v2"),
    "up": ("bilinear", "deconvolution", "resize-conv", "pixel-shuffle", "unpool"),
    "volume": ("correlation", "concatenation"),
    "filter": ("plane", "conv3d", "separable", "factorised", "hourglass", "hourglass-resize"),
    "norm": ("batch", "frozen", "group", "layer", "instance"),
    "dropout": ("none", "element", "spatial", "block", "depth"),
    "neuron": ("relu", "lif", "if"),
    "coding": ("direct", "rate", "latency"),
}  # fmt: skip


@dataclass(frozen=True)
class Parts:
    """Kinds of parts; KINDS lists what each may be. The first of each is what networks are made of unless told.

    Raises:
        UserError: a kind that is not known, or parts that do not go together.
    """

    conv: str = "plain"  # 3x3 convolutions; see `conv_unit`
    residual: str = "basic"  # residual units; "basic" is made of two convolutions of the kind above
    attention: str = "none"  # after the residual units at 1/8 and 1/16; "epipolar": between the views' features at 1/8
    context: str = "none"  # far sight at 1/16
    down: str = "stride"  # halving: a strided convolution, or pooling before it
    up: str = "bilinear"  # doubling of features
    volume: str = "correlation"  # the coarse cost volume
    filter: str = "plane"  # what cleans it
    norm: str = "batch"
    dropout: str = "none"  # in the residual units; "depth": stochastic depth
    drop: float = 0.1  # probability of the dropout
    neuron: str = "relu"  # of the encoder; "lif": leaky integrate-and-fire, "if": what conversion makes of a ReLU
    time_steps: int = 4  # of spiking neurons
    coding: str = "direct"  # how an image becomes a spiking encoder's input

    def __post_init__(self) -> None:
        for field, kinds in KINDS.items():
            if getattr(self, field) not in kinds:
                raise unknown_name(f"kind of {field}", str(getattr(self, field)), list(kinds))
        if not 0 <= self.drop < 1:
            raise UserError(f"drop is a probability from 0 to below 1, not {self.drop}")
        if self.neuron != "relu" and not 1 <= self.time_steps <= 256:
            raise UserError(f"time_steps {self.time_steps}: take 1 to 256")
        if self.neuron != "relu" and self.attention == "epipolar":
            raise UserError("attention epipolar joins the views where spikes still run: take another, or neuron relu")
