"""This pipeline on a local stack: its template, its stack name, and a Python with exactly what ships to Lambda."""

from functools import partial
from pathlib import Path
from typing import Final

import durable_local
from durable_local.settings import Settings

ROOT: Final = Path(__file__).parents[1]
SETTINGS: Final = Settings(
    stack_name="orders",
    template=ROOT / "template.yaml",
    home=ROOT / ".local",
    functions_python=ROOT / ".venv-functions" / "bin" / "python",
)

local_stack = partial(
    durable_local.local_stack,
    stack_name=SETTINGS.stack_name,
    template=SETTINGS.template,
    home=SETTINGS.home,
    functions_python=SETTINGS.functions_python,
)
"""`durable_local.local_stack` with these settings; any other argument, or another template, as there."""
