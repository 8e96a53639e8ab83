"""Order ORDER-1 in the ledger: put into any state, read whole, and written by others between two writes."""

from shared.executions.names import OrderExecution
from shared.ledger.entry import unmarshalled
from shared.ledger.states import State
from shared.ledger.table import Written, unchanged
from shared.orders.order import parse_order

ORDER = parse_order('{"orderId": "ORDER-1", "customerId": "CUST-1", "attributes": {"channel": "web"}}')
OTHER_BODY = parse_order('{"orderId": "ORDER-1", "currency": "EUR"}')
OWNER = OrderExecution("ORDER-1", "arn:first", 1, named=True)
RETRY = OrderExecution("ORDER-1", "arn:second", 2, named=True)

PATH = (State.RECEIVED, State.ENRICHING, State.ENRICHED, State.WAITING, State.FINALIZING, State.COMPLETED)
_WRITTEN_BESIDE = {
    State.ENRICHED: {"enrichment": {"statusCode": 200}},
    State.COMPLETED: {"result": {"processedAt": "2026-01-01T00:00:00.000Z"}},
    State.FAILED: {"error": {"type": "Broken", "message": "it broke"}},
}


_written = {}
"""The items that `put_in` has written to an empty table, and the readings of the clock for them."""


class Ticks:
    """A clock that is one second later at each reading."""

    def __init__(self):
        self.readings = 0

    def __call__(self):
        self.readings += 1
        return f"2026-01-01T00:00:{self.readings - 1:06.3f}Z"


class OrderInLedger:
    """ORDER-1, with what the tests of several files need."""

    def __init__(self, ledger):
        self._ledger = ledger

    def put_in(self, state, *, order=ORDER, owner=OWNER, after=None):
        """Write all transitions up to a state, with this owner. Returns the entry.

        The first test that asks writes them by the ledger's own code. For later ones that item is put in the table.
        """
        clock = self._ledger.now
        if after or clock.readings:
            return self._write(state, order, owner, after)
        asked = state, order.digest(), owner
        if asked not in _written:
            self._write(state, order, owner, after)
            _written[asked] = self._stored(), clock.readings
        else:
            item, clock.readings = _written[asked]
            self._ledger._client.put_item(TableName="LedgerTable", Item=item)
        return self._ledger.get("ORDER-1")

    def _write(self, state, order, owner, after):
        ledger = self._ledger
        assert ledger.begin(order, owner, (State.RECEIVED,), after, fields={"enrichStarts": 1}) == Written()
        to = PATH.index(state) + 1 if state in PATH else PATH.index(State.WAITING) + 1
        for step in [*PATH[1:to], *([] if state in PATH else [state])]:
            found, fields = ledger.get("ORDER-1"), _WRITTEN_BESIDE.get(step)
            assert ledger.move("ORDER-1", owner.attempt, (step,), unchanged(found), fields=fields) == Written()
        return ledger.get("ORDER-1")

    def item(self):
        """The whole item as plain values, or None."""
        found = self._stored()
        return found and unmarshalled(found)

    def _stored(self):
        """The item as DynamoDB has it, or None."""
        return self._ledger._client.get_item(TableName="LedgerTable", Key={"orderId": {"S": "ORDER-1"}}).get("Item")

    def delete(self):
        """Delete the item."""
        self._ledger._client.delete_item(TableName="LedgerTable", Key={"orderId": {"S": "ORDER-1"}})

    def before_write(self, *acts):
        """Call one of `acts` before each of the ledger's next writes. Returns the list of those not called yet."""
        waiting, acting = list(acts), []

        def act(**_):
            if waiting and not acting:
                acting.append(True)
                waiting.pop(0)()
                acting.clear()

        self._ledger._client.meta.events.register("before-call.dynamodb.UpdateItem", act)
        return waiting
