#!/usr/bin/env python3
"""Cuts one operation out of an OpenAPI document, with everything that its request refers to.

Usage: cut.py DOCUMENT PATH METHOD > CUT

What says nothing about a request is left out: answers, examples, and vendors' extensions, but for `x-twilio`, which names
the parameters of which one must be there. What is kept is kept word for word.
"""

import json
import sys

LEFT_OUT = {"responses", "examples", "example", "tags", "x-codeSamples"}


def pruned(node, named=False):
    """The node without what is left out; the keys of `properties` are names of fields, never words of OpenAPI."""
    if isinstance(node, list):
        return [pruned(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: pruned(value, key in ("properties", "schemas", "parameters", "requestBodies"))
        for key, value in node.items()
        if named or key not in LEFT_OUT
    }


def references(node):
    """Every `$ref` in the node."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)


def main():
    source, path, method = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        document = json.load(file)
    operation = pruned(document["paths"][path][method])
    cut = {
        "openapi": document["openapi"],
        "info": {key: document["info"][key] for key in ("title", "version")},
        "servers": document["paths"][path].get("servers", document.get("servers")),
        "security": document.get("security", []),
        "paths": {path: {method: operation}},
        "components": {"securitySchemes": document["components"]["securitySchemes"]},
    }
    open_references = set(references(operation))
    followed = set()
    while open_references:
        reference = open_references.pop()
        if reference in followed:
            continue
        followed.add(reference)
        _, components, kind, name = reference.split("/")
        component = pruned(document[components][kind][name])
        cut["components"].setdefault(kind, {})[name] = component
        open_references.update(references(component))
    for kind in cut["components"]:
        cut["components"][kind] = dict(sorted(cut["components"][kind].items()))
    json.dump(cut, sys.stdout, ensure_ascii=False, indent=1)
    print()


main()
