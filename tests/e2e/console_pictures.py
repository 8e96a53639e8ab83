"""`make pictures`: the pictures of the console's screens.

It starts a local stack with orders that ended in each way, a paused one, rejected messages and a dead letter, and opens
each screen in light and dark, wide and as on a phone. The pictures that the documents show are written to docs/console,
the others to .local/pictures.
"""

import io
import json
import math
import os
import re
import subprocess
from itertools import product
from urllib.parse import urlencode

from browsers import started_browser
from PIL import Image
from playwright.sync_api import expect

from shared.ledger.states import State
from tests.e2e.deployed_pipeline import DeployedPipeline
from tools.console import background
from tools.demo import SAMPLES
from tools.pipeline import ROOT, local_stack
from tools.sample_data import load_samples

DOCUMENTED = ROOT / "docs" / "console"
OTHERS = ROOT / ".local" / "pictures"
WIDTHS = {"wide": 1280, "phone": 375}
HEIGHT = 600
EVERYWHERE = {("light", "wide")}
IN_TWO_MORE = EVERYWHERE | {("dark", "wide"), ("light", "phone")}
SHOWN_IN_TWO_MORE = ("overview", "order")
LONG = "executions"
"""Only its first rows are shown."""

MAX_COLOURS = 256
CLOSE = 12
"""The distance of two colours in RGB below which they become one."""

MAX_BYTES = 65_000
TIMEOUT_MILLISECONDS = 60_000

PURCHASES = 40
WAIT_SECONDS = 20
CUSTOMER = "CUST-09001"
FAILED, PAUSED, CANCELLED = "SHOP-2042", "SHOP-2060", "SHOP-2061"
ITEMS = {"items": [{"sku": "CD-7", "quantity": 2, "unitPrice": "13.99"}], "currency": "USD"}
REJECTED = """{
  "orderId": "SHOP-2070",
  "customerId": "CUST-00021",
  "items": [
    {"sku": "CD-7", "quantity": 0, "unitPrice": "13.99"}
  ],
  "currency": "US DOLLAR"
}"""
CSV = """orderId,customerId,sku,quantity,unitPrice,currency
SHOP-2080,CUST-00021,CD-7,2,13.99,USD
SHOP-2080,CUST-00021,CD-9,1,5.00,USD
SHOP-2081,CUST-00050,CD-7,0,13.99,USD
SHOP-2082,CUST-00004,CD-9,1,5.00,USD
"""


def main():
    for folder in (DOCUMENTED, OTHERS):
        folder.mkdir(parents=True, exist_ok=True)
        for picture in folder.glob("*.png"):
            picture.unlink()
    with local_stack(parameters={"WaitSeconds": str(WAIT_SECONDS)}) as stack, started_browser() as browser:
        pipeline = DeployedPipeline(stack)
        fill(pipeline)
        address = background.start(stack)
        for scheme, width in product(("light", "dark"), WIDTHS):
            take(browser, address, pipeline, scheme, width)
    too_large = [picture.name for picture in DOCUMENTED.iterdir() if picture.stat().st_size > MAX_BYTES]
    assert not too_large, f"too large for the repository: {too_large}"


def fill(pipeline):
    """Let orders end in each way, and leave one that waits, rejected messages and a dead letter."""
    pipeline.fail_by_three_causes(
        [f"SHOP-{number}" for number in (2001, 2002, 2003)],
        [FAILED, "SHOP-2043"],
        ["SHOP-2050"],
        CUSTOMER,
        lambda bodies: pipeline.send([json.dumps(json.loads(body) | ITEMS) for body in bodies]),
    )
    load_samples(pipeline.stack)
    purchases = (SAMPLES / "cdnow_orders.jsonl").read_text().splitlines()[:PURCHASES]
    pipeline.send(purchases)
    pipeline.send([json.dumps({"orderId": order_id} | ITEMS) for order_id in (PAUSED, CANCELLED)])
    for order_id, action in ((PAUSED, "pause"), (CANCELLED, "cancel")):
        pipeline.entry_when(order_id, lambda entry: entry.state is State.WAITING, "to wait")
        orders(pipeline, action, order_id)
    orders(pipeline, "retry", "SHOP-2001")
    orders(pipeline, "sweep")
    bad = [json.loads(line) for line in (SAMPLES / "special_cases.jsonl").read_text().splitlines()]
    pipeline.send([REJECTED, *(case["body"] for case in bad if case["expected"] in {"NOT_JSON", "INVALID_ORDER"})])
    # SQS moves a message there after ten receives, which takes longer than all the rest.
    pipeline.sqs.send_message(
        QueueUrl=pipeline.outputs["OrdersDlqUrl"], MessageBody=json.dumps({"orderId": "SHOP-2090"})
    )
    for purchase in purchases:
        pipeline.ended(json.loads(purchase)["orderId"])
    pipeline.ended("SHOP-2001")


