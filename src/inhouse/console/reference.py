"""The tables of docs/admin-api.md, from the table of routes. `python -m inhouse.console.reference`
writes them anew into the page that it is given."""

import sys
from pathlib import Path
from typing import Any

from inhouse.console.openapi import document
from inhouse.console.routes import TABLE

BEGIN = "## Routes\n"


def reference() -> str:
    """From the heading of the routes to the page's end."""
    told = document(TABLE.routes)
    lines = [BEGIN, "| method | path | permission | what it does |", "|---|---|---|---|"]
    for route in TABLE.routes:
        permission = "any" if route.permission is None else f"`{route.permission}`"
        lines.append(f"| {route.method} | `{route.path}` | {permission} | {route.summary} |")
    for route in TABLE.routes:
        operation = told["paths"][route.path][route.method.lower()]
        lines += ["", f"### {route.method} {route.path}", ""]
        lines.append(f"{route.summary}. Answers {route.status} with {_kind(_answer(operation))}.")
        parameters = [p for p in operation.get("parameters", ()) if p["in"] == "query"]
        if parameters:
            lines += ["", "| in the query | value |", "|---|---|"]
            lines += [f"| `{p['name']}` | {_kind(p['schema'])} |" for p in parameters]
        if route.body is not None:
            body = told["components"]["schemas"][route.body.__name__]
            lines += ["", *_fields("in the body", body)]
    lines += ["", "## Answers"]
    for name, schema in sorted(told["components"]["schemas"].items()):
        lines += ["", f"### {name}", "", " ".join(schema.get("description", "").split()), ""]
        lines += _fields("field", schema) if "properties" in schema else [_kind(schema)]
    return "\n".join(lines) + "\n"


def _answer(operation: dict[str, Any]) -> dict[str, Any]:
    done = next(each for name, each in operation["responses"].items() if name != "default")
    schema: dict[str, Any] = done["content"]["application/json"]["schema"]
    return schema


def _fields(heading: str, schema: dict[str, Any]) -> list[str]:
    required = schema.get("required", ())
    lines = [f"| {heading} | value |", "|---|---|"]
    for name, each in schema["properties"].items():
        default = f"; {_literal(each['default'])} if left out" if "default" in each else ""
        must = "" if name in required or default else "; may be left out"
        lines.append(f"| `{name}` | {_kind(each, default=False)}{default}{must} |")
    return lines


def _kind(schema: dict[str, Any], *, default: bool = True) -> str:
    """A schema in words."""
    end = f"; {_literal(schema['default'])} if left out" if default and "default" in schema else ""
    if "$ref" in schema:
        return f"[{(name := schema['$ref'].rpartition('/')[2])}](#{name.lower()}){end}"
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"]) + end
    if "enum" in schema:
        values = schema["enum"]
        return (
            "one of the codes" if len(values) > 20 else ", ".join(f"`{v}`" for v in values)
        ) + end
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_kind(schema['items'])}{_bounds(schema)}{end}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_kind(schema['additionalProperties'])}{end}"
    return f"{schema.get('format', kind)}{_bounds(schema)}{end}"


def _bounds(schema: dict[str, Any]) -> str:
    for least, most, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " entries"),
    ):
        if most in schema:
            low = f"{schema[least]} to " if least in schema else "at most "
            return f", {low}{schema[most]}{unit}"
    return ""


def _literal(value: Any) -> str:
    return "null" if value is None else f"`{value}`"


def main() -> None:
    page = Path(sys.argv[1])
    page.write_text(page.read_text().partition(BEGIN)[0] + reference())


if __name__ == "__main__":
    main()
