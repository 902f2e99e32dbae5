"""The admin API, whole: what is not in this table does not exist.

A row is a method of a path, the one permission that it takes, what is sent, done and answered.
OpenAPI, docs/admin-api.md and the test of who may do what are made from it.
"""

from functools import cache
from typing import Any

import msgspec

from inhouse.console import configuration, keys, models, openapi, requests
from inhouse.console.call import Call
from inhouse.console.route import Route, Table

PREFIX = "/admin/v1"


def description(call: Call) -> msgspec.Raw:
    """This API, as OpenAPI 3.1."""
    return _description()


@cache
def _description() -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(openapi.document(TABLE.routes)))


TABLE = Table(
    [
        Route(
            method="GET",
            path=f"{PREFIX}/openapi.json",
            permission=None,
            handler=description,
            summary="This API, as OpenAPI 3.1",
            answer=dict[str, Any],
        ),
        Route(
            method="GET",
            path=f"{PREFIX}/keys",
            permission="keys:read",
            handler=keys.listed,
            summary="List API keys",
            query=keys.KeyQuery,
            answer=keys.KeyPage,
        ),
        Route(
            method="POST",
            path=f"{PREFIX}/keys",
            permission="keys:write",
            handler=keys.create,
            summary="Make an API key; its secret is in the answer, this once",
            body=keys.NewKey,
            answer=keys.KeyWithSecret,
            status=201,
        ),
        Route(
            method="GET",
            path=f"{PREFIX}/keys/{{key_id}}",
            permission="keys:read",
            handler=keys.one,
            summary="Show an API key",
            answer=keys.Key,
        ),
        Route(
            method="POST",
            path=f"{PREFIX}/keys/{{key_id}}/rotate",
            permission="keys:write",
            handler=keys.rotate,
            summary="Give an API key a new secret, which is in the answer, this once",
            body=keys.Rotation,
            answer=keys.KeyWithSecret,
        ),
        Route(
            method="POST",
            path=f"{PREFIX}/keys/{{key_id}}/revoke",
            permission="keys:write",
            handler=keys.revoke,
            summary="End an API key; it is refused from the answer on",
            answer=keys.Key,
        ),
        Route(
            method="GET",
            path=f"{PREFIX}/audit/requests",
            permission="audit:read",
            handler=requests.listed,
            summary="Find requests in the audit log, newest first",
            query=requests.RequestQuery,
            answer=requests.RequestPage,
            slow=True,
        ),
        Route(
            method="POST",
            path=f"{PREFIX}/audit/verify",
            permission="audit:verify",
            handler=requests.verify,
            summary="Prove that nobody changed the audit log",
            answer=requests.Proof,
            deadline_s=requests.VERIFY_S + 15,
            slow=True,
        ),
        Route(
            method="GET",
            path=f"{PREFIX}/models",
            permission="models:read",
            handler=models.listed,
            summary="List the models, and whether they answer",
            answer=models.ModelList,
        ),
        Route(
            method="GET",
            path=f"{PREFIX}/engines",
            permission="engines:read",
            handler=models.engines,
            summary="List the engines, their state and their work",
            answer=models.EngineList,
        ),
        Route(
            method="GET",
            path=f"{PREFIX}/configuration",
            permission="config:read",
            handler=configuration.shown,
            summary="Show the configuration that runs, without its secrets",
            answer=configuration.Configuration,
        ),
    ]
)
