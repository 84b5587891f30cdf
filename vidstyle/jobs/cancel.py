"""Cancelling a run: a flag that is checked between evaluations and between frames."""

from collections.abc import Callable
from typing import Protocol

from vidstyle.errors import CancelledError, SettingsError

__all__ = ["Cancel", "check_of"]


class Flag(Protocol):
    """A flag such as threading.Event."""

    def is_set(self) -> bool: ...


Cancel = Flag | Callable[[], bool]


def check_of(cancel: Cancel | None) -> Callable[[], None]:
    """Return a function that raises CancelledError if `cancel` is set or, called, is true.

    Raises SettingsError if `cancel` is neither None, nor a flag, nor a function.
    """
    if cancel is None:
        return lambda: None
    is_set: Callable[[], bool] = getattr(cancel, "is_set", cancel)  # type: ignore[arg-type]
    if not callable(is_set):
        raise SettingsError(
            "cancel: expected a threading.Event or a function without arguments, got "
            f"{type(cancel).__name__}"
        )

    def check() -> None:
        if is_set():
            raise CancelledError(
                "cancelled; finished frames are kept: run the same request again to continue"
            )

    return check
