"""Writes the state to keep while MiniStack's pollers still run, with the JSON encoder in C.

MiniStack itself would wait for running handlers first, up to 15 minutes, and `json.dump` uses an encoder in Python.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .patching import Original, Patch

if TYPE_CHECKING:
    from typing import TextIO

MAX_ATTEMPTS = 20

PERSISTENCE = "ministack.core.persistence"
patch = Patch(__name__)
is_to_keep = patch.uses(PERSISTENCE, "PERSIST_STATE")
save_state = patch.uses(PERSISTENCE, "save_state")
states = patch.uses("ministack.app", "_build_persistence_save_dict")


@patch.replaces(f"{PERSISTENCE}:json", "dump")
def dump(_original: Original, state: Any, file: TextIO, **options: Any) -> None:
    """The same text. It is in memory as a whole."""
    file.write(json.dumps(state, **options))


def save() -> None:
    """Saves each service's state, as MiniStack does at its end."""
    if not is_to_keep.get():
        return
    for service, get_state in states.call().items():
        for _ in range(MAX_ATTEMPTS):
            try:
                state = get_state()
            except RuntimeError:  # "changed size during iteration"
                continue
            if state is not None:
                save_state.call(service, state)
            break
