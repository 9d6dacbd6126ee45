use super::links::{Links, domain};
use super::{auth, hosts};
use crate::codecs::tests::{chunk, codec_of, decode, show};

const MAIL: &str = "mail: {}";
const MBOX: &str = "mail: { format: mbox }";

fn check(fields: &[&str], mail: &str, expected: &str) {
    assert_eq!(show(&decode(MAIL, fields, &chunk(mail.as_bytes(), None))), expected, "{mail}");
}

const PHISH: &str = "Received: from mx.inner.example (10.0.0.7) by in.example with LMTP; Sun, 17 May 2015 10:05:06 +0000\r
Received: from mail.evil.example (unknown [203.0.114.9])\r
\tby mx.inner.example with ESMTP id x; Sun, 17 May 2015 10:05:05 +0000\r
Received: from [192.168.1.4] ([10.1.1.1]) by mail.evil.example; Sun, 17 May 2015 10:05:04 +0000\r
Authentication-Results: in.example; dkim=fail (bad; dkim=pass) header.d=a; dkim=pass header.d=b;\r
 spf=SoftFail smtp.mailfrom=x; dmarc=none\r
Authentication-Results: evil.example; spf=pass; dmarc=pass\r
Received-SPF: neutral (in.example: x)\r
Return-Path: <Bounce@Evil.example>\r
From: =?UTF-8?Q?Your_B=C3=A4nk?= <Service@Bank.Example>\r
Reply-To: \"x\" <me@Evil.example>\r
To: a@example.org, \"B, b\" <B@example.org>\r
Subject: =?utf-8?B?SGVsbG8g4oKs?=\r
Date: Sun, 17 May 2015 12:05:03 +0200\r
Message-ID: <1@evil.example>\r
List-Id: News <news.evil.example>\r
X-Mailer: Evil 1.0\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=\"b\"\r
\r
--b\r
Content-Type: text/html; charset=utf-8\r
\r
<a href=\"https://Evil.example/?a=1&amp;b=2\">x</a> <A HREF = http://bank.example:80/x>y</a> <form action='//no'>\r
--b\r
Content-Type: text/plain\r
\r
See https://evil.example/z, or (http://user@[2001:db8::1]/q). https://evil.example/z\r
--b\r
Content-Type: application/pdf; name=\"a.pdf\"\r
Content-Disposition: attachment; filename=\"invoice.pdf\"\r
Content-Transfer-Encoding: base64\r
\r
AAAA\r
--b--\r
";

#[test]
fn all_fields() {
    check(
        &[
            "message_id",
            "date:timestamp",
            "received_at:timestamp",
            "from_address",
            "from_name",
            "from_domain",
            "reply_to_address",
            "reply_to_domain",
            "return_path",
        ],
        PHISH,
        "1@evil.example | 2015-05-17T10:05:03Z | 2015-05-17T10:05:06Z | service@bank.example | Your B\u{e4}nk | bank.example | me@evil.example | evil.example | bounce@evil.example",
    );
    check(
        &["to:list<text>", "to_count:int", "subject", "received_count:int", "received_hops:list<text>", "origin_ip:ip"],
        PHISH,
        "[a@example.org, b@example.org] | 2 | Hello \u{20ac} | 3 | [mx.inner.example, mail.evil.example, 192.168.1.4] | 203.0.114.9",
    );
    check(
        &["spf", "dkim", "dmarc", "list_id", "mailer", "is_html:bool"],
        PHISH,
        "softfail | pass | none | news.evil.example | Evil 1.0 | true",
    );
    check(
        &["links:list<text>", "link_domains:list<text>", "attachments:list<text>", "attachment_types:list<text>", "size:int"],
        PHISH,
        &format!(
            "[https://Evil.example/?a=1&b=2, http://bank.example:80/x, https://evil.example/z, http://user@[2001:db8::1]/q] | [evil.example, bank.example, 2001:db8::1] | [invoice.pdf] | [application/pdf] | {}",
            PHISH.len()
        ),
    );
    let own = codec_of(MAIL).expect("sound").fields().expect("known");
    assert!(own.iter().any(|(name, of)| name == "to" && of.to_string() == "list<text>"));
}

