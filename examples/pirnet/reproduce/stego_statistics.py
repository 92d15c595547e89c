"""How hiding changes the statistics of an image, which shows whether it contains a secret, not which one."""

import statistics

import torch
from pirnet.pixels import grey_levels
from torch import Tensor

from liftlayers.functional import haar_analysis

DETECTOR_PAIRS = 8
BANDS = ("horizontal", "vertical", "diagonal")


class StegoStatistics:
    """Compares stego images with covers: histograms, Haar details, and a simple detector."""

    def __init__(self) -> None:
        self.histograms: list[tuple[float, float]] = []
        self.features: dict[str, list[Tensor]] = {"cover": [], "stego": []}

    @torch.no_grad()
    def add(self, cover: Tensor, stego: Tensor) -> None:
        """Adds the next pair of images (1, 3, H, W)."""
        self.histograms.append((_variation(cover, stego), _variation(cover[..., ::2], cover[..., 1::2])))
        for name, image in (("cover", cover), ("stego", stego)):
            self.features[name].append(_detail_statistics(image))

    def summary(self) -> dict[str, object]:
        """Means over the pairs; the accuracy of the detector is None for fewer than eight pairs."""
        features = {name: torch.stack(each) for name, each in self.features.items()}  # (pairs, 2, 3, 3)
        stego, halves = (round(statistics.fmean(values), 4) for values in zip(*self.histograms, strict=True))
        bands = []
        for number, band in enumerate(BANDS):
            for name, each in features.items():
                std, kurtosis = each[:, :, number].mean(dim=(0, 2)).tolist()
                bands.append({"band": band, "image": name, "std": round(std, 4), "kurtosis": round(kurtosis, 4)})
        enough = len(self.histograms) >= DETECTOR_PAIRS
        return {
            "histogram": {"stego_cover": stego, "cover_halves": halves},
            "bands": bands,
            "detector_accuracy": round(_detector_accuracy(**features), 4) if enough else None,
        }


def _variation(a: Tensor, b: Tensor) -> float:
    """Total variation distance of two images' 8-bit histograms, mean over the channels: 0 if equal, 1 if disjoint."""
    levels = (grey_levels(image)[0].long().flatten(1) for image in (a, b))  # (3, HW)
    counts = [torch.stack([channel.bincount(minlength=256) for channel in channels]) for channels in levels]
    p, q = (count.double() / count.sum(dim=1, keepdim=True) for count in counts)  # (3, 256)
    return float((p - q).abs().sum(dim=1).mean() / 2)


def _detail_statistics(image: Tensor) -> Tensor:
    """Standard deviation in grey levels and kurtosis, each (3, 3) for Haar details and channels: (2, 3, 3)."""
    detail = haar_analysis(grey_levels(image))[1][0].double().flatten(1)  # (9, places)
    detail = detail - detail.mean(dim=1, keepdim=True)
    variance = detail.square().mean(dim=1)
    kurtosis = detail.pow(4).mean(dim=1) / variance.square().clamp(min=1e-12)  # 3 for Gaussian detail
    return torch.stack((variance.sqrt(), kurtosis)).view(2, 3, 3).cpu()


def _detector_accuracy(cover: Tensor, stego: Tensor) -> float:
    """The accuracy of a linear classifier of stego and cover that is trained on all pairs except the one it judges.

    Its inputs are the logarithms of the detail statistics of one image; guessing has accuracy 0.5.
    """
    features = torch.stack((cover, stego), dim=1).flatten(2).clamp(min=1e-3).log()  # (pairs, 2, 18)
    labels = torch.tensor([-1.0, 1.0], dtype=features.dtype)
    right = 0
    for left_out in range(len(features)):
        others = torch.cat((features[:left_out], features[left_out + 1 :])).flatten(0, 1)
        mean, std = others.mean(dim=0), others.std(dim=0) + 1e-6
        x = (others - mean) / std
        ridge = 0.1 * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
        weights = torch.linalg.solve(x.T @ x + ridge, x.T @ labels.repeat(len(features) - 1))
        scores = ((features[left_out] - mean) / std) @ weights
        right += int(((scores > 0) == (labels > 0)).sum())
    return right / (2 * len(features))
