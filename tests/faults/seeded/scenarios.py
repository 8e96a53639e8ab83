"""What happens to an order besides its request faults, and how it may end then. One function each.

A script sends its order, makes sure that the order was in the intended state at the fault, and only then counts the
fault.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from typing import Final

from durable_local.faults import Answer, Cut, Fail, Hold, Kill, Point, Redeliver, Rule, Stall
from durable_local.faults.rules import EVENT_SOURCE
from shared.errors import IllegalTransition, OrderEnded
from shared.ledger.states import State
from tests.faults.seeded.request_faults import FUNCTION_ERROR, POINTS, THROTTLED, event_lost
from tests.faults.seeded.trial import COMPLETED, Scenario, Trial
from tests.faults.seeded.world import INGEST, ORCHESTRATOR, World, writes

MAX_MESSAGE_BYTES: Final = 1_032_192
"""The largest message that the template's orders queue accepts."""

Script = Callable[[World, Trial], None]

SCENARIOS: Final[dict[str, list[Scenario]]] = {}
"""The scenarios by the number of their fault."""

ENDED: Final = ("SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED")
ENRICHER_CALL: Final = ("lambda", "Invoke")
WRITE: Final = ("dynamodb", "UpdateItem")
CHECKPOINT: Final = ("lambda", "CheckpointDurableExecution")


def scenario(fault: str, *ends: State) -> Callable[[Script], Script]:
    """Adds a script to the scenarios of the fault. `ends`: the states in which the order may end."""

    def listed(script: Script) -> Script:
        SCENARIOS.setdefault(fault, []).append(Scenario(fault, frozenset(ends), script))
        return script

    return listed


def plain(world: World, trial: Trial) -> None:
    """completes, whatever its request faults"""
    world.send(trial, *[trial.body] * trial.copies)
    if trial.copies_later is not None:
        threading.Event().wait(trial.copies_later)
        world.send(trial)
    if trial.copies > 1 or trial.copies_later is not None:
        for message_id in trial.messages:
            world.until_seen(message_id, "DeleteMessage", service=EVENT_SOURCE)
        world.count("F1", trial, f"{len(trial.messages)} messages were taken")
    world.until_ended(trial)


PLAIN: Final = Scenario("", COMPLETED, plain)


# -- the same id with another body ---------------------------------------------------------------------------


@scenario("F3", State.COMPLETED)
def conflicting_while_running(world: World, trial: Trial) -> None:
    """another body is sent while it runs"""
    call = world.hold(trial, *ENRICHER_CALL)
    world.send(trial)
    world.caught(call)
    [other] = world.send(trial, trial.other_body)
    world.until_seen(other, "DeleteMessage", service=EVENT_SOURCE)
    world.release(call)
    world.count("F3", trial, "while it ran")
    world.until_ended(trial)


@scenario("F3", State.COMPLETED)
def conflicting_after_its_end(world: World, trial: Trial) -> None:
    """another body is sent after it completed"""
    world.send(trial)
    world.until_state(trial, State.COMPLETED)
    [other] = world.send(trial, trial.other_body)
    world.until_seen(other, "DeleteMessage", service=EVENT_SOURCE)
    world.count("F3", trial, "after COMPLETED")


@scenario("F3", State.COMPLETED)
def conflicting_after_its_name_is_forgotten(world: World, trial: Trial) -> None:
    """another body is sent after its execution was deleted"""
    world.send(trial)
    entry = world.until_state(trial, State.COMPLETED)
    world.until_execution(entry.execution_arn, *ENDED)
    world.until_seen(trial.messages[0], "DeleteMessage", service=EVENT_SOURCE)
    world.delete(entry.execution_arn)
    world.send(trial, trial.other_body)
    world.until(lambda: len(world.entries()[trial.order_id].conflicts), f"the conflict of {trial.order_id}")
    world.count("F3", trial, "after its name was forgotten")


@scenario("F2", State.COMPLETED)
def redelivered_after_its_name_is_forgotten(world: World, trial: Trial) -> None:
    """it is sent again after its execution was deleted"""
    world.send(trial)
    entry = world.until_state(trial, State.COMPLETED)
    world.until_execution(entry.execution_arn, *ENDED)
    world.until_seen(trial.messages[0], "DeleteMessage", service=EVENT_SOURCE)
    world.delete(entry.execution_arn)
    [again] = world.send(trial)
    world.until_seen(again, "DeleteMessage", service=EVENT_SOURCE)
    world.count("F2", trial, "after its name was forgotten")


