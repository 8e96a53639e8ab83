"""Compares MiniStack's answers with and without the patch of queries; a program for MiniStack's environment.

Between the queries, items are written and deleted. Arguments: the folder of the patches, and a seed. It prints as JSON
how many queries were answered with items, with nothing and with an error, how many had a next page, and how often
MiniStack read the text of a condition for the items of one partition, without the patch and with it.
"""

import copy
import json
import random
import sys
from collections import Counter

from ministack.services import dynamodb

TABLE = "Table"
ITEMS = 60
OPERATIONS = 350
ATTRIBUTES = {"pk": "S", "sk": "N", "gpk": "S", "gsk": "S", "bin": "B"}
TEXTS = ["", "A", "B", "B1", "b", "é", "Z", "2026-11-27T02:00:00.000Z"]
NUMBERS = ["0", "-1", "1", "1.0", "1E+1", "9", "10", "0.5"]
BYTES = ["AA==", "AQ==", "/w==", "AQA="]


def main():
    patches, seed = sys.argv[1:]
    rng = random.Random(seed)
    keys = [
        {"pk": {"S": rng.choice("AB")}, "sk": {"N": str(rng.choice([n, -n - 0.25, n + 0.5]))}} for n in range(ITEMS)
    ]
    operations = [put(rng, key) for key in keys]
    for _ in range(OPERATIONS):
        operations += operation(rng, keys)
    answers, read = run(operations)

    sys.path.insert(0, patches)
    from patches import queries

    queries.patch.apply()
    patched, read_by_patch = run(operations)
    for given, expected, found in zip(operations, answers, patched, strict=True):
        assert found == expected, given
    pages = [each for (call, _), each in zip(operations, answers, strict=True) if call == "_query"]
    kinds = Counter(
        "errors" if status != 200 else "items" if page["Count"] else "nothing" for (status, page), _ in pages
    )
    following = sum(after is not None for _, after in pages)
    print(json.dumps({**kinds, "following": following, "read": [read, read_by_patch]}))


def run(operations):
    """The answers to these operations on a new table, and how often a Query of many items read their condition."""
    dynamodb.reset()
    create()
    return [answered(*each) for each in operations], texts_read(
        {
            "TableName": TABLE,
            "IndexName": "GSI",
            "KeyConditionExpression": "gpk = :p AND gsk > :g",
            "ExpressionAttributeValues": {":p": {"S": "A"}, ":g": {"S": "A"}},
        }
    )


def create():
    created = {
        "TableName": TABLE,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in ATTRIBUTES.items()],
        "KeySchema": schema("pk", "sk"),
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "GSI",
                "KeySchema": schema("gpk", "gsk"),
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"]},
            },
            {"IndexName": "Hash", "KeySchema": schema("gpk"), "Projection": {"ProjectionType": "KEYS_ONLY"}},
        ],
        "LocalSecondaryIndexes": [
            {"IndexName": "LSI", "KeySchema": schema("pk", "bin"), "Projection": {"ProjectionType": "ALL"}}
        ],
    }
    assert dynamodb._create_table(created)[0] == 200


def operation(rng, keys):
    """Calls with their requests: two of three are a Query, the others change what it finds."""
    key = rng.choice(keys)
    match rng.randrange(12):
        case 0:
            return [put(rng, key)]
        case 1:
            return [("_delete_item", {"TableName": TABLE, "Key": key})]
        case 2 | 3:
            update = {"TableName": TABLE, "Key": key, "UpdateExpression": "SET gpk = :p, gsk = :g, x = :x"}
            values = {":p": {"S": rng.choice("AB")}, ":g": {"S": rng.choice(TEXTS[1:])}, ":x": value(rng)}
            return [("_update_item", {**update, "ExpressionAttributeValues": values})]
        case 4:
            first = request(rng)
            other = {"A": "B", "B": "A"}
            values = {
                name: {kind: other.get(text, text) if kind == "S" else text}
                for name, each in first["ExpressionAttributeValues"].items()
                for kind, text in each.items()
            }
            return [("_query", first), ("_query", {**first, "ExpressionAttributeValues": values})]
    return [("_query", request(rng))]


def put(rng, key):
    others = {"gpk": {"S": rng.choice("AB")}, "gsk": {"S": rng.choice(TEXTS[1:])}, "bin": {"B": rng.choice(BYTES)}}
    item = key | {name: given for name, given in others.items() if rng.random() < 0.9}
    item |= {"x": value(rng)} if rng.random() < 0.8 else {}
    return "_put_item", {"TableName": TABLE, "Item": item}


def schema(*names):
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)]


