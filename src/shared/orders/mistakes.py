"""All that is wrong with a message's data, so that the producer can mend it in one go.

The data is refused before this module is imported. What it returns is the only text about it that a producer gets:
JSON's words, names of fields, and in a reason never a value of the order.
"""

from collections.abc import Mapping
from functools import cache
from itertools import islice
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from shared.errors import FieldError
from shared.orders import envelopes
from shared.orders.currencies import CURRENCIES
from shared.orders.exact_json import Repeated
from shared.orders.field_errors import FieldErrors, Path
from shared.orders.fields import MAX_ATTRIBUTES, MAX_ITEMS, AttributeName, AttributeValue
from shared.orders.order import Item, Order
from shared.orders.similar_names import meant, simplified

# Each part of these has its own errors.
_PARTED: Final = frozenset({"items", "attributes"})
_MAX_EXPLAINED_ATTRIBUTES: Final = 4 * MAX_ATTRIBUTES
_FEW_FIELDS: Final = 10
_MAX_NEAR_MISSES: Final = 1_000
# To search for a misspelling takes long.
_MAX_MISSPELLINGS: Final = 50

_KINDS: Final = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
# For fields that have no `Rule`.
_RULES: Final = {
    "bool_type": "should be true or false",
    "dict_type": "should be an object",
    "int_type": "should be a whole number",
    "list_type": "should be a list",
    "model_type": "should be an object",
    "string_type": "should be a string",
    "tuple_type": "should be a list",
}
_CURRENCY_SIGNS: Final = {"$": "USD", "US$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "DOLLAR": "USD", "EURO": "EUR"}
_MAX_SIGN_LENGTH: Final = 10


def mistakes_in(data: object, repeated: Repeated = ()) -> list[FieldError]:
    """The errors of data that is not an order, the ones of the top level first, each mistake once."""
    found = _Mistakes()
    wrapped = envelopes.orders_in(data)
    for order in wrapped:
        found.add(order.path, order.reason)
        found.of_order(order.path, order.data)
    if not wrapped:
        if pointer := envelopes.pointer_in(data):
            found.add(*pointer)
        else:
            found.of_order((), data)
    if repeated:
        found.of_repeated_keys(data, repeated)
    return found.errors()


class _Mistakes(FieldErrors):
    """The mistakes found so far, in one or more orders."""

    def __init__(self) -> None:
        super().__init__()
        self._near_misses: dict[tuple[str, frozenset[str]], str | None] = {}

    def of_order(self, path: Path, data: object) -> None:
        """Find the mistakes of one order, which is at this path of the message."""
        if not isinstance(data, dict):
            self.add(path, f"should be an object{_not(data)}")
            return
        is_like_order = envelopes.seems_an_order(data)
        if not is_like_order:
            self.add(path, "the message is not an order, and no order was found in it")
        near_misses = self._of_fields(path, Order, data, suggest=is_like_order)
        for name, field in {"attributes": "attributes", "items": "items", **near_misses}.items():
            if field == "attributes":
                self._of_attributes((*path, name), data.get(name))
            elif field == "items":
                self._of_items((*path, name), data.get(name))

    def of_repeated_keys(self, data: object, repeated: Repeated) -> None:
        """Name each key that is given twice, with its whole path."""
        keys = {id(members): names for members, names in repeated}
        for path, members in envelopes.objects_in(data):
            for name in keys.get(id(members), ()):
                self.add((*path, name), "key given twice in one object", named=True)

    def _of_items(self, path: Path, items: object) -> None:
        if isinstance(items, list):
            if len(items) > MAX_ITEMS:
                self.add(path, f"should have at most {MAX_ITEMS} items, and has {len(items)}")
            self.lines(path, len(items))
            for number, item in enumerate(items):
                self._of_item((*path, number), item)
        elif items is not None:
            self.add(path, f"should be a list{_not(items)}")
            if isinstance(items, dict):  # one item without its list, as converters from XML write it
                self._of_item(path, items)

    def _of_item(self, path: Path, item: object) -> None:
        if isinstance(item, dict):
            self._of_fields(path, Item, item)
        else:
            self.add(path, f"should be an object{_not(item)}")

    def _of_attributes(self, path: Path, attributes: object) -> None:
        if isinstance(attributes, dict):
            if len(attributes) > MAX_ATTRIBUTES:
                self.add(path, f"should have at most {MAX_ATTRIBUTES} attributes, and has {len(attributes)}")
            for name, value in islice(attributes.items(), _MAX_EXPLAINED_ATTRIBUTES):
                for reason in _reasons(_ATTRIBUTE_NAME, name):
                    self.add((*path, name), f"the attribute's name {reason}", named=True)
                for reason in _reasons(_ATTRIBUTE_VALUE, value):
                    self.add((*path, name), f"{reason}{_not(value, reason)}", named=True)
        elif attributes is not None:
            self.add(path, f"should be an object{_not(attributes)}")

    def _of_fields(
        self, path: Path, model: type[BaseModel], data: Mapping[str, Any], *, suggest: bool = True
    ) -> dict[str, str]:
        """Find missing, wrong and unknown fields, not the mistakes inside of items and attributes.

        Returns the field that each near miss means. Its value is judged as that field's.
        """
        fields = _fields_of(model)
        missing = frozenset(fields.keys() - data.keys())
        for name, (_, required) in fields.items():
            if name in data:
                self._of_value((*path, name), model, name, data[name])
            elif required:
                self.add((*path, name), "is required")
        unknown = [name for name in data if name not in fields]
        near_misses = {}
        for number, name in enumerate(unknown):
            if self.is_full:
                self.add_unnamed(path, "unknown field", len(unknown) - number)
                break
            advice = ""
            if suggest and (near := self._near_miss(name, missing)):
                advice = f", did you mean {near}?"
                near_misses[name] = near
            elif suggest:
                advice = _place_of(model, name, few=len(unknown) <= _FEW_FIELDS)
            self.add((*path, name), f"unknown field{advice}", named=True)
            if name in near_misses:
                self._of_value((*path, name), model, near_misses[name], data[name])
        return near_misses

    def _of_value(self, path: Path, model: type[BaseModel], field: str, value: object) -> None:
        rule, required = _fields_of(model)[field]
        if value is None and not required:
            return
        for reason in _reasons(rule, value):
            unset = ": leave it out or write null" if value == "" and not required else ""
            self.add(path, f"{reason}{_not(value, reason)}{unset}", _hint(field, value))

    def _near_miss(self, name: str, missing: frozenset[str]) -> str | None:
        key = (name, missing)
        if key not in self._near_misses and len(self._near_misses) < _MAX_NEAR_MISSES:
            self._near_misses[key] = meant(name, missing, guess=len(self._near_misses) < _MAX_MISSPELLINGS)
        return self._near_misses.get(key)


def _place_of(model: type[BaseModel], name: str, *, few: bool) -> str:
    """Where an unknown field may belong."""
    is_order = model is Order
    if other := _spellings(Item if is_order else Order).get(simplified(name)):
        return f", {other} is a field of {'an item' if is_order else 'the order'}"
    return ", leave it out or put it into attributes as a string" if is_order and few else ""


@cache
def _spellings(model: type[BaseModel]) -> dict[str, str]:
    return {simplified(name): name for name in _fields_of(model)}


@cache
def _fields_of(model: type[BaseModel]) -> dict[str, tuple[TypeAdapter[Any], bool]]:
    """The fields of a model by their names in JSON: each with its validation, and whether it is required."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    return {
        name: (_adapter(Any) if name in _PARTED else _adapter(field.annotation, *field.metadata), field.is_required())
        for name, field in fields.items()
    }


def _adapter(annotation: Any, *metadata: Any) -> TypeAdapter[Any]:
    config = ConfigDict(strict=True, hide_input_in_errors=True)
    return TypeAdapter(Annotated[(annotation, *metadata)] if metadata else annotation, config=config)


_ATTRIBUTE_NAME: Final = _adapter(AttributeName)
_ATTRIBUTE_VALUE: Final = _adapter(AttributeValue)


def _reasons(rule: TypeAdapter[Any], value: object) -> list[str]:
    """Why a value is refused. Nothing if it is accepted."""
    try:
        rule.validate_python(value)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        return list(dict.fromkeys(_RULES.get(problem["type"], problem["msg"]) for problem in problems))
    return []


def _not(value: object, rule: str = "should be a") -> str:
    """`, not a list` for a value of another kind than a rule names. Nothing for a rule that names no kind."""
    kind = _KINDS.get(type(value), "a number")
    return f", not {kind}" if rule.startswith("should be a") and kind.rpartition(" ")[2] not in rule else ""


def _hint(name: str, value: object) -> str:
    """What the producer may have meant. It repeats a part of the value."""
    if name != "currency" or not isinstance(value, str) or len(value) > _MAX_SIGN_LENGTH:
        return ""
    code = value.strip().upper()
    code = _CURRENCY_SIGNS.get(code.removesuffix("S"), code)
    return f"did you mean {code}?" if code in CURRENCIES else ""
