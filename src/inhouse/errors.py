"""Every error that crosses a room's door.

    InhouseError
    ├── ConfigurationError     the one file is wrong: every problem at once (exit 2)
    ├── UsageError             the command was used wrongly, or cannot start (exit 2)
    ├── NegativeAnswer         the command worked and the answer is no (exit 1)
    │   ├── NotPermitted       ... because who asks for a change may not make it
    │   └── NotThere           ... because there is nothing of that name
    ├── Refusal                this request is answered with an error, in the dialect's shape
    ├── EngineError            an engine did not do its part; another may be tried
    └── AuditUnavailable       the log cannot take a record: no record, no request

The client sees `code`, `status`, the sentence and the request id. What else is known goes to
the operator's log. A class exists only where somebody catches it.
"""

from dataclasses import dataclass
from enum import StrEnum


class InhouseError(Exception):
    """The root. `str(error)` is one sentence that a stranger understands."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration: where, the offending value, what would be right."""

    path: str  # dotted, as in the file: "gateway.listen"
    value: str  # printed as found; secrets are masked before they get here
    sentence: str  # what would be right

    def __str__(self) -> str:
        return (
            f"{self.path} = {self.value}: {self.sentence}"
            if self.value
            else f"{self.path}: {self.sentence}"
        )


class ConfigurationError(InhouseError):
    """All problems of a configuration, found in one reading."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class UsageError(InhouseError):
    """A command cannot be carried out as asked, or something it needs is not there."""


class NegativeAnswer(InhouseError):
    """A check ran and its result is negative."""


class NotPermitted(NegativeAnswer):
    """Whoever asks for a change, or to see something, may not. Says which permission it takes."""


class NotThere(NegativeAnswer):
    """There is nothing of the name that was given. Says what is near."""


class EngineError(InhouseError):
    """An engine could not be reached, answered wrongly, or broke off. Says which, and how."""


class AuditUnavailable(InhouseError):
    """The audit log cannot be written. Says why."""


class Code(StrEnum):
    """The stable codes of errors that clients see. docs/errors.md explains each one."""

    MALFORMED_REQUEST = "malformed_request"
    INVALID_JSON = "invalid_json"
    INVALID_FIELD = "invalid_field"
    UNKNOWN_FIELD = "unknown_field"
    LIMIT_EXCEEDED = "limit_exceeded"
    BODY_TOO_LARGE = "body_too_large"
    BODY_TIMEOUT = "body_timeout"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    NO_SUCH_ROUTE = "no_such_route"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    MISSING_CREDENTIAL = "missing_credential"
    SEVERAL_CREDENTIALS = "several_credentials"
    INVALID_CREDENTIAL = "invalid_credential"
    NOT_ALLOWED = "not_allowed"
    WRONG_HOST = "wrong_host"
    CROSS_SITE = "cross_site"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    STORE_UNAVAILABLE = "store_unavailable"
    CONTENT_BLOCKED = "content_blocked"
    NO_SUCH_MODEL = "no_such_model"
    WRONG_TASK = "wrong_task"
    NOT_SPOKEN = "not_spoken"
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
    RATE_LIMITED = "rate_limited"
    TOO_MANY_CONCURRENT = "too_many_concurrent"
    QUEUE_FULL = "queue_full"
    QUEUE_TIMEOUT = "queue_timeout"
    NO_ENGINE = "no_engine"
    ENGINE_FAILED = "engine_failed"
    ENGINE_REFUSED = "engine_refused"
    ANSWER_TRUNCATED = "answer_truncated"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    STOPPING = "stopping"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    PROVIDER_AWAY = "provider_away"
    INTERNAL = "internal"


class Refusal(InhouseError):
    """This request ends here, with an answer that the client can act on."""

    def __init__(
        self,
        code: Code,
        status: int,
        sentence: str,
        *,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.status = status
        self.sentence = sentence
        self.param = param  # the field at fault, where there is one
        self.retry_after_s = retry_after_s
