//! Addresses of the internet and what is none of them.

use std::net::IpAddr;

/// The first public address in a text, as `Received` headers have them: in brackets, perhaps behind `IPv6:`.
pub(super) fn public_in(text: &str) -> Option<IpAddr> {
    let is_part = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':');
    text.split(['[', ']', '(', ')', ' ', ',', ';', '\t'])
        .map(|part| part.strip_prefix("IPv6:").unwrap_or(part))
        .filter(|part| part.len() >= 3 && part.chars().all(is_part))
        .find_map(|part| part.parse().ok().filter(is_public))
}

/// Whether an address is of the public internet: none that is private, shared, local, reserved or for documentation.
pub(super) fn is_public(ip: &IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && b & 0xc0 == 64)
                || (a == 198 && b & 0xfe == 18))
        }
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            !(v6.is_loopback() || v6.is_unspecified() || v6.is_multicast())
                && a & 0xfe00 != 0xfc00
                && a & 0xffc0 != 0xfe80
                && !(a == 0x2001 && b == 0x0db8)
        }
    }
}
