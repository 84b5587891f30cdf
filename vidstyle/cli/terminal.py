"""Text for a terminal: names and tags come from files, and may hold control sequences."""

import unicodedata

__all__ = ["printable"]

# Control, format (bidirectional overrides among them), surrogate, line and paragraph separator.
_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")
_JOINERS = "\u200c\u200d"  # written in Persian and Indian words and in emoji: no harm


def printable(text: str, *, keep: str = "") -> str:
    r"""Return text with what would act on a terminal, or reorder what it shows, as escapes (\x1b).

    Line breaks are escaped too. keep: characters that stay as they are.
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
