mod lists;
mod max_mind;

use super::table::Range;
use super::*;
use crate::lookups::columns::NO_ROW;
use crate::lookups::testing::{self, parse};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use ouzel_core::clock::Stopwatch;
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Looks up `keys` in a table of its own; each column as text, nulls as `-`.
fn look_up(config: &str, table: &[u8], wanted: &[bool], keys: &[Option<&str>]) -> Result<Vec<String>> {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("t.csv"), table).expect("a file");
    let (config, problems) = parse(&format!("ranges: {{ of: ip, file: t.csv, {config} }}"));
    assert_eq!(problems, "");
    let config = config.expect("no problems");
    testing::look_up(&config, dir.path(), wanted, keys)
}

#[test]
fn example_and_mistakes() {
    let (config, problems) = parse("ranges: { of: ip, file: data/asn.csv, take: { asn: bigint, name: text } }");
    assert_eq!(problems, "");
    let config = config.expect("no problems");
    assert_eq!(config.columns(), [("ip_asn".to_string(), FieldType::Int), ("ip_name".to_string(), FieldType::Text)]);
    assert_eq!(config.of().value, "ip");
    let (config, _) = parse("ranges: { of: ip, as: net, file: f, take: { asn: int } }");
    assert_eq!(config.expect("no problems").columns()[0].0, "net_asn");
    for (bad, expected) in [
        ("ranges: { of: ip, file: f.mmdb, columns: [a], take: { a: int } }", "`columns` is for CSV files"),
        ("ranges: { of: ip, file: f.parquet }", "ranges are read from CSV, MaxMind databases (mmdb) and lists"),
        ("ranges: { of: ip, file: f, take: { a: timestamp } }", "p.yaml:1:39: error: `a` cannot be looked up as `timestamp`"),
        ("ranges: { of: ip, file: f, take: { a: number } }", "unknown type `number`"),
        ("ranges: { of: ip, file: f, take: { asm: int }, columns: [start, end, asn] }", "hint: did you mean `asn`?"),
        ("ranges: { of: ip, file: f, take: { asn: int }, columns: [start, end, asn, asn] }", "given twice"),
        ("ranges: { of: ip, file: \"\", take: { asn: int } }", "an empty path"),
        ("ranges: { of: ip, take: { asn: int } }", "missing field `file`"),
    ] {
        let (_, problems) = parse(bad);
        assert!(problems.contains(expected), "{bad}: {problems}");
    }
}

#[test]
fn every_way_to_write_a_range() {
    let take = "take: { n: int, t: text, f: float, b: bool }";
    let table = b"start,end,n,t,f,b\n16777216,16777471,1,one,0.5,true\n2.0.0.0,2.0.0.255,2,\"two, \"\"or\"\" so\",1e3,no\r\n\n2001:db8::,2001:db8::ff,3,,,\n42541956123769884636017138956568135936,42541956123769884636017138956568135936,4,four,4,1\n";
    let keys = [
        Some("1.0.0.0"),
        Some("1.0.1.0"),
        None,
        Some("2.0.0.255"),
        Some("2001:db8::5"),
        Some("2001:DB8:0::0100"),
        Some("::ffff:1.0.0.9"),
        Some("2001:db9::"),
        Some("no"),
        Some(""),
    ];
    let columns = look_up(take, table, &[true; 4], &keys).expect("a good table");
    let other = "42541956123769884636017138956568135936".parse::<u128>().map(Ipv6Addr::from_bits).expect("a number");
    assert_eq!(columns[0], "1 - - 2 3 - 1 - - -", "{other}");
    assert_eq!(columns[1], "one - - two, \"or\" so - - one - - -");
    assert_eq!(columns[2], "0.5 - - 1000 - - 0.5 - - -");
    assert_eq!(columns[3], "true - - false - - true - - -");
    let other = other.to_string();
    assert_eq!(look_up(take, table, &[true; 4], &[Some(&other)]).expect("a good table")[0], "4");

    let table = b"\xef\xbb\xbfname,network\nten,10.0.0.0/8\nnest,10.1.2.0/24\nhost,10.1.2.3\nsix,2001:db8::/32\nmapped,::ffff:11.0.0.0/104\nall,0.0.0.0/0\n";
    let keys = ["10.255.0.1", "10.1.2.4", "10.1.2.3", "2001:db8:1::", "11.5.5.5", "99.0.0.0", "255.255.255.255", "::"].map(Some);
    assert_eq!(look_up("take: { name: text }", table, &[], &keys).expect("a good table"), ["ten nest host six mapped all all -"]);

    // Without a header line; only one of two columns wanted; compressed.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"1.0.0.0,1.0.0.255,13335,\"Cloudflare, Inc.\"\n").expect("memory");
    let table = gzip.finish().expect("memory");
    let config = "columns: [start, end, asn, name], take: { name: text, asn: int }";
    assert_eq!(look_up(config, &table, &[false, true], &[Some("1.0.0.1")]).expect("a good table"), ["-", "13335"]);
    assert_eq!(look_up(config, &table, &[true, false], &[Some("1.0.0.1")]).expect("a good table"), ["Cloudflare, Inc.", "-"]);
}

