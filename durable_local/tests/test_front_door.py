"""Everything that is not a durable function goes to MiniStack, unchanged in both directions."""

import time
from concurrent.futures import ThreadPoolExecutor

import boto3


def test_a_message_reaches_the_function_of_its_queue(stack, eventually):
    sqs, dynamodb = stack.client("sqs"), stack.client("dynamodb")
    message = sqs.send_message(QueueUrl=stack.outputs["QueueUrl"], MessageBody="from the queue")
    key = {"id": {"S": message["MessageId"]}}
    item = eventually(lambda: dynamodb.get_item(TableName=stack.outputs["TableName"], Key=key).get("Item"))
    assert item["body"] == {"S": "from the queue"}


def test_queue_urls_have_the_front_doors_address(stack):
    sqs = stack.client("sqs")
    created = sqs.create_queue(QueueName="urls")["QueueUrl"]
    asked = sqs.get_queue_url(QueueName="urls")["QueueUrl"]
    listed = sqs.list_queues(QueueNamePrefix="urls")["QueueUrls"][0]
    assert created == asked == listed == f"{stack.endpoint}/000000000000/urls"
    assert stack.outputs["QueueUrl"].startswith(f"{stack.endpoint}/")


def test_a_long_poll_delays_no_other_request(stack):
    sqs, dynamodb = stack.client("sqs"), stack.client("dynamodb")
    url = sqs.create_queue(QueueName="empty")["QueueUrl"]
    with ThreadPoolExecutor() as pollers:
        poll = pollers.submit(sqs.receive_message, QueueUrl=url, WaitTimeSeconds=3)
        began = time.monotonic()
        for _ in range(20):
            dynamodb.list_tables()
        assert time.monotonic() - began < 2
        assert not poll.done()
        assert "Messages" not in poll.result()


def test_an_object_is_read_as_it_was_put(stack):
    s3 = stack.client("s3")
    s3.create_bucket(Bucket="objects", CreateBucketConfiguration={"LocationConstraint": "eu-central-2"})
    body = bytes(range(256)) * 20_000  # more than is passed on in one piece
    key = "a folder/ünï+code%2F~.bin"
    s3.put_object(Bucket="objects", Key=key, Body=body, Metadata={"kept": "yes"})
    assert s3.get_object(Bucket="objects", Key=key)["Body"].read() == body
    head = s3.head_object(Bucket="objects", Key=key)
    assert head["ContentLength"] == len(body)
    assert head["Metadata"] == {"kept": "yes"}


def test_the_output_of_a_handler_is_in_its_log_group(stack, eventually):
    stack.client("lambda").invoke(FunctionName=stack.outputs["Plain"], Payload=b'{"logged": 1}')
    logs = stack.client("logs")

    def written():
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{stack.outputs['Plain']}")["events"]
        return [event for event in events if "plain handler at work" in event["message"]]

    assert eventually(written)


def test_a_client_of_any_region_reaches_the_stack(stack):
    elsewhere = boto3.client(
        "sqs",
        endpoint_url=stack.endpoint,
        region_name="us-east-1",
        aws_access_key_id=stack.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=stack.environment["AWS_SECRET_ACCESS_KEY"],
    )
    here = stack.client("sqs")
    url = here.create_queue(QueueName="seen-from-everywhere")["QueueUrl"]
    assert url in elsewhere.list_queues()["QueueUrls"]
    here.delete_queue(QueueUrl=url)
