"""Accepts saved queries of CloudWatch Logs Insights in a template.

MiniStack has no such queries, and would refuse the template. None of the properties is read, so
`dropped_properties` reports the resource as not carried out.
"""

from __future__ import annotations

import uuid
from typing import Any

from .patching import Patch

patch = Patch(__name__)
handlers = patch.uses("ministack.services.cloudformation.provisioners", "_RESOURCE_HANDLERS")


@patch.at_start
def accept() -> None:
    """Adds the resource type."""
    handlers.get()["AWS::Logs::QueryDefinition"] = {"create": create, "update": update, "delete": delete}


def create(_logical_id: str, _properties: dict[str, Any], _stack_name: str) -> tuple[str, dict[str, str]]:
    """The physical id, and the attributes."""
    identifier = str(uuid.uuid4())
    return identifier, {"QueryDefinitionId": identifier}


def update(
    physical_id: str, _old: dict[str, Any], _new: dict[str, Any], _stack_name: str
) -> tuple[str, dict[str, str]]:
    """The same query."""
    return physical_id, {"QueryDefinitionId": physical_id}


def delete(_physical_id: str, _properties: dict[str, Any]) -> None:
    """Nothing is stored."""