#[test]
fn a_bad_table_is_refused_with_its_line() {
    for (table, expected) in [
        (&b"start,end,n\n1.0.0.0,1.0.0.255\n"[..], "t.csv:2: expected 3 cells, found 2"),
        (b"start,end,n\n1.0.0.0,1.0.0.255,1\n1.0.0.0,1.0.0,1\n", "t.csv:3: `1.0.0` is no IP address"),
        (b"start,end,n\n1.0.0.9,1.0.0.1,1\n", "t.csv:2: the range ends before it starts"),
        (b"start,end,n\n1.0.0.9,::5,1\n", "t.csv:2: start and end are of different IP versions"),
        (b"start,end,n\n\n1.0.0.0,1.0.0.255,one\n", "t.csv:3: `one` is no `int`"),
        (b"start,end,n\n1.0.0.0,1.0.0.255,\"1\n", "t.csv:2: a quote that is not closed"),
        (b"start,end,m\n", "t.csv:1: no column `n` among `start,end,m`"),
        (b"", "t.csv:1: no column `n`"),
        (b"network,n\n1.0.0.0/33,1\n", "t.csv:2: `1.0.0.0/33` is no network"),
        (b"network,n\n::/129,1\n", "t.csv:2: `::/129` is no network"),
        (b"n\n5\n", "t.csv:2: expected start and end"),
        (b"\x1f\x8b\x08garbage", "t.csv"),
        (b"\xff\xfe,\xff,n\n\xff,\xff,1\n", "is no IP address"),
    ] {
        let error = look_up("take: { n: int }", table, &[], &[]).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
    let (config, _) = parse("ranges: { of: ip, file: none.csv, take: { asn: int } }");
    let error =
        config.expect("no problems").open(&|name| Path::new("/nowhere").join(name), &[]).map(drop).expect_err("no such file");
    assert_eq!(error.to_string(), "lookup file `/nowhere/none.csv` does not exist");
}

#[test]
fn addresses_as_the_standard_library_reads_them() {
    let good = ["0.0.0.0", "255.255.255.255", "1.2.3.4", "10.200.0.99"];
    let bad = [
        "",
        ".",
        "1.2.3",
        "1.2.3.4.",
        ".1.2.3.4",
        "1..3.4",
        "256.1.1.1",
        "01.2.3.4",
        "1.2.3.04",
        "1.2.3.4 ",
        "1.2.3.4/8",
        "+1.2.3.4",
        "1.2.3.٤",
        "1111111111111",
        "::g",
        "fe80::1%eth0",
    ];
    for text in good.iter().chain(&bad) {
        let expected = text.parse::<Ipv4Addr>().ok().map(|address| Address::V4(address.to_bits()));
        assert_eq!(Address::parse(text), expected, "{text}");
    }
    assert_eq!(Address::parse("00.0.0.0"), None);
    assert_eq!(Address::parse("::1"), Some(Address::V6(1)));
    assert_eq!(Address::parse("::ffff:1.2.3.4"), Some(Address::V4(0x01020304)));
}

/// The meaning, told plainly: the shortest range that holds the address, the last of those.
fn model<A: Copy + Ord>(ranges: &[Range<A>], length: fn(&Range<A>) -> u128, address: A) -> u32 {
    let holding = ranges.iter().filter(|range| range.start <= address && address <= range.end);
    holding.rev().min_by_key(|range| length(range)).map_or(NO_ROW, |range| range.row)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn ipv4_as_the_model(
        ranges in prop::collection::vec((any::<u32>(), 0u32..5, any::<u32>(), 0..4u32), 0..40),
        probes in prop::collection::vec(any::<u32>(), 0..40),
    ) {
        // Dense in a few places, so that ranges nest, touch, overlap and reach both ends.
        let place = |x: u32, spread: u32| match spread { 0 => x % 64, 1 => u32::MAX - x % 64, 2 => 0x0a00_fff0 + x % 64, 3 => x & 0xffff_0000, _ => x };
        let ranges: Vec<Range<u32>> = ranges.iter().enumerate().map(|(row, &(x, spread, length, bits))| {
            let start = place(x, spread);
            Range { start, end: start.saturating_add(length >> (bits * 10)), row: row as u32 % 7 }
        }).collect();
        let table = Table::new(ranges.clone(), Vec::new(), Vec::new());
        let edges = ranges.iter().flat_map(|range| [range.start, range.end, range.start.wrapping_sub(1), range.end.wrapping_add(1)]);
        for address in edges.chain(probes).chain([0, u32::MAX]) {
            let expected = model(&ranges, |range| (range.end - range.start) as u128, address);
            prop_assert_eq!(table.find_v4(address), expected, "{}", Ipv4Addr::from_bits(address));
        }
    }

    #[test]
    fn ipv6_as_the_model(
        ranges in prop::collection::vec((any::<u128>(), any::<bool>(), any::<u128>(), 0..5u32), 0..40),
        probes in prop::collection::vec(any::<u128>(), 0..40),
    ) {
        let ranges: Vec<Range<u128>> = ranges.iter().enumerate().map(|(row, &(x, dense, length, bits))| {
            let start = if dense { x % 64 } else { x };
            Range { start, end: start.saturating_add(length >> (bits * 31)), row: row as u32 % 7 }
        }).collect();
        let table = Table::new(Vec::new(), ranges.clone(), Vec::new());
        let edges = ranges.iter().flat_map(|range| [range.start, range.end, range.start.wrapping_sub(1), range.end.wrapping_add(1)]);
        for address in edges.chain(probes).chain([0, u128::MAX]) {
            let expected = model(&ranges, |range| range.end - range.start, address);
            prop_assert_eq!(table.find_v6(address), expected, "{}", Ipv6Addr::from_bits(address));
        }
    }

    #[test]
    fn any_text_as_the_standard_library_reads_it(text in "[0-9.]{0,16}|([0-9]{1,3}\\.){3}[0-9]{1,3}|([0-9]\\.){3}[0-9/:;é ]{1,2}|[0-9a-f:]{2,20}") {
        let expected = text.parse().ok().map(|address| match address {
            std::net::IpAddr::V4(address) => Address::V4(address.to_bits()),
            std::net::IpAddr::V6(address) => Address::from_v6(address),
        });
        prop_assert_eq!(Address::parse(&text), expected);
    }

    #[test]
    fn any_bytes_are_a_table_or_an_error(table in prop::collection::vec(prop::sample::select(b"1.0:,\"\n\r/9af-\xff ".to_vec()), 0..60)) {
        let _ = look_up("columns: [start, end, n], take: { n: text }", &table, &[], &[Some("1.0.0.1")]);
        let _ = look_up("columns: [cidr, n], take: { n: int }", &table, &[], &[Some("1.0.0.1")]);
    }
}

/// Real tables: 412,000 ranges. Prints what a lookup takes.
#[test]
fn real_ranges() {
    let root =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo runs the tests")).join("../../../shared/data/enrichment");
    if !root.is_dir() {
        println!("SKIPPED real_ranges: no folder {}", root.display());
        return;
    }
    let (config, problems) =
        parse("ranges: { of: ip, file: asn-ipv4.csv.xz, columns: [start, end, asn, name], take: { asn: int, name: text } }");
    assert_eq!(problems, "");
    let watch = Stopwatch::start();
    let mut lookup = config.expect("no problems").open(&|name| root.join(name), &[true, true]).expect("a good table");
    println!("asn-ipv4.csv.xz: loaded in {:.2} s", watch.seconds());
    let columns = lookup.lookup(&["1.0.0.1", "8.8.8.8", "127.0.0.1"].into_iter().map(Some).collect()).expect("never fails");
    assert_eq!(columns[0].as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(13335), Some(15169), None]);
    assert!(columns[1].as_string_view().value(1).to_lowercase().contains("google"));

    let mut x = 1u64;
    let mut random = || {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (x >> 32) as u32
    };
    let all: Vec<String> = (0..200_000).map(|_| Ipv4Addr::from_bits(random()).to_string()).collect();
    for (what, distinct) in [("200,000 addresses", 200_000), ("10,000 addresses", 10_000)] {
        let batches: Vec<StringViewArray> =
            (0..100).map(|_| (0..8192).map(|_| Some(all[random() as usize % distinct].as_str())).collect()).collect();
        let watch = Stopwatch::start();
        for batch in &batches {
            lookup.lookup(batch).expect("never fails");
        }
        println!("ranges, {what}, two columns: {:.1} ns a lookup", watch.seconds() * 1e9 / (100.0 * 8192.0));
    }
}
