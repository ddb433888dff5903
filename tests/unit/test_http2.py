"""The HTTP/2 of the service keeps what its connections need, and no more with each request."""

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from priority.priority import DeadlockError, MissingStreamError

from app.hosting.http2 import FairTurns, make_fit


def test_closed_streams_are_forgotten() -> None:
    """After more than a thousand requests on one connection a bounded number of them is remembered."""
    make_fit()
    client = H2Connection(H2Configuration(client_side=True))
    server = H2Connection(H2Configuration(client_side=False))
    client.initiate_connection()
    server.initiate_connection()
    headers = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/")]
    for stream_id in range(1, 2 * 1500, 2):
        client.send_headers(stream_id, headers, end_stream=True)
        server.receive_data(client.data_to_send())
        server.send_headers(stream_id, [(":status", "200")], end_stream=True)
        client.receive_data(server.data_to_send())

    assert len(server._closed_streams) + len(server.streams) <= 1001


def test_streams_send_in_turns() -> None:
    """Each stream that has something to send gets its turn before any gets a second one; a blocked one gets none."""
    turns = FairTurns()
    for stream_id in (1, 3, 5):
        turns.insert_stream(stream_id)
    turns.block(3)
    assert [next(turns) for _ in range(4)] == [1, 5, 1, 5]

    turns.unblock(3)
    turns.remove_stream(5)
    assert sorted(next(turns) for _ in range(2)) == [1, 3]


def test_no_turn_without_anything_to_send() -> None:
    """Hypercorn's sending task is told in the words it knows, and so is who writes to a stream that is over."""
    turns = FairTurns()
    turns.insert_stream(1)
    turns.block(1)
    with pytest.raises(DeadlockError):
        next(turns)

    turns.remove_stream(1)
    turns.remove_stream(1)  # a reset and the end of the response may both come
    with pytest.raises(MissingStreamError):
        turns.unblock(1)
