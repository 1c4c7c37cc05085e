"""Other speakers, paces, microphones and noises on batches of log-mel pictures: each clip is another one each time.

All of it is arithmetic on whole batches, float32 [clips, frames, bins]: one clip at a time costs as much as the model does.
"""

from __future__ import annotations

import math
import random

import numpy as np
import speech
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

FLOOR = 1e-3
"""Gemma 4's features are log(magnitude + FLOOR)."""
DB = math.log(10) / 20
BABBLE = 0.6
"""How much of the noise is other voices, which are harder to hear through than any other."""


def uniform(low: float, high: float, *shape: int) -> Tensor:
    """Return random numbers."""
    return low + (high - low) * torch.rand(shape)


def some(share: float, *shape: int) -> Tensor:
    """Return True for a share of the places."""
    return torch.rand(shape) < share


def between(knots: Tensor, count: int) -> Tensor:
    """Draw straight lines through knots [clips, n], evenly spaced: [clips, count]."""
    return F.interpolate(knots[:, None], count, mode="linear", align_corners=True)[:, 0]


def collate(mels: list[np.ndarray], frames: int) -> tuple[Tensor, Tensor]:
    """Return pictures float32 [clips, frames, bins], padded with silence, and their lengths in frames."""
    values = torch.full((len(mels), frames, mels[0].shape[1]), math.log(FLOOR))
    for row, mel in enumerate(mels):
        values[row, : len(mel)] = torch.from_numpy(mel)
    return values, torch.tensor([len(mel) for mel in mels])


def padded(values: Tensor, multiple: int) -> Tensor:
    """Return pictures with so many frames more that their number is a multiple."""
    return F.pad(values, (0, 0, 0, -values.shape[1] % multiple), value=math.log(FLOOR))


