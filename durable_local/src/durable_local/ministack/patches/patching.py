"""Declares what a patch uses and replaces inside MiniStack, and fails at start when MiniStack no longer has it."""

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Original = Callable[..., Any]
"""What a patch has replaced."""


class PatchError(RuntimeError):
    """MiniStack has changed: the text names the patch and the missing name."""


@dataclass(frozen=True)
class Name:
    """An attribute of a MiniStack module, or of a class in it: `place` is then "module:class"."""

    patch: str
    place: str
    attribute: str

    def get(self) -> Any:
        """Its present value; raises PatchError when there is no such name."""
        try:
            return getattr(self._owner(), self.attribute)
        except (ImportError, AttributeError) as error:
            raise PatchError(f"patch {self.patch}: MiniStack has no {self.place}.{self.attribute} ({error})") from error

    def call(self, *arguments: Any, **named: Any) -> Any:
        """Calls its present value."""
        return self.get()(*arguments, **named)

    def set(self, value: Any) -> None:
        """Replaces its value."""
        setattr(self._owner(), self.attribute, value)

    def _owner(self) -> Any:
        module, _, inner = self.place.partition(":")
        owner = importlib.import_module(module)
        return getattr(owner, inner) if inner else owner


class Patch:
    """The declarations of one module. `apply` carries them out, in order, once MiniStack may be imported."""

    def __init__(self, module: str) -> None:
        self._name = module.rpartition(".")[2]
        self._declared: list[Callable[[], Any]] = []

    def apply(self) -> None:
        """Carries out the declarations; raises PatchError."""
        for declaration in self._declared:
            declaration()

    def uses(self, place: str, attribute: str) -> Name:
        """A name that the patch reads; `apply` checks that it exists."""
        name = Name(self._name, place, attribute)
        self._declared.append(name.get)
        return name

    def replaces(self, place: str, attribute: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """The decorated function replaces one of MiniStack, and gets the original as its first argument."""
        name = Name(self._name, place, attribute)

        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            def replace() -> None:
                original = name.get()

                @functools.wraps(original)
                def patched(*arguments: Any, **named: Any) -> Any:
                    return function(original, *arguments, **named)

                name.set(patched)

            self._declared.append(replace)
            return function

        return declare

    def replaces_text(self, place: str, attribute: str, old: str, new: str) -> None:
        """Replaces a part of a text, which must occur in it exactly once."""
        name = Name(self._name, place, attribute)

        def replace() -> None:
            text: str = name.get()
            if text.count(old) != 1:
                raise PatchError(f"patch {self._name}: the text {place}.{attribute} of MiniStack has changed")
            name.set(text.replace(old, new))

        self._declared.append(replace)

    def at_start(self, function: Callable[[], None]) -> Callable[[], None]:
        """`apply` calls the decorated function in its turn."""
        self._declared.append(function)
        return function
