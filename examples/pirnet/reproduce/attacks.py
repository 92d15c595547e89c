"""Simple attacks that measure what can be learned without the key: a lower bound on the risk, not a proof."""

import copy
import statistics
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from pirnet.band_hider import Bands
from pirnet.degrade import gaussian_blur
from pirnet.evaluation import Example
from pirnet.metrics import psnr
from pirnet.model import LIH
from pirnet.support.seeds import seeded_generator
from pirnet.support.sheets import Panel, cropped
from torch import Tensor

from liftlayers.functional import haar_analysis
from liftlayers.testing import randomise_
from reproduce.stego_statistics import StegoStatistics

LEAKS = (1, 4, 16)
REACH = 2  # of the linear map, in band pixels: it uses 5 x 5 of them, 10 x 10 pixels of the image
WINDOW = 256  # side of the part of a leaked pair that the map is fitted to, enough for its 3612 coefficients


def leaks(pairs: int) -> tuple[int, ...]:
    """Numbers of leaked pairs to learn from; at least as many of `pairs` are left to test on."""
    return tuple(number for number in LEAKS if 2 * number <= pairs)


class Attacks:
    """Attacks the secrets of one task, pair by pair: learns from the first pairs and attacks the others.

    Only the learned attacks use the first pairs; `StegoStatistics` uses all pairs.

    Args:
        lih: The key; wrong keys are made from it.
        others: More wrong keys, by name.
        leaked: Numbers of leaked pairs to learn from, in ascending order.
    """

    def __init__(self, lih: LIH, *, others: Mapping[str, LIH], leaked: Sequence[int]) -> None:
        self.keys = {"shuffled weights": shuffled(lih), "random weights": randomise_(copy.deepcopy(lih)), **others}
        self.leaked = leaked
        self.learner = LeastSquares()
        self.maps: dict[str, LeastSquares] = {}
        self.seen = 0
        self.results: dict[str, list[dict[str, float]]] = {}
        self.panels: list[Panel] = []
        """The result of every attack on the first secret attacked, at the brightness and contrast of the truth."""
        self.statistics = StegoStatistics()

    @torch.no_grad()
    def add(self, example: Example) -> None:
        """Adds the next pair."""
        self.seen += 1
        self.statistics.add(example)
        if self.seen <= max(self.leaked, default=0):
            self.learner.learn(example.stego, example.secret)
            if self.seen in self.leaked:
                name = f"least squares, {self.seen} leaked pair{'s' * (self.seen > 1)}"
                self.maps[name] = copy.deepcopy(self.learner).solve()
            return
        estimates = self._estimates(example)
        figures = {name: similarity(estimate, example.truth) for name, estimate in estimates.items()}
        for name, figure in figures.items():
            self.results.setdefault(name, []).append(figure)
        if not self.panels:
            self.panels = [cropped(Panel("truth", "", example.truth[0]))]
            for name, estimate in estimates.items():
                shown, fit = _levelled(estimate, example.truth)
                caption = f"correlation {figures[name]['correlation']:.2f}\n{fit}"
                self.panels.append(cropped(Panel(name, caption, shown[0])))

    def summary(self) -> dict[str, object]:
        """The mean figures of every attack over the attacked pairs, and the statistics of all pairs."""
        rows = []
        for name, figures in self.results.items():
            means = {key: round(statistics.fmean(each[key] for each in figures), 4) for key in figures[0]}
            rows.append({"attack": name, "pairs": len(figures), **means})
        return {"leaked": list(self.leaked), "attacks": rows, "traces": self.statistics.summary()}

    def _estimates(self, example: Example) -> dict[str, Tensor]:
        truth, stego, changed = example.truth, example.stego, example.restored_stego - example.stego
        estimates = {
            "the key": example.revealed,
            "mean colour": truth.mean(dim=(2, 3), keepdim=True).expand_as(truth),
            "stego image": stego,
            "Haar band of the cover, by chance": _likest_band(example.cover, truth),
            "Haar band of the stego image": _likest_band(stego, truth),
            "Haar band of stego minus cover": _likest_band(stego - example.cover, truth),
            "restored stego image": example.restored_stego,
            "Haar band of what the cloud changed": _likest_band(changed, truth),
        }
        estimates |= {name: lih.reveal(stego) for name, lih in self.keys.items()}
        estimates |= {name: solved(stego) for name, solved in self.maps.items()}
        return {name: torch.nan_to_num(estimate) for name, estimate in estimates.items()}


