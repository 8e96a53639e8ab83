"""The points of a run: the requests that a function was seen to make, each of which can then be met by a fault."""

import json
from dataclasses import dataclass

from durable_local.faults import Action, Rule


@dataclass(frozen=True)
class Request:
    """One request of a run: the n-th of its kind, counted from 0."""

    service: str
    operation: str
    function: str
    nth: int

    def rule(self, action: Action, text: str) -> Rule:
        """Does it to this request of the run that is about `text`."""
        return Rule(action, self.service, self.operation, self.function, text, skip=self.nth)


def requests_of(stack, function, text):
    """What the function's workers, or an event source mapping for it, asked for about `text`, in order."""
    name = stack.physical_name(function)
    return [request for request in stack.faults.requests(text) if request.function == name]


def recorded(stack, function, text):
    """The same, as points of a run."""
    kinds = [(request.service, request.operation) for request in requests_of(stack, function, text)]
    return [Request(*kind, function, nth=kinds[:place].count(kind)) for place, kind in enumerate(kinds)]


def send(stack, sent, order_ids):
    """Puts an order on the queue for each id, and notes what was sent."""
    queue, sqs = stack.outputs["OrdersQueueUrl"], stack.client("sqs")
    for order_id in order_ids:
        body = json.dumps({"orderId": order_id})
        sent.messages[sqs.send_message(QueueUrl=queue, MessageBody=body)["MessageId"]] = body


def not_injected_once(stack, rules):
    """How often each rule was carried out that was not carried out once: a fault that was not met proves nothing.

    `rules`: the rule's id, by the run it is about.
    """
    times = {run: len(stack.faults.injected(rule)) for run, rule in rules.items()}
    return {run: count for run, count in times.items() if count != 1}