# -- messages that are no orders -----------------------------------------------------------------------------


@scenario("F4", State.COMPLETED)
def poisoned(world: World, trial: Trial) -> None:
    """is in one batch with messages that are no orders"""
    key = json.dumps(trial.order_id)
    line = {"sku": "x" * 64, "quantity": 1, "unitPrice": "1"}
    bodies = [
        f"order {trial.order_id}, two CDs please",
        json.dumps({**trial.order, "items": "two", "currency": 7}),
        f'{{"orderId": {key}, "attributes": ' + '{"a":' * 20_000 + "1" + "}" * 20_000 + "}",
        f'{{"orderId": {key}, "items": [{{"sku": "CD", "quantity": 1, "unitPrice": {"9" * 5000}}}]}}',
        f'{{"orderId": {key}, "currency": "USD", "currency": "EUR"}}',
        f'{{"orderId": {key}, "attributes": {{"\\ud800": "a lone surrogate"}}}}',
        json.dumps({**trial.order, "items": [line] * 800}),
    ]
    largest = json.dumps({**trial.order, "filler": ""})
    largest = largest[:-2] + "x" * (MAX_MESSAGE_BYTES - len(largest)) + '"}'
    world.arm(
        trial,
        Rule(Kill(Point.APPLIED), "sqs", "SendMessage", INGEST, (trial.order_id, "two CDs please"), label="F6"),
    )
    world.send(trial, *bodies, trial.body)
    world.send(trial, largest)
    world.until_ended(trial)


# -- batches -------------------------------------------------------------------------------------------------


@scenario("F5", State.COMPLETED)
def failed_in_its_batch(world: World, trial: Trial) -> None:
    """its start fails in a batch, and only this message is given back"""
    tries = 3
    refused, _ = world.arm(
        trial,
        Rule(THROTTLED, "lambda", "Invoke", INGEST, trial.order_id, times=tries, label="F5"),
        # Without this rule the message would be redelivered only after the visibility timeout.
        Rule(Redeliver(6), EVENT_SOURCE, "ReceiveMessage", INGEST, trial.order_id),
    )
    world.send_all([(one, one.body) for one in (trial, *trial.neighbours)])
    world.caught(refused, tries)
    world.until_ended(trial)


@scenario("F21", State.COMPLETED)
def hanging_in_its_batch(world: World, trial: Trial) -> None:
    """its start hangs until the client's timeout, in a batch with others"""
    tries = 3
    hanging, _ = world.arm(
        trial,
        Rule(Hold(), "lambda", "Invoke", INGEST, trial.order_id, times=tries, label="F21"),
        Rule(Redeliver(20), EVENT_SOURCE, "ReceiveMessage", INGEST, trial.order_id),
    )
    world.send_all([(one, one.body) for one in (trial, *trial.neighbours)])
    world.caught(hanging, tries)
    world.until_seen(trial.order_id, "Invoke", tries + 1, function=world.stack.physical_name(INGEST))
    world.release(hanging)
    world.until_ended(trial)


@scenario("F7", State.COMPLETED)
def refused_until_dead(world: World, trial: Trial) -> None:
    """its start is refused until its message is in the dead-letter queue; then it is sent again"""
    refused, _ = world.arm(
        trial,
        Rule(Fail(403, "AccessDeniedException"), "lambda", "Invoke", INGEST, trial.order_id, times=None, label="F7"),
        Rule(Redeliver(0.5), EVENT_SOURCE, "ReceiveMessage", INGEST, trial.order_id, times=None),
    )
    [message_id] = world.send(trial)
    world.caught(refused)
    world.until(lambda: world.left("OrdersDlqUrl"), f"{message_id} in the dead-letter queue")
    world.disarm(trial)
    world.send(trial)
    world.until_ended(trial)


# -- the execution fails --------------------------------------------------------------------------------------


@scenario("F10", State.FAILED)
def checkpoint_refused(world: World, trial: Trial) -> None:
    """each checkpoint of enrich or of its wait is refused with 4xx"""
    _checkpoint_refused(world, trial, trial.random.choice(["enrich", "wait"]))


@scenario("F10", State.FAILED, State.COMPLETED)
def last_checkpoint_refused(world: World, trial: Trial) -> None:
    """each checkpoint of finalize is refused with 4xx"""
    _checkpoint_refused(world, trial, "finalize")


