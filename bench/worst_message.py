"""What the worst message costs against the most expensive valid order, in time and memory.

Inside the figure: all that a function does with the text of an order until it has the order or its errors. At ingest
that is `order_in` and the canonical bytes; at a direct invoke the orchestrator's `refusal`, the `json.loads` that the
durable SDK does, and `parse_order`. Outside: the text itself, which exists before; the runtime's decoding of the event;
requests to AWS, such as the send of a reject.

Time is CPU time, the median of interleaved runs. Memory is the peak of what Python allocates on top of the text.
"""

import gc
import json
import sys
import time
import tracemalloc
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.figures import Result, Row, Series
from orchestrator.payload import refusal
from shared.errors import InvalidOrder
from shared.orders.exact_json import MAX_TEXT_LENGTH
from shared.orders.order import parse_order

MAX_TIME_RATIO: Final = 5
MAX_MEMORY_RATIO: Final = 10
RUNS: Final = 7
BATCH: Final = 10
FUNCTION_MEMORY_MB: Final = 1024
MESSAGE: Final = 1024 * 1024
"""The longest text a queue carries."""
PAYLOAD: Final = 6 * 1024 * 1024
"""The longest payload of a synchronous invoke."""

MOST_ITEMS: Final = 1_597
"""More do not fit into the 64 KiB of an order."""


def escaped(text: str) -> str:
    """The text as a JSON string with each character escaped."""
    return '"' + "".join(f"\\u{ord(character):04x}" for character in text) + '"'


def items(item: str, number: int) -> str:
    """An order of equal items."""
    return '{"orderId":"A","items":[' + ",".join([item] * number) + "]}"


