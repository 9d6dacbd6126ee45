#!/usr/bin/env python3
"""Mixes spoofed fingerprints into genuine ones.

    python3 spoof.py GENUINE.ndjson[.gz] OUT.ndjson.gz LABELS.csv [SEED]

Takes records of real browsers (one JSON object a line: userAgent, platform, vendor, pluginsLength, screenWidth, ...), puts them into a random order a
second apart, and lets one in ten lie. A liar is a genuine record of which something is replaced:

    agent      the user agent of another record: a tool that sets the header and nothing else
    platform   navigator.platform of another record
    screen     screen and viewport of another record
    vendor     navigator.vendor and the number of plugins of another record
    patchwork  every attribute from a record of its own, as tools draw them
    impossible values that no device has: a viewport wider than its screen, a negative width

The other record is of another platform: an iPhone that shows another iPhone's screen is no lie that anybody could see. Each attribute by itself, but for `impossible`, is one
that a real browser has: only the combination is not. A lie may by chance be no lie (the other record has the same value): such a record is drawn again. Labels tell which record was made how; `genuine` for the others.
"""
import csv, gzip, json, random, sys

source, out, labels = sys.argv[1:4]
random.seed(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
SCREEN = ["screenWidth", "screenHeight", "viewportWidth", "viewportHeight"]
PARTS = {"agent": ["userAgent"], "platform": ["platform"], "screen": SCREEN, "vendor": ["vendor", "pluginsLength"]}
OTHERS = [["language"], ["connection"]]


def parts(record, keys):
    return {key: record.get(key) for key in keys}


def other(record, records):
    while True:
        found = random.choice(records)
        if found["platform"] != record["platform"]:
            return found


def lie(record, records):
    kind = random.choice(["agent", "platform", "screen", "vendor", "patchwork", "impossible"])
    if kind == "impossible":
        wide = {"viewportWidth": record["screenWidth"] * 2} if random.random() < 0.5 else {"screenWidth": -record["screenWidth"]}
        return kind, record | wide
    if kind == "patchwork":
        for keys in [*PARTS.values(), *OTHERS]:
            record = record | parts(random.choice(records), keys)
        return kind, record
    return kind, record | parts(other(record, records), PARTS[kind])


opened = gzip.open if source.endswith(".gz") else open
with opened(source, "rt") as file:
    records = [json.loads(line) for line in file]
random.shuffle(records)
with gzip.GzipFile(out, "wb", mtime=0) as file, open(labels, "w") as labelled:
    table = csv.writer(labelled, lineterminator="\n")
    table.writerow(["id", "label"])
    for i, record in enumerate(records):
        kind, shown = "genuine", record
        while random.random() < 0.1 or (kind != "genuine" and shown == record):
            kind, shown = lie(record, records)
            if shown != record:
                break
        id = f"fp{i:06}"
        file.write((json.dumps({"id": id, "seconds": i} | {k: v for k, v in shown.items() if v is not None}) + "\n").encode())
        table.writerow([id, kind])
