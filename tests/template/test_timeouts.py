"""Each timeout ends before the one around it: client < step < function < message or execution."""

# A claim of the ledger writes once; a repeat or a retry finds the item and writes again; a lost race adds one more.
CLAIM_WRITES = 3


def longest_call(client):
    """Seconds until a client's call fails, with all tries and the waits between them."""
    config = client.meta.config
    tries = config.retries["total_max_attempts"]
    # botocore's standard mode waits up to 1, 2, 4 … s, at most 20.
    waits = sum(min(2**n, 20) for n in range(tries - 1))
    return tries * (config.connect_timeout + config.read_timeout) + waits


def ledger_call(handlers):
    return longest_call(handlers.orchestrator.PIPELINE.ledger._writer._client)


def enricher_call(handlers):
    return longest_call(handlers.orchestrator.PIPELINE.enricher._client)


def test_a_hanging_start_times_out_before_ingests_deadline(handlers, properties):
    reserve = handlers.ingest.DEADLINE_RESERVE_SECONDS
    starts = longest_call(handlers.ingest._intake.executions._client)
    assert starts < properties("OrderIngest")["Timeout"] - reserve
    assert reserve >= 1


def test_a_hanging_reject_times_out_before_ingests_deadline(handlers, properties):
    rejects = longest_call(handlers.ingest._intake.rejected._client)
    assert rejects < properties("OrderIngest")["Timeout"] - handlers.ingest.DEADLINE_RESERVE_SECONDS


def test_a_batch_of_events_ends_before_the_publishers_timeout(handlers, properties, resources):
    """A batch's PutEvents are sent until the first one fails, and the events of a batch fit into a few of them."""
    from publisher.publisher import MAX_ENTRIES

    (mapping,) = [
        resource["Properties"] for name, resource in resources.items() if name.startswith("OrderPublisherLedger")
    ]
    # An update appends at most five transitions: those that the reconciler adds to a completed order.
    requests = -(-mapping["BatchSize"] * 5 // MAX_ENTRIES)
    client = handlers.publisher._publisher.client
    assert longest_call(client) + requests < properties("OrderPublisher")["Timeout"]


def test_a_hanging_read_of_customers_times_out_before_the_enricher(handlers, properties):
    assert longest_call(handlers.enricher._customers._client) < properties("OrderEnricher")["Timeout"]


def test_the_enricher_times_out_before_its_callers_timeout(handlers, properties):
    read_timeout = handlers.orchestrator.PIPELINE.enricher._client.meta.config.read_timeout
    assert properties("OrderEnricher")["Timeout"] < read_timeout == handlers.orchestrator.ENRICHER_TIMEOUT_SECONDS


def test_the_longest_enrich_step_ends_before_the_orchestrators_invocation(handlers, properties):
    longest = CLAIM_WRITES * ledger_call(handlers) + enricher_call(handlers) + ledger_call(handlers)
    assert longest < properties("DurableOrderProcessor")["Timeout"]


def test_the_longest_finalize_step_ends_before_the_orchestrators_invocation(handlers, properties):
    assert 2 * ledger_call(handlers) < properties("DurableOrderProcessor")["Timeout"]


def test_the_orchestrators_clients_leave_retries_to_the_steps_policies(handlers):
    for part in (handlers.orchestrator.PIPELINE.ledger._writer, handlers.orchestrator.PIPELINE.enricher):
        assert part._client.meta.config.retries["total_max_attempts"] == 1


def test_the_shortest_execution_lasts_as_long_as_one_invocation(parameters, properties):
    assert parameters["ExecutionTimeoutSeconds"]["MinValue"] >= properties("DurableOrderProcessor")["Timeout"]


def test_a_message_stays_hidden_for_six_invocations_and_the_longest_window(parameters, properties):
    """AWS's rule: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html"""
    longest_window = parameters["BatchWindowSeconds"]["MaxValue"]
    assert properties("OrdersQueue")["VisibilityTimeout"] >= 6 * properties("OrderIngest")["Timeout"] + longest_window


def test_a_status_change_stays_hidden_for_six_invocations(properties):
    """AWS's rule: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html"""
    assert properties("StatusChangesQueue")["VisibilityTimeout"] >= 6 * properties("OrderReconciler")["Timeout"]


def test_a_sweep_reserves_time_for_the_case_in_progress(handlers):
    """A case reads the ledger, the execution, the ledger again, writes the ledger, rejects, notes the conflict."""
    from reconciler.sweep import RESERVE_SECONDS

    # Only a hanging call takes its whole timeout, and a case ends after the first such call.
    reconciler = handlers.reconciler._examiner
    slowest = max(
        longest_call(part._client) for part in (reconciler.ledger, reconciler.executions, reconciler.rejected)
    )
    # A hanging read or write of a mark does not end the case.
    assert slowest + 2 * longest_call(reconciler.marks._client) < RESERVE_SECONDS


def test_ten_status_changes_end_in_time_while_marks_hang(handlers, properties):
    mapping = properties("OrderReconcilerStatusChanges")
    marks = longest_call(handlers.reconciler._examiner.marks._client)
    assert mapping["BatchSize"] * 2 * marks < properties("OrderReconciler")["Timeout"]


def test_a_mark_is_kept_as_long_as_lambdas_list_can_have_its_execution(handlers):
    from reconciler.sweep import LOOKBACK

    marks, sweep = handlers.reconciler._examiner.marks, handlers.reconciler._sweep
    assert marks._keep == LOOKBACK + sweep.execution_timeout


def test_a_sweep_ends_before_the_next_begins(properties):
    assert properties("OrderSweep")["Timeout"] < 5 * 60


def test_a_failed_or_throttled_sweep_is_not_retried(resources):
    """Lambda's default is two retries, and retries for six hours after throttling."""
    (again,) = [
        resource["Properties"]
        for resource in resources.values()
        if resource["Type"] == "AWS::Lambda::EventInvokeConfig"
        and resource["Properties"]["FunctionName"] == {"Ref": "OrderSweep"}
    ]
    assert again["MaximumRetryAttempts"] == 0
    assert again["MaximumEventAgeInSeconds"] <= 5 * 60


def test_the_default_wait_and_timeout_allow_a_synchronous_invoke(parameters):
    wait, execution = (parameters[name]["Default"] for name in ("WaitSeconds", "ExecutionTimeoutSeconds"))
    assert wait < execution <= 900


def test_the_ledger_retries_fit_into_the_default_execution_timeout(parameters):
    """Otherwise the execution would time out before the policy's last attempts."""
    from orchestrator import policies
    from shared.errors import LedgerUnavailable

    waited = attempts = 0
    while (decision := policies.enrich(LedgerUnavailable("x"), attempts := attempts + 1)).should_retry:
        waited += decision.delay_seconds
    assert waited + parameters["WaitSeconds"]["Default"] < parameters["ExecutionTimeoutSeconds"]["Default"]
