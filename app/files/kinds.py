"""Which kinds of files are taken. What a file is follows from its content; what is said about it is not believed.

Pure: no I/O.
"""

import codecs

IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
PDF = "application/pdf"
TEXT = "text/plain"
KINDS = "PNG, JPEG, GIF and WebP images, PDF, and text in UTF-8"
_TEXTS = frozenset({"text/csv", "text/markdown", TEXT})  # others are plain text: HTML, for one, must never be rendered
_NO_TEXT = ("image/", "audio/", "video/", "font/")
_CONTROLS = bytes(frozenset({*range(32), 127}) - frozenset(b"\t\n\r\f\x1b"))


class Kind:
    """Finds out what a file is while it arrives: `add` each piece of it, then ask for its `media_type`."""

    def __init__(self) -> None:
        self._head = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_text = True

    def add(self, piece: bytes) -> None:
        """Look at the next piece."""
        if len(self._head) < 16:
            self._head += piece[:16]
        if self._is_text:
            self._is_text = len(piece.translate(None, _CONTROLS)) == len(piece) and self._decodes(piece)

    def media_type(self, declared: str) -> str | None:
        """Return what the whole file is, None for what is not taken. SVG is text, but no image of ours."""
        if (known := _by_magic(self._head)) is not None:
            return known
        said = declared.partition(";")[0].strip().lower()
        if not (self._is_text and self._decodes(b"", final=True)) or said.startswith(_NO_TEXT):
            return None
        return said if said in _TEXTS else TEXT

    def _decodes(self, piece: bytes, *, final: bool = False) -> bool:
        try:
            self._decoder.decode(piece, final)
        except UnicodeDecodeError:
            return False
        return True


def is_inline(media_type: str) -> bool:
    """Return whether a browser may show a file of ours. It may not for what could have a script, or is believed to."""
    return media_type in IMAGES


def _by_magic(head: bytes) -> str | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return PDF if head.startswith(b"%PDF-") else None
