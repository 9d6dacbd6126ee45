use super::names::{Like, Names};
use crate::lookups::testing::{check_mistakes, check_refused, folder, found, good, look_up};
use proptest::prelude::*;

#[test]
fn example_and_mistakes() {
    let config = good("lookalike: { of: sender, as: like, names: data/protected.txt, distance: 1 }");
    let names: Vec<_> = config.columns().into_iter().map(|(name, _)| name).collect();
    assert_eq!((names.join(" ").as_str(), config.files()), ("like_of like_how", vec!["data/protected.txt"]));
    check_mistakes(&[
        ("lookalike: { of: d }", "missing field `names`"),
        ("lookalike: { of: d, names: \"\" }", "an empty path"),
        ("lookalike: { of: d, names: f.csv }", "`f.csv` is no list"),
        ("lookalike: { of: d, names: f, distance: 3 }", "p.yaml:1:41: error: a distance of 3 makes most names alike"),
        ("lookalike: { of: d, names: f, distance: -1 }", "-1"),
    ]);
}

const NAMES: &[u8] =
    "# ours\npaypal.com\nchase.com\nhp.com\nbücher.de\nwww.example.co.uk\npaypal.de\nciti.com\nmicrosoft.com\n".as_bytes();

#[test]
fn names() {
    let dir = folder(&[("n.txt", NAMES)]);
    let config = good("lookalike: { of: d, names: n.txt }");
    for (text, expected) in [
        ("paypal.com", "- -"),
        ("ann@mail.PayPal.com", "- -"),
        ("paypal.de", "- -"),
        ("shop.example.co.uk", "- -"),
        ("paypal.co", "paypal.com suffix"),
        ("paypal.co.uk", "paypal.com suffix"),
        ("paypal.github.io", "paypal.com suffix"),
        ("example.org", "www.example.co.uk suffix"),
        ("x@paypa1.com", "paypal.com skeleton"),
        ("раураl.com", "paypal.com skeleton"),
        ("xn--l-7sba6dbr.com", "paypal.com skeleton"),
        ("bucher.de", "xn--bcher-kva.de skeleton"),
        ("http://exarnple.com/", "www.example.co.uk skeleton"),
        ("payapl.com", "paypal.com distance"),
        ("papal.com", "paypal.com distance"),
        ("pay-pal.com", "paypal.com distance"),
        ("chasse.com", "chase.com distance"),
        ("phase.com", "chase.com distance"),
        ("paaypaal.com", "- -"),
        ("h0.com", "- -"),
        ("hq.com", "- -"),
        ("paypal-login.com", "paypal.com part"),
        ("secure-paypa1.net", "paypal.com part"),
        ("paypal.com.evil.ru", "paypal.com part"),
        ("chase.evil.ru", "chase.com part"),
        ("www.my-chase.evil.ru", "chase.com part"),
        ("paypallogin.com", "paypal.com part"),
        ("mypaypal.com", "paypal.com part"),
        ("purchase.com", "- -"),
        ("hp-login.com", "- -"),
        ("unrelated.com", "- -"),
        ("com", "- -"),
        ("co.uk", "- -"),
        ("10.0.0.1", "- -"),
        ("no name", "- -"),
        ("", "- -"),
    ] {
        let columns = look_up(&config, dir.path(), &[], &[Some(text)]).expect("good names");
        assert_eq!(columns.join(" "), expected, "{text}");
    }
    let mut lookup = config.open(&|name| dir.path().join(name), &[false, true]).expect("good names");
    for _ in 0..2 {
        let keys = [Some("paypa1.com"), None, Some("payapl.com")];
        assert_eq!(found(&config, lookup.as_mut(), &keys), ["- - -", "skeleton - distance"]);
    }
    let two = good("lookalike: { of: d, names: n.txt, distance: 2 }");
    let keys = ["paaypaal.com", "mircosfot.com", "cahsee.com"].map(Some);
    assert_eq!(look_up(&two, dir.path(), &[], &keys).expect("good names")[1], "- distance -");
    let none = good("lookalike: { of: d, names: n.txt, distance: 0 }");
    assert_eq!(look_up(&none, dir.path(), &[], &["payapl.com", "paypa1.com"].map(Some)).expect("good names")[1], "- skeleton");
}

#[test]
fn bad_lists_are_refused_with_their_line() {
    check_refused(
        "lookalike: { of: d, names: n.txt }",
        "n.txt",
        &[
            (b"", "`n.txt` is empty"),
            (b"paypal.com\ncom\n", "n.txt:2: `com` has no name before its public suffix `com`"),
            (b"co.uk\n", "n.txt:1: `co.uk` has no name"),
            (b"pay pal\n", "n.txt:1: `pay pal` is no domain"),
            (b"a.com\n\xe4.com\n", "n.txt:2: not UTF-8"),
        ],
    );
    let many: String = (0..10_001).map(|i| format!("name-{i}.com\n")).collect();
    check_refused("lookalike: { of: d, names: n.txt }", "n.txt", &[(many.as_bytes(), "n.txt:10001: more than 10000 names")]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Names without anything else alike: those found by what remains are those that a look at each would find.
    #[test]
    fn distance_as_the_model(names in prop::collection::vec("[bfg]{2,12}", 1..8), label in "[bfg]{1,12}", distance in 0usize..3) {
        let mut index = Names::new(distance);
        for name in &names {
            index.add(&format!("{name}.com")).expect("a good name");
        }
        index.finish();
        let close = |name: &str| {
            let d = strsim::damerau_levenshtein(name, &label);
            (d <= distance.min(name.len() / 4)).then_some(d)
        };
        let best = names.iter().enumerate().filter_map(|(i, name)| Some((close(name)?, i as u32))).min();
        let found = index.like(&format!("{label}.org"));
        match names.contains(&label) {
            true => prop_assert_eq!(found.map(|(_, how)| how), Some(Like::Suffix)),
            false => match found {
                Some((name, Like::Distance)) => prop_assert_eq!(best.map(|(_, i)| i), Some(name)),
                _ => prop_assert_eq!(best, None),
            }
        }
    }

    #[test]
    fn any_text(text in "\\PC{0,60}|(xn--)?[a-z0-9-]{0,70}(\\.[a-zü-]{1,9}){0,4}") {
        let mut index = Names::new(2);
        index.add("paypal.com").expect("a good name");
        index.finish();
        index.like(&text);
    }
}
