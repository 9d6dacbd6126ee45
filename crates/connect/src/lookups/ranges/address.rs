//! IP addresses from text: the larger part of a lookup's time, were it done digit by digit.

use std::net::{IpAddr, Ipv6Addr};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Address {
    V4(u32),
    V6(u128),
}

impl Address {
    /// As the standard library reads them. An IPv4 address that is written as an IPv6 one is an IPv4 address.
    #[inline]
    pub fn parse(text: &str) -> Option<Address> {
        match parse_v4(text.as_bytes()) {
            Some(address) => Some(Address::V4(address)),
            None if text.contains(':') => text.parse().ok().map(Address::from_v6),
            None => None,
        }
    }

    pub fn from_v6(address: Ipv6Addr) -> Address {
        match address.to_canonical() {
            IpAddr::V4(address) => Address::V4(address.to_bits()),
            IpAddr::V6(address) => Address::V6(address.to_bits()),
        }
    }
}

/// Four numbers of one to three digits without leading zeros. All bytes at once: the lengths of the numbers are random to
/// the processor, and each branch on them would cost more than all the arithmetic.
#[inline]
fn parse_v4(text: &[u8]) -> Option<u32> {
    let len = text.len();
    let word = match len {
        8..=15 => {
            let (first, last) = (text.first_chunk::<8>()?, text.last_chunk::<8>()?);
            u64::from_le_bytes(*first) as u128 | (u64::from_le_bytes(*last) as u128) << (8 * (len - 8))
        }
        7 => {
            let (first, last) = (text.first_chunk::<4>()?, text.last_chunk::<4>()?);
            u32::from_le_bytes(*first) as u128 | (u32::from_le_bytes(*last) as u128) << 24
        }
        _ => return None,
    };
    let each = |byte: u8| u128::from_le_bytes([byte; 16]);
    let (high, low) = (each(0x80), each(0x7f));
    // The high bit of each byte that is a dot, and of each that is no digit.
    let dot = word ^ each(b'.');
    let dots = !(((dot & low) + low) | dot) & high;
    let digit = word ^ each(b'0');
    let others = (((digit & low) + each(0x80 - 10)) | digit) & high;
    let inside = (1u128 << (8 * len)) - 1;
    let mut good = dots.count_ones() == 3 && others & inside == dots;

    let (mut address, mut start, mut left) = (0u32, 0, dots);
    for _ in 0..4 {
        // Behind the last number there is no dot, but the end.
        let end = (left.trailing_zeros() / 8).min(len as u32);
        left &= left.wrapping_sub(1);
        let digits = end.wrapping_sub(start);
        good &= digits.wrapping_sub(1) < 3;
        let last_three = ((word >> ((8 * start) & 127)) as u32) << ((32u32.wrapping_sub(8 * digits)) & 31) & 0x0f0f_0f0f;
        let [_, hundreds, tens, ones] = last_three.to_le_bytes().map(u32::from);
        let number = 100 * hundreds + 10 * tens + ones;
        good &= number < 256 && number >= [0, 0, 10, 100][digits as usize & 3];
        address = address << 8 | (number & 255);
        start = end.wrapping_add(1);
    }
    good.then_some(address)
}