def value(rng, kind=None):
    made = {
        "S": lambda: rng.choice(TEXTS),
        "N": lambda: rng.choice(NUMBERS),
        "B": lambda: rng.choice(BYTES),
        "SS": lambda: rng.sample(TEXTS[1:], 2),
        "L": lambda: [{"N": rng.choice(NUMBERS)}],
        "M": lambda: {"a": {"S": rng.choice(TEXTS)}},
        "BOOL": lambda: rng.random() < 0.5,
        "NULL": lambda: True,
    }
    kind = kind or rng.choice(["S", "N", *made])
    return {kind: made[kind]()}


def request(rng):
    """A Query: most are valid."""
    index, hash_key, range_key = rng.choice(
        [(None, "pk", "sk"), ("GSI", "gpk", "gsk"), ("GSI", "gpk", "gsk"), ("Hash", "gpk", None), ("LSI", "pk", "bin")]
    )
    made = Request(rng)
    clauses = [made.comparison(hash_key, "=", {"S": rng.choice("AB")})]
    if range_key and rng.random() < 0.8:
        kind = ATTRIBUTES[range_key] if rng.random() < 0.95 else rng.choice("SNB")
        clauses.append(made.condition(range_key, kind))
        if rng.random() < 0.2:
            clauses.reverse()
    if rng.random() < 0.05:
        clauses = [f"({clause})" for clause in clauses]
    found = {"TableName": TABLE, "KeyConditionExpression": rng.choice([" AND ", " and "]).join(clauses)}
    if rng.random() < 0.05:
        found["KeyConditionExpression"] += " AND"
    if rng.random() < 0.5:
        found["FilterExpression"] = made.filter()
    found |= {"ExpressionAttributeValues": made.values}
    found |= {"ExpressionAttributeNames": made.names} if made.names else {}
    found |= {"IndexName": index} if index else {}
    found |= {"Limit": rng.choice([1, 2, 5, 50])} if rng.random() < 0.6 else {}
    found |= {"ScanIndexForward": rng.random() < 0.5} if rng.random() < 0.6 else {}
    found |= {"Select": "COUNT"} if rng.random() < 0.1 else {}
    return found


class Request:
    """The names and values of one request."""

    def __init__(self, rng):
        self.rng = rng
        self.values = {}
        self.names = {}

    def value(self, given):
        name = f":v{len(self.values)}"
        if self.rng.random() < 0.02:
            return ":undefined"
        self.values[name] = given
        return name

    def name(self, attribute):
        if self.rng.random() < 0.7:
            return attribute
        self.names[f"#{attribute}"] = attribute
        return f"#{attribute}"

    def comparison(self, attribute, operator, given):
        left, right = self.name(attribute), self.value(given)
        if self.rng.random() < 0.1:
            return f"{right} {operator} {left}"
        return f"{left}{operator}{right}" if self.rng.random() < 0.2 else f"{left} {operator} {right}"

    def condition(self, attribute, kind=None):
        bounds = [value(self.rng, kind), value(self.rng, kind)]
        match self.rng.randrange(8):
            case 0 | 1:
                bounds.sort(key=str)
                low, high = map(self.value, bounds)
                return f"{self.name(attribute)} {self.rng.choice(['BETWEEN', 'between'])} {low} AND {high}"
            case 2 if kind != "N":
                return f"begins_with({self.name(attribute)}, {self.value(bounds[0])})"
        return self.comparison(attribute, self.rng.choice(["=", "<", "<=", ">", ">="]), bounds[0])

    def filter(self):
        parts = [
            self.rng.choice(
                [
                    lambda: self.condition("x"),
                    lambda: self.comparison("x", "<>", value(self.rng)),
                    lambda: f"attribute_exists({self.name('x')})",
                    lambda: f"NOT {self.condition('x')}",
                    lambda: f"x IN ({self.value(value(self.rng))}, {self.value(value(self.rng))})",
                    lambda: f"size(x) > {self.value({'N': '1'})}",
                    lambda: f"x.a = {self.value(value(self.rng))}",
                ]
            )()
            for _ in range(self.rng.choice([1, 1, 2]))
        ]
        return self.rng.choice([" AND ", " OR "]).join(parts)


def answer(call, given):
    """Status and answer."""
    status, _, body = getattr(dynamodb, call)(copy.deepcopy(given))
    return status, json.loads(body)


def answered(call, given):
    """The answer, and that to the request for the next page; None after the last."""
    status, found = answer(call, given)
    if "LastEvaluatedKey" not in found:
        return (status, found), None
    return (status, found), answer(call, {**given, "ExclusiveStartKey": found["LastEvaluatedKey"]})


def texts_read(given):
    """How often MiniStack reads the text of a condition for this request."""
    read, original = Counter(), dynamodb._condition_syntax_error

    def counted(*arguments):
        read.update(["text"])
        return original(*arguments)

    dynamodb._condition_syntax_error = counted
    assert answer("_query", given)[1]["Count"] > 1
    dynamodb._condition_syntax_error = original
    return read.total()


main()
