use crate::lookups::testing::{check_mistakes, check_refused, folder, good, look_up, real};
use ouzel_core::FieldType;

#[test]
fn example_and_mistakes() {
    let config = good("domain: { of: sender, as: dom, disposable: data/disposable.txt, free: data/free.json }");
    let names: Vec<_> = config.columns().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["dom_registrable", "dom_suffix", "dom_is_disposable", "dom_is_free"]);
    assert_eq!(config.files(), ["data/disposable.txt", "data/free.json"]);
    let config = good("domain: { of: sender, file: data/partners.csv, key: domain, take: { partner: text } }");
    assert_eq!(config.columns()[2..], [("sender_partner".to_string(), FieldType::Text)]);
    assert_eq!(good("domain: { of: d, file: l.txt }").columns()[2].0, "d_listed");
    check_mistakes(&[
        ("domain: { as: d }", "missing field `of`"),
        ("domain: { of: d, free: \"\" }", "an empty path"),
        ("domain: { of: d, free: f.csv }", "p.yaml:1:24: error: `f.csv` is no list"),
        ("domain: { of: d, take: { a: int } }", "of which table? there is no `file`"),
        ("domain: { of: d, key: a }", "of which table?"),
        ("domain: { of: d, file: f.txt, take: { a: int } }", "is a list of keys: it has no columns"),
        ("domain: { of: d, file: f.csv, take: { a: ip } }", "`a` cannot be looked up as `ip`"),
    ]);
}

#[test]
fn domains() {
    let dir = folder(&[
        ("d.txt", "# for minutes\nMailinator.com\n*.tmp.example.org\nbücher.de\n".as_bytes()),
        ("f.json", b"[\"gmail.com\", \"gmail.com\"]"),
        ("p.csv", b"domain,partner,since\nexample.co.uk,Example,2020\nlab.example.co.uk,Lab,\n"),
    ]);
    let config =
        "domain: { of: d, disposable: d.txt, free: f.json, file: p.csv, key: domain, take: { partner: text, since: int } }";
    let keys = [
        Some("ann@a.MAILINATOR.com"),
        Some("gmail.com."),
        Some("https://x.lab.example.co.uk:80/?a@b"),
        Some("www.example.co.uk"),
        Some("notexample.co.uk"),
        Some("x@xn--bcher-kva.de"),
        Some("BÜCHER.de"),
        Some("tmp.example.org"),
        Some("example.org"),
        Some("co.uk"),
        Some("localhost"),
        Some("10.0.0.1"),
        Some("no name"),
        Some(""),
        None,
    ];
    let expected = [
        "mailinator.com gmail.com example.co.uk example.co.uk notexample.co.uk xn--bcher-kva.de xn--bcher-kva.de example.org example.org - - - - - -",
        "com com co.uk co.uk co.uk de de org org co.uk - - - - -",
        "true false false false false true true true false false - - - - -",
        "false true false false false false false false false false - - - - -",
        "- - Lab Example - - - - - - - - - - -",
        "- - - 2020 - - - - - - - - - - -",
    ];
    assert_eq!(look_up(&good(config), dir.path(), &[], &keys).expect("good lists"), expected);
    let none = ["-"; 15].join(" ");
    for i in 0..6 {
        let wanted: Vec<bool> = (0..6).map(|j| i == j).collect();
        let found = look_up(&good(config), dir.path(), &wanted, &keys).expect("good lists");
        let only: Vec<_> = (0..6).map(|j| if i == j { expected[j] } else { none.as_str() }).collect();
        assert_eq!(found, only);
    }
    // Twice in a row: the second time from what was seen.
    let config = good("domain: { of: d }");
    let mut lookup = config.open(&|name| dir.path().join(name), &[]).expect("no file");
    for _ in 0..2 {
        let found = crate::lookups::testing::found(&config, lookup.as_mut(), &keys);
        assert_eq!(found, expected[..2]);
    }
}

#[test]
fn bad_lists_are_refused_with_their_line() {
    check_refused(
        "domain: { of: d, free: f.txt }",
        "f.txt",
        &[
            (b"", "`f.txt` is empty"),
            (b"a.com\nb com\n", "f.txt:2: `b com` is no domain"),
            (b"a.com\n10.0.0.1\n", "f.txt:2: `10.0.0.1` is no domain"),
            (b"a.com\n\xe4.com\n", "f.txt:2: not UTF-8"),
        ],
    );
    check_refused(
        "domain: { of: d, free: f.json }",
        "f.json",
        &[
            (b"{\"a\": 1}", "f.json:1: expected a domain"),
            (b"[\"a.com\", null]", "f.json: entry 2: expected an object or a text"),
            (b"[\"a.com\"", "f.json:1: expected a JSON array"),
        ],
    );
    check_refused(
        "domain: { of: d, file: f.csv, take: { n: int } }",
        "f.csv",
        &[
            (b"d,n\na.com,1\nA.com,2\n", "f.csv:3: key `A.com` has other values in line 2"),
            (b"d,n\n/,1\n", "f.csv:2: `/` is no domain"),
        ],
    );
}

#[test]
fn real_lists() {
    let Some(root) = real("real_lists") else { return };
    let config = good("domain: { of: d, disposable: disposable_email_blocklist.conf.gz, free: free-email-domains.json.gz }");
    let found = look_up(&config, &root, &[], &["a@0-mail.com", "b@example.com", "c@gmail.com"].map(Some)).expect("good lists");
    assert_eq!(found[2..], ["true false false", "true false true"]);
}
