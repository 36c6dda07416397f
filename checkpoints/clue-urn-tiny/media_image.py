# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Reads a picture."""

import warnings
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from .media_container import MediaError, open_file, quoted, unwrap


FORMATS = ("PNG", "JPEG", "GIF", "WEBP")


def load_image(source: Any, name: str | None = None) -> np.ndarray:
    """Reads a picture, turned as its camera notes say.

    Args:
        source (`str`, `os.PathLike`, `bytes`, file object, `dict` or `np.ndarray`):
            The picture: PNG, JPEG, GIF (its first frame) or WebP. A `str` is a local path, a `dict` is `{"bytes",
            "path"}`; an array is `(height, width, 3)`, uint8.
        name (`str`, *optional*):
            Name of the input in errors.

    Returns:
        `np.ndarray` of shape `(height, width, 3)`: RGB, uint8.

    Raises:
        MediaError: if the input is no such picture, damaged, or larger than Pillow's limit of 89 megapixels.
    """
    if isinstance(source, np.ndarray):
        if source.ndim != 3 or source.shape[2] != 3 or source.dtype != np.uint8 or 0 in source.shape:
            raise MediaError(f"A picture is (height, width, 3) in uint8, got {source.shape} in {source.dtype}.")
        return source
    source, label = unwrap(source, name)
    if isinstance(source, dict):
        raise MediaError(f"{label} is no picture: give a path, bytes or an array, got {quoted(sorted(source))}.")
    with open_file(source, label) as (file, _), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=FORMATS) as image:
                return np.array(ImageOps.exif_transpose(image).convert("RGB"))
        # Pillow's decoders raise all of these on what is damaged.
        except (
            OSError,
            ValueError,
            SyntaxError,
            Image.DecompressionBombError,
            Image.DecompressionBombWarning,
        ) as error:
            reason = " ".join(str(error).split())
            raise MediaError(f"{label} is no {', '.join(FORMATS)} that can be read ({reason:.120}).") from error
