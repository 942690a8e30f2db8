#!/usr/bin/env python3
"""Cuts operations out of a service model of AWS, with every shape that they refer to.

Usage: cut_model.py MODEL OPERATION... > CUT

Documentation is left out, and of the metadata what says nothing about the protocol. What is kept is kept word for word.
"""

import json
import sys

LEFT_OUT = {"documentation", "documentationUrl"}
METADATA = ("apiVersion", "protocol", "serviceFullName", "signatureVersion", "signingName", "uid")


def pruned(node, named=False):
    """The node without what is left out; the keys of `members` are names of fields, never words of the model."""
    if isinstance(node, list):
        return [pruned(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: pruned(value, key == "members" and not named) for key, value in node.items() if named or key not in LEFT_OUT
    }


def references(node):
    """The name of every shape in the node."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        if isinstance(node.get("shape"), str):
            yield node["shape"]
        for value in node.values():
            yield from references(value)


def main():
    source, *names = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        model = json.load(file)
    operations = {name: pruned(model["operations"][name]) for name in names}
    shapes = {}
    open_shapes = set(references(operations))
    while open_shapes:
        name = open_shapes.pop()
        if name not in shapes:
            shapes[name] = pruned(model["shapes"][name])
            open_shapes.update(references(shapes[name]))
    metadata = {key: model["metadata"][key] for key in METADATA}
    cut = {
        "version": model["version"],
        "metadata": metadata,
        "operations": operations,
        "shapes": dict(sorted(shapes.items())),
    }
    json.dump(cut, sys.stdout, ensure_ascii=False, indent=1)
    print()


main()
