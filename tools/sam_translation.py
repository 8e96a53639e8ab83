"""Prints, as JSON, the CloudFormation template that SAM makes of a template file.

Runs in `.venv-sam`, where the translator is: `.venv-sam/bin/python -m tools.sam_translation template.yaml`. A parameter
has its default, or the value that follows: `LogLevel=WARN`.
"""

import json
import sys
from pathlib import Path

from samcli.yamlhelper import yaml_parse  # type: ignore[import-not-found]
from samtranslator.translator.transform import transform  # type: ignore[import-not-found]


class _NoManagedPolicies:
    """SAM reads the ARNs of managed policies from IAM. The pipeline's functions use none."""

    def load(self) -> dict[str, str]:
        raise LookupError("a function of the template names a managed policy")


def main(path: str, *parameters: str) -> None:
    """Print the translation of the template at `path`."""
    template = yaml_parse(Path(path).read_text(encoding="utf-8"))
    # As `sam package` would leave it: the translator takes no directory.
    template["Globals"]["Function"]["CodeUri"] = "s3://bucket/code.zip"
    print(
        json.dumps(
            transform(template, dict(given.split("=", 1) for given in parameters), _NoManagedPolicies()), indent=2
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
