#!/usr/bin/env python3
"""Makes the example's genuine records, and with `spoof.py` its data.

    python3 generate.py            writes data/fingerprints.ndjson.gz and data/labels.csv

Fourteen made-up kinds of devices with what belongs together: platform, vendor, screens, plugins. No record is anybody's.
"""
import json, os, random, subprocess, sys

random.seed(7)
PHONES = [(390, 844), (393, 852), (414, 896), (430, 932), (375, 812)]
DROIDS = [(360, 800), (384, 854), (412, 915), (360, 780), (412, 892)]
DESKS = [(1920, 1080), (1536, 864), (2560, 1440), (1366, 768)]
MACS = [(1440, 900), (1512, 982), (1728, 1117), (2560, 1440)]
WEBKIT, BLINK = "AppleWebKit/605.1.15 (KHTML, like Gecko)", "AppleWebKit/537.36 (KHTML, like Gecko)"


def chrome(system, mobile=""):
    return f"Mozilla/5.0 ({system}) {BLINK} Chrome/{random.randint(138, 142)}.0.0.0{mobile} Safari/537.36"


KINDS = [
    (30, "iPhone", "Apple Computer, Inc.", 5, PHONES, lambda: f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_{random.randint(2, 7)} like Mac OS X) {WEBKIT} Version/{random.choice(['18.6', '26.0', '26.1'])} Mobile/15E148 Safari/604.1", False),
    (20, "Linux armv81", "Google Inc.", 0, DROIDS, lambda: chrome("Linux; Android 10; K", " Mobile"), True),
    (18, "Win32", "Google Inc.", 5, DESKS, lambda: chrome("Windows NT 10.0; Win64; x64"), True),
    (6, "Win32", "Google Inc.", 5, DESKS, lambda: chrome("Windows NT 10.0; Win64; x64") + f" Edg/{random.randint(138, 142)}.0.0.0", True),
    (5, "Win32", "", 5, DESKS, lambda: f"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{random.randint(138, 145)}.0) Gecko/20100101 Firefox/{random.randint(138, 145)}.0", False),
    (9, "MacIntel", "Apple Computer, Inc.", 5, MACS, lambda: f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Version/{random.choice(['18.6', '26.0'])} Safari/605.1.15", False),
    (8, "MacIntel", "Google Inc.", 5, MACS, lambda: chrome("Macintosh; Intel Mac OS X 10_15_7"), True),
    (4, "Linux x86_64", "Google Inc.", 5, DESKS, lambda: chrome("X11; Linux x86_64"), True),
]
path = "genuine.ndjson"
with open(path, "w") as file:
    for _ in range(8000):
        _, platform, vendor, plugins, screens, agent, connected = random.choices(KINDS, [kind[0] for kind in KINDS])[0]
        width, height = random.choice(screens)
        record = dict(userAgent=agent(), platform=platform, vendor=vendor, pluginsLength=plugins, screenWidth=width, screenHeight=height)
        record |= dict(viewportWidth=width - (random.choice([0, 0, 15, 17]) if width > 1000 else 0), viewportHeight=height - random.choice([80, 95, 110, 120]))
        record["language"] = random.choices(["en-US", "en-GB", "de-DE", "fr-FR", "es-ES"], [60, 15, 10, 8, 7])[0]
        if connected:
            record["connection"] = {"effectiveType": random.choices(["4g", "3g"], [95, 5])[0]}
        file.write(json.dumps(record) + "\n")
subprocess.run([sys.executable, "spoof.py", path, "data/fingerprints.ndjson.gz", "data/labels.csv"], check=True)
os.remove(path)