#[test]
fn what_a_mail_lacks_is_null_and_what_does_not_read_is_malformed() {
    let fields = ["date:timestamp", "from_address", "to:list<text>", "origin_ip:ip", "spf", "links:list<text>", "is_html:bool"];
    check(&fields, "Subject: x\n\nbody", "~ | ~ | [] | ~ | ~ | [] | false");
    check(&fields[..2], "Date: yesterday\nFrom: nobody\n\n", "! `yesterday` is no timestamp | ~");
    check(&["subject"], "From a@b Sun May 17 10:05:03 2015\nSubject: x\n\nFrom here on\n", "x");
    let sender = ["from_name", "from_address", "from_domain"];
    check(&sender, "From: Your bank, of x <A@evil.example>\n\n", "Your bank, of x | a@evil.example | evil.example");
    check(&sender, "From: Your bank ,_<A@evil.example>, b@c\n\n", "Your bank, _ | a@evil.example | evil.example");
    check(&sender, "From: <>\n\n", "~ | ~ | ~");
    check(&["spf"], "Received-SPF: Pass (x)\n\n", "pass");
    check(&["subject"], "no mail at all", "broken: a mail has headers first, such as `From: ...`: found none");
    check(&["subject"], "\u{1}:\u{2}\n\u{e4}: x\n", "broken: a mail has headers first, such as `From: ...`: found none");
    check(&["subject"], "\n \n", "");
    check(&["subject"], "", "");
}

#[test]
fn mails_one_after_another() {
    let file = "From a@b Sun May 17 10:05:03 2015\nSubject: 1\n\nx\nFrom here on\n\nFrom now on\n>From a 10:05\n\n\nFrom c Sun May 17 10:06:03 2015\r\nSubject: 2\r\n\r\ny\r\n\r\nFrom d Sun May 17 10:07:03 2015\nSubject: 3\n\nz\n";
    assert_eq!(show(&decode(MBOX, &["subject"], &chunk(file.as_bytes(), None))), "1\n2\n3");
    let mut framing = codec_of(MBOX).expect("sound").framing();
    for end in 0..file.len() {
        let whole = framing.split(&file.as_bytes()[..end]);
        assert!(whole == 0 || file[whole..].starts_with("From c") || file[whole..].starts_with("From d"), "{end}: {whole}");
        let shown = show(&decode(MBOX, &["subject"], &chunk(&file.as_bytes()[..whole], None)));
        assert!(["", "1", "1\n2"].contains(&shown.as_str()), "{end}: {shown}");
    }
    let lost = show(&decode(MBOX, &["subject"], &chunk(b"Subject: x\n\n\nFrom d Sun May 17 10:07:03 2015\nSubject: 3\n", None)));
    assert_eq!(lost, "broken: expected a line that begins with `From `\n3");
}

#[test]
fn results_of_authentication() {
    let check = |header: &str, method: &str, expected: Option<&str>| {
        assert_eq!(auth::result(header, method).as_deref(), expected, "{header}")
    };
    check("a; spf=pass", "spf", Some("pass"));
    check("a; spf=pass", "dkim", None);
    check("spf=pass", "spf", None);
    check("a; dkim/1 = Fail; dkim=none", "dkim", Some("fail"));
    check("a; spf=; spf=(x) temperror", "spf", Some("temperror"));
    check("a (((; spf=pass", "spf", None);
    check("; ; ;=;spf", "spf", None);
    assert_eq!(auth::received_spf("(x) Softfail (y)").as_deref(), Some("softfail"));
    assert_eq!(auth::received_spf("()").as_deref(), None);
}

#[test]
fn addresses_of_the_internet() {
    for public in ["8.8.8.8", "2a00::1", "::ffff:8.8.8.8"] {
        assert!(hosts::is_public(&public.parse().expect("an address")), "{public}");
    }
    for other in [
        "10.1.1.1",
        "127.0.0.1",
        "100.64.1.1",
        "192.0.2.1",
        "224.0.0.1",
        "0.0.0.0",
        "fe80::1",
        "fd00::1",
        "2001:db8::1",
        "::1",
        "::ffff:10.0.0.1",
    ] {
        assert!(!hosts::is_public(&other.parse().expect("an address")), "{other}");
    }
    assert_eq!(
        hosts::public_in("from x ([10.0.0.1]) (HELO [IPv6:2a00::1])").map(|ip| ip.to_string()).as_deref(),
        Some("2a00::1")
    );
    assert_eq!(hosts::public_in("from dead:beef, 1.2, ::::"), None);
}

