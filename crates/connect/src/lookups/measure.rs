//! What a lookup takes of an event, at real sizes. Prints; asserts nothing.

use super::testing::{folder, good, real};
use arrow_array::StringViewArray;
use ouzel_core::clock::Stopwatch;
use std::fmt::Write;
use std::path::Path;

/// Numbers that look like chance.
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize
    }
    /// Below `n`, and mostly small: as few customers make most of the events.
    fn skewed(&mut self, n: usize) -> usize {
        let x = self.next() as f64 / (1u64 << 31) as f64;
        (x * x * x * n as f64) as usize
    }
}

const BATCHES: usize = 50;
const ROWS: usize = 8192;

/// Batches of values that come again, few of them often.
fn stream(values: &[String]) -> Vec<StringViewArray> {
    let mut random = Random(1);
    (0..BATCHES).map(|_| (0..ROWS).map(|_| Some(values[random.skewed(values.len())].as_str())).collect()).collect()
}

fn measure(what: &str, config: &str, root: &Path, values: &[String]) {
    let config = good(config);
    let watch = Stopwatch::start();
    let mut lookup = config.open(&|name| root.join(name), &[]).expect("a good file");
    let loading = watch.seconds();
    let batches = stream(values);
    let mut pass = || {
        let watch = Stopwatch::start();
        for batch in &batches {
            std::hint::black_box(lookup.lookup(batch).expect("never fails"));
        }
        watch.seconds() * 1e9 / (BATCHES * ROWS) as f64
    };
    let (first, second) = (pass(), pass());
    println!("{what}: {} values, loaded in {loading:.2} s, {first:.0} ns an event, then {second:.0}", values.len());
}

#[test]
#[ignore = "a measurement"]
fn table() {
    let (mut table, mut list) = (String::from("customer,tier,limit\n"), String::new());
    for i in 0..1_000_000 {
        let _ = writeln!(table, "customer-{i},{},{}", ["gold", "silver", "none"][i % 3], i % 100);
        let _ = writeln!(list, "customer-{}", 2 * i);
    }
    let dir = folder(&[("t.csv", table.as_bytes()), ("l.txt", list.as_bytes())]);
    let values: Vec<String> = (0..1_000_000).map(|i| format!("customer-{}", (i * 7919) % 1_200_000)).collect();
    let take = "table: { of: customer, file: t.csv, take: { tier: text, limit: int } }";
    for values in [&values[..], &values[..10_000]] {
        measure("table of 1,000,000 keys, two columns", take, dir.path(), values);
        measure("list of 1,000,000 keys", "table: { of: customer, file: l.txt }", dir.path(), values);
    }
}

#[test]
#[ignore = "a measurement"]
fn ranges() {
    let Some(root) = real("ranges") else { return };
    let mut random = Random(2);
    let mut address = || std::net::Ipv4Addr::from_bits((random.next() as u32) << 1).to_string();
    let values: Vec<String> = (0..200_000).map(|_| address()).collect();
    let asn = "ranges: { of: ip, file: asn-ipv4.csv.xz, columns: [start, end, asn, name], take: { asn: int, name: text } }";
    measure("ranges, 400,000, two columns", asn, &root, &values);
}

/// Senders of mail: hosts below domains.
fn senders() -> Vec<String> {
    (0..20_000).map(|i| format!("user{}@mail{}.company-{}.{}", i % 977, i % 3, i, ["com", "co.uk", "de"][i % 3])).collect()
}

#[test]
#[ignore = "a measurement"]
fn domain() {
    let Some(root) = real("domain") else { return };
    let lists = "domain: { of: d, disposable: disposable_email_blocklist.conf.gz, free: free-email-domains.json.gz }";
    measure("domain, two lists", lists, &root, &senders());
}

#[test]
#[ignore = "a measurement"]
fn lookalike() {
    let names: String = (0..1000).map(|i| format!("protected{}{}.com\n", ["bank", "shop", "mail"][i % 3], i)).collect();
    let dir = folder(&[("n.txt", names.as_bytes())]);
    for distance in [1, 2] {
        let config = format!("lookalike: {{ of: d, names: n.txt, distance: {distance} }}");
        measure(&format!("lookalike, 1,000 names, distance {distance}"), &config, dir.path(), &senders());
    }
}

#[test]
#[ignore = "a measurement"]
fn user_agent() {
    let Some(root) = real("user_agent") else { return };
    let os =
        ["Windows NT 10.0; Win64; x64", "X11; Linux x86_64", "Linux; Android 14; SM-A546B", "Macintosh; Intel Mac OS X 10_15_7"];
    let agent = |i: usize| {
        let (os, major, minor) = (os[i % 4], 80 + i % 60, i % 7919);
        format!("Mozilla/5.0 ({os}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.{minor}.{i} Safari/537.36")
    };
    let values: Vec<String> = (0..5000).map(agent).collect();
    for (what, config) in [
        ("user_agent, built in", ""),
        ("user_agent, 1,498 patterns of crawlers", ", patterns: crawler-user-agents.json.gz"),
        ("user_agent, 1,274 expressions of uap-core", ", regexes: uap-core_regexes.yaml.gz"),
    ] {
        measure(what, &format!("user_agent: {{ of: ua{config} }}"), &root, &values);
    }
}
