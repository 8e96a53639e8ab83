"""The console: pages in a browser for a person who runs workflows. Only this machine and its user reach it.

`create_app` makes a console of sections; `executions_section` is the one that durable-local has. A console with more
sections gives its own beside it: see docs/console.md.
"""

from durable_local.console.app import Section, create_app
from durable_local.console.guard import Guard
from durable_local.console.pages import ask, live_page, outcome, render
from durable_local.console.problem import NotShown
from durable_local.console.sections.executions import executions_section
from durable_local.console.server import run
from durable_local.console.source import AwsAccount, Source, StackOnThisMachine

__all__ = [
    "AwsAccount",
    "Guard",
    "NotShown",
    "Section",
    "Source",
    "StackOnThisMachine",
    "ask",
    "create_app",
    "executions_section",
    "live_page",
    "outcome",
    "render",
    "run",
]
