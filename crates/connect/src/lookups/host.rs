//! The host that a text names: a host name, a mail address or a URL.

use std::borrow::Cow;

/// Longest name of DNS, and longest part of one.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// In lower-case ASCII (IDNA: `bücher.de` is `xn--bcher-kva.de`), without port and trailing dot. `None` for addresses of IP, and for what cannot
/// be a name.
pub(super) fn name(text: &str) -> Option<Cow<'_, str>> {
    let host = cut(text.trim());
    // With its trailing dot. (Punycode takes the square of a name's length.)
    if host.chars().take(NAME_BYTES_MAX + 2).count() > NAME_BYTES_MAX + 1 {
        return None;
    }
    let host = if !host.is_ascii() {
        Cow::Owned(idna::domain_to_ascii(host).ok()?)
    } else if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    };
    let host = match host {
        Cow::Borrowed(host) => Cow::Borrowed(host.strip_suffix('.').unwrap_or(host)),
        Cow::Owned(host) => Cow::Owned(host.strip_suffix('.').map(String::from).unwrap_or(host)),
    };
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    };
    let is_name = host.len() <= NAME_BYTES_MAX && host.split('.').all(is_label);
    // No top-level domain is a number, so `10.1` is an address.
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    (is_name && !is_number).then_some(host)
}

/// A name of more than one label.
pub(super) fn domain(text: &str) -> Option<Cow<'_, str>> {
    name(text).filter(|name| name.contains('.'))
}

/// Of a domain: the public suffix, and the registrable domain, which has one label more; `None` of what is itself a public suffix. A
/// top-level domain that the list does not know is a public suffix.
pub(super) fn split(domain: &str) -> (&str, Option<&str>) {
    let suffix = psl::suffix_str(domain).unwrap_or(domain);
    let Some(before) = domain.strip_suffix(suffix).and_then(|before| before.strip_suffix('.')) else { return (suffix, None) };
    let label = before.rfind('.').map_or(0, |dot| dot + 1);
    (suffix, Some(&domain[label..]))
}

/// The part of a text that is its host.
fn cut(text: &str) -> &str {
    let host = match text.split_once("://") {
        Some((_, rest)) => {
            let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
            authority.rsplit('@').next().unwrap_or_default()
        }
        None => match text.rsplit_once('@') {
            // `Ann <ann@example.com>`
            Some((_, host)) => host.strip_suffix('>').unwrap_or(host),
            None => text.split(['/', '?', '#']).next().unwrap_or_default(),
        },
    };
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        for (text, expected) in [
            ("example.com", "example.com"),
            ("EXAMPLE.Com.", "example.com"),
            (" a_b.example.com ", "a_b.example.com"),
            ("ann@Example.COM", "example.com"),
            ("\"a@b\"@example.com", "example.com"),
            ("Ann <ann@example.com>", "example.com"),
            ("https://u:p@WWW.example.com:8443/a@b?c#d", "www.example.com"),
            ("https://example.com?q=a@evil.com", "example.com"),
            ("https://example.com\\@evil.com", "example.com"),
            ("example.com:80", "example.com"),
            ("example.com/path", "example.com"),
            ("bücher.de", "xn--bcher-kva.de"),
            ("x@BÜCHER.de.", "xn--bcher-kva.de"),
            ("XN--BCHER-KVA.de", "xn--bcher-kva.de"),
            ("食狮。公司.cn", "xn--85x722f.xn--55qx5d.cn"),
            ("localhost", "localhost"),
            ("", "-"),
            (".", "-"),
            ("a..b", "-"),
            (".com", "-"),
            ("10.0.0.1", "-"),
            ("http://10.0.0.1:80/", "-"),
            ("0x7f.1", "-"),
            ("127.0x1", "-"),
            ("http://[::1]:80/", "-"),
            ("::1", "-"),
            ("a b.com", "-"),
            ("ann@", "-"),
            ("\u{0}", "-"),
        ] {
            assert_eq!(name(text).as_deref().unwrap_or("-"), expected, "{text}");
        }
        let label = "a".repeat(63);
        assert!(name(&format!("{label}.com")).is_some());
        assert!(name(&format!("{label}a.com")).is_none());
        assert!(name(&[label.as_str(); 4].join(".")).is_none());
        assert!(name(&"ü.".repeat(100_000)).is_none());
        let longest = format!("{}.", [&label[..62], &label, &label, &label[..62]].join("."));
        assert_eq!(name(&longest).map(|name| name.len()), Some(253));
        assert!(name(&format!("a{longest}")).is_none());
        assert_eq!(domain("localhost"), None);
    }

    #[test]
    fn suffixes() {
        for (domain, suffix, registrable) in [
            ("a.b.example.com", "com", Some("example.com")),
            ("www.example.co.uk", "co.uk", Some("example.co.uk")),
            ("co.uk", "co.uk", None),
            ("user.github.io", "github.io", Some("user.github.io")),
            ("www.ck", "ck", Some("www.ck")),
            ("a.b.ck", "b.ck", Some("a.b.ck")),
            ("xn--85x722f.xn--55qx5d.cn", "xn--55qx5d.cn", Some("xn--85x722f.xn--55qx5d.cn")),
            ("host.internal", "internal", Some("host.internal")),
        ] {
            assert_eq!(split(domain), (suffix, registrable), "{domain}");
        }
    }

    proptest! {
        #[test]
        fn any_text(text in "[a-zA-Z0-9.@:/<>\\[\\]ü。 _-]{0,40}|\\PC{0,40}") {
            if let Some(name) = name(&text) {
                prop_assert!(super::name(&name).is_some_and(|again| again == name));
                let (suffix, registrable) = split(&name);
                prop_assert!(name.ends_with(suffix) && registrable.is_none_or(|r| name.ends_with(r)));
            }
        }
    }
}
