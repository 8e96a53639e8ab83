"""`python -m tools demo`, `up` or `down`: what `make` runs.

An interrupt (Ctrl-C) during the imports takes effect after them: it would end them with a traceback.
"""

import signal
import sys
from importlib import import_module


def main(command: str, *arguments: str) -> int:
    """The exit status."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    demo = import_module("tools.demo") if command == "demo" else None
    cli = import_module("durable_local.cli")
    pipeline = import_module("tools.pipeline")
    background = import_module("tools.console.background")
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if demo:
            return int(demo.main(*arguments))
        return int(cli.main([command, *arguments], background.prepare, pipeline.SETTINGS))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