def orders(pipeline, *arguments):
    """Run a command of `orders`, so that the operations log has a line."""
    command = [ROOT / ".venv" / "bin" / "orders", *arguments]
    subprocess.run(command, env=os.environ | pipeline.stack.environment, stdout=subprocess.DEVNULL, check=True)


def take(browser, address, pipeline, scheme, width):
    """Open each screen in this scheme and width, and write its picture."""
    size = {"width": WIDTHS[width], "height": HEIGHT}
    context = browser.new_context(viewport=size, color_scheme=scheme, timezone_id="UTC", reduced_motion="reduce")
    context.set_default_timeout(TIMEOUT_MILLISECONDS)
    page = context.new_page()
    page.goto(address)
    for screen, (path, prepare) in screens(pipeline).items():
        page.goto(address.partition("/?")[0] + path)
        prepare(page)
        expect(page.locator("[aria-busy=true]")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{screen} is too wide: {width}"
        is_documented = (scheme, width) in (IN_TWO_MORE if screen in SHOWN_IN_TWO_MORE else EVERYWHERE)
        written = (DOCUMENTED if is_documented else OTHERS) / f"{screen}-{scheme}-{width}.png"
        png = page.screenshot(full_page=screen != LONG)
        written.write_bytes(small(png) if is_documented else png)
        print(written.relative_to(ROOT))
    context.close()


def screens(pipeline):
    """Each screen's path, and what is done on the page before the picture, by the name of its picture."""
    execution = pipeline.ledger.get(PAUSED).execution_arn
    return {
        "overview": ("/", shows(".facts", r"p50\s*\d")),
        "orders": ("/orders?state=FAILED&state=STOPPED&state=CANCELLED&state=WAITING", shows("table", FAILED)),
        "order": (f"/orders/one?id={FAILED}", shows("[aria-label=Why]", "Next")),
        "failures": ("/failures", shows("table", "EnrichmentRejected")),
        "rejected": ("/rejected", look),
        "send": ("/send", check_lines),
        "agreement": ("/agreement", shows("main", CANCELLED)),
        "executions": ("/executions", shows("table", "CDNOW")),
        "execution": (f"/executions/one?{urlencode({'arn': execution})}", shows("main", "paused")),
    }


def shows(where, text):
    """Waits until an element contains a text, a pattern."""
    return lambda page: expect(page.locator(where).first).to_contain_text(re.compile(text))


def look(page):
    page.get_by_role("button", name=re.compile("^Look")).click()
    shows("table", "SHOP-2070")(page)
    expect(page.get_by_role("button", name="Look again")).to_be_enabled()


def check_lines(page):
    page.get_by_label("Orders as JSON").fill(CSV)
    page.get_by_role("button", name="Check", exact=True).click()
    shows("#checked", "items.0.quantity")(page)


def small(png):
    """The picture with fewer colours: a third of the bytes. Areas of one colour keep it exactly.

    The most frequent colours stay; one that is close to a more frequent one becomes the same. Pillow's `quantize` mixes
    colours, so it changes those of small areas, as of a legend.
    """
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    colours = [colour for _, colour in sorted(picture.getcolors(picture.width * picture.height), reverse=True)]
    kept = []
    for colour in colours:
        if len(kept) < MAX_COLOURS and all(math.dist(colour, other) >= CLOSE for other in kept):
            kept.append(colour)
    nearest = {colour: min(range(len(kept)), key=lambda at: math.dist(kept[at], colour)) for colour in colours}
    few = Image.new("P", picture.size)
    few.putpalette([value for colour in kept for value in colour])
    few.putdata([nearest[colour] for colour in picture.get_flattened_data()])
    written = io.BytesIO()
    few.save(written, "PNG", optimize=True)
    return written.getvalue()


if __name__ == "__main__":
    main()