#[test]
fn domains_of_links() {
    for (link, expected) in [
        ("https://a.example", Some("a.example")),
        ("HTTP://A.Example.:8080/x?y#z", Some("a.example")),
        ("http://good.example@evil.example/", Some("evil.example")),
        ("http://evil.example\\@good.example/", Some("evil.example")),
        ("http://[::1]:80/", Some("::1")),
        ("ftp://a.example", None),
        ("http://", None),
        ("https:///x", None),
        ("x", None),
    ] {
        assert_eq!(domain(link).as_deref(), expected, "{link}");
    }
    let mut links = Links::default();
    links.html("<a href=><a href='><a href=\"http://a/\u{e4}\n b\" href =http://b/>x<a hrefhttp://c");
    links.text("http http:// https://\u{e4}.example/\u{f6}! \u{130}http://d/");
    assert_eq!(links.into_list(), ["http://a/\u{e4}b", "http://b/", "https://\u{e4}.example/\u{f6}", "http://d/"]);
}

#[test]
fn hostile_mails() {
    // Nested without end: what is nested is dropped recursively.
    for depth in [400, 200_000] {
        let deep = format!("Subject: x\n{}", "Content-Type: message/rfc822\n\n".repeat(depth));
        check(&["subject", "links:list<text>"], &deep, "x | []");
        let deep = format!("Subject: x\n{}", "Content-Type: multipart/digest; boundary=a\n\n--a\n\n".repeat(depth));
        check(&["subject"], &deep, "x");
    }
    let many = format!("Subject: x\n\n{}", "http://a.example/1 ".repeat(100_000));
    check(&["links:list<text>"], &many, "[http://a.example/1]");
    let many: String = (0..100_000).map(|i| format!("Received: from a ([8.8.8.{}])\n", i % 256)).collect();
    check(&["received_count:int", "origin_ip:ip"], &many, "100000 | 8.8.8.159");
    let fields = [
        "date:timestamp",
        "from_domain",
        "to:list<text>",
        "received_hops:list<text>",
        "origin_ip:ip",
        "spf",
        "links:list<text>",
        "attachments:list<text>",
        "subject",
    ];
    let mut seed = 1u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for codec in [MAIL, MBOX] {
        for _ in 0..2000 {
            let mut bytes = format!("From a Sun May 17 10:05:03 2015\n{PHISH}").into_bytes();
            for _ in 0..1 + random(6) {
                let at = random(bytes.len());
                match random(4) {
                    0 => bytes.truncate(at + 1),
                    1 => bytes[at] = random(256) as u8,
                    2 => bytes[at] = b"\"<>()[];:=@\n\r\0\xff"[random(15)],
                    _ => _ = bytes.splice(at..at, b"\xff\xfe=?utf-16?B?/w==?=".iter().copied()),
                }
            }
            let decoded = decode(codec, &fields, &chunk(&bytes, None));
            assert!(decoded.rows + decoded.broken.len() >= 1);
        }
    }
}

/// Reads a folder of mails and counts those that lack a date or a sender.
#[test]
#[ignore = "needs a folder of mails, in OUZEL_MAILS"]
fn a_folder_of_mails() {
    let Ok(folder) = std::env::var("OUZEL_MAILS") else { return };
    let (mut mails, mut dateless, mut nobody, mut broken) = (0, 0, 0, 0);
    for entry in glob::glob(&format!("{folder}/**/*")).expect("a pattern").flatten().filter(|path| path.is_file()) {
        let bytes = std::fs::read(&entry).expect("readable");
        let decoded = decode(MAIL, &["date:timestamp", "from_address"], &chunk(&bytes, None));
        mails += decoded.rows;
        broken += decoded.broken.len();
        dateless += decoded.columns[0].values.null_count();
        nobody += decoded.columns[1].values.null_count();
    }
    println!("{mails} mails, {broken} broken, {dateless} without a date, {nobody} without a sender");
    assert_eq!(broken, 0);
}
