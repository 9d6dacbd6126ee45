#!/usr/bin/env python3
"""Joins mails with what became of them, as one stream.

    python3 feedback.py --good wanted.ndjson.. --bad unwanted.ndjson.. [--after 86400] --out events.ndjson.gz --labels labels.csv

The inputs are what the pipeline `mails` writes. Every mail is an event of the kind `mail`; so many seconds after it came, a day if nothing is
said, the event `released` or `reported` follows, with the sender and no more. Labels tell which mail was which, for `ouzel evaluate`: no
score reads them but as these late events.
"""
import argparse, csv, datetime, gzip, json

options = argparse.ArgumentParser()
options.add_argument("--good", nargs="+", required=True)
options.add_argument("--bad", nargs="+", required=True)
options.add_argument("--after", type=float, default=86400)
options.add_argument("--out", required=True)
options.add_argument("--labels", required=True)
options = options.parse_args()

events, labels = [], []
for kind, label, paths in [("released", "good", options.good), ("reported", "bad", options.bad)]:
    for path in paths:
        with open(path) as file:
            mails = [json.loads(line) for line in file]
        for i, mail in enumerate(mails):
            id = f"{label}-{len(labels):06}"
            time = datetime.datetime.fromisoformat(mail["time"])
            later = time + datetime.timedelta(seconds=options.after)
            events.append((time, {"kind": "mail", "id": id} | mail))
            events.append((later, mail | {"kind": kind, "id": id + "-" + kind, "time": later.isoformat()}))
            labels.append((id, label))
events.sort(key=lambda event: event[0])
with gzip.GzipFile(options.out, "wb", mtime=0) as file:
    for _, event in events:
        file.write((json.dumps(event) + "\n").encode())
with open(options.labels, "w") as file:
    csv.writer(file, lineterminator="\n").writerows([("id", "label"), *labels])
print(f"{len(labels)} mails, {len(events)} events")
