"""All settings of a run, as frozen dataclasses; presets are functions that return a `Config`.

A preset states the hardware that it is meant for, the time that it takes and the quality that it should reach. The
string under a field is its help on the command line.
"""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, TypeVar

from pirnet.support.settings import Count, CountOrZero, Positive, PositiveOrZero, Range, Seed, Share, check, shown
from pirnet.tasks import TASKS, Degradation

T = TypeVar("T")

Pipeline = Literal["uint8", "float"]
"""How stego images are sent: rounded to 8 bit, as files are, or as computed."""

Precision = Literal["auto", "bfloat16", "float32"]


@dataclass(frozen=True)
class LIHConfig:
    """The client's network: lifting-based invertible hiding."""

    num_blocks: Count = 24
    """Lifting blocks on the 12 + 12 Haar bands of cover and secret."""
    predictor: Literal["residual", "conv"] = "residual"
    """Network inside predict and update: PIRNet's separable residual one, or a small chain of convolutions."""
    hidden_channels: Count = 32
    """Channels inside a predictor."""
    headroom: Annotated[int, Range(0, 127)] = 8
    """Grey levels at each end that the cover is clamped by before hiding (8: to 8 ... 247), so that less is clipped."""


@dataclass(frozen=True)
class LSRConfig:
    """The cloud's network: lifting-based secure restoration."""

    num_scales: Count = 3
    """Haar levels K, each with its own lifting blocks and restorer."""
    num_blocks: Count = 4
    """Lifting blocks a scale."""
    predictor: Literal["residual", "conv"] = "residual"
    """Network inside predict and update."""
    hidden_channels: Count = 32
    """Channels inside a predictor."""
    width: Count = 32
    """Channels of the restorer at its finest level."""
    encoder: tuple[CountOrZero, ...] = (2, 2, 4)
    """NAFBlocks at each level of the restorer's encoder, finest first."""
    middles: tuple[CountOrZero, ...] = field(
        default_factory=lambda: tuple(task.middle_blocks for task in TASKS.values())
    )
    """NAFBlocks that each task adds at the coarsest level, a number for each task, in the order of pirnet/tasks.py."""
    decoder_middle: CountOrZero = 2
    """NAFBlocks at the start of each task's decoder."""
    decoder: tuple[CountOrZero, ...] = (2, 2, 2)
    """NAFBlocks at each level of a decoder, coarsest first."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses, equations (4) to (11) of the paper, on means over pixels and channels."""

    conceal: PositiveOrZero = 2.0
    """Stego against cover."""
    reveal: PositiveOrZero = 1.0
    """Revealed against degraded secret."""
    low_frequency: PositiveOrZero = 0.25
    """Haar approximation of stego against cover."""
    secret: PositiveOrZero = 3.0
    """Restored secret against its truth."""
    stego: PositiveOrZero = 1.0
    """Restored stego against cover."""
    stego_enough: PositiveOrZero = 0.0
    """PSNR in dB from which a restored stego image is close enough, and only the secret counts; 0 means never."""
    hiding: PositiveOrZero = 0.3
    """Weight in stage 3 of the hiding loss, the first three terms together; without it LIH may learn to restore."""


@dataclass(frozen=True)
class TrainConfig:
    """How the networks are trained."""

    steps: tuple[CountOrZero, CountOrZero, CountOrZero] = (500_000, 400_000, 100_000)
    """Steps of stage 1 (LIH), stage 2 (LSR, LIH frozen) and stage 3 (both)."""
    learning_rates: tuple[PositiveOrZero, PositiveOrZero, PositiveOrZero] = (1e-3, 1e-3, 3e-4)
    """Largest learning rate of each stage."""
    batch_size: Count = 8
    """Pairs of cover and secret in a step."""
    crop: Count = 224
    """Side of the square training crops, in pixels."""
    tasks: tuple[str, ...] = field(default_factory=lambda: (*TASKS, "sr"))
    """Tasks of the images in a batch, repeated if the batch is larger; name a task twice for twice the images."""
    blocks: tuple[CountOrZero, ...] = (0,)
    """Block sizes in pixels, of which each pair draws one: its secret is scrambled with a new key; 0 leaves it plain.
    Name a size twice for twice the pairs."""
    warmup: CountOrZero = 500
    """Steps in which the learning rate rises from zero, in every stage."""
    final_rate: Share = 0.02
    """Learning rate at the end of the cosine, as a share of the largest."""
    clip: Positive = 0.1
    """Largest norm of a gradient; it is usually a third of the default, since the losses are means."""
    weight_decay: PositiveOrZero = 0.0
    """Weight decay of AdamW, before it is multiplied by the learning rate; 0 is Adam."""
    ema: Share = 0.999
    """Share of the running average of the weights that a step keeps; it rises to this value within a stage. The average
    is evaluated and saved, and the next stage starts from it. 0 uses the weights themselves."""
    save_every: Count = 1000
    """Steps between checkpoints."""
    memory: Literal["store", "reversible", "checkpoint"] = "reversible"
    """What chains of lifting blocks keep for the backward pass: all, their last bands, or the bands between blocks."""
    precision: Precision = "auto"
    """Precision of the networks inside the couplings; bands and sums stay in float32. auto is bfloat16 where the device
    has arithmetic for it, as recent GPUs and server CPUs have, and float32 where bfloat16 would be slower."""


