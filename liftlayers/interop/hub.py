"""Saves networks to, and loads them from, folders and repositories of the Hugging Face hub.

This module needs the packages huggingface_hub and safetensors, the extra ``hub``; the library does not import it.
"""

__all__ = ["NAFUNet", "Pretrained"]

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from liftlayers.interop._weights import misfits
from liftlayers.nn import unet

try:
    import huggingface_hub as hf  # pyright: ignore[reportMissingImports]
    import safetensors.torch
except ModuleNotFoundError as error:
    needed = "liftlayers.interop.hub needs the packages huggingface_hub and safetensors: install the extra `hub`"
    raise ModuleNotFoundError(needed, name=error.name) from error

CONFIG, WEIGHTS = "config.json", "model.safetensors"
CARD = """---
{{ card_data }}
---

# {{ network }}

A network of {{ parameters }} parameters, made with the PyTorch library liftlayers. Load it with

```python
from {{ module }} import {{ network }}
network = {{ network }}.from_pretrained("the folder of this file, or the id of its repository")
```
"""


class Pretrained(  # pyright: ignore[reportGeneralTypeIssues]
    hf.PyTorchModelHubMixin,
    nn.Module,
    library_name="liftlayers",  # pyright: ignore[reportCallIssue]
    model_card_template=CARD,  # pyright: ignore[reportCallIssue]
):
    r"""A network that is saved in a folder and loaded from a folder or from a repository of the Hugging Face hub.

    .. math:: f_{\text{loaded}}(x) = f_{\text{saved}}(x)

    bit for bit, since tensors keep their dtype. The methods are those of huggingface_hub's ``PyTorchModelHubMixin``::

        network.save_pretrained("folder")                    # config.json, model.safetensors, README.md
        network = Network.from_pretrained("folder")          # uses no network connection
        network.push_to_hub("user/name")                     # uploads the three files
        network = Network.from_pretrained("user/name")       # downloads the first two, once

    ``README.md`` is the model card; an existing one is kept. Weights that do not fit are refused; the mixin would keep
    random numbers where the file lacks a tensor. A subclass sets `config` in its constructor.

    Attributes:
        config: The arguments that the constructor was given, by name: numbers, texts, lists and dicts.
        files: Names of the files that ``from_folder`` reads; no others are downloaded.

    Raises:
        TypeError: When it is saved, if `config` has a value that JSON cannot hold.
        ValueError: When it is loaded, if there is no such folder or repository, a file is missing or damaged, the
            config does not fit the constructor, or the tensors do not fit the network.

    References:
        The guide *Integrate any ML framework with the Hub* of huggingface_hub; :doc:`/hub`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from liftlayers.interop.hub import Pretrained
        >>> class Hider(Pretrained):
        ...     def __init__(self, num_blocks: int) -> None:
        ...         super().__init__()
        ...         self.config = {"num_blocks": num_blocks}
        ...         blocks = (LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)) for _ in range(num_blocks))
        ...         self.chain = Sequential(Haar(), *blocks)
        >>> with TemporaryDirectory() as folder:
        ...     _ = Hider(2).save_pretrained(folder)
        ...     len(Hider.from_pretrained(folder).chain)
        3
    """

    config: Any
    files: Sequence[str] = (CONFIG, WEIGHTS)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__signature__ = inspect.signature(cls.__init__.__get__(cls))  # `help` would show that of `__new__`

    def __new__(cls, *_args: object, **_kwargs: object) -> Self:
        """Leaves out what the mixin does: it keeps the arguments that JSON can hold, and drops others in silence."""
        return object.__new__(cls)

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls,
        folder_or_id: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
    ) -> Self:
        """Returns the network in a folder or in a repository, on the CPU and in evaluation mode.

        Args:
            folder_or_id: The folder; if there is no such folder, the id of a repository, such as ``"user/name"``.
            revision: Branch, tag or commit of the repository.
            token: Token for a private repository.
            cache_dir: Folder for what is downloaded.
            force_download: Whether to download again what was downloaded before.
            local_files_only: Whether to use only what was downloaded before.
        """
        folder = Path(folder_or_id)
        if not folder.is_dir():
            options = {"revision": revision, "token": token, "cache_dir": cache_dir}
            options |= {"force_download": force_download, "local_files_only": local_files_only}
            folder = _downloaded(folder_or_id, cls, options)
        return cls.from_folder(folder).eval()

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Returns the network in a folder; a subclass that saves other files overrides it and ``_save_pretrained``."""
        for name in (CONFIG, WEIGHTS):
            if not (folder / name).is_file():
                raise ValueError(f"no {name} in {folder}")
        tensors = _tensors(folder / WEIGHTS, cls.__name__)
        try:
            with torch.device("cpu"):
                network = cls(**json.loads((folder / CONFIG).read_text(encoding="utf-8")))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{folder / CONFIG} does not describe a {cls.__name__}: {error}") from error
        if problems := misfits(tensors, network.state_dict()):
            raise ValueError(f"{folder / WEIGHTS} does not fit its config: {problems}")
        for name, own in network.state_dict(keep_vars=True).items():
            own.data = own.data.to(tensors[name].dtype)  # loading would convert the tensor instead
        network.load_state_dict(tensors)
        return network

    def _save_pretrained(self, save_directory: Path) -> None:
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.state_dict().items()}
        content = safetensors.torch.save(tensors, {"format": "pt", "network": type(self).__name__})
        try:
            config = json.dumps(self.config, indent=2, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{type(self).__name__}.config needs values that JSON can hold: {error}") from error
        (save_directory / CONFIG).write_text(config + "\n", encoding="utf-8")
        (save_directory / WEIGHTS).write_bytes(content)

    def generate_model_card(self, *args: Any, **kwargs: Any) -> hf.ModelCard:
        """Returns the text of ``README.md``; ``save_pretrained(folder, model_card_kwargs=...)`` passes arguments."""
        parameters, kind = f"{sum(p.numel() for p in self.parameters()):,}", type(self)
        facts = {"network": kind.__name__, "module": kind.__module__, "parameters": parameters}
        return super().generate_model_card(*args, **facts | kwargs)


class NAFUNet(Pretrained, unet.NAFUNet):
    r"""`liftlayers.NAFUNet` with the methods ``from_pretrained``, ``save_pretrained`` and ``push_to_hub``.

    .. math:: y = x + D(M(E(x)))

    as in `liftlayers.NAFUNet`, whose arguments it takes. To save a network that you have trained, make one of this
    class and load its state dict.

    Args:
        in_channels: Channels of input and output.
        width: Channels at the finest level.
        encoder: Number of blocks at each level of the encoder, finest first.
        middle: Number of blocks at the coarsest level.
        decoder: Number of blocks at each level of the decoder, coarsest first.

    Shape:
        - Input and output :math:`(B, C, H, W)`, any size; for images, values in [0, 1].

    Raises:
        TypeError: If the input is not floating-point.
        ValueError: As `liftlayers.NAFUNet` and `Pretrained`.

    References:
        [Chen2022]_; :doc:`/hub`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from liftlayers.interop import hub
        >>> net = hub.NAFUNet(3, 4, encoder=(1, 0), middle=1, decoder=(0, 1))
        >>> with TemporaryDirectory() as folder:
        ...     _ = net.save_pretrained(folder)
        ...     hub.NAFUNet.from_pretrained(folder).config
        {'in_channels': 3, 'width': 4, 'encoder': [1, 0], 'middle': 1, 'decoder': [0, 1]}
    """

    def __init__(
        self, in_channels: int, width: int, *, encoder: Sequence[int], middle: int, decoder: Sequence[int]
    ) -> None:
        super().__init__(in_channels, width, encoder=encoder, middle=middle, decoder=decoder)
        self.config = {"in_channels": in_channels, "width": width}
        self.config |= {"encoder": list(encoder), "middle": middle, "decoder": list(decoder)}


def _downloaded(repository: str | Path, kind: type[Pretrained], options: Mapping[str, Any]) -> Path:
    who = f"{kind.__name__}.from_pretrained"
    if isinstance(repository, Path) or Path(repository).exists():
        raise ValueError(f"{who} needs a folder, got {repository}, which is none")
    try:
        return Path(hf.snapshot_download(repository, allow_patterns=list(kind.files), **options))
    except (OSError, ValueError) as error:
        needed, reason = "a folder or the id of a repository", str(error).strip().split("\n")[0]
        raise ValueError(f"{who} needs {needed}, got {repository!r}, which is no folder: {reason}") from error


def _tensors(path: Path, network: str) -> dict[str, Tensor]:
    try:
        with safetensors.safe_open(path, "pt") as file:
            saved = (file.metadata() or {}).get("network", network)
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if saved != network:
        raise ValueError(f"{path} needs to hold a {network}, got a {saved}")
    return tensors
