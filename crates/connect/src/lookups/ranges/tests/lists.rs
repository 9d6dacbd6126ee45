//! Ranges without columns.

use crate::lookups::testing::{check_refused, folder, good, look_up, real};

#[test]
fn whether_an_address_is_listed() {
    let list =
        b"\xef\xbb\xbf# ours\r\n10.0.0.0/8\r\n\n192.168.1.7 # printer\n1.2.3.0/24 ; SBL1\n5.0.0.1 - 5.0.0.3\n2001:db8::/32\n";
    let csv = b"cidr,why\n10.0.0.0/8,x\n192.168.1.7,\n1.2.3.0/24,\n5.0.0.1/32,\n5.0.0.2/31,\n2001:db8::/32,\n";
    let tsv = b"start\tend\n10.0.0.0\t10.255.255.255\n192.168.1.7\t192.168.1.7\n1.2.3.0\t1.2.3.255\n5.0.0.1\t5.0.0.3\n2001:db8::\t2001:db8:ffff:ffff:ffff:ffff:ffff:ffff\n";
    let keys = [
        "10.1.1.1",
        "192.168.1.7",
        "192.168.1.8",
        "1.2.3.4",
        "5.0.0.3",
        "5.0.0.4",
        "2001:db8::1",
        "2001:db9::1",
        "::ffff:10.0.0.1",
        "no",
        "",
    ];
    let keys: Vec<_> = keys.into_iter().map(Some).chain([None, Some("255.255.255.255"), Some("0.0.0.0"), Some("::")]).collect();
    let dir = folder(&[("l.txt", list), ("l.csv", csv), ("l.tsv", tsv), ("l", list)]);
    for name in ["l.txt", "l.csv", "l.tsv", "l"] {
        let config = good(&format!("ranges: {{ of: ip, as: net, file: {name} }}"));
        assert_eq!(config.columns()[0].0, "net_listed");
        let found = look_up(&config, dir.path(), &[], &keys).expect(name);
        let expected = "true true false true true false true false true - - - false false false";
        assert_eq!(found, [expected], "{name}");
        assert_eq!(look_up(&config, dir.path(), &[false], &keys).expect(name), ["- - - - - - - - - - - - - - -"]);
    }
    let none = folder(&[("l.txt", b"# none yet\n")]);
    let found = look_up(&good("ranges: { of: ip, file: l.txt }"), none.path(), &[], &["1.1.1.1", "::1"].map(Some));
    assert_eq!(found.expect("a list of none"), ["false false"]);
}

#[test]
fn a_bad_list_is_refused_with_its_line() {
    check_refused(
        "ranges: { of: ip, file: l.txt }",
        "l.txt",
        &[
            (b"", "`l.txt` is empty"),
            (b"1.0.0.0/8\n\nexample.com\n", "l.txt:3: `example.com` is no IP address"),
            (b"1.0.0.0/40", "l.txt:1: `1.0.0.0/40` is no network"),
            (b"1.0.0.9-1.0.0.1", "l.txt:1: the range ends before it starts"),
            (b"1.0.0.9-::1", "l.txt:1: start and end are of different IP versions"),
            (b"ip,n\n1.0.0.0/8,1\n", "l.txt:1: `ip,n` is no IP address"),
            (b"1.0.0.1\n\xff\n", "l.txt:2: not UTF-8"),
            (b"1.0.0.1\n; x\n", "l.txt:2: `` is no IP address"),
        ],
    );
}

#[test]
fn real_lists() {
    let Some(root) = real("real_lists") else { return };
    let config = good("ranges: { of: ip, file: verifiedbot_googlebot_ipv4.txt }");
    assert_eq!(look_up(&config, &root, &[], &["66.249.66.1", "8.8.8.8"].map(Some)).expect("a good list"), ["true false"]);
}