def _checkpoint_refused(world: World, trial: Trial, operation: str) -> None:
    texts = (trial.order_id, f'"Name": "{operation}"')
    refusal = Fail(403, "AccessDeniedException")
    [rule] = world.arm(trial, Rule(refusal, *CHECKPOINT, ORCHESTRATOR, texts, times=None, label="F10"))
    world.send(trial)
    world.caught(rule)


# The executions' clock is forty times as fast. On a busy machine the execution may therefore time out first.
@scenario("F12", State.FAILED, State.TIMED_OUT)
def ledger_down_from_the_start(world: World, trial: Trial) -> None:
    """the ledger is down for it for longer than every policy, before its first write"""
    _ledger_down(world, trial, skip=0)


@scenario("F12", State.FAILED, State.TIMED_OUT)
def ledger_down_later(world: World, trial: Trial) -> None:
    """the ledger is down for it for longer than every policy, after its first write"""
    _ledger_down(world, trial, skip=trial.random.randint(1, 3))


def _ledger_down(world: World, trial: Trial, skip: int) -> None:
    down = Fail(400, "ProvisionedThroughputExceededException")
    world.arm(trial, Rule(down, *WRITE, ORCHESTRATOR, trial.order_id, skip=skip, times=None, label="F12"))
    # The writes of the reconciler and of the sweep fail too.
    reconciling = world.arm(
        trial, *(Rule(down, *WRITE, name, trial.order_id, times=None) for name in ("OrderReconciler", "OrderSweep"))
    )
    world.send(trial)
    arn = world.until(lambda: world.execution_of(trial), f"the execution of {trial.order_id}")
    world.until_execution(arn, "FAILED", "TIMED_OUT")
    if not trial.event_lost:
        world.until(
            lambda: any(injection.rule in reconciling for injection in world.injections()),
            f"the reconciler to try to write the end of {trial.order_id}",
        )
    world.disarm(trial)


@scenario("F13", State.FAILED)
def enricher_unusable(world: World, trial: Trial) -> None:
    """the enricher's answer cannot be used"""
    good = {
        "statusCode": 200,
        "orderId": trial.order_id,
        "enrichedData": {
            "customerId": "CUST-1",
            "timestamp": "2026-02-08T20:58:24.548Z",
            "profile": {"kind": "GUEST"},
            "totals": {"lines": 0, "units": 0, "amount": "0"},
        },
    }
    missing = {**good, "enrichedData": {"customerId": "CUST-1"}}
    answer = trial.random.choice(
        [
            "not JSON {",
            json.dumps({**good, "orderId": "ANOTHER"}),
            json.dumps(missing),
            json.dumps({**good, "filler": "x" * 70_000}),
            json.dumps({"statusCode": 400, "error": "refused"}),
        ]
    )
    trial.error = "EnrichmentRejected"
    world.arm(trial, Rule(Answer(answer), *ENRICHER_CALL, ORCHESTRATOR, trial.order_id, label="F13"))
    world.send(trial)


@scenario("F13", State.FAILED)
def enricher_failing(world: World, trial: Trial) -> None:
    """the enricher fails three times"""
    trial.error = "EnricherUnavailable"
    world.arm(trial, Rule(FUNCTION_ERROR, *ENRICHER_CALL, ORCHESTRATOR, trial.order_id, times=3, label="F13"))
    world.send(trial)


def _paused(world: World, trial: Trial, writing: State, *, timeout_goes_on: bool = True) -> str:
    """Sends the order, and pauses its execution while it writes that state. Returns the execution's ARN.

    The current invocation continues to its next checkpoint: the end of the step or of its try. After that nothing
    continues except, with `timeout_goes_on`, the execution timeout.
    """
    write = world.hold(trial, *WRITE, writes(writing))
    world.send(trial)
    world.caught(write)
    arn = world.until(lambda: world.execution_of(trial), f"the execution of {trial.order_id}")
    world.pause(arn, timeout_goes_on=timeout_goes_on)
    world.release(write)
    world.until_execution(arn, "PAUSED")
    return arn


# -- timeouts -------------------------------------------------------------------------------------------------


