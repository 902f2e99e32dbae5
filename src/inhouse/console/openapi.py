"""The table as OpenAPI 3.1: what it says is what is served, because both come from one place."""

from collections.abc import Iterable
from typing import Any

import msgspec

from inhouse import __version__
from inhouse.console.route import Route
from inhouse.errors import Code

REF = "#/components/schemas/{name}"
PARAMETER = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}


class ErrorDetail(msgspec.Struct, frozen=True):
    """A stable code, one sentence, and the id under which the log has the cause."""

    code: str
    message: str
    request_id: str


class Error(msgspec.Struct, frozen=True):
    """What every refusal looks like."""

    error: ErrorDetail


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The whole description."""
    routes = tuple(routes)
    kinds = [kind for r in routes for kind in (r.body, r.query, r.answer) if kind is not None]
    schemas, components = msgspec.json.schema_components([*kinds, Error], ref_template=REF)
    of = dict(zip(map(str, kinds), schemas, strict=False))
    components["ErrorDetail"]["properties"]["code"] = {
        "type": "string",
        "enum": sorted(code.value for code in Code),
    }
    queries = {r.query.__name__ for r in routes if r.query is not None}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = _operation(route, of, components)
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Inhouse admin API",
            "version": __version__,
            "description": "Operators and auditors, on the admin listener. GET takes HEAD, too.",
        },
        "paths": paths,
        "components": {
            "schemas": {name: each for name, each in components.items() if name not in queries},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
    }


def _operation(route: Route, of: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": operation_id(route),
        "summary": route.summary,
        "x-permission": None if route.permission is None else route.permission,
        "responses": {
            str(route.status): _content("Done", of[str(route.answer)]),
            "default": _content("Refused", {"$ref": REF.format(name="Error")}),
        },
    }
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": PARAMETER}
        for name in route.parameters
    ]
    if route.query is not None:
        schema = components[route.query.__name__]
        required = schema.get("required", ())
        parameters += [
            {"name": name, "in": "query", "required": name in required, "schema": _given(each)}
            for name, each in schema["properties"].items()
        ]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"application/json": {"schema": of[str(route.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """A value of a query, which cannot be null, only left out."""
    kinds = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(kinds) == 1 and schema.get("default", 0) is None:
        return dict(kinds[0])
    return schema


def operation_id(route: Route) -> str:
    """A name for generated clients: 'post_keys_key_id_rotate'."""
    words = route.path.removeprefix("/admin/v1/").replace("{", "").replace("}", "")
    return f"{route.method.lower()}_{words}".translate(str.maketrans("/.-", "___"))


def _content(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
