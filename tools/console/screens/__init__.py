"""One module for each screen of the console."""

from pathlib import Path
from typing import Final

from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

TEMPLATES: Final = Path(__file__).parent / "templates"
"""The templates of all screens. Each extends `layout.html`."""

FILES: Final = Mount("/files", StaticFiles(directory=Path(__file__).parents[1] / "static"))
"""The styles and scripts that `layout.html` adds to those of every console."""
