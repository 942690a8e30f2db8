#!/usr/bin/env python3
"""Cuts one operation out of an OpenAPI document, with everything that it refers to.

Usage: cut.py DOCUMENT PATH METHOD > CUT

Headers of answers, tags and samples of code are left out. What is kept is kept word for word.
"""

import json
import sys

LEFT_OUT = {"headers", "tags", "x-codeSamples"}
# The keys below these are names, never words of OpenAPI.
OF_NAMES = {"properties", "schemas", "parameters", "requestBodies", "responses", "examples"}
# What lies below these is no schema.
AS_IT_IS = {"example", "value"}


def pruned(node, named=False):
    """The node without what is left out."""
    if isinstance(node, list):
        return [pruned(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: value if key in AS_IT_IS and not named else pruned(value, key in OF_NAMES and not named)
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


def read(source):
    """A document in JSON, or in YAML where that is what it is written in."""
    with open(source, encoding="utf-8") as file:
        if source.endswith(".json"):
            return json.load(file)
        import yaml

        # As text: YAML takes some words for dates.
        class Loader(yaml.SafeLoader):
            yaml_implicit_resolvers = {
                first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
                for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
            }

        return yaml.load(file, Loader)


def main():
    source, path, method = sys.argv[1:]
    document = read(source)
    item = document["paths"][path]
    kept = {key: pruned(item[key]) for key in (method, "parameters") if key in item}
    cut = {
        "openapi": document["openapi"],
        "info": {key: document["info"][key] for key in ("title", "version")},
        "servers": item.get("servers", document.get("servers")),
        "security": document.get("security", []),
        "paths": {path: kept},
        "components": {"securitySchemes": document["components"]["securitySchemes"]},
    }
    open_references = set(references(kept))
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
