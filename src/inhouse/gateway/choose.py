"""Choose: the healthy engine with the least outstanding work, or an honest 503."""

from collections.abc import Sequence

from inhouse.errors import Code, Refusal
from inhouse.upstream.pool import Target, least_outstanding

RETRY_AFTER_S = 5


def choose(targets: Sequence[Target], tried: Sequence[Target], model: str) -> Target:
    """An engine that was not tried yet for this request."""
    target = least_outstanding(targets, tried)
    if target is not None:
        return target
    why = "; ".join(f"{each.name} {each.health.reason or 'failed'}" for each in targets)
    raise Refusal(
        Code.NO_ENGINE,
        503,
        f"no engine can answer for '{model}' now",
        retry_after_s=RETRY_AFTER_S,
    ) from RuntimeError(why)
