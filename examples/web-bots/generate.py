#!/usr/bin/env python3
"""Makes the example's data: two days of a small site's access log, and who each visitor is.

    python3 generate.py            writes data/access.log.gz, data/labels.csv, data/verified.csv

People read, think, follow links, and their browsers fetch what pages need. Crawlers that say so come from their own networks. Bots: a scraper that
fetches every page and nothing else, one that is patient and even as a clock, a scanner of holes, one that calls itself Googlebot from anywhere, one that
changes its user agent. Addresses are of the networks for benchmarks (198.18.0.0/15); the seed is fixed.
"""
import csv, datetime, gzip, io, random

random.seed(3)
START = datetime.datetime(2026, 3, 2, tzinfo=datetime.timezone.utc)
TOPICS = "garden kitchen bikes books travel music chess coffee".split()
PAGES = ["/"] + [f"/{t}" for t in TOPICS] + [f"/{t}/{i}.html" for t in TOPICS for i in range(40)]
ASSETS = ["/css/site.css", "/js/site.js", "/img/logo.svg", "/favicon.ico"]
HOLES = ["/wp-login.php", "/.env", "/admin.php", "/phpmyadmin/", "/.git/config", "/backup.zip", "/cgi-bin/test", "/xmlrpc.php", "/config.json"]
BROWSERS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
]
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
rows, labels = [], []


def get(time, ip, path, agent, status=200, referer="-", method="GET"):
    stamp = time.strftime("%d/%b/%Y:%H:%M:%S %z")
    rows.append((time, f'{ip} - - [{stamp}] "{method} {path} HTTP/1.1" {status} {random.randint(300, 40000)} "{referer}" "{agent}"'))


def address():
    return f"198.{random.randint(18, 19)}.{random.randint(100, 255)}.{random.randint(1, 254)}"


def person():
    ip, agent = address(), random.choice(BROWSERS)
    time = START + datetime.timedelta(seconds=random.randint(0, 2 * 86400 - 7200))
    at, referer, cached = random.choice(PAGES[:9]), random.choice(["-", "https://search.example/"]), False
    for _ in range(random.randint(1, 14)):
        get(time, ip, at, agent, 200 if random.random() < 0.98 else 404, referer)
        for asset in ASSETS if not cached else []:
            get(time + datetime.timedelta(seconds=random.randint(0, 1)), ip, asset, agent, referer="https://site.example" + at)
        for i in range(random.randint(0, 4)):
            get(time + datetime.timedelta(seconds=3 + 5 * i), ip, "/seen", agent, referer="https://site.example" + at, method="POST")
        cached, referer = True, "https://site.example" + at
        topic = at.split("/")[1]
        at = f"/{topic}/{random.randrange(40)}.html" if topic and random.random() < 0.7 else random.choice(PAGES[:9])
        time += datetime.timedelta(seconds=int(random.lognormvariate(3.3, 1.0)) + 2)
    return ip, agent, "person"


def crawler():
    ip, agent = f"198.18.66.{random.randint(1, 20)}", CRAWLER
    time = START + datetime.timedelta(seconds=random.randint(0, 86400))
    get(time, ip, "/robots.txt", agent)
    for page in random.sample(PAGES, 60):
        time += datetime.timedelta(seconds=random.randint(20, 90))
        get(time, ip, page, agent)
    return ip, agent, "crawler"


def bot(kind):
    ip, agent = address(), random.choice(BROWSERS)
    time = START + datetime.timedelta(seconds=random.randint(0, 2 * 86400 - 9000))
    if kind == "scraper":
        for page in random.sample(PAGES, random.randint(60, 200)):
            get(time, ip, page, agent)
            time += datetime.timedelta(seconds=random.choice([0, 1, 1, 2]))
    elif kind == "patient":
        gap = random.randint(15, 40)
        for page in random.sample(PAGES, random.randint(40, 90)):
            get(time, ip, page, agent, referer="https://site.example/")
            get(time, ip, "/css/site.css", agent)
            time += datetime.timedelta(seconds=gap + random.randint(-1, 1))
    elif kind == "scanner":
        for hole in random.choices(HOLES, k=random.randint(20, 60)):
            get(time, ip, hole, agent, 404)
            time += datetime.timedelta(seconds=random.randint(0, 4))
    elif kind == "pretender":
        agent = CRAWLER
        for page in random.sample(PAGES, random.randint(10, 50)):
            get(time, ip, page, agent)
            time += datetime.timedelta(seconds=random.randint(5, 30))
    elif kind == "shifty":
        for page in random.sample(PAGES, random.randint(30, 80)):
            get(time, ip, page, random.choice(BROWSERS))
            time += datetime.timedelta(seconds=random.randint(3, 12))
        return [(ip, agent, kind) for agent in BROWSERS]
    return ip, agent, kind


visitors = [person() for _ in range(900)] + [crawler() for _ in range(12)]
for kind, n in [("scraper", 14), ("patient", 12), ("scanner", 14), ("pretender", 10), ("shifty", 8)]:
    visitors += [bot(kind) for _ in range(n)]
for visitor in visitors:
    labels += visitor if isinstance(visitor, list) else [visitor]
rows.sort(key=lambda row: row[0])
with gzip.GzipFile("data/access.log.gz", "wb", mtime=0) as file:
    file.write(("\n".join(line for _, line in rows) + "\n").encode())
named = {f"{ip} {agent}": kind for ip, agent, kind in labels}
with open("data/labels.csv", "w") as file:
    csv.writer(file, lineterminator="\n").writerows([("visitor", "label"), *named.items()])
with open("data/verified.csv", "w") as file:
    file.write("network,crawler\n198.18.66.0/24,googlebot\n")
print(f"{len(rows)} requests of {len(named)} visitors, {sum(kind not in ('person', 'crawler') for kind in named.values())} of them bots")