@scenario("F14", State.TIMED_OUT)
def timed_out_in_its_wait(world: World, trial: Trial) -> None:
    """its execution times out during the wait"""
    arn = _paused(world, trial, State.ENRICHED)
    world.until_state(trial, State.WAITING)
    world.until_execution(arn, "TIMED_OUT")
    world.count("F14", trial, "in the wait")


@scenario("F14", State.TIMED_OUT)
def timed_out_in_a_step(world: World, trial: Trial) -> None:
    """its execution times out between two tries of enrich"""
    world.arm(trial, Rule(FUNCTION_ERROR, *ENRICHER_CALL, ORCHESTRATOR, trial.order_id))
    arn = _paused(world, trial, State.ENRICHING)
    world.until_execution(arn, "TIMED_OUT")
    world.count("F14", trial, "in a step")


@scenario("F14", State.FAILED)
def killed_at_every_start(world: World, trial: Trial) -> None:
    """its enrich step kills its process at each try"""
    trial.error = "TooManyStarts"
    [kills] = world.arm(trial, Rule(Kill(), *ENRICHER_CALL, ORCHESTRATOR, trial.order_id, times=None, label="F14"))
    world.send(trial)
    world.caught(kills, 10)
    if not trial.event_lost:
        world.until_ended(trial)


# -- operators ------------------------------------------------------------------------------------------------


@scenario("F15", State.STOPPED)
def stopped_in_a_step(world: World, trial: Trial) -> None:
    """stopped in a step, whose process continues"""
    call = world.hold(trial, *ENRICHER_CALL)
    world.send(trial)
    world.caught(call)
    arn = world.until_state(trial, State.ENRICHING).execution_arn
    if world.stop(arn):
        world.count("F15", trial, "stopped in a step")
    world.release(call)


@scenario("F15", State.STOPPED)
def stopped_in_its_wait(world: World, trial: Trial) -> None:
    """paused, and stopped in its wait"""
    arn = _paused_in_its_wait(world, trial)
    if world.stop(arn):
        world.count("F15", trial, "stopped in its wait")


@scenario("F15", State.COMPLETED)
def paused_and_resumed(world: World, trial: Trial) -> None:
    """paused in its wait, and resumed long after the wait should end"""
    arn = _paused_in_its_wait(world, trial)
    threading.Event().wait(3)
    world.resume(arn)
    world.count("F15", trial, "paused and resumed")
    world.until_ended(trial)


@scenario("F15", State.FAILED, State.STOPPED)
def stopped_and_deleted(world: World, trial: Trial) -> None:
    """stopped in its wait and deleted, before the reconciler read it"""
    trial.error = "ExecutionLost"
    # The event is lost. Otherwise the reconciler would read the execution before it is deleted.
    trial.event_lost = True
    world.arm(trial, event_lost(trial.order_id))
    arn = _paused_in_its_wait(world, trial)
    if world.stop(arn):
        world.delete(arn)
        world.count("F15", trial, "stopped and deleted")


def _paused_in_its_wait(world: World, trial: Trial) -> str:
    arn = _paused(world, trial, State.ENRICHED, timeout_goes_on=False)
    world.until_state(trial, State.WAITING)
    return arn


# -- races ----------------------------------------------------------------------------------------------------


@scenario("F17", State.CANCELLED)
def cancelled_before_finalizing(world: World, trial: Trial) -> None:
    """cancelled while the write of FINALIZING is held"""
    write = world.hold(trial, *WRITE, writes(State.FINALIZING))
    world.send(trial)
    world.caught(write)
    world.cancel(trial)
    world.count("F17", trial, "the cancel came first")
    world.release(write)


@scenario("F17", State.COMPLETED)
def cancelled_after_finalizing(world: World, trial: Trial) -> None:
    """cancelled while the write of COMPLETED is held"""
    write = world.hold(trial, *WRITE, writes(State.COMPLETED))
    world.send(trial)
    world.caught(write)
    world.until_state(trial, State.FINALIZING)
    try:
        world.cancel(trial)
    except IllegalTransition:
        world.count("F17", trial, "finalize came first")
    world.release(write)
    world.until_ended(trial)


@scenario("F17", State.CANCELLED, State.COMPLETED)
def cancelled_in_its_wait(world: World, trial: Trial) -> None:
    """cancelled at about the end of its wait; either side may win"""
    world.send(trial)
    world.until_state(trial, State.WAITING, State.FINALIZING, State.COMPLETED)
    threading.Event().wait(trial.random.uniform(0, 1))
    with contextlib.suppress(IllegalTransition):
        world.cancel(trial)
    world.count("F17", trial, "a race that either side may win")


