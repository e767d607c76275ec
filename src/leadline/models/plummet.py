"""plummet: a compact stereo network made for int8 and for every target.

The left and right views share an encoder down to 1/8. Matching happens twice, by shifts alone: at 1/8, where a
small 3-D filter (written in 2-D) cleans the volume with the same weights at every disparity, and at 1/4, where
a 2-D hourglass with the disparities as channels, guided by the left view, adds what context tells. The scores of
all three are summed: what matches plainly passes straight through, and the hourglass only has to correct it.
Features of 1/2 then tell planes 2 px apart (`fine`), where the others alone would leave it to the scores of two planes
4 px apart to say where between them a surface lies.

Rules kept throughout, for NPUs and integer runtimes: BatchNorm after every convolution, ReLU, no 5-D tensor, no
gather, scatter or grid_sample. Learns from StereoNet (coarse 3-D filtering; Khamis et al., ECCV 2018), LightStereo
(2-D aggregation with disparities as channels; Guo et al., 2024), CoEx (guidance by the left view; Bangunharcana et
al., IROS 2021) and RAFT (convex upsampling).
Every kind of part can be exchanged for another of leadline.nn by name (`Parts`): the kind of convolution, of residual
unit, of attention, of the ways down and up, of normalisation and so on. What is said above holds for the defaults.
Two exchanges have names of their own: plummet-snn, whose encoder spikes, and plummet-b, whose 3x3 convolutions have
one bit. plummet-r and plummet-m give up the rule on grid_sample for a second look (`refine`, see `_plummet_refine`).
plummet-s and plummet-m enlarge the images first (`scale`).
Shapes: b batch, h w image, planes = max_disparity / 4.
"""

from dataclasses import dataclass
from fractions import Fraction

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from leadline.errors import UserError
from leadline.models._plummet_refine import Refinement
from leadline.models.network import Network, Task
from leadline.models.registry import register
from leadline.nn.conv import ConvBN, silent
from leadline.nn.convex_upsample import convex_upsample
from leadline.nn.correlation import correlation_volume
from leadline.nn.imagenet import ImageNetNormalize
from leadline.nn.plane_conv import PlaneConv
from leadline.nn.regression import local_soft_argmin, soft_argmin
from leadline.nn.resize import enlarge, reduce_disparity
from leadline.nn.spiking import decode_mean, direct_code, latency_code, rate_code
from leadline.nn.units import (
    Parts,
    attention_units,
    context_units,
    conv_unit,
    doubling,
    make_filter,
    residual_unit,
    swap_activations,
    swap_norms,
)
from leadline.nn.volumes import concatenation_volume


@dataclass(frozen=True)
class PlummetConfig(Parts):
    """Widths are channels at the resolution named; `Parts` has the kinds of the parts."""

    max_disparity: int = 192  # px, multiple of 8; what is larger, once images are at `scale`, cannot be predicted
    stem: int = 16  # at 1/2
    quarter: int = 32
    eighth: int = 48
    matching: int = 32  # channels that are correlated at 1/4
    fine: int = 0  # channels that are correlated there every 2 px; 0: every 4 px alone
    edge: bool = False  # whether correlations that the right view does not reach are their plane's nearest, not 0
    coarse_groups: int = 8  # groups of the correlation at 1/8
    coarse_layers: int = 2  # 3-D filter layers at 1/8, besides the last
    hidden_quarter: int = 48
    hidden_eighth: int = 64
    hidden_sixteenth: int = 96
    hidden_thirtysecond: int = 0  # 0: the hourglass ends at 1/16
    depth: int = 1  # residual units per stage
    refine: int = 0  # channels of a second look at 1/2, which needs grid_sample; 0: none
    looks: int = 1  # how often it looks that second time, each time at what it found before
    beside: bool = False  # whether the second look also tries its neighbours' disparities and the background's
    informed: bool = False  # whether the second look sees the hourglass's features
    scale: float = 1.0  # to how many times their size images are brought first; in training they stay as they are

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_disparity % 8 or not 16 <= self.max_disparity <= 1024:
            raise UserError(
                f"plummet: max_disparity {self.max_disparity} must be a multiple of 8 (whole planes at 1/8 "
                "resolution) from 16 to 1024"
            )
        if self.volume == "concatenation" and self.coarse_groups % 2:
            raise UserError(f"plummet: coarse_groups ({self.coarse_groups}) must be even for volume concatenation")
        if self.eighth % self.coarse_groups:
            raise UserError(
                f"plummet: eighth ({self.eighth}) must be a multiple of coarse_groups ({self.coarse_groups})"
            )
        for name in ("fine", "refine", "hidden_thirtysecond"):
            if getattr(self, name) < 0:
                raise UserError(f"plummet: {name} ({getattr(self, name)}) must be 0 or a number of channels")
        if self.looks < 1:
            raise UserError(f"plummet: looks ({self.looks}) must be 1 or more; refine: 0 is no second look")
        if not 1 <= self.scale <= 4:
            raise UserError(f"plummet: scale {self.scale:g} is outside 1..4")


