"""Events as Lambda passes them to a function."""


def sqs_event(*message_ids):
    """A batch of messages from a queue, by their ids."""
    return {
        "Records": [
            {
                "messageId": message_id,
                "receiptHandle": f"receipt-{message_id}",
                "body": "{}",
                "attributes": {},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:orders",
                "awsRegion": "us-east-1",
            }
            for message_id in message_ids
        ]
    }


def invocation(payload):
    """The first invocation of a durable function."""
    return {
        "DurableExecutionArn": "arn",
        "CheckpointToken": "token",
        "InitialExecutionState": {
            "Operations": [{"Id": "1", "Type": "EXECUTION", "ExecutionDetails": {"InputPayload": payload}}]
        },
    }