def another_pace(values: Tensor, frames: Tensor, most: int, reach: float, share: float = 0.5) -> tuple[Tensor, Tensor]:
    """Stretch or squeeze a third of a clip at a time; lengths stay multiples of four and at most `most`."""
    clips, size, bins = values.shape
    paces = torch.where(some(share, clips, 1), uniform(1 - 0.18 * reach, 1 + 0.2 * reach, clips, 3), torch.ones(clips, 3))
    ends = torch.cumsum(paces, 1) / 3 * frames[:, None]
    made = (ends[:, 2].long() // 4 * 4).clamp(4, most)
    at = torch.arange(int(made.max()))[None].float()
    starts = F.pad(ends[:, :2], (1, 0))
    third = (at[:, :, None] >= starts[:, None, 1:]).sum(2)
    source = (at - starts.gather(1, third)) / paces.gather(1, third) + third * frames[:, None] / 3
    source = source.clamp(torch.zeros(1), (frames[:, None] - 1).float())
    low = source.long().clamp(max=size - 2)
    part = (source - low)[..., None]

    def take(index: Tensor) -> Tensor:
        return values.gather(1, index[..., None].expand(-1, -1, bins))

    return take(low) * (1 - part) + take(low + 1) * part, made


def another_throat(values: Tensor, reach: float) -> Tensor:
    """Move each formant's region by its own measure, and blur the harmonics of a part of the clips."""
    clips, _, bins = values.shape
    knots = torch.linspace(0, bins - 1, 5) * uniform(1 - 0.12 * reach, 1 + 0.13 * reach, clips, 1)
    knots = knots + uniform(-3 * reach, 3 * reach, clips, 5)
    source = torch.where(some(0.8, clips, 1), between(knots, bins), torch.arange(bins).float()).clamp(0, bins - 1)
    low = source.long().clamp(max=bins - 2)
    part = source - low
    weights = torch.zeros(clips, bins, bins)  # [to, from]
    weights.scatter_(2, low[..., None], (1 - part)[..., None])
    weights.scatter_(2, low[..., None] + 1, part[..., None])
    blurred = (weights + weights.roll(1, 1) + weights.roll(-1, 1)) / 3
    weights = torch.where(some(0.25 * reach, clips, 1, 1), blurred, weights)
    return values @ weights.transpose(1, 2)


def another_microphone(values: Tensor) -> Tensor:
    """Colour up to 6 dB, a tilt that leaves the highest bins up to 14 dB weaker or 6 stronger, and level."""
    clips, _, bins = values.shape
    gains = between(uniform(-0.7, 0.7, clips, 6), bins) * some(0.5, clips, 1)
    gains = gains + torch.linspace(0, 1, bins) * uniform(-14, 6, clips, 1) * DB * some(0.4, clips, 1)
    gains = gains + uniform(-12, 6, clips, 1) * DB * some(0.4, clips, 1)
    return torch.log((values.exp() - FLOOR).clamp(min=0) * gains.exp()[:, None] + FLOOR)


def lose(values: Tensor, frames: Tensor, reach: float) -> Tensor:
    """Lose two bands of bins and a moment or two."""
    clips, size, bins = values.shape
    at = torch.arange(bins)
    for _ in range(2):
        start, width = uniform(0, bins, clips, 1), uniform(0, 14 * reach, clips, 1)
        hidden = (at >= start) & (at < start + width)
        values = torch.where(hidden[:, None], values.mean((1, 2), keepdim=True), values)
    at = torch.arange(size)
    for share in (0.5, 0.3):
        start, width = torch.rand(clips, 1) * frames[:, None], uniform(0, 10 * reach, clips, 1) * some(share, clips, 1)
        hidden = (at >= start) & (at < start + width)
        values = torch.where(hidden[:, :, None], values.amin((1, 2), keepdim=True), values)
    return values


class Noises:
    """Pictures of noise, and what is made of other clips, to mix in."""

    def __init__(self, count: int, rng: random.Random) -> None:
        """Make so many, 6 s each."""
        mel_of, source = speech.log_mel(), np.random.default_rng(rng.randrange(2**32))
        made = [mel_of(0.1 * speech.noise(6 * speech.RATE_HZ, source)) for _ in range(count)]
        self.pictures = torch.from_numpy(np.stack(made))

    def mix(self, values: Tensor, frames: Tensor, engines: Tensor, share: float, least_db: float) -> Tensor:
        """Into a share of the clips, noise, or in most of them two to eight other voices, at least_db to 20 dB.

        In half of the babble they are of the clip's own engine: the more they are like its speaker, the harder to tell apart.
        Magnitudes add as those of independent sounds do.
        """
        clips, size, _ = values.shape
        chosen = torch.nonzero(some(share, clips))[:, 0]
        if not len(chosen):
            return values
        places = torch.arange(size)[None]
        inside = places < frames[:, None]
        power = torch.exp(2 * values) * inside[..., None]
        number = len(chosen)
        at = (places + torch.randint(self.pictures.shape[1], (number, 1))) % self.pictures.shape[1]
        noise = torch.exp(2 * self.pictures[torch.randint(len(self.pictures), (number, 1)), at])
        babble = torch.nonzero(some(BABBLE, number))[:, 0]
        if len(babble):
            alike = engines[chosen[babble], None] == engines
            others = torch.multinomial((alike | some(0.5, len(babble), 1)).float(), 8, replacement=True)
            loudness = uniform(0.2, 1, len(babble), 8) * (torch.arange(8) < torch.randint(2, 9, (len(babble), 1)))
            noise[babble] = 0
            for other, loud in zip(others.T[..., None], loudness.T, strict=True):
                moment = (places + torch.randint(size, other.shape)) % frames[other]
                noise[babble] += power[other, moment] * loud[:, None, None]
        kept = inside[chosen][..., None]
        ratio = (power[chosen]).sum((1, 2)) / ((noise * kept).sum((1, 2)) + 1e-9)
        noise = noise * (ratio * torch.exp(-2 * DB * uniform(least_db, 20, number)))[:, None, None]
        values = values.clone()
        values[chosen] = 0.5 * torch.log(torch.exp(2 * values[chosen]) + noise)
        return values


def alter(  # noqa: PLR0917 - the trainer's options, in its order
    mels: list[np.ndarray], engines: list[str], noises: Noises, noisy: float, least_db: float, most: int, reach: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return pictures [clips, frames, bins], the same before the noise, and lengths in frames, all multiples of four.

    `noisy`: share of the clips that noise is mixed into, least_db to 20 dB; `reach`: how far all else goes, from 0 to 1.
    """
    frames = max(map(len, mels))
    values, lengths = another_pace(*collate(mels, frames), most, reach)
    clean = lose(another_microphone(another_throat(values, reach)), lengths, reach)
    names = sorted(set(engines))
    told_apart = torch.tensor([names.index(engine) for engine in engines])
    return noises.mix(clean, lengths, told_apart, noisy, least_db), clean, lengths