def filled(beginning: str, piece: str, end: str, size: int = MAX_TEXT_LENGTH, most: int = PAYLOAD) -> str:
    """A text of at most `size` characters and `most` pieces; `@` in a piece is its number."""
    number = min(most, (size - len(beginning) - len(end)) // (len(piece) + 1))
    if "@" in piece:
        number = min(number, (size - len(beginning) - len(end)) // (len(piece) + 1 + len(f"{number:x}") - 1))
        return beginning + ",".join(piece.replace("@", f"{n:x}") for n in range(number)) + end
    return beginning + ",".join([piece] * number) + end


PLAIN_ITEM: Final = '{"sku":"S","quantity":1,"unitPrice":"1"}'
ESCAPED_ITEM: Final = f"{{{escaped('sku')}:{escaped('S')},{escaped('quantity')}:1,{escaped('unitPrice')}:@}}"

ORDERS: Final = {
    "1,100 items of 54 bytes": items('{"sku":"SKU-000001","quantity":1,"unitPrice":"12.50"}', 1_100),
    "the most items": items(PLAIN_ITEM, MOST_ITEMS),
    "the most items, escaped": items(ESCAPED_ITEM.replace("@", '"1"'), MOST_ITEMS),
    "the most items, prices as numbers": items(ESCAPED_ITEM.replace("@", "1." + "0" * 60), MOST_ITEMS),
    "the most items, padded prices": items(ESCAPED_ITEM.replace("@", f'"{"0" * 29}1.{"0" * 29}"'), MOST_ITEMS),
}
"""Valid orders of nearly 64 KiB, among them the most expensive one."""

_VALUES: Final = 19_990
"""As many JSON values as a text may have."""

HOSTILE: Final = {
    # The table of the review.
    "a string of 1 MiB": '"' + "x" * (MESSAGE - 2) + '"',
    "1 MiB of empty objects": filled("[", "{}", "]", MESSAGE),
    "1 MiB of wrong attributes": filled('{"attributes":{', '"!@":0', "}}", MESSAGE),
    "1,200 arrays nested 400 deep": filled("[", "[" * 400 + "]" * 400, "]", MESSAGE, 1_200),
    "6 MiB of empty objects": filled("[", "{}", "]", PAYLOAD),
    "6 MiB of 4-byte characters": '"' + "\U0001f600" * (PAYLOAD // 4) + '"',
    # As long as a text may be, whatever it has.
    "empty objects": filled("[", "{}", "]"),
    "arrays nested 400 deep": filled("[", "[" * 400 + "]" * 400, "]"),
    "numbers": filled("[", "1.5", "]"),
    "quotes": '"' + '"abc' * (MAX_TEXT_LENGTH // 4 - 1),
    "4-byte characters": '"' + "\U0001f600" * (MAX_TEXT_LENGTH - 2) + '"',
    "lone surrogates": '"' + "\\ud800" * (MAX_TEXT_LENGTH // 6 - 1) + '"',
    "escapes between 4-byte characters": '"' + "\\n\U0001f600" * (MAX_TEXT_LENGTH // 3 - 1) + '"',
    "backslashes": '"' + "\\\\" * (MAX_TEXT_LENGTH // 2 - 1) + '"',
    "one key": '{"' + "\U0001f600" * (MAX_TEXT_LENGTH - 6) + '":1}',
    "one attribute's name": '{"attributes":{"' + "\U0001f600" * (MAX_TEXT_LENGTH - 30) + '":1}}',
    "white space": " " * MAX_TEXT_LENGTH,
    "a time of many zeros without a zone": '{"placedAt":"1997-01-01T12:00:00.5' + "0" * (MAX_TEXT_LENGTH - 40) + '"}',
    "integers of 4,000 digits": filled("[", "9" * 4_000, "]"),
    # As many values as a text may have.
    "long decimals": filled("[", "1.12345678912345", "]", most=_VALUES),
    "decimals that break off": filled("[", "1.12345678912345", "x", most=_VALUES),
    "objects of one number": filled("[", '{"@":1.5}', "]", most=_VALUES // 2),
    "unknown fields": filled("{", '"0000@":1.5', "}", most=_VALUES),
    "unknown fields of 4-byte characters": filled("{", '"\U0001f600@":1.5', "}", most=_VALUES),
    "an item of unknown fields": filled('{"items":[{', '"\U0001f600@":1.5', "}]}", most=_VALUES),
    "the same field": filled("{", '"a":1.5', "}", most=_VALUES),
    "8,000 wrong attributes": filled('{"attributes":{', '"!@":0', "}}", most=8_000),
    "50 attributes of long names": filled('{"attributes":{', f'"!@{"k" * 60}":"{"v" * 7_000}"', "}}", most=50),
    # Of the kinds that the search in tests/unit/test_order_cost.py ends with.
    "search: attributes of {}": filled('{"attributes":{', f'"{"0" * 27}@":{{}}', "}}", most=9_996),
    "search: arrays nested 980 deep": filled("[", "[" * 980 + "]" * 980, "]", most=20),
    # As many items as an order may have.
    "2,000 items of nothing": filled('{"orderId":"A","items":[', "{}", "]}", most=2_000),
    "2,000 items of wrong values": filled(
        '{"orderId":"A","items":[', '{"sku":1,"quantity":1.5,"unitPrice":"x"}', "]}", most=2_000
    ),
    "2,000 items and an unknown field": filled('{"orderId":"A","items":[', PLAIN_ITEM, '],"x":1}', most=2_000),
    "more than 64 KiB of escaped items": filled(
        '{"orderId":"A","items":[', ESCAPED_ITEM.replace("@", "1." + "0" * 60), "]}", most=2_000
    ),
    "unknown fields of the last item": filled('{"orderId":"A","items":[', PLAIN_ITEM, ",", most=1_900)
    + filled("{", '"@":1.5', "}]}", MAX_TEXT_LENGTH // 2, 10_000),
    # In an envelope, also as text in a string.
    "2,000 items of wrong values in an envelope": '{"detail":'
    + filled('{"orderId":"A","items":[', '{"sku":1,"quantity":1.5,"unitPrice":"x"}', "]}}", most=2_000),
    "items of wrong values in a text": json.dumps(
        {"body": filled('{"orderId":"A","items":[', '{"sku":1,"quantity":1.5,"unitPrice":"x"}', "]}", most=2_000)}
    ),
    "texts of empty objects": json.dumps([filled("[", "{}", "]", 19_000)] * 20),
    "base64 of empty objects": json.dumps([b64encode(filled("[", "{}", "]", 12_000).encode()).decode()] * 20),
    "base64 of an order, not in JSON": b64encode(
        filled('{"orderId":"A","items":[', '{"sku":1,"quantity":1.5,"unitPrice":"x"}', "]}", most=2_000).encode()
    ).decode(),
    "wrong orders in a list": filled(
        "[", '{"orderId":1,"items":[{"sku":1,"quantity":1.5,"unitPrice":"x"}]}', "]", most=2_000
    ),
    "items that have a key twice": filled('{"orderId":"A","items":[', '{"sku":1,"sku":1,"@":1}', "]}", most=2_000),
    "typed items": filled(
        '{"orderId":{"S":"A"},"items":{"L":[', '{"M":{"sku":{"N":"1"},"@":{"S":"1"}}}', "]}}", most=2_000
    ),
    "a row of 384 Ki commas": "," * MAX_TEXT_LENGTH,
    "letters that may be base64": "A" * MAX_TEXT_LENGTH,
}
"""Texts that are no order."""


def at_ingest(text: str) -> None:
    """What ingest does with a message's body."""
    try:
        parse_order(text).canonical_bytes()
    except InvalidOrder as error:
        str(error)


def at_direct_invoke(text: str) -> None:
    """What the orchestrator and the SDK do with a payload."""
    operation = {"Id": "1", "Type": "EXECUTION", "ExecutionDetails": {"InputPayload": text}}
    if refusal({"InitialExecutionState": {"Operations": [operation]}}) is None:
        json.loads(text)
        try:
            parse_order(text)
        except InvalidOrder as error:
            str(error)


Path = Callable[[str], None]
PATHS: Final[dict[str, Path]] = {"ingest": at_ingest, "direct invoke": at_direct_invoke}


def cpu_ms(path: Path, text: str) -> float:
    """CPU time of one run, in milliseconds."""
    gc.collect()
    began = time.process_time()
    path(text)
    return (time.process_time() - began) * 1000


def peak_mb(work: Callable[[], object]) -> float:
    """The most memory allocated at once, in MB."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def batch(text: str) -> float:
    """Ten such messages at once, each in a thread as ingest works them: the peak memory in MB."""

    def work() -> None:
        with ThreadPoolExecutor(BATCH) as pool:
            list(pool.map(at_ingest, [text] * BATCH))

    return peak_mb(work)


def measure(console: Console) -> Result:
    """Print the tables, and return the bounds as rows."""
    texts = ORDERS | HOSTILE
    series, rows = [], []
    for name, path in PATHS.items():
        runs = [{body: cpu_ms(path, text) for body, text in texts.items()} for _ in range(RUNS)]
        times = {body: median(run[body] for run in runs) for body in texts}
        peaks = {body: peak_mb(lambda text=text, path=path: path(text)) for body, text in texts.items()}  # type: ignore[misc]
        dearest, largest = max(ORDERS, key=times.__getitem__), max(peaks[body] for body in ORDERS)
        table = Table("body", "characters", "ms", "times", "MB", "times", title=f"At {name}", title_justify="left")
        for body, text in texts.items():
            table.add_row(
                body,
                f"{len(text):,}",
                f"{times[body]:.1f}",
                f"{times[body] / times[dearest]:.2f}",
                f"{peaks[body]:.2f}",
                f"{peaks[body] / largest:.2f}",
                end_section=body == list(ORDERS)[-1],
            )
        console.print(table)
        worst, widest = max(HOSTILE, key=times.__getitem__), max(HOSTILE, key=peaks.__getitem__)
        for which, body in (("most expensive order", dearest), ("worst message", worst)):
            series.append(Series.of(f"{name}, {which}", "ms", [run[body] for run in runs]))
        rows += [
            Row.at_most(
                f"P14 time, {name}",
                "CPU time of the worst message / the most expensive order",
                times[worst] / times[dearest],
                MAX_TIME_RATIO,
                note=worst,
            ),
            Row.at_most(
                f"P14 memory, {name}",
                "peak memory of the worst message / the largest order",
                peaks[widest] / largest,
                MAX_MEMORY_RATIO,
                note=widest,
            ),
        ]
    batches = {body: batch(text) for body, text in texts.items()}
    worst = max(batches, key=batches.__getitem__)
    rows.append(
        Row.at_most(
            "P14 batch", "peak memory of ten at once", batches[worst], FUNCTION_MEMORY_MB / 2, unit="MB", note=worst
        )
    )
    return Result(series, rows)


def main() -> int:
    """Print the tables and the bounds. Exit status 1 if a bound does not hold."""
    console = Console()
    rows = measure(console).rows
    for row in rows:
        console.print(
            f"{row.figure} ({row.note}): {row.value:.1f}, {row.target}", style="green" if row.holds else "red"
        )
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
