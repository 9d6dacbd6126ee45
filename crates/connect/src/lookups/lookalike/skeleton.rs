//! How a name looks: names of one skeleton are taken for one another.

use std::borrow::Cow;

/// As it is shown: `xn--bcher-kva` as `bücher`.
pub(super) fn shown(label: &str) -> Cow<'_, str> {
    if !label.contains("xn--") {
        return Cow::Borrowed(label);
    }
    match idna::domain_to_unicode(label) {
        (shown, Ok(())) => Cow::Owned(shown),
        _ => Cow::Borrowed(label),
    }
}

/// Unicode's skeleton (UTS 39) without accents, then what is alike in ASCII.
pub(super) fn skeleton(shown: &str) -> String {
    let text = if shown.is_ascii() { in_ascii(shown) } else { in_unicode(shown) };
    // `ci` is not taken for `d`, so `i` comes last.
    text.replace("vv", "w").replace("cl", "d").replace('i', "l")
}

fn in_unicode(shown: &str) -> String {
    let letters = unicode_security::skeleton(shown).filter(|c| !matches!(c, '\u{300}'..='\u{36f}'));
    letters.flat_map(char::to_lowercase).map(digit_to_letter).collect()
}

/// What Unicode's skeleton does to a name of lower-case letters, digits and hyphens; most are such.
fn in_ascii(shown: &str) -> String {
    let mut text = String::with_capacity(2 * shown.len());
    for c in shown.chars() {
        match c {
            'm' => text.push_str("rn"),
            '0' => text.push('o'),
            '1' => text.push('l'),
            c => text.push(digit_to_letter(c)),
        }
    }
    text
}

fn digit_to_letter(c: char) -> char {
    match c {
        '3' => 'e',
        '4' => 'a',
        '5' => 's',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alike_and_not() {
        for (a, b) in [
            ("paypal", "paypa1"),
            ("paypal", "paypai"),
            ("paypal", "раураl"),
            ("paypal", "páypàl"),
            ("google", "g00gle"),
            ("microsoft", "rnicr0s0ft"),
            ("wells", "vvells"),
            ("dropbox", "clropbox"),
            ("amazon", "arnaz0n"),
            ("amazon", "4mazon"),
            ("netflix", "n3tf1ix"),
            ("apple", "аррӏе"),
        ] {
            assert_eq!(skeleton(a), skeleton(b), "{a} {b}");
        }
        for (a, b) in [("citi", "dti"), ("paypal", "paypol"), ("vw", "w"), ("a", "")] {
            assert_ne!(skeleton(a), skeleton(b), "{a} {b}");
        }
        let all = "abcdefghijklmnopqrstuvwxyz0123456789-_";
        assert_eq!(in_ascii(all), in_unicode(all));
        assert_eq!(shown("xn--bcher-kva"), "bücher");
        assert_eq!(shown("xn--\u{fc}"), "xn--\u{fc}");
    }
}
