#!/usr/bin/env python3
"""Makes the example's data: commands of twelve people in three roles over ten weeks, some of which others typed.

    python3 generate.py            writes data/commands.csv.gz, data/labels.csv, data/alerts.csv.gz and data/auth.log.gz

Everybody has habits: a role's tools, favourites among them, an order in which one follows another, hours. In the last six weeks
some sessions are not theirs: a colleague of another role sits at the keyboard (`masquerade`), or someone looks around, packs up
what there is and takes it away (`theft`). Sensors on six machines raise alerts meanwhile, thousands of them over what is always so, and
some over an attack. Nothing here is taken from anybody's data; the seed is fixed.
"""
import csv, datetime, gzip, io, random

random.seed(20260105)
ROLES = {
    "developer": "git vim make cargo gcc gdb python3 grep ls cd cat less ssh tmux rg diff man sed awk node npm docker".split(),
    "operator": "ssh systemctl journalctl tail grep ls cd cat ps top df du kubectl docker ansible vim curl ping dig sudo crontab rsync".split(),
    "analyst": "psql python3 ls cd cat head less sort uniq wc awk jupyter duckdb git vim cp mv open csvlook grep R".split(),
}
THEFT = "whoami id uname sudo find find grep cat tar gzip base64 split scp curl nc rm history shred".split()
PEOPLE = {f"{role[:3]}{i}": role for role in ROLES for i in range(4)}
START = datetime.datetime(2026, 1, 5, tzinfo=datetime.timezone.utc)


class Person:
    """A role's tools with favourites of one's own, and who follows whom."""

    def __init__(self, role):
        self.tools = random.sample(ROLES[role], 15) + random.sample(sum(ROLES.values(), []), 3)
        self.weights = [1 / (rank + 1) ** 1.1 for rank in range(len(self.tools))]
        self.after = {tool: random.choices(self.tools, self.weights, k=3) for tool in self.tools}
        self.starts = random.choice([7, 8, 9, 10])

    def commands(self, n):
        tool = random.choices(self.tools, self.weights)[0]
        for _ in range(n):
            yield tool
            tool = random.choice(self.after[tool]) if random.random() < 0.6 else random.choices(self.tools, self.weights)[0]


people = {name: Person(role) for name, role in PEOPLE.items()}
rows, labels = [], []
for day in range(70):
    date = START + datetime.timedelta(days=day)
    if date.weekday() >= 5:
        continue
    for name, person in people.items():
        for session in range(random.choice([1, 1, 2])):
            kind, typist, n = "genuine", person, random.randint(30, 90)
            start = person.starts + 4 * session + random.random() * 1.5
            if day >= 28 and random.random() < 0.1:
                kind = random.choice(["masquerade", "masquerade", "theft"])
                other = random.choice([p for p, role in PEOPLE.items() if role != PEOPLE[name]])
                typist = people[other]
                if random.random() < 0.5:
                    start = random.choice([1, 2, 3, 21, 22, 23])
            time = date + datetime.timedelta(hours=start)
            id = f"{name}-{day:02}-{session}"
            for command in typist.commands(n):
                if kind == "theft" and random.random() < 0.35:
                    command = random.choice(THEFT)
                time += datetime.timedelta(seconds=1 + int(random.expovariate(1 / 40)))
                rows.append((time.strftime("%Y-%m-%dT%H:%M:%SZ"), name, PEOPLE[name], id, command))
            labels.append((id, kind))
rows.sort(key=lambda row: row[0])
text = io.StringIO()
csv.writer(text, lineterminator="\n").writerows([("time", "user", "role", "session", "command"), *rows])
with open("data/commands.csv.gz", "wb") as file:
    file.write(gzip.compress(text.getvalue().encode(), mtime=0))
with open("data/labels.csv", "w") as file:
    csv.writer(file, lineterminator="\n").writerows([("session", "label"), *labels])
print(f"{len(rows)} commands in {len(labels)} sessions, {sum(kind != 'genuine' for _, kind in labels)} of them not genuine")

HOSTS = ["mail", "web", "files", "build", "vpn", "db"]
ALWAYS = ["disk nearly full", "login from a new address", "certificate expires soon", "signature update", "dropped packet", "slow query", "new kind of event", "cron job failed"]
ATTACK = [("many 404 answers", "scan", 900), ("suspicious user agent", "scan", 300), ("failed logins", "guessing", 250), ("web shell name", "shell", 2), ("sudo by a service account", "escalation", 4), ("long DNS names", "theft", 60)]
alerts = []
for day in range(14):
    for host in HOSTS:
        for name in ALWAYS:
            for _ in range(random.choice([0, 1, 3, 40]) if name != "signature update" else 1):
                alerts.append((START + datetime.timedelta(days=day, seconds=random.randint(0, 86399)), host, name, "-"))
begin = START + datetime.timedelta(days=11, hours=13)
for name, phase, n in ATTACK:
    begin += datetime.timedelta(minutes=40)
    for _ in range(n):
        alerts.append((begin + datetime.timedelta(seconds=random.randint(0, 900)), "web", name, phase))
alerts.sort()
text = io.StringIO()
csv.writer(text, lineterminator="\n").writerows([("time", "host", "name", "event_label")] + [(time.strftime("%Y-%m-%dT%H:%M:%SZ"), *rest) for time, *rest in alerts])
with open("data/alerts.csv.gz", "wb") as file:
    file.write(gzip.compress(text.getvalue().encode(), mtime=0))
print(f"{len(alerts)} alerts of sensors, {sum(label != '-' for *_, label in alerts)} of them over an attack")

lines = []


def sshd(time, message):
    lines.append((time, f"{time.strftime('%b %e %H:%M:%S')} gate sshd[{random.randint(1000, 30000)}]: {message}"))


homes = {name: f"198.18.{random.randint(0, 99)}.{random.randint(1, 254)}" for name in PEOPLE}
for day in range(30):
    for name, person in people.items():
        if (START + datetime.timedelta(days=day)).weekday() < 5:
            time = START + datetime.timedelta(days=day, hours=person.starts + random.random())
            if random.random() < 0.1:
                sshd(time, f"Failed password for {name} from {homes[name]} port 50{random.randint(100, 999)} ssh2")
                time += datetime.timedelta(seconds=8)
            sshd(time, f"Accepted publickey for {name} from {homes[name]} port 50{random.randint(100, 999)} ssh2")
    for _ in range(random.choice([0, 1, 2])):             # somebody tries names and words
        time, ip = START + datetime.timedelta(days=day, seconds=random.randint(0, 80000)), f"198.19.{random.randint(0, 255)}.{random.randint(1, 254)}"
        for _ in range(random.randint(10, 60)):
            time += datetime.timedelta(seconds=random.randint(1, 5))
            who = random.choice(["root", "invalid user admin", "invalid user test", "invalid user oracle", "dev1"])
            sshd(time, f"Failed password for {who} from {ip} port 40{random.randint(100, 999)} ssh2")
        if day == 17:
            sshd(time + datetime.timedelta(seconds=4), f"Accepted password for dev1 from {ip} port 40{random.randint(100, 999)} ssh2")
lines.sort(key=lambda line: line[0])
with open("data/auth.log.gz", "wb") as file:
    file.write(gzip.compress(("\n".join(line for _, line in lines) + "\n").encode(), mtime=0))
print(f"{len(lines)} lines of logins")
