"""Colour profiles of picture files: from the profile's colours to sRGB, which files without a profile are in."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from pirnet.support.outputs import ImageError


def in_srgb(path: Path, image: Image.Image, profile: bytes) -> tuple[Image.Image, str]:
    """Converts colours to sRGB; transparency stays as it is.

    Args:
        path: The file, for the message.
        image: A picture in RGB or grey, with or without transparency.
        profile: Its ICC profile.

    Returns:
        The picture as RGB or RGBA, and the name of its profile. If the profile has no effect, the picture as it was and
        an empty name.

    Raises:
        ImageError: The profile is damaged, or of another kind than the picture.
    """
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        mode = "L" if profile[16:20] == b"GRAY" else "RGB"
        if mode == "L" and image.mode not in ("1", "L", "LA"):
            raise OSError("it is for grey pictures")
        to_srgb = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        if not _has_effect(to_srgb, mode):  # the name does not say: profiles of linear sRGB have "sRGB" in theirs
            return image, ""
        converted = to_srgb.apply(image.convert("RGBA").convert(mode))
        name = ImageCms.getProfileDescription(source).strip()
    except (OSError, ImageCms.PyCMSError) as error:
        raise ImageError(f"{path}: its colour profile cannot be used, {error}; convert it to sRGB first") from error
    if image.has_transparency_data:
        converted.putalpha(image.convert("RGBA").getchannel("A"))
    return converted, name


def _has_effect(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform changes any of 18 x 18 x 18 colours by more than one level, a difference of rounding."""
    levels = np.indices((18, 18, 18), np.uint8) * 15  # (3, red, green, blue)
    colours = Image.fromarray(levels.transpose(1, 2, 3, 0).reshape(18 * 18, 18, 3)).convert(mode)
    return bool(abs(np.asarray(transform.apply(colours), np.int16) - np.asarray(colours.convert("RGB"))).max() > 1)
