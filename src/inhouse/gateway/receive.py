"""Receive: the body, bounded and parsed once."""

from inhouse.config.schema import GatewaySection, LimitsSection
from inhouse.domain import Dialect, Operation
from inhouse.errors import Code, Refusal
from inhouse.gateway.exchange import BodyTooLarge, Exchange
from inhouse.gateway.http1 import Malformed
from inhouse.gateway.routes import Route
from inhouse.upstream.dialects.shapes import Ask
from inhouse.upstream.dialects.table import parse

MOST_PASSED_OVER_BYTES = 65_536
_JSON = b"application/json"
_CURL_DEFAULT = b"application/x-www-form-urlencoded"  # what Ollama's own examples send


async def receive_body(exchange: Exchange, route: Route, most_bytes: int) -> bytes:
    """The bytes of the body, or the refusal that says what was wrong with them."""
    _check_type(exchange, route)
    return await _body(exchange, most_bytes)


async def _body(exchange: Exchange, most_bytes: int) -> bytes:
    try:
        return await exchange.body(most_bytes)
    except BodyTooLarge as error:
        raise Refusal(
            Code.BODY_TOO_LARGE, 413, f"the body is larger than {most_bytes} bytes"
        ) from error
    except Malformed as malformed:
        raise Refusal(Code.MALFORMED_REQUEST, malformed.status, malformed.sentence) from malformed
    except TimeoutError as error:
        raise Refusal(Code.BODY_TIMEOUT, 408, "the body did not arrive in time") from error


async def pass_over(exchange: Exchange) -> None:
    """Read the body of a question that needs none, so that one of broken framing is refused."""
    if exchange.head.length:
        await _body(exchange, MOST_PASSED_OVER_BYTES)


async def receive(
    exchange: Exchange, route: Route, gateway: GatewaySection, limits: LimitsSection
) -> Ask:
    """The request, parsed once."""
    body = await receive_body(exchange, route, gateway.max_body_bytes)
    assert isinstance(route.does, Operation)  # listings are answered before
    return parse(route.does, body, limits, frozenset(gateway.extra_fields))


def _check_type(exchange: Exchange, route: Route) -> None:
    sent = exchange.head.fields.get(b"content-type", b"")
    kind = sent.partition(b";")[0].strip().lower()
    if kind == _JSON or (route.dialect is Dialect.OLLAMA and kind in (b"", _CURL_DEFAULT)):
        return
    raise Refusal(
        Code.UNSUPPORTED_MEDIA_TYPE,
        415,
        "the body must be JSON: send 'Content-Type: application/json'",
    )
