"""The bytes of an item by DynamoDB's rules, which moto only comes near.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

from decimal import Decimal


def size_of(item):
    """Bytes of an item or of a map: names and values."""
    return sum(len(name.encode()) + _size_of_value(value) for name, value in item.items())


def _size_of_value(value):
    match value:
        case {"S": text}:
            return len(text.encode())
        case {"N": number}:
            digits = len(Decimal(number).normalize().as_tuple().digits)
            return 1 + (digits + 1) // 2 + number.startswith("-")
        case {"NULL": _} | {"BOOL": _}:
            return 1
        case {"L": members}:
            return 3 + sum(1 + _size_of_value(member) for member in members)
        case {"M": members}:
            return 3 + len(members) + size_of(members)
    raise AssertionError(value)
