"""Gives SAM's translator the values of the parameters.

MiniStack translates a template with no values, so the translator sees only the defaults. It decides by a parameter in a
few places (`DeploymentPreference.Enabled`), and would decide otherwise than on AWS.
"""

from __future__ import annotations

from typing import Any

from .patching import Original, Patch

HANDLERS = "ministack.services.cloudformation.handlers"
CHANGE_SETS = "ministack.services.cloudformation.changesets"

patch = Patch(__name__)
values_of = patch.uses("ministack.services.cloudformation.engine", "_transform_parameters")


@patch.replaces(HANDLERS, "_apply_transforms")
@patch.replaces(CHANGE_SETS, "_apply_transforms")
def apply_transforms(original: Original, template: dict[str, Any], given: Any = None, previous: Any = None) -> Any:
    """Translates the template with each value as the parameter's default, and puts the defaults back."""
    declared = template.get("Parameters")
    if not isinstance(declared, dict):
        return original(template, given, previous)
    values = values_of.call(template, given, previous)
    with_values = {name: {**its, "Default": values[name]} if name in values else its for name, its in declared.items()}
    translated = original({**template, "Parameters": with_values}, given, previous)
    if isinstance(translated, dict) and isinstance(translated.get("Parameters"), dict):
        translated["Parameters"] = {name: declared.get(name, its) for name, its in translated["Parameters"].items()}
    return translated
