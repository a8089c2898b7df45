"""Photos of public sets: files below HARNESS_DATA, or what a hub sent, kept in the user's cache."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from harness.caches import user_cache
from harness.data import FOLDER
from harness.errors import DataError, need

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CACHED = "cache:"
"""Before the name of an image that a hub sent: the digest of its pixels."""
MOST = 50_000_000
"""Pixels of an image that is read."""
SMALL = 400
"""Pixels of the longer side of a thumbnail."""
WHY = "reading the photos of spatial"


def kept(image: Any) -> str:
    """The name of an image of the hub's client, which is put into the cache under its digest."""
    import numpy as np

    pixels = np.asarray(image.convert("RGB"))
    told = hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()[:32]
    path = _cache() / f"{told}.png"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{told}.{os.getpid()}.png")
        image.convert("RGB").save(draft)
        draft.replace(path)  # whole or not at all, whoever else writes it
    return f"{CACHED}{told}"


def named(value: Any) -> str:
    """The name of an image cell: a file's name stays, pixels are kept."""
    return value if isinstance(value, str) else kept(value)


def check_there(of: str, names: Iterable[str], where: str) -> None:
    """DataError, saying what is missing and `where` to get it, unless all files are there."""
    wanted = [name for name in dict.fromkeys(names) if not name.startswith(CACHED)]
    missing = [name for name in wanted if not _path(of, name).is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(wanted)} images of spatial/{of} are missing, such as "
            f"{', '.join(missing[:3])}: put them into {_folder(of)}. {where}"
        )


def opened(of: str, name: str) -> NDArray[np.uint8]:
    """(H, W, 3) pixels of an image, turned as its camera was held; DataError where it is none."""
    return _opened(_path(of, name))


@lru_cache(maxsize=16)
def _opened(path: Path) -> NDArray[np.uint8]:
    import numpy as np

    pillow: Any = need("PIL.Image", "vision", WHY)
    turned: Any = need("PIL.ImageOps", "vision", WHY).exif_transpose
    try:
        with pillow.open(path) as image:
            if image.width * image.height > MOST:
                raise DataError(f"{path} has {image.width} x {image.height} pixels: too many")
            pixels = np.array(turned(image).convert("RGB"))
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise DataError(f"{path} is no image that can be read: {error}") from error
    pixels.setflags(write=False)
    return pixels


def thumbnail(of: str, name: str) -> tuple[int, int, str]:
    """Width, height and data URL of a smaller copy."""
    image: Any = need("PIL.Image", "vision", WHY).fromarray(opened(of, name))
    image.thumbnail((SMALL, SMALL))
    made = io.BytesIO()
    image.save(made, "JPEG", quality=80)
    url = f"data:image/jpeg;base64,{base64.b64encode(made.getvalue()).decode()}"
    return image.width, image.height, url


def _path(of: str, name: str) -> Path:
    if name.startswith(CACHED):
        return _cache() / f"{name.removeprefix(CACHED)}.png"
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\\" in name:
        raise DataError(f"'{name}' is no file below the images of spatial/{of}")
    return _folder(of) / name


def _folder(of: str) -> Path:
    return Path(os.environ.get(FOLDER, "")) / "spatial" / "images" / of


def _cache() -> Path:
    return user_cache() / "images"


def cells_named(cells: Mapping[str, Any], columns: Iterable[str]) -> list[str]:
    """Names of the images in these columns, the empty ones left out."""
    return [named(cells[column]) for column in columns if cells.get(column)]
