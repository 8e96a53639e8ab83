"""Compares MiniStack's answers with and without the patch of conditions; a program for MiniStack's environment.

Arguments: the folder of the patches, and a seed. It prints, as JSON, how many requests were answered with items, with
nothing and with an error, how many had a next page, and how often MiniStack read the text of a condition for the items
of one partition, without the patch and with it.
"""

import copy
import json
import random
import sys
from collections import Counter

from ministack.services import dynamodb

TABLE = "Table"
ITEMS = 60
REQUESTS = 300
ATTRIBUTES = {"pk": "S", "sk": "N", "gpk": "S", "gsk": "S", "bin": "B"}
TEXTS = ["", "A", "B", "B1", "b", "é", "Z", "2026-11-27T02:00:00.000Z"]
NUMBERS = ["0", "-1", "1", "1.0", "1E+1", "9", "10", "0.5"]
BYTES = ["AA==", "AQ==", "/w==", "AQA="]


def main():
    patches, seed = sys.argv[1:]
    rng = random.Random(seed)
    fill(rng)
    requests = [request(rng) for _ in range(REQUESTS)]
    whole = {
        "TableName": TABLE,
        "IndexName": "GSI",
        "KeyConditionExpression": "gpk = :p AND gsk > :g",
        "ExpressionAttributeValues": {":p": {"S": "A"}, ":g": {"S": "A"}},
    }
    read_before = texts_read(whole)
    answers, following = zip(*(answered(each) for each in requests), strict=True)

    sys.path.insert(0, patches)
    from patches import conditions

    conditions.patch.apply()
    for each, expected, follows in zip(requests, answers, following, strict=True):
        assert answer(each) == expected, each
        if follows:
            assert answer(follows[0]) == follows[1], follows[0]
    kinds = Counter(("items" if found.get("Count") else "nothing") if status == 200 else "errors"
                    for status, found in answers)  # fmt: skip
    print(json.dumps({**kinds, "following": sum(map(bool, following)), "read": [read_before, texts_read(whole)]}))


def fill(rng):
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
    for number in range(ITEMS):
        item = {"pk": {"S": rng.choice("AB")}, "sk": {"N": str(rng.choice([number, -number, number / 4]))}}
        optional = {
            "gpk": {"S": rng.choice("AB")},
            "gsk": {"S": rng.choice(TEXTS[1:])},
            "bin": {"B": rng.choice(BYTES)},
        }
        item |= {name: value for name, value in optional.items() if rng.random() < 0.9}
        item |= {"x": value(rng)} if rng.random() < 0.8 else {}
        assert dynamodb._put_item({"TableName": TABLE, "Item": item})[0] == 200, item


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


def answer(given):
    """Status and answer."""
    status, _, body = dynamodb._query(copy.deepcopy(given))
    return status, json.loads(body)


def answered(given):
    """The answer, and the request after its page with that one's answer; None after the last."""
    found = answer(given)
    if "LastEvaluatedKey" not in found[1]:
        return found, None
    then = {**given, "ExclusiveStartKey": found[1]["LastEvaluatedKey"]}
    return found, (then, answer(then))


def texts_read(given):
    """How often MiniStack reads the text of a condition for this request."""
    read, original = Counter(), dynamodb._condition_syntax_error

    def counted(*arguments):
        read.update(["text"])
        return original(*arguments)

    dynamodb._condition_syntax_error = counted
    assert answer(given)[1]["Count"] > 10
    dynamodb._condition_syntax_error = original
    return read.total()


main()
