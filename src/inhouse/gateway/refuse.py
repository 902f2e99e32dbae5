"""Refuse: an error in the shape of the dialect that the client speaks, with the request's id."""

from inhouse.domain import Dialect
from inhouse.errors import Code, Refusal
from inhouse.gateway import routes
from inhouse.gateway.exchange import REASONS, Exchange
from inhouse.gateway.http1 import Malformed
from inhouse.gateway.listener import HttpDate
from inhouse.gateway.record import new_request_id
from inhouse.gateway.routes import operation_at
from inhouse.upstream.dialects.table import error_shape

JSON = b"application/json"


def fields(content_type: bytes, request_id: str, date: bytes) -> bytes:
    """The header lines that every answer carries. Anthropic's clients read the id in `request-id`,
    OpenAI's in `x-request-id`."""
    name = request_id.encode()
    return (
        b"content-type: %b\r\nx-request-id: %b\r\nrequest-id: %b\r\ndate: %b\r\n"
        b"cache-control: no-store\r\nx-content-type-options: nosniff\r\n"
        % (content_type, name, name, date)
    )


def refuse(exchange: Exchange, refusal: Refusal, dialect: Dialect, date: bytes) -> None:
    """Answer with an error; or, where an answer had begun, end it with one."""
    shape = error_shape(dialect, operation_at(exchange.head.path))
    if exchange.started:
        exchange.end(shape.event(refusal, exchange.request_id))
        return
    head = fields(JSON, exchange.request_id, date)
    if refusal.retry_after_s is not None:
        head += b"retry-after: %d\r\n" % refusal.retry_after_s
    if refusal.status == 401:
        head += b'www-authenticate: Bearer realm="inhouse"\r\n'
    if refusal.status == 405:
        head += b"allow: %b\r\n" % routes.allowed(exchange.head.path)
    exchange.respond(refusal.status, head, shape.body(refusal, exchange.request_id))


def malformed_answer(error: Malformed, now: float) -> bytes:
    """The whole answer to bytes that are no request. There is no dialect yet: OpenAI's shape."""
    request_id = new_request_id(now)
    refusal = Refusal(Code.MALFORMED_REQUEST, error.status, error.sentence)
    body = error_shape(Dialect.OPENAI).body(refusal, request_id)
    head = fields(JSON, request_id, HttpDate().at(now))
    if error.status == 405:
        head += b"allow: %b\r\n" % routes.ALLOWED
    return b"HTTP/1.1 %d %b\r\n%bconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (
        error.status,
        REASONS.get(error.status, b"-"),
        head,
        len(body),
        body,
    )
