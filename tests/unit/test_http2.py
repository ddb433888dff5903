"""The HTTP/2 of the service keeps what its connections need, and no more with each request."""

from h2.config import H2Configuration
from h2.connection import H2Connection

from app.hosting.http2 import make_fit


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
