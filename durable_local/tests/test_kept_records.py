"""What MiniStack keeps of writes, events and metrics: in its own environment, without its server."""

import json
import subprocess
from pathlib import Path

import pytest

from durable_local.ministack import child
from durable_local.ministack.patches.kept_records import PackedRecords
from durable_local.settings import Settings

# MiniStack answers requests itself; its modules are called directly here, as its server calls them.
PROGRAM = """
import json, sys
from patches import kept_records
from ministack.services import cloudwatch, dynamodb, dynamodb_streams, eventbridge

kept_records.patch.apply()

def call(service, operation, **request):
    return json.loads(getattr(service, operation)(request)[2])

table = call(
    dynamodb,
    "_create_table",
    TableName="orders",
    KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    BillingMode="PAY_PER_REQUEST",
    StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
)["TableDescription"]
for number in range(20):
    item = {"id": {"S": "1"}, "history": {"L": [{"M": {"at": {"S": str(at)}}} for at in range(number)]}}
    call(dynamodb, "_put_item", TableName="orders", Item=item)
arn = table["LatestStreamArn"]
shard = call(dynamodb_streams, "_describe_stream", StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
where = {"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
iterator = call(dynamodb_streams, "_get_shard_iterator", **where)["ShardIterator"]
read = call(dynamodb_streams, "_get_records", ShardIterator=iterator)["Records"]
kept = dynamodb._stream_records["orders"]
dynamodb._STREAM_RETENTION_SECONDS = -60
expired = dynamodb.stream_start_position("orders"), len(kept)

call(eventbridge, "_put_events", Entries=[{"Source": "test", "DetailType": "test", "Detail": "{}"}])
for value in 1, 2, 3:
    cloudwatch.record_metric("test", "orders", value, dimensions={"function": "ingest"})
[values] = cloudwatch._metrics.values()
print(json.dumps({
    "read": [len(record["dynamodb"]["NewImage"]["history"]["L"]) for record in read],
    "list": type(kept).__name__,
    "expired": expired,
    "events": len(eventbridge._events_log),
    "values": [(value["Value"], value["Dimensions"]) for value in values],
    "dimensions": len({id(value["Dimensions"]) for value in values}),
}))
"""


def record(number, created=0.0):
    image = {"id": {"S": str(number)}, "text": {"S": "the same again " * 100}}
    return {"dynamodb": {"SequenceNumber": str(number), "ApproximateCreationDateTime": created, "NewImage": image}}


@pytest.fixture
def packed():
    records = PackedRecords()
    for number in range(5):
        records.append(record(number, created=number))
    return records


def test_packed_records_are_read_as_a_list_is(packed):
    records = [record(number, created=number) for number in range(5)]
    assert list(packed) == records
    assert (packed[0], packed[-1], packed[1:3], len(packed)) == (records[0], records[-1], records[1:3], 5)
    del packed[:2]
    assert list(packed) == records[2:]


def test_packed_records_know_when_the_oldest_was_created(packed):
    assert packed.begin_after(0)
    assert not packed.begin_after(0.5)
    del packed[:1]
    assert packed.begin_after(0.5)
    assert PackedRecords().begin_after(0.5)


@pytest.fixture(scope="module")
def kept():
    """What MiniStack has kept after some writes, an event and three values of a metric."""
    done = subprocess.run(
        [Settings().ministack_python, "-c", PROGRAM],
        env={"PYTHONPATH": str(Path(child.__file__).parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_stream_is_packed_and_expires_as_a_whole(kept):
    assert kept["read"] == list(range(20))
    assert kept["list"] == "PackedRecords"
    assert kept["expired"] == [20, 0]


def test_an_event_that_was_delivered_is_not_kept(kept):
    assert kept["events"] == 0


def test_the_values_of_a_metric_share_their_dimensions(kept):
    assert kept["values"] == [[value, {"function": "ingest"}] for value in (1.0, 2.0, 3.0)]
    assert kept["dimensions"] == 1
