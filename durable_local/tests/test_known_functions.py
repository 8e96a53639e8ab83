"""The gateway's cache of what MiniStack says of a function. MiniStack is an object with two answers here."""

import asyncio
import contextlib
import json
import math
from types import SimpleNamespace

import pytest

from durable_local.function_reference import FunctionReference
from durable_local.gateway import functions

ALIAS = FunctionReference("orders", "prod")


class MiniStack:
    """Its requests so far; `version` and `alias` are its answers."""

    def __init__(self):
        self.requests = []
        self.version = "1"
        self.alias = {"FunctionVersion": "1"}
        self.during = lambda: None
        self.functions = functions.Functions(self, SimpleNamespace(url="", headers=lambda _service: {}))

    @contextlib.asynccontextmanager
    async def get(self, url, **_):
        self.requests.append(url)
        answer = self.alias if "/aliases/" in url else {"FunctionName": "orders", "Version": self.version}
        self.during()

        async def read(content_type):
            assert content_type is None
            return json.loads(json.dumps(answer))

        yield SimpleNamespace(status=200, json=read)

    def ask(self):
        """The version that the gateway takes for the alias now, and whether it asked for it."""
        before = len(self.requests)
        return asyncio.run(self.functions.describe(ALIAS)).version, len(self.requests) > before


@pytest.fixture
def ministack(monkeypatch):
    monkeypatch.setattr(functions, "CACHE_SECONDS", math.inf)
    return MiniStack()


def test_a_function_is_asked_for_once_until_a_request_may_have_changed_it(ministack):
    assert ministack.ask() == ("1", True)
    ministack.version = "2"
    assert ministack.ask() == ("1", False)
    ministack.functions.forget()
    assert ministack.ask() == ("2", True)


def test_an_alias_with_weights_is_drawn_for_each_start(ministack):
    ministack.alias |= {"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5}}}
    assert ministack.ask() == ("1", True)
    ministack.version = "2"
    assert ministack.ask() == ("2", True)


def test_an_answer_from_before_a_change_is_not_cached(ministack):
    ministack.during = ministack.functions.forget
    assert ministack.ask() == ("1", True)
    ministack.version = "2"
    assert ministack.ask() == ("2", True)