class LeastSquares:
    """The best linear map from an image to the secret inside it, fitted to leaked pairs of both.

    It predicts every Haar band of the secret from 5 x 5 positions of all twelve bands, with a small ridge penalty.
    """

    def __init__(self) -> None:
        inputs = 12 * (2 * REACH + 1) ** 2 + 1
        self.gram = torch.zeros(inputs, inputs, dtype=torch.float64)
        self.moments = torch.zeros(inputs, 12, dtype=torch.float64)
        self.coefficients = self.moments
        self.bands = Bands()

    def learn(self, seen: Tensor, secret: Tensor) -> None:
        """Adds a pair of images (1, 3, H, W); only their middle is used."""
        inputs = F.unfold(self._neighbourhood(_middle(seen)), 2 * REACH + 1)[0].double().cpu()  # (300, places)
        inputs = torch.cat((inputs, torch.ones(1, inputs.shape[1], dtype=torch.float64)))
        outputs = self.bands(_middle(secret))[0].flatten(1).double().cpu()  # (12, places)
        self.gram += inputs @ inputs.T
        self.moments += inputs @ outputs.T

    def solve(self) -> "LeastSquares":
        """Computes the coefficients and returns itself."""
        ridge = 1e-6 * self.gram.diagonal().mean() * torch.eye(len(self.gram), dtype=torch.float64)
        self.coefficients = torch.linalg.solve(self.gram + ridge, self.moments)
        return self

    def __call__(self, seen: Tensor) -> Tensor:
        """Its estimate of the secret in an image (1, 3, H, W)."""
        weights = self.coefficients.to(seen).T  # (12, 301)
        kernel = weights[:, :-1].reshape(12, 12, 2 * REACH + 1, 2 * REACH + 1)
        return self.bands.inverse(F.conv2d(self._neighbourhood(seen), kernel, weights[:, -1]))

    def _neighbourhood(self, image: Tensor) -> Tensor:
        return F.pad(self.bands(image), (REACH,) * 4, mode="reflect")


def shuffled(lih: LIH, seed: int = 0) -> LIH:
    """The same network with the numbers in every weight tensor permuted: a wrong key of the right scale."""
    network, generator = copy.deepcopy(lih), seeded_generator(seed)
    for parameter in network.parameters():
        order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
        parameter.data = parameter.data.flatten()[order].view_as(parameter)
    return network


def similarity(estimate: Tensor, truth: Tensor) -> dict[str, float]:
    """The similarity of an estimate and the truth, both (1, 3, H, W).

    Returns:
        `psnr` of the estimate itself; `fitted_psnr` after the best gain and offset for each channel, an upper bound
        that an attacker does not know; `correlation`, the mean absolute correlation over the channels;
        `detail_correlation`, the same for what a Gaussian blur of sigma 2 removes, that is edges and texture.
    """
    gain, correlation = _regression(estimate, truth)
    centred = estimate - estimate.mean(dim=(2, 3), keepdim=True)
    fitted = truth.mean(dim=(2, 3), keepdim=True) + gain[:, None, None] * centred
    detail = _regression(*(image - gaussian_blur(image, 13, 2.0) for image in (estimate, truth)))[1]
    psnrs = {"psnr": float(psnr(estimate, truth)), "fitted_psnr": float(psnr(fitted, truth))}
    means = {"correlation": float(correlation.abs().mean()), "detail_correlation": float(detail.abs().mean())}
    return psnrs | means


def _regression(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Gain and correlation of y over x a channel, (3,) each; 0 where one of them is constant."""
    x, y = (image[0].flatten(1).double() for image in (x, y))
    x, y = (image - image.mean(dim=1, keepdim=True) for image in (x, y))
    xx, yy, xy = ((a * b).mean(dim=1) for a, b in ((x, x), (y, y), (x, y)))
    constant = (xx < 1e-12) | (yy < 1e-12)  # the variance is only rounding
    gain, correlation = xy / xx, xy / (xx * yy).sqrt()
    return gain.masked_fill(constant, 0).to(torch.float32), correlation.masked_fill(constant, 0)


def _likest_band(image: Tensor, truth: Tensor) -> Tensor:
    """The Haar detail of an image, as a grey picture, that is most similar to the truth: an attacker tries all nine."""
    bands = haar_analysis(image)[1].split(1, dim=1)
    pictures = [F.interpolate(band, scale_factor=2.0, mode="nearest").expand_as(truth) for band in bands]
    return max(pictures, key=lambda picture: float(_regression(picture, truth)[1].abs().mean()))


def _levelled(estimate: Tensor, truth: Tensor) -> tuple[Tensor, str]:
    """The estimate with mean, deviation and sign of the truth for each channel, so that it becomes visible.

    Returns:
        The picture, and the gain and offset of red, green and blue, on colours from 0 to 1, as two lines of text.
    """
    std, wanted = (image.std(dim=(2, 3), keepdim=True).clamp(min=1e-6) for image in (estimate, truth))
    gain = _regression(estimate, truth)[0].sign()[:, None, None] * wanted / std
    mean, middle = (image.mean(dim=(2, 3), keepdim=True) for image in (truth, estimate))
    fits = ("gain", gain), ("offset", mean - gain * middle)
    lines = [f"{name} {', '.join(f'{value:.2f}' for value in fitted.flatten().tolist())}" for name, fitted in fits]
    return (mean + gain * (estimate - middle)).clamp(0, 1), "\n".join(lines)


def _middle(image: Tensor) -> Tensor:
    top, left = (max(0, (side - WINDOW) // 4 * 2) for side in image.shape[-2:])  # even: the bands match the image's
    return image[..., top : top + WINDOW, left : left + WINDOW]
