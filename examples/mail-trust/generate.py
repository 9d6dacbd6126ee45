#!/usr/bin/env python3
"""Makes the example's data: four months of mail to a small company, and what became of it.

    python3 generate.py            writes data/events.ndjson.gz, data/labels.csv, data/protected.txt

Partners write from their own networks, with their own programs; lists and shops send in bulk; people have private addresses. Unwanted are bulk mail from
domains that come and go, mails that pretend to be the company or a partner (a look-alike domain, or the director's name on a private address), and
a partner whose mailbox was taken over and who now sends from elsewhere. Nothing here is taken from anybody's mail; the seed is fixed.
"""
import datetime, json, os, random, subprocess, sys

random.seed(11)
START = datetime.datetime(2026, 1, 5, tzinfo=datetime.timezone.utc)
OWN = "kestrel-tools.example"
STAFF = ["anna.berg", "tom.wells", "li.chen", "eva.kraus", "raj.patel", "sam.ortiz"]
WORDS = "north river stone maple harbor copper falcon cedar summit meadow delta granite willow amber aspen cobalt".split()
PROGRAMS = ["Outlook", "Thunderbird", "Apple", "Roundcube", None]
good, bad = [], []


def net():
    return f"198.{random.randint(18, 19)}.{random.randint(0, 255)}"


def mail(into, day, address, name, network, program, **more):
    time = START + datetime.timedelta(days=day, seconds=random.randint(6 * 3600, 20 * 3600))
    domain = address.split("@")[1]
    into.append({
        "time": time.isoformat(), "message_id": f"{random.randrange(16**12):012x}@{more.pop('id_domain', domain)}",
        "from_address": address, "from_name": name, "from_domain": domain,
        "reply_to_domain": more.pop("reply_to", None), "return_path": more.pop("return_path", address),
        "origin_ip": f"{network}.{random.randint(1, 254)}", "list_id": more.pop("list_id", None), "mailer": program,
        "to": random.choice(STAFF) + "@" + OWN, "spf": more.pop("spf", "pass"), "dkim": more.pop("dkim", None), "dmarc": more.pop("dmarc", None),
        "received_count": more.pop("hops", random.randint(2, 4)), "is_html": random.random() < 0.6, "link_count": random.choice([0, 0, 1, 1, 2]),
    } | more)


partners = []
for word in WORDS[:12]:
    domain = f"{word}-{random.choice(['works', 'parts', 'labs', 'supply'])}.example"
    people = [random.choice("abcdefgh") + "." + random.choice(WORDS) for _ in range(random.randint(1, 4))]
    partners.append((domain, people, net(), random.choice(PROGRAMS[:4])))
lists = [(f"news.{word}.example", f"{word}.list", net()) for word in WORDS[8:14]]
private = [(f"{random.choice(WORDS)}{random.randint(1, 99)}@freemail.example", random.choice(WORDS).title()) for _ in range(25)]
freemail = net()
bulk = [net() for _ in range(6)]
for day in range(120):
    for domain, people, network, program in partners:
        for _ in range(random.choice([0, 1, 1, 2])):
            person = random.choice(people)
            mail(good, day, f"{person}@{domain}", person.title(), network, program, dkim="pass", dmarc="pass")
    for domain, name, network in lists:
        if random.random() < 0.4:
            mail(good, day, f"bounce@{domain}", name, network, None, list_id=name, dkim="pass", is_html=True, link_count=5, reply_to=domain)
    for address, name in random.sample(private, 3):
        mail(good, day, address, name, freemail, random.choice(PROGRAMS), dkim="pass", dmarc="pass")
    for _ in range(random.choice([2, 3, 4, 6])):          # domains that come and go, machines that stay a while
        domain = f"{random.choice(WORDS)}{random.randint(100, 9999)}.example"
        mail(bad, day, f"offer{random.randint(1, 9)}@{domain}", random.choice(["OFFERS", "Deals", None]), random.choice(bulk), None,
             spf=random.choice(["none", "softfail", "pass"]), is_html=True, link_count=4, reply_to=random.choice([None, "freemail.example"]), id_domain=f"mx{random.randint(1, 5)}.example")
    if day % 20 == 19:
        bulk[random.randrange(len(bulk))] = net()
    if day > 20 and random.random() < 0.15:               # pretends to be the company, or a partner
        target = random.choice([OWN, *[partner[0] for partner in partners]])
        name = target.split(".")[0]
        at = random.randrange(1, len(name) - 1)
        like = random.choice([name[:at] + name[at + 1] + name[at] + name[at + 2:], name + "-billing", name.replace("o", "0").replace("l", "1")]) + ".example"
        if like.split(".")[0] != name:
            mail(bad, day, f"accounts@{like}", "Accounts", net(), random.choice(PROGRAMS), dmarc="none", spf="pass", kind_of="look-alike")
    if day > 20 and random.random() < 0.1:                # the director's name
        mail(bad, day, f"{random.choice(WORDS)}{random.randint(100, 999)}@freemail.example", "Anna Berg", freemail, "Roundcube", dkim="pass", dmarc="pass", reply_to="freemail.example")
    if 70 <= day < 90 and day % 3 == 0:                   # a mailbox that was taken over
        domain, people, _, program = partners[3]
        mail(bad, day, f"{people[0]}@{domain}", people[0].title(), net(), "Roundcube", dkim="none", dmarc="none", spf="softfail")
    if random.random() < 0.3:
        mail(good, day, f"anna.berg@{OWN}", "Anna Berg", "198.18.7", "Outlook", dkim="pass", dmarc="pass")
for name, rows in [("good.ndjson", good), ("bad.ndjson", bad)]:
    with open(name, "w") as file:
        file.writelines(json.dumps({k: v for k, v in row.items() if k != "kind_of"}) + "\n" for row in rows)
with open("data/protected.txt", "w") as file:
    file.write("# Domains that others may pretend to be: one's own, and the partners'\n" + "\n".join([OWN, *[p[0] for p in partners]]) + "\n")
subprocess.run([sys.executable, "feedback.py", "--good", "good.ndjson", "--bad", "bad.ndjson", "--out", "data/events.ndjson.gz", "--labels", "data/labels.csv"], check=True)
os.remove("good.ndjson")
os.remove("bad.ndjson")
