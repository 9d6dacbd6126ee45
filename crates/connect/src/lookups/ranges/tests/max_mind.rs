//! MaxMind databases, made here by hand.

use crate::lookups::testing::{check_mistakes, check_refused, folder, good, look_up};
use proptest::prelude::*;

/// A value as it is written (MaxMind DB file format, "Output Data Section").
enum Data {
    Map(Vec<(&'static str, Data)>),
    List(Vec<Data>),
    Text(&'static str),
    Short(u16),
    Number(u32),
    Long(u64),
    Double(f64),
    Bool(bool),
}

fn write(data: &Data, out: &mut Vec<u8>) {
    let text = |text: &str, out: &mut Vec<u8>| {
        match text.len() {
            len @ 0..29 => out.push(2 << 5 | len as u8),
            len => out.extend([2 << 5 | 29, (len - 29) as u8]),
        }
        out.extend(text.as_bytes());
    };
    match data {
        Data::Map(fields) => {
            out.push(7 << 5 | fields.len() as u8);
            for (name, value) in fields {
                text(name, out);
                write(value, out);
            }
        }
        Data::List(items) => {
            out.extend([items.len() as u8, 11 - 7]);
            items.iter().for_each(|item| write(item, out));
        }
        Data::Text(value) => text(value, out),
        Data::Short(value) => {
            out.push(5 << 5 | 2);
            out.extend(value.to_be_bytes());
        }
        Data::Number(value) => {
            out.push(6 << 5 | 4);
            out.extend(value.to_be_bytes());
        }
        Data::Long(value) => {
            out.extend([8, 9 - 7]);
            out.extend(value.to_be_bytes());
        }
        Data::Double(value) => {
            out.push(3 << 5 | 8);
            out.extend(value.to_be_bytes());
        }
        Data::Bool(value) => out.extend([*value as u8, 14 - 7]),
    }
}

/// A tree of 24 bits a record over prefixes of bits, none within another, and the data they lead to.
fn database(ip_version: u16, networks: &[(u128, u32, usize)], records: &[Data]) -> Vec<u8> {
    let width = if ip_version == 4 { 32 } else { 128 };
    let (mut nodes, mut data, mut offsets) = (vec![[None::<Result<usize, usize>>; 2]], Vec::new(), Vec::new());
    for record in records {
        offsets.push(data.len());
        write(record, &mut data);
    }
    for (address, length, record) in networks {
        let mut node = 0;
        for bit in 0..*length {
            let side = (address >> (width - 1 - bit)) as usize & 1;
            if bit + 1 == *length {
                nodes[node][side] = Some(Err(*record));
            } else {
                let next = match nodes[node][side] {
                    Some(Ok(next)) => next,
                    _ => nodes.len(),
                };
                if next == nodes.len() {
                    nodes.push([None; 2]);
                }
                nodes[node][side] = Some(Ok(next));
                node = next;
            }
        }
    }
    let mut out = Vec::new();
    for side in nodes.iter().flatten() {
        let value = match side {
            None => nodes.len(),
            Some(Ok(node)) => *node,
            Some(Err(record)) => nodes.len() + 16 + offsets[*record],
        };
        out.extend(&(value as u32).to_be_bytes()[1..]);
    }
    out.extend([0; 16]);
    out.extend(data);
    out.extend(b"\xab\xcd\xefMaxMind.com");
    let metadata = Data::Map(vec![
        ("node_count", Data::Number(nodes.len() as u32)),
        ("record_size", Data::Short(24)),
        ("ip_version", Data::Short(ip_version)),
        ("database_type", Data::Text("Test")),
        ("languages", Data::List(vec![Data::Text("en")])),
        ("binary_format_major_version", Data::Short(2)),
        ("binary_format_minor_version", Data::Short(0)),
        ("build_epoch", Data::Long(1)),
        ("description", Data::Map(vec![("en", Data::Text("made by hand"))])),
    ]);
    write(&metadata, &mut out);
    out
}

fn records() -> [Data; 3] {
    let country = |code| Data::Map(vec![("iso_code", Data::Text(code)), ("is_in_european_union", Data::Bool(code == "DE"))]);
    let city = |code| ("country", country(code));
    let parts = |code| ("subdivisions", Data::List(vec![Data::Map(vec![("iso_code", Data::Text(code))]), Data::Map(vec![])]));
    [
        Data::Map(vec![
            city("DE"),
            parts("BE"),
            ("location", Data::Map(vec![("latitude", Data::Double(52.5))])),
            ("asn", Data::Number(1)),
        ]),
        Data::Map(vec![
            city("US"),
            ("asn", Data::Number(u32::MAX)),
            ("name_of", Data::Text("a name of more than twenty-nine bytes")),
        ]),
        Data::Map(vec![]),
    ]
}

fn v4() -> Vec<u8> {
    database(4, &[(0x0a000000, 8, 0), (0x0b000000, 9, 1), (0x0b800000, 9, 1), (0x0c010203, 32, 2)], &records())
}

const TAKE: &str = "take: { country_iso_code: text, subdivisions_0_iso_code: text, location_latitude: float, asn: int, country_is_in_european_union: bool, name_of: text }";

#[test]
fn values_by_their_way() {
    let config = good(&format!("ranges: {{ of: ip, as: geo, file: t.mmdb, {TAKE} }}"));
    assert_eq!(config.columns()[1].0, "geo_subdivisions_0_iso_code");
    let expected = [
        "DE US US - - - DE",
        "BE - - - - - BE",
        "52.5 - - - - - 52.5",
        "1 4294967295 4294967295 - - - 1",
        "true false false - - - true",
        "- a name of more than twenty-nine bytes a name of more than twenty-nine bytes - - - -",
    ];
    let keys = ["10.255.255.255", "11.0.0.0", "11.200.0.0", "12.1.2.3", "13.0.0.0", "no", "::ffff:10.0.0.1"].map(Some);
    let dir = folder(&[("t.mmdb", &v4())]);
    assert_eq!(look_up(&config, dir.path(), &[], &keys).expect("a good database"), expected);
    let listed = look_up(&good("ranges: { of: ip, file: t.mmdb }"), dir.path(), &[], &keys).expect("a good database");
    assert_eq!(listed, ["true true true true false - true"]);

    // IPv4 addresses in an IPv6 tree are below ::/96.
    let networks = [(0x0a000000, 104, 0), (0x0b000000, 104, 1), (0x2001_0db8 << 96, 32, 0)];
    let dir = folder(&[("t.mmdb", &database(6, &networks, &records()))]);
    assert_eq!(look_up(&config, dir.path(), &[], &keys).expect("a good database"), expected);
    let keys = ["2001:db8::1", "2001:db9::1", "10.0.0.0"].map(Some);
    assert_eq!(
        look_up(&config, dir.path(), &[true, false, false, false, false, false], &keys).expect("a good database")[0],
        "DE - DE"
    );
}

#[test]
fn a_bad_database_is_refused() {
    check_mistakes(&[("table: { of: ip, file: t.mmdb }", "look it up with `ranges`")]);
    check_refused(
        "ranges: { of: ip, file: t.mmdb, take: { country_isocode: text } }",
        "t.mmdb",
        &[
            (b"", "t.mmdb: expected a MaxMind database"),
            (b"network,country\n", "t.mmdb: expected a MaxMind database"),
            (
                &v4(),
                "no record has `country_isocode`; the first has `country_iso_code`, `country_is_in_european_union`, `subdivisions_0_iso_code`",
            ),
        ],
    );
    check_refused(
        "ranges: { of: ip, file: t.mmdb, take: { country_iso_code: int } }",
        "t.mmdb",
        &[(&v4(), "t.mmdb: expected a MaxMind database: network 10.0.0.0/8: `DE` is no `int`")],
    );
    check_refused("ranges: { of: ip, file: t.mmdb, take: { country: text } }", "t.mmdb", &[(&v4(), "no record has `country`")]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_damaged_database_is_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(), whole in any::<bool>()) {
        let mut bytes = v4();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        let dir = folder(&[("t.mmdb", &bytes)]);
        let _ = look_up(&good(&format!("ranges: {{ of: ip, file: t.mmdb, {TAKE} }}")), dir.path(), &[], &[Some("10.0.0.1")]);
    }
}
