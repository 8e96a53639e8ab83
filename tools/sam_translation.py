"""Prints, as JSON, the CloudFormation template that SAM makes of a template file, with its parameters' defaults.

Runs in `.venv-sam`, where the translator is: `.venv-sam/bin/python -m tools.sam_translation template.yaml`.
"""

import json
import sys
from pathlib import Path

from samcli.yamlhelper import yaml_parse  # type: ignore[import-not-found]
from samtranslator.translator.transform import transform  # type: ignore[import-not-found]


class _NoManagedPolicies:
    """SAM asks IAM for the ARNs of policies that a function names. Ours name none: their roles are written out."""

    def load(self) -> dict[str, str]:
        raise LookupError("a function of the template names a managed policy")


def main(path: str) -> None:
    """Print the translation of the template at `path`."""
    template = yaml_parse(Path(path).read_text(encoding="utf-8"))
    # As `sam package` would leave it: the translator takes no directory.
    template["Globals"]["Function"]["CodeUri"] = "s3://bucket/code.zip"
    print(json.dumps(transform(template, {}, _NoManagedPolicies()), indent=2))


if __name__ == "__main__":
    main(sys.argv[1])
