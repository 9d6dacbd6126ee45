#!/usr/bin/env python3
"""Checks the licence and the origin of every crate in Cargo.lock against `deny.toml`: the part of `cargo deny check`
that takes no minutes to install. Exit code 1 with one line per crate that may not be used."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def main() -> None:
    rules = tomllib.loads((REPO / "deny.toml").read_text())["licenses"]
    always = set(rules["allow"])
    by_name: dict[str, set[str]] = {}
    for exception in rules.get("exceptions", []):
        by_name.setdefault(exception["crate"], set()).update(exception["allow"])

    metadata = subprocess.check_output(["cargo", "metadata", "--format-version", "1", "--locked"], cwd=REPO)
    packages = json.loads(metadata)["packages"]
    problems = []
    for package in packages:
        name, licence = f"{package['name']} {package['version']}", package["license"]
        if package["source"] not in (None, CRATES_IO):
            problems.append(f"{name}: comes from {package['source']}")
        if licence is None:
            problems.append(f"{name}: names no licence")
        elif not satisfied(licence, always | by_name.get(package["name"], set())):
            problems.append(f"{name}: `{licence}` is not allowed by deny.toml")
    unused = sorted(set(by_name) - {package["name"] for package in packages})
    problems += [f"{name}: an exception of deny.toml that nothing needs" for name in unused]

    print("\n".join(problems) or f"{len(packages)} crates, every licence allowed")
    sys.exit(1 if problems else 0)


def satisfied(expression: str, allowed: set[str]) -> bool:
    """An SPDX expression: `OR` (in old crates `/`), `AND`, `WITH` and brackets; `AND` binds tighter than `OR`."""
    words = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))

    def either() -> bool:
        result = both()
        while words and words[0] == "OR":
            words.pop(0)
            result = both() or result
        return result

    def both() -> bool:
        result = one()
        while words and words[0] == "AND":
            words.pop(0)
            result = one() and result
        return result

    def one() -> bool:
        word = words.pop(0)
        if word == "(":
            result = either()
            words.pop(0)
            return result
        if words and words[0] == "WITH":
            words.pop(0)
            word = f"{word} WITH {words.pop(0)}"
        return word in allowed

    return either() and not words


main()
