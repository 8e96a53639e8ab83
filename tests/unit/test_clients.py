"""The settings that every AWS client has."""

from shared.aws.clients import client_config


def test_a_client_connects_within_a_second_and_tries_as_often_as_it_is_told():
    once, three_times = client_config(3), client_config(5, max_tries=3, connections=32)
    for config in (once, three_times):
        assert (config.connect_timeout, config.retries["mode"]) == (1, "standard")
    assert (once.read_timeout, once.retries["total_max_attempts"], once.max_pool_connections) == (3, 1, 10)
    assert (three_times.read_timeout, three_times.retries["total_max_attempts"]) == (5, 3)
    assert three_times.max_pool_connections == 32