def _failed_once(world: World, trial: Trial) -> None:
    """Makes attempt 1 fail, so that the order can be retried."""
    world.arm(trial, Rule(Answer("{}"), *ENRICHER_CALL, ORCHESTRATOR, trial.order_id))
    world.send(trial)
    world.until_state(trial, State.FAILED)


@scenario("F18", State.COMPLETED)
def retried_twice_at_once(world: World, trial: Trial) -> None:
    """fails, and is retried by two operators at once while its message is sent again"""
    _failed_once(world, trial)
    world.sent.retries[trial.order_id] += 1
    threads = [threading.Thread(target=_retry, args=(world, trial)) for _ in range(2)]
    for thread in threads:
        thread.start()
    world.send(trial)
    for thread in threads:
        thread.join()
    world.count("F18", trial, "two retries and a redelivery")
    world.until_ended(trial, attempt=2)


@scenario("F18", State.COMPLETED)
def retried_during_direct_invokes(world: World, trial: Trial) -> None:
    """fails, and is retried while it is invoked directly, without a name"""
    _failed_once(world, trial)
    world.sent.retries[trial.order_id] += 1
    before = world.invoke(trial)
    _retry(world, trial)
    after = world.invoke(trial)
    world.count("F18", trial, "a retry between two direct invokes")
    world.until_ended(trial, attempt=2)
    world.until_execution(before, *ENDED)
    world.until_execution(after, *ENDED)


@scenario("F18", State.COMPLETED)
def retried_while_the_old_process_lives(world: World, trial: Trial) -> None:
    """stopped while its process is stalled; the process continues after the retry has begun"""
    still = 10
    [stall] = world.arm(trial, Rule(Stall(still), *WRITE, ORCHESTRATOR, (trial.order_id, writes(State.ENRICHED))))
    world.send(trial)
    [stalled] = world.caught(stall)
    goes_on = time.monotonic() + still
    entry = world.until_state(trial, State.ENRICHING)
    # The retry is held in the state from which the old process's write would be legal.
    call = world.hold(trial, *ENRICHER_CALL)
    world.stop(entry.execution_arn)
    world.until_state(trial, State.STOPPED)
    world.sent.retries[trial.order_id] += 1
    _retry(world, trial)
    world.caught(call)
    world.until_state(trial, State.ENRICHING, attempt=2)
    left = goes_on - time.monotonic()
    threading.Event().wait(max(left, 0) + 1)
    world.release(call)
    if left > 0:
        world.count("F18", trial, f"the old process was {stalled.request.pid}")
    world.until_ended(trial, attempt=2)


def _retry(world: World, trial: Trial) -> None:
    """Retries as one of two operators: the other one may have been faster."""
    with contextlib.suppress(IllegalTransition, OrderEnded):
        world.retry(trial)


# -- deployments ----------------------------------------------------------------------------------------------


@scenario("F19", State.COMPLETED)
def waiting_through_a_deployment(world: World, trial: Trial) -> None:
    """waits while new code is published"""
    world.send(trial)
    arn = world.until_state(trial, State.WAITING).execution_arn
    trial.note("waits")
    world.deployed.wait()
    if world.status(arn) == "RUNNING":
        world.count("F19", trial, "deployed while it waited")
    world.until_ended(trial)


@scenario("F22", State.COMPLETED)
def redelivered_to_a_new_version(world: World, trial: Trial) -> None:
    """is sent again after the new version added a field to the order"""
    world.send(trial)
    world.until_state(trial, State.WAITING)
    world.deployed.wait()
    [again] = world.send(trial)
    world.until_seen(again, "DeleteMessage", service=EVENT_SOURCE)
    world.count("F22", trial)
    world.until_ended(trial)


@scenario("F24", State.COMPLETED)
def enriched_by_a_newer_version(world: World, trial: Trial) -> None:
    """the enricher is deployed between two of its calls by one execution"""
    world.arm(trial, Rule(FUNCTION_ERROR, *ENRICHER_CALL, ORCHESTRATOR, trial.order_id))
    arn = _paused(world, trial, State.ENRICHING, timeout_goes_on=False)
    trial.may_deploy.set()
    world.deployed.wait()
    world.resume(arn)
    entry = world.until_state(trial, State.COMPLETED)
    if "enricherVersion" in (entry.enrichment or {}).get("enrichedData", {}):
        world.count("F24", trial, "enriched by a newer version")