class Encoder(nn.Module):
    """Features of one view at 1/4 and 1/8, and from those at 1/4 the ones that are matched."""

    def __init__(self, config: PlummetConfig):
        super().__init__()
        self.stem = ConvBN(3, config.stem, stride=2)
        self.quarter = nn.Sequential(
            conv_unit(config, config.stem, config.quarter, stride=2),
            *(residual_unit(config, config.quarter) for _ in range(config.depth - 1)),
            conv_unit(config, config.quarter, config.quarter),
        )
        self.eighth = nn.Sequential(
            conv_unit(config, config.quarter, config.eighth, stride=2),
            *(residual_unit(config, config.eighth) for _ in range(config.depth)),
            *attention_units(config, config.eighth, of_views=True),
        )
        self.down_to_quarter = ConvBN(config.eighth, config.quarter, kernel=1, relu=False)
        self.double_to_quarter = doubling(config, config.quarter)
        self.join = nn.ReLU()
        self.fuse = conv_unit(config, config.quarter, config.quarter)
        self.match_quarter = ConvBN(config.quarter, config.matching, kernel=1, relu=False)
        self.match_eighth = ConvBN(config.eighth, config.eighth, kernel=1, relu=False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        half = self.stem(image)
        quarter = self.quarter(half)
        eighth = self.eighth(quarter)
        fused = self.fuse(self.join(quarter + self.double_to_quarter(self.down_to_quarter(eighth), quarter)))
        return half, fused, eighth, self.match_quarter(fused), self.match_eighth(eighth)


class FineMatching(nn.Module):
    """Correlation every 2 px, though rows and columns stay at 1/4: the right view's columns are taken at 1/2.

    Odd columns are what the same convolution sees at even ones of the view moved by one: no stride that differs
    between rows and columns, and no slicing with steps, which targets do not know.
    """

    def __init__(self, config: PlummetConfig):
        super().__init__()
        self.planes, self.edge = config.max_disparity // 4, config.edge
        self.from_quarter = ConvBN(config.quarter, config.stem, kernel=1, relu=False)
        self.double_to_half = doubling(config, config.stem)
        self.join = nn.ReLU()
        self.at_half = conv_unit(config, config.stem, config.stem)
        self.describe = ConvBN(config.stem, config.fine, stride=2, relu=False)

    def forward(
        self, half: Float[Tensor, "b2 cs h2 w2"], quarter: Float[Tensor, "b2 cq h w"]
    ) -> tuple[Float[Tensor, "b p h w"], Float[Tensor, "b p h w"]]:
        """Correlations at 0, 4, 8 … px and at 2, 6, 10 … px; the batch holds left views, then right ones."""
        features = self.at_half(self.join(half + self.double_to_half(self.from_quarter(quarter), half)))
        left, right = features.chunk(2)
        before = right[..., :1] if self.edge else torch.zeros_like(right[..., :1])
        moved = torch.cat([before, right[..., :-1]], 3)
        left, even, odd = self.describe(torch.cat([left, right, moved])).chunk(3)
        even = correlation_volume(left, even, self.planes, edge=self.edge)
        return even, correlation_volume(left, odd, self.planes, edge=self.edge)


class CoarseFilter(nn.Module):
    """Cleans the grouped correlation at 1/8 along disparity and space; one score per plane."""

    def __init__(self, planes: int, groups: int, layers: int, kind: str = "plane"):
        super().__init__()
        self.layers = nn.ModuleList(make_filter(kind, planes, groups) for _ in range(layers))
        self.score = PlaneConv(planes, groups, 1, relu=False)

    def forward(self, volume: Float[Tensor, "b pg h w"]) -> Float[Tensor, "b p h w"]:
        for layer in self.layers:
            volume = volume + layer(volume)
        return self.score(volume)


class Farthest(nn.Module):
    """What 1/32 adds to features at 1/16, nothing before it has learned; their size need not be even."""

    def __init__(self, config: PlummetConfig):
        super().__init__()
        sixteenth, thirtysecond = config.hidden_sixteenth, config.hidden_thirtysecond
        self.pools = config.down != "stride"
        self.down = conv_unit(config, sixteenth, thirtysecond, stride=2)
        self.units = nn.Sequential(*(residual_unit(config, thirtysecond) for _ in range(config.depth + 1)))
        self.up = silent(ConvBN(thirtysecond, sixteenth, kernel=1, relu=False))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        height, width = x.shape[-2:]
        even = F.pad(x, (0, width % 2, 0, height % 2)) if self.pools else x  # a strided convolution does so itself
        more = _double(self.up(self.units(self.down(even))))
        return F.relu(x + more[..., :height, :width])


class Aggregation(nn.Module):
    """Hourglass over the scores at 1/4 with the left view's features beside them."""

    def __init__(self, config: PlummetConfig):
        super().__init__()
        planes, quarter, eighth, sixteenth = (
            config.max_disparity // 4,
            config.hidden_quarter,
            config.hidden_eighth,
            config.hidden_sixteenth,
        )
        fine_planes = 2 * planes if config.fine else 0
        self.enter = ConvBN(planes + config.quarter + fine_planes, quarter, kernel=1)
        self.down_eighth = conv_unit(config, quarter, eighth, stride=2)
        self.join_eighth = ConvBN(eighth + planes // 2 + config.eighth, eighth, kernel=1)
        self.at_eighth = _stage(config, eighth, config.depth)
        self.down_sixteenth = conv_unit(config, eighth, sixteenth, stride=2)
        self.at_sixteenth = _stage(config, sixteenth, config.depth + 1, *context_units(config, sixteenth))
        if config.hidden_thirtysecond:
            self.at_sixteenth.append(Farthest(config))
        self.up_eighth = ConvBN(sixteenth, eighth, kernel=1, relu=False)
        self.double_to_eighth = doubling(config, eighth)
        self.out_eighth = _stage(config, eighth, config.depth)
        self.up_quarter = ConvBN(eighth, quarter, kernel=1, relu=False)
        self.double_to_quarter = doubling(config, quarter)
        self.out_quarter = conv_unit(config, quarter, quarter)
        self.score = ConvBN(quarter, planes, relu=False)

    def forward(
        self,
        scores: Float[Tensor, "b p h w"],
        coarse: Float[Tensor, "b p2 h2 w2"],
        guide: Float[Tensor, "b cq h w"],
        guide_eighth: Float[Tensor, "b ce h2 w2"],
        fine: list[Float[Tensor, "b p h w"]],
    ) -> tuple[Float[Tensor, "b p h w"], Float[Tensor, "b hq h w"]]:
        """A correction per plane, and the features that it is read from."""
        quarter = self.enter(torch.cat([scores, guide, *fine], 1))
        eighth = self.join_eighth(torch.cat([self.down_eighth(quarter), coarse, guide_eighth], 1))
        eighth = self.at_eighth(eighth)
        sixteenth = self.at_sixteenth(self.down_sixteenth(eighth))
        eighth = self.out_eighth(F.relu(eighth + self.double_to_eighth(self.up_eighth(sixteenth), eighth)))
        quarter = self.out_quarter(F.relu(quarter + self.double_to_quarter(self.up_quarter(eighth), quarter)))
        return self.score(quarter), quarter


def _stage(config: PlummetConfig, channels: int, count: int, *more: nn.Module) -> nn.Sequential:
    """Residual units, and what looks farther after them."""
    units = (residual_unit(config, channels) for _ in range(count))
    return nn.Sequential(*units, *attention_units(config, channels), *more)


class Plummet(Network):
    """Disparity (b, 1, h, w) in px of a rectified pair, 0 .. max_disparity - 4 (with `fine`: - 2; `refine`: 4 more).

    With `scale` that is what is found in images so many times as large, and the result is divided by it: finer details
    of the given images, for the time that images of that size take. Training, and `forward_scores`, do without: crops
    that are zoomed (`augment.scale` of a recipe) show the network what it will see.
    """

    task = Task.STEREO
    size_multiple = 16
    refine_planes: Tensor
    even_then_odd: Tensor

    def __init__(self, config: PlummetConfig):
        super().__init__(config)
        self.planes = config.max_disparity // 4
        self.max_area = int(self.max_area / config.scale**2)
        self.normalize = ImageNetNormalize()
        self.encoder = Encoder(config)
        self.coarse = CoarseFilter(self.planes // 2, config.coarse_groups, config.coarse_layers, config.filter)
        self.aggregation = Aggregation(config)
        self.correlation_weight = nn.Parameter(torch.tensor(1.0))
        if config.fine:
            self.fine = FineMatching(config)
            self.fine_weight = nn.Parameter(torch.tensor(2.0))
            order = [*range(0, 2 * self.planes, 2), *range(1, 2 * self.planes, 2)]
            self.register_buffer("even_then_odd", torch.tensor(order, dtype=torch.float32), persistent=False)
        self.detail = ConvBN(config.stem, config.stem, stride=2)
        self.guide = conv_unit(config, config.quarter + config.stem, 32)
        self.upsample_weights = ConvBN(32, 9 * 16, kernel=1, relu=False)
        if config.refine:
            self.refine = Refinement(
                config.stem, config.refine, config.beside, config.looks, config.hidden_quarter * config.informed
            )
        self.register_buffer("refine_planes", _between_planes(self.planes), persistent=False)
        if config.volume == "concatenation":  # half of the volume's channels from either view
            self.before_concatenation = ConvBN(config.eighth, config.coarse_groups // 2, kernel=1, relu=False)
        swap_norms(self, config.norm)
        swap_activations(self.encoder, config)

    @property
    def reach(self) -> int:
        return int(self.config.max_disparity / self.scale)

    @property
    def scale(self) -> Fraction:
        """`config.scale` as a ratio of small numbers, so that sizes are exact."""
        return Fraction(self.config.scale).limit_denominator(16)

    def forward_scores(
        self, left: Float[Tensor, "b 3 h w"], right: Float[Tensor, "b 3 h w"]
    ) -> tuple[list[Float[Tensor, "b 1 h w"]], Float[Tensor, "b p hq wq"], float]:
        """Predictions, the scores of the planes at 1/4 before softmax, and px between planes; never at `scale`."""
        self.check_size(*left.shape[-2:])
        predictions, parts = self._forward(left, right)
        if len(parts) == 1:
            return predictions, parts[0], 4.0
        return predictions, torch.stack(parts, 2).flatten(1, 2), 2.0

    def forward_all(
        self, left: Float[Tensor, "b 3 h w"], right: Float[Tensor, "b 3 h w"]
    ) -> list[Float[Tensor, "b 1 h w"]]:
        """Every prediction in training, which takes images as they are; else the final one, found at `scale`."""
        size = left.shape[-2:]
        self.check_size(*size)
        if self.training or self.scale == 1:
            return self._forward(left, right)[0]
        left, right = (enlarge(image, self.scale, self.size_multiple) for image in (left, right))
        found = self._forward(left, right)[0]
        return [reduce_disparity(disparity, size, self.scale, self.size_multiple) for disparity in found]

    def _forward(
        self, left: Float[Tensor, "b 3 h w"], right: Float[Tensor, "b 3 h w"]
    ) -> tuple[list[Float[Tensor, "b 1 h w"]], list[Float[Tensor, "b p hq wq"]]]:
        """Predictions, and the scores at 0, 4, 8 … px; with `fine` also those at 2, 6, 10 … px."""
        half, fused, eighth, match_quarter, match_eighth = self._encode(torch.cat([left, right]))
        coarse_left, coarse_right = match_eighth.chunk(2)
        coarse_scores = self.coarse(self._coarse_volume(coarse_left, coarse_right))
        match_left, match_right = match_quarter.chunk(2)
        matches = correlation_volume(match_left, match_right, self.planes, edge=self.config.edge)
        scores = self.correlation_weight * matches + _double(F.conv2d(coarse_scores, self.refine_planes))
        fine = list(self.fine(half, fused)) if self.config.fine else []
        half_left, fused, eighth = (features.chunk(2)[0] for features in (half, fused, eighth))
        correction, surroundings = self.aggregation(scores, coarse_scores, fused, eighth, fine)
        scores = scores + correction
        parts = self._with_fine(scores, fine) if fine else [scores]
        disparity = self._regress(parts)
        weights = self.upsample_weights(self.guide(torch.cat([fused, self.detail(half_left)], 1)))
        predictions = [convex_upsample(disparity, weights, factor=4)]
        if self.config.refine:
            predictions += self.refine(half, predictions[0], parts[0], surroundings)
        if not self.training:
            return predictions[-1:], parts
        coarse = soft_argmin(coarse_scores, spacing=8.0)
        return [_resize(coarse, predictions[0]), _resize(disparity, predictions[0]), *predictions], parts

    def _with_fine(
        self, scores: Float[Tensor, "b p h w"], fine: list[Float[Tensor, "b p h w"]]
    ) -> list[Float[Tensor, "b p h w"]]:
        """Scores every 4 px and midway between, where the mean of both neighbours stands, each with its correlation."""
        even, odd = fine
        between = (scores + torch.cat([scores[:, 1:], scores[:, -1:]], 1)) / 2
        return [scores + self.fine_weight * even, between + self.fine_weight * odd]

    def _regress(self, parts: list[Float[Tensor, "b p h w"]]) -> Float[Tensor, "b 1 h w"]:
        """Disparity in px from scores every 4 px, or from those and the ones midway between them."""
        if len(parts) == 1:
            return local_soft_argmin(parts[0], spacing=4.0)
        return local_soft_argmin(torch.cat(parts, 1), spacing=2.0, reach=4.0, planes=self.even_then_odd)

    def _encode(self, images: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        """The encoder's features; of a spiking one, their means over time."""
        config = self.config
        if config.neuron == "relu":
            return self.encoder(self.normalize(images))
        code = {"direct": direct_code, "rate": rate_code, "latency": latency_code}[config.coding]
        features = self.encoder(self.normalize(code(images, config.time_steps)))
        return tuple(decode_mean(feature, config.time_steps) for feature in features)

    def _coarse_volume(
        self, left: Float[Tensor, "b c h w"], right: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b pg h w"]:
        """The volume at 1/8, plane by plane."""
        planes, groups = self.planes // 2, self.config.coarse_groups
        if self.config.volume == "correlation":
            return correlation_volume(left, right, planes, groups, self.config.edge)
        left, right = self.before_concatenation(torch.cat([left, right])).chunk(2)
        return concatenation_volume(left, right, planes).transpose(1, 2).flatten(1, 2)


def _between_planes(planes: int) -> Float[Tensor, "p p2 1 1"]:
    """Weights that read planes at 1/4 from planes at 1/8: plane d from d / 2, the odd ones from both neighbours."""
    weights = torch.zeros(planes, planes // 2, 1, 1)
    for d in range(planes):
        weights[d, d // 2] += 0.5
        weights[d, min((d + 1) // 2, planes // 2 - 1)] += 0.5
    return weights


def _double(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _resize(x: Float[Tensor, "b 1 h w"], like: Float[Tensor, "b 1 fh fw"]) -> Float[Tensor, "b 1 fh fw"]:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def _plummet(**config) -> Plummet:
    return Plummet(PlummetConfig(**{"fine": 24, "edge": True, "hidden_thirtysecond": 96, **config}))


@register("plummet-s")
def plummet_s(**config) -> Plummet:
    """The small one, for a CPU or a small NPU: it reaches 192 px, at 9/8 of the images' size."""
    return _plummet(**{"max_disparity": 216, "scale": 1.125, **config})


@register("plummet-m")
def plummet_m(**config) -> Plummet:
    """The medium one: plummet-r at 5/4 of the images' size; it reaches 192 px too."""
    return plummet_r(**{"max_disparity": 240, "scale": 1.25, **config})


@register("plummet-w")
def plummet_w(**config) -> Plummet:
    """A wider and deeper one, at the images' own size."""
    wide = {
        "stem": 24, "quarter": 48, "eighth": 96, "matching": 48, "coarse_groups": 16,
        "hidden_quarter": 64, "hidden_eighth": 96, "hidden_sixteenth": 160, "hidden_thirtysecond": 96,
        "depth": 2, "fine": 24, "edge": True,
    }  # fmt: skip
    return Plummet(PlummetConfig(**{**wide, **config}))


@register("plummet-r")
def plummet_r(**config) -> Plummet:
    """At the images' own size, with a second look at 1/2; for targets with grid_sample."""
    return _plummet(**{"refine": 24, "beside": True, "looks": 2, "informed": True, **config})


@register("plummet-snn")
def plummet_snn(**config) -> Plummet:
    """plummet-s with an encoder of leaky integrate-and-fire neurons over 4 time steps."""
    return Plummet(PlummetConfig(**{"neuron": "lif", **config}))


@register("plummet-b")
def plummet_b(**config) -> Plummet:
    """plummet-s with 3x3 convolutions of one bit; the first, the last, and those that halve or mix stay in float."""
    return Plummet(PlummetConfig(**{"conv": "binary", "residual": "binary", **config}))
