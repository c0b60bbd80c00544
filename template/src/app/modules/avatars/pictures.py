"""Read pictures of strangers, and write our own from them."""

from __future__ import annotations

import asyncio
import warnings
from io import BytesIO

from PIL import Image, ImageOps

from app.modules.avatars.errors import NotAPictureError, PictureTooLargeError
from app.modules.avatars.settings import AvatarSettings

FORMATS = ("PNG", "JPEG", "WEBP")
CONTENT_TYPE = "image/webp"
"""Of all that is kept."""
QUALITY = 85


class Pictures:
    """Unpacks pictures in a thread, few at a time."""

    def __init__(self, settings: AvatarSettings) -> None:
        """Read what is accepted."""
        self._max_pixels = settings.avatar_max_pixels
        self._slots = asyncio.Semaphore(settings.avatar_concurrency)

    async def normalised(self, data: bytes, side: int) -> bytes:
        """Return the picture as WebP whose longer side is at most `side` pixels.

        What is returned is made from the pixels alone: place and camera (EXIF), comments, and
        whatever else was hidden in the file stay behind. The type is what the content is, whatever
        its name or its header say.

        Raises:
            NotAPictureError: no PNG, JPEG or WebP, or a broken one.
            PictureTooLargeError: unpacked it would be too large; it is not unpacked.
        """
        async with self._slots:
            return await asyncio.to_thread(self._convert, data, side)

    def _check_size(self, picture: Image.Image) -> None:
        """Look at what the header says, before anything is unpacked."""
        if picture.width * picture.height > self._max_pixels:
            message = f"The picture has more than {self._max_pixels} pixels."
            raise PictureTooLargeError(message)

    def _convert(self, data: bytes, side: int) -> bytes:
        try:
            with warnings.catch_warnings():
                # Pillow's own limit for bombs; ours, which is lower, is asked next.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                picture = Image.open(BytesIO(data), formats=FORMATS)
            with picture:
                self._check_size(picture)
                picture.draft("RGB", (side, side))  # a JPEG is unpacked no larger than needed
                turned = ImageOps.exif_transpose(picture)
                turned.thumbnail((side, side))
                written = BytesIO()
                turned.convert("RGBA").save(written, "WEBP", quality=QUALITY, exif=b"")
                return written.getvalue()
        except Image.DecompressionBombError as error:
            raise PictureTooLargeError from error
        except PictureTooLargeError:
            raise
        except Exception as error:  # a parser of hostile bytes may raise anything
            raise NotAPictureError from error