@scenario("F24", State.STOPPED)
def stopped_before_an_older_reconciler(world: World, trial: Trial) -> None:
    """has a field that the reconciler does not read, and is stopped before its first write"""
    trial.may_deploy.set()
    world.deployed.wait()
    world.arm(trial, Rule(Cut(), *WRITE, ORCHESTRATOR, trial.order_id, times=None))
    world.send(trial, json.dumps({**trial.order, "placedAt": "2026-11-23T16:18:07Z"}))
    arn = world.until(lambda: world.execution_of(trial), f"the execution of {trial.order_id}")
    if world.stop(arn):
        reconciler = world.stack.physical_name("OrderReconciler")
        world.until_seen(trial.order_id, "GetDurableExecution", function=reconciler)
        world.count("F24", trial, "examined by an older version")


# -- recovery -------------------------------------------------------------------------------------------------


@scenario("F25", State.STOPPED)
def stopped_and_its_reconciler_killed(world: World, trial: Trial) -> None:
    """stopped in its wait; the reconciler or the sweep that reads or records its end is killed there"""
    arn = _paused_in_its_wait(world, trial)
    operation, text = trial.random.choice([(("lambda", "GetDurableExecution"), ""), (WRITE, writes(State.STOPPED))])
    point = trial.random.choice(POINTS)
    [kill] = world.arm(trial, Rule(Kill(point), *operation, None, (trial.order_id, text), label="F25"))
    if world.stop(arn):
        world.caught(kill)


@scenario("F25", State.CANCELLED)
def cancelled_by_a_program_that_ends_early(world: World, trial: Trial) -> None:
    """cancelled in its wait by a program that ends at one of its requests and is run again"""
    _paused_in_its_wait(world, trial)
    request, text = trial.random.choice([(WRITE, writes(State.CANCELLED)), (("lambda", "StopDurableExecution"), "")])
    _cut_once(world, trial, request, text)
    world.run_again(lambda: world.cancel(trial))


@scenario("F25", State.COMPLETED)
def retried_by_a_program_that_ends_early(world: World, trial: Trial) -> None:
    """fails, and is retried by a program that ends at one of its requests and is run again"""
    _failed_once(world, trial)
    world.sent.retries[trial.order_id] += 1
    # Both requests have the name of attempt 2.
    request = trial.random.choice([("lambda", "Invoke"), ("lambda", "GetDurableExecution")])
    _cut_once(world, trial, request, f"{trial.order_id}-2")
    world.run_again(lambda: _retry(world, trial))
    world.until_ended(trial, attempt=2)


@scenario("F25", State.COMPLETED)
def redriven_by_a_program_that_ends_early(world: World, trial: Trial) -> None:
    """is in the dead-letter queue, and is moved back by a program that ends at its request and is run again"""
    [cut] = world.arm(trial, Rule(Cut(trial.random.choice(POINTS[:2])), "sqs", "StartMessageMoveTask", label="F25"))
    queue = world.stack.outputs["OrdersDlqUrl"]
    message_id = world.sqs.send_message(QueueUrl=queue, MessageBody=trial.body)["MessageId"]
    world.sent.messages[message_id] = trial.body
    world.run_again(world.redrive)
    world.caught(cut)
    world.until_ended(trial)


def _cut_once(world: World, trial: Trial, request: tuple[str, str], text: str) -> None:
    """Break the connection of one request about the order, before or after it was applied."""
    point = trial.random.choice(POINTS[:2])
    world.arm(trial, Rule(Cut(point), *request, None, (trial.order_id, text), label="F25"))


# -- losses of the ledger -------------------------------------------------------------------------------------


@scenario("F26", State.COMPLETED)
def set_back_after_its_end(world: World, trial: Trial) -> None:
    """completes, and then the item that it had while it waited is put back"""
    write = world.hold(trial, *WRITE, writes(State.FINALIZING))
    world.send(trial)
    world.caught(write)
    older = world.item(trial)
    world.release(write)
    arn = world.until_state(trial, State.COMPLETED).execution_arn
    world.until_execution(arn, "SUCCEEDED")
    trial.event_lost = True  # no event tells of it: only the sweep finds it
    world.put_back(older)
    world.count("F26", trial, f"set back to {older['state']['S']}")
