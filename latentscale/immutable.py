"""One guard against assignment, for results, predictions and specifications that do not change once made."""

from typing import NoReturn


class Immutable:
    """An object whose attributes cannot be set or deleted; its maker fills ``__dict__`` or uses object.__setattr__."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"A {type(self).__name__} is immutable: {name!r} cannot be set.")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"A {type(self).__name__} is immutable: {name!r} cannot be deleted.")
