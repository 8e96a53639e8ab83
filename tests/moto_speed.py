"""moto's DynamoDB answers in half the time, unchanged, and creates its routes on one thread.

To serialize a response moto looks each member up in the result under up to nine names. For a dictionary these depend
only on the member's place in the service's model, so they are found once. Other results are left to moto.
"""

from moto.core.routing import get_service_router
from moto.core.serialize import AttributePickerContext, ResponseSerializer, XFormedAttributePicker

_names = {}


def _value(serializer, value, key, shape):
    """The member of a result; None if it has none."""
    picker = serializer._value_picker
    if type(value) is not dict or type(picker) is not XFormedAttributePicker or picker.response_transformers:
        return _moto_value(serializer, value, key, shape)
    operation = serializer.operation_model
    parent = getattr(shape, "parent", None)
    place = (operation.service_model.service_name, parent and parent.name, shape.name, key)
    if (names := _names.get(place)) is None:
        context = AttributePickerContext(value, key, shape, operation, operation.service_model)
        names = _names[place] = tuple(dict.fromkeys(picker.get_possible_keys(context)))
        assert not any("." in name for name in names), f"moto reads {place} by a path"
    return next((value[name] for name in names if name in value), None)


_moto_value = ResponseSerializer.get_value
ResponseSerializer.get_value = _value


def create_routes(service):
    """Creates the routes of a service with a REST protocol, before several threads send it requests.

    moto compiles them at the first request. CPython 3.11 cannot compile on two threads at once: "AST constructor
    recursion depth mismatch" (https://github.com/python/cpython/issues/106905).
    """
    router = get_service_router(service)
    router._get_router(router._service_model.protocol)
