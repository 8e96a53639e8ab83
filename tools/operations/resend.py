"""Sends a rejected message to the orders queue again, mended or as it is."""

from typing import TYPE_CHECKING

from shared.aws.rejected_orders import ATTRIBUTES, Received

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef


def resend(
    sqs: "SQSClient", rejected_queue: str, orders_queue: str, message: "MessageTypeDef", body: str | None = None
) -> str:
    """Send a message of the rejected-orders queue to the orders queue, and then delete the reject. Returns the new id.

    `message` is what `ReceiveMessage` returned with all attributes and system attributes. `body` replaces its body.
    The producer's attributes, the message group and the trace header stay, the pipeline's own attributes do not.
    The call can be repeated: a message that is sent twice starts its order once. Raises botocore's errors.
    """
    system = message.get("Attributes", {})
    theirs = {name: value for name, value in message.get("MessageAttributes", {}).items() if name not in ATTRIBUTES}
    received = Received(theirs, system.get("MessageGroupId"), system.get("AWSTraceHeader"))
    sent = sqs.send_message(
        QueueUrl=orders_queue,
        MessageBody=message["Body"] if body is None else body,
        **received.options({}),
    )
    sqs.delete_message(QueueUrl=rejected_queue, ReceiptHandle=message["ReceiptHandle"])
    return sent["MessageId"]
