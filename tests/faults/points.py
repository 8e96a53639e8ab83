"""The points of a run: the requests that a function made in a recorded run. A fault can be injected at each of them."""

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
        """The rule that applies the action to this request, in the run about `text`."""
        return Rule(action, self.service, self.operation, self.function, text, skip=self.nth)


def requests_of(stack, function, text):
    """The requests about `text` by the function's workers or by an event source mapping for it, in sequence."""
    name = stack.physical_name(function)
    return [request for request in stack.faults.requests(text) if request.function == name]


def recorded(stack, function, text):
    """These requests as points of a run."""
    kinds = [(request.service, request.operation) for request in requests_of(stack, function, text)]
    return [Request(*kind, function, nth=kinds[:place].count(kind)) for place, kind in enumerate(kinds)]


def send(stack, sent, order_ids):
    """Sends an order for each id, and adds the messages to `sent`."""
    queue, sqs = stack.outputs["OrdersQueueUrl"], stack.client("sqs")
    for order_id in order_ids:
        body = json.dumps({"orderId": order_id})
        sent.messages[sqs.send_message(QueueUrl=queue, MessageBody=body)["MessageId"]] = body


def not_injected_once(stack, rules):
    """Runs whose rule was not applied exactly once, with the count. A fault that was not injected proves nothing.

    `rules`: the id of each run's rule, by run.
    """
    times = {run: len(stack.faults.injected(rule)) for run, rule in rules.items()}
    return {run: count for run, count in times.items() if count != 1}