@dataclass(frozen=True)
class Config:
    """A whole run."""

    preset: Literal["quick", "base", "paper"] = "paper"
    """Preset that this config started from."""
    hider: str = "lih"
    """The client's network: lih, or another system of the paper (hidden, baluja, hinet, deepmih)."""
    restorer: str = "lsr"
    """The cloud's network: lsr, or another system (nafnet, mirnetv2, ...), which is not given the task."""
    lih: LIHConfig = field(default_factory=LIHConfig)
    lsr: LSRConfig = field(default_factory=LSRConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    degradation: Degradation = field(default_factory=Degradation)
    stego: Pipeline = "uint8"
    """Round stego images to 8 bit, as files are, after hiding and after restoring; or keep floats, as in the paper."""
    z: Literal["zero", "gaussian"] = "zero"
    """Replaces LIH's second output when training reveals; the scripts always use zero, the paper Gaussian noise."""
    in_the_clear: bool = False
    """Train the cloud's network on the degraded photos themselves, to measure the price of privacy."""
    seed: Seed = 0
    """Seed of weights, crops, degradations."""


def quick() -> Config:
    """For a first look: two CPU cores, four to ten minutes, the photos inside scikit-image.

    Should reach, on its two held-out photos in 8 bit: a restored stego 30 dB from the cover (31 for blur and low
    resolution), and a secret 4.5 dB (noise) and 0.5 dB (blur) closer to the truth than the photo that was hidden. It
    has one scale: in so few steps two scales are slower and reach 0.1 to 0.3 dB less.
    """
    lih = LIHConfig(num_blocks=4, predictor="conv", hidden_channels=24)
    lifting = LSRConfig(num_scales=1, num_blocks=2, predictor="conv", hidden_channels=16)
    middles = tuple(min(1, task.middle_blocks) for task in TASKS.values())
    lsr = replace(lifting, width=16, encoder=(1, 1, 2), middles=middles, decoder_middle=1, decoder=(1, 1, 1))
    loss = LossConfig(conceal=1.0, reveal=2.0, stego=1.5)
    schedule = TrainConfig(steps=(1100, 750, 750), learning_rates=(3e-3, 2e-3, 1e-3), warmup=50, ema=0.0)
    images = replace(schedule, crop=64, tasks=("denoise", *TASKS), blocks=(0, 16, 32, 16))
    train = replace(images, save_every=200, memory="store")
    return Config(preset="quick", lih=lih, lsr=lsr, loss=loss, train=train)


def base() -> Config:
    """For a few hundred photos: an hour and a quarter of a CPU core with bfloat16, minutes on a GPU.

    Blind within a range around the degradations of the test: noise of sigma 15 to 35, blur of sigma 1.2 to 2. Should
    reach, on CBSD68 in 8 bit, scrambled in blocks of 16 (restored stego, restored secret): noise 32.9, 28.9 dB; blur
    34.0, 27.8; low resolution 34.6, 25.3. The weights that come with the example were trained with it for longer.
    """
    start = quick()
    lsr = replace(start.lsr, width=32)
    loss = replace(start.loss, stego=2.0, stego_enough=34.0, hiding=0.1)
    schedule = replace(start.train, steps=(5000, 5000, 8500), warmup=200, ema=0.999, save_every=300)
    train = replace(schedule, batch_size=6, crop=80, tasks=tuple(TASKS))
    degradation = Degradation(noise_sigma=(15.0, 35.0), blur_sigma=(1.2, 2.0))
    return replace(start, preset="base", lsr=lsr, loss=loss, train=train, degradation=degradation)


def paper() -> Config:
    """The networks, losses and degradations of the paper, for days on a GPU and photos such as DIV2K.

    Published on 50 pairs of DIV2K validation photos (restored stego, restored secret): noise 29.39, 29.21 dB; blur
    30.12, 28.73; low resolution x4 30.33, 24.51.
    """
    degradation = Degradation(noise_sigma=(0.0, 55.0), blur_kernel=(3, 25), blur_sigma=(0.1, 2.0), factors=(2, 4))
    return Config(preset="paper", degradation=degradation)


def cleared(config: Config) -> Config:
    """The same config for training in the clear: stages 2 and 3 become one, and nothing is scrambled."""
    steps = (0, sum(config.train.steps[1:]), 0)
    return replace(config, in_the_clear=True, train=replace(config.train, steps=steps, blocks=(0,)))


def scaled(config: Config, steps: int) -> Config:
    """The same config with `steps` steps in total; the shares of the stages stay and the warm-up shrinks in proportion.

    Raises:
        ValueError: If `steps` is less than 1.
    """
    if steps < 1:
        raise ValueError(f"--steps needs at least 1, got {steps}")
    before = config.train.steps
    if not sum(before):
        raise ValueError(f"--steps divides the steps of the three stages, which need at least one, got {shown(before)}")
    ends = [round(steps * sum(before[: stage + 1]) / sum(before)) for stage in range(3)]
    stages = (ends[0], ends[1] - ends[0], ends[2] - ends[1])
    warmup = min(config.train.warmup, max(1, steps * config.train.warmup // sum(before)))
    return replace(config, train=replace(config.train, steps=stages, warmup=warmup))


PRESETS = {"quick": quick, "base": base, "paper": paper}


def from_dict(kind: type[T], values: Mapping[str, object]) -> T:
    """Builds a config from the result of `dataclasses.asdict`, also if it was written as JSON and read again.

    Raises:
        ValueError: If a field is missing or unknown, or its value has another type or is out of range.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{kind.__name__} needs fields with values, got {values}")
    hints = typing.get_type_hints(kind)
    if unknown := sorted(values.keys() ^ hints.keys()):
        raise ValueError(f"{kind.__name__} has missing or unknown fields for this version: {', '.join(unknown)}")
    config = kind(**{name: _restore(hint, values[name]) for name, hint in hints.items()})
    check(config, name=lambda path: f"{kind.__name__}.{path}")
    return config


def _restore(hint: object, value: object) -> object:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_dict(hint, value)
    return tuple(value) if isinstance(value, list) else value  # JSON has no tuples
