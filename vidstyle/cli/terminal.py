"""Escaping of text for a terminal: file names and tags may contain control sequences."""

import unicodedata

__all__ = ["printable"]

# Control, format (including bidirectional overrides), surrogate, line and paragraph separators.
_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")
_JOINERS = "\u200c\u200d"  # harmless; part of Persian and Indic words and of emoji


def printable(text: str, *, keep: str = "") -> str:
    r"""Return text with control and reordering characters as escapes (\x1b).

    Line breaks are escaped too. keep: characters that are not escaped.
    """
    allowed = _JOINERS + keep
    return "".join(
        char
        if char in allowed or unicodedata.category(char) not in _CATEGORIES
        else char.encode("ascii", "backslashreplace").decode("ascii")
        if ord(char) > 0x7F
        else repr(char)[1:-1]
        for char in text
    )
