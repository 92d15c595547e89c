"""LIH, LSR and PIRNet by name: in folders, and in repositories of the Hugging Face hub. Needs the extra `hub`.

A folder has the files that a run writes and that the scripts read: `lih.safetensors` and `lsr.safetensors`, each with
its config inside, and for PIRNet `config.json`. So a client can read its network from a repository that has both, and
`--weights` can name a folder that was saved here. Nothing else imports this module.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from huggingface_hub import ModelCard  # pyright: ignore[reportMissingImports]

from liftlayers.interop.hub import Pretrained
from pirnet import model
from pirnet.config import Config, LIHConfig, LSRConfig
from pirnet.support.files import write_json
from pirnet.support.model_card import model_card
from pirnet.support.places import LIH_WEIGHTS, LSR_WEIGHTS
from pirnet.weights import USE, load_network, load_pirnet, run_id, run_of, save_weights


class LIH(Pretrained, model.LIH):
    """The client's network in `lih.safetensors`; arguments as `pirnet.model.LIH`."""

    files = (LIH_WEIGHTS,)

    def __init__(self, config: LIHConfig) -> None:
        super().__init__(config)
        self.config = config

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        return load_network(folder / LIH_WEIGHTS, cls, LIHConfig)[0]

    def _save_pretrained(self, save_directory: Path) -> None:
        save_weights(save_directory / LIH_WEIGHTS, self, self.config, run=run_id(self))

    def generate_model_card(self, *_args: Any, **_kwargs: Any) -> ModelCard:
        return model_card({"LIH": self})


class LSR(Pretrained, model.LSR):
    """The cloud's network in `lsr.safetensors`; arguments as `pirnet.model.LSR`."""

    files = (LSR_WEIGHTS,)

    def __init__(self, config: LSRConfig) -> None:
        super().__init__(config)
        self.config = config
        self.run = ""  # the id of its run, by which the scripts know the LIH that it belongs to

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        network, _ = load_network(folder / LSR_WEIGHTS, cls, LSRConfig)
        network.run = run_of(folder / LSR_WEIGHTS)
        return network

    def _save_pretrained(self, save_directory: Path) -> None:
        save_weights(save_directory / LSR_WEIGHTS, self, self.config, run=self.run)

    def generate_model_card(self, *_args: Any, **_kwargs: Any) -> ModelCard:
        return model_card({"LSR": self})


class PIRNet(Pretrained, model.PIRNet):
    """Both networks, and in `config.json` how they are used; arguments as `pirnet.model.PIRNet`.

    Raises:
        ValueError: If hider and restorer are not LIH and LSR, whose files alone the scripts read.
    """

    files = (USE, LIH_WEIGHTS, LSR_WEIGHTS)

    def __init__(self, config: Config) -> None:
        if (config.hider, config.restorer) != ("lih", "lsr"):
            raise ValueError(f"pirnet.support.hub.PIRNet needs lih and lsr, got {config.hider} and {config.restorer}")
        super().__init__(config)
        self.config = config

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        return load_pirnet(folder, cls)

    def _save_pretrained(self, save_directory: Path) -> None:
        run = run_id(self.lih)
        save_weights(save_directory / LIH_WEIGHTS, self.lih, self.config.lih, run=run)
        save_weights(save_directory / LSR_WEIGHTS, self.lsr, self.config.lsr, run=run)
        write_json(save_directory / USE, {"config": {"stego": self.stego, "z": self.z}})

    def generate_model_card(
        self, *_args: Any, reports: Sequence[str | Path] | None = None, **_kwargs: Any
    ) -> ModelCard:
        """Writes the card; `save_pretrained(folder, model_card_kwargs={"reports": [...]})` names the figures in it.

        Args:
            reports: Files `results.json` that `evaluate.py` wrote for these weights. By default those of the weights
                that come with the example, and none for others.
        """
        paths = None if reports is None else [Path(path) for path in reports]
        return model_card({"LIH": self.lih, "LSR": self.lsr}, paths)
