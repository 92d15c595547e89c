"""Colour profiles of picture files: from the profile's colours to sRGB, which files without a profile are in."""

from io import BytesIO
from pathlib import Path

from PIL import Image, ImageCms

from pirnet.support.outputs import ImageError


def in_srgb(path: Path, image: Image.Image, profile: bytes) -> tuple[Image.Image, str]:
    """Converts colours to sRGB; transparency stays as it is.

    Args:
        path: The file, for the message.
        image: A picture in RGB or grey, with or without transparency.
        profile: Its ICC profile.

    Returns:
        The picture as RGB or RGBA, and the name of its profile, empty if that was sRGB already.

    Raises:
        ImageError: The profile is damaged, or of another kind than the picture.
    """
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if "srgb" in name.lower():
            return image, ""
        mode = "L" if profile[16:20] == b"GRAY" else "RGB"
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(_without_alpha(image, mode), source, target, outputMode="RGB")
    except (OSError, ImageCms.PyCMSError) as error:
        raise ImageError(f"{path}: its colour profile cannot be used, {error}; convert it to sRGB first") from error
    assert converted is not None  # only a conversion in place returns nothing
    if image.has_transparency_data:
        converted.putalpha(image.convert("RGBA").getchannel("A"))
    return converted, name


def _without_alpha(image: Image.Image, mode: str) -> Image.Image:
    if mode == "L" and image.mode not in ("1", "L", "LA"):
        raise OSError("it is for grey pictures")
    return image.convert("RGBA").convert("RGB") if mode == "RGB" else image.convert("L")
