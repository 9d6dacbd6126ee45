//! State as bytes: whole numbers by size, floats as they are. What is written depends on the content alone.
//!
//! Reading never panics and never asks for more memory than the bytes at hand could fill, whatever they hold: that they
//! are what was written is for a checksum to say.

use std::collections::VecDeque;

/// Bytes that are not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damaged;

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the bytes are not what was written")
    }
}
impl std::error::Error for Damaged {}

/// Something that can be written and read back, to the bit.
pub trait Wire: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(from: &mut Taker<'_>) -> Result<Self, Damaged>;
}

/// [`Wire`] of a structure: its fields one after the other.
#[macro_export]
macro_rules! wire {
    ($of:ident $(<$generic:ident>)? { $($field:ident),+ $(,)? }) => {
        impl$(<$generic: $crate::wire::Wire>)? $crate::wire::Wire for $of$(<$generic>)? {
            #[inline]
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$field.put(out);)+
            }
            #[inline]
            fn take(from: &mut $crate::wire::Taker<'_>) -> Result<Self, $crate::wire::Damaged> {
                Ok(Self { $($field: from.take()?),+ })
            }
        }
    };
}

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub struct Taker<'a>(pub &'a [u8]);

impl<'a> Taker<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn take<T: Wire>(&mut self) -> Result<T, Damaged> {
        T::take(self)
    }

    /// The next `n` bytes as they are.
    #[inline]
    pub fn slice(&mut self, n: usize) -> Result<&'a [u8], Damaged> {
        let (slice, rest) = self.0.split_at_checked(n).ok_or(Damaged)?;
        self.0 = rest;
        Ok(slice)
    }

    /// Bytes written by [`put_bytes`].
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let n: u64 = self.take()?;
        self.slice(usize::try_from(n).map_err(|_| Damaged)?)
    }

    /// How many items follow, each of at least one byte.
    #[inline]
    pub fn count(&mut self) -> Result<usize, Damaged> {
        let n: u64 = self.take()?;
        if n > self.0.len() as u64 { Err(Damaged) } else { Ok(n as usize) }
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        self.slice(N)?.try_into().map_err(|_| Damaged)
    }
}

/// Bytes with their length before them.
#[inline]
pub fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    (bytes.len() as u64).put(out);
    out.extend_from_slice(bytes);
}

/// LEB128: seven bits a byte, the lowest first.
impl Wire for u64 {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        let mut rest = *self;
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
    #[inline]
    fn take(from: &mut Taker<'_>) -> Result<u64, Damaged> {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let (byte, rest) = from.0.split_first().ok_or(Damaged)?;
            from.0 = rest;
            if shift == 63 && *byte > 1 {
                return Err(Damaged);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
            if shift > 63 {
                return Err(Damaged);
            }
        }
    }
}

/// Small ones of either sign are short (zigzag).
impl Wire for i64 {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        (((*self << 1) ^ (*self >> 63)) as u64).put(out);
    }
    #[inline]
    fn take(from: &mut Taker<'_>) -> Result<i64, Damaged> {
        let bits: u64 = from.take()?;
        Ok((bits >> 1) as i64 ^ -((bits & 1) as i64))
    }
}

macro_rules! narrow {
    ($($of:ty as $wide:ty),*) => {$(
        impl Wire for $of {
            #[inline]
            fn put(&self, out: &mut Vec<u8>) {
                <$wide>::from(*self).put(out);
            }
            #[inline]
            fn take(from: &mut Taker<'_>) -> Result<$of, Damaged> {
                <$of>::try_from(from.take::<$wide>()?).map_err(|_| Damaged)
            }
        }
    )*};
}
narrow!(u32 as u64, u8 as u64, i32 as i64);

impl Wire for usize {
    fn put(&self, out: &mut Vec<u8>) {
        (*self as u64).put(out);
    }
    fn take(from: &mut Taker<'_>) -> Result<usize, Damaged> {
        usize::try_from(from.take::<u64>()?).map_err(|_| Damaged)
    }
}

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(from: &mut Taker<'_>) -> Result<bool, Damaged> {
        match from.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Damaged),
        }
    }
}

/// Every bit, sign of zero and payload of NaN included.
impl Wire for f64 {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    #[inline]
    fn take(from: &mut Taker<'_>) -> Result<f64, Damaged> {
        Ok(f64::from_le_bytes(from.array()?))
    }
}

/// Hashes: no length is saved by coding them.
impl Wire for u128 {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    #[inline]
    fn take(from: &mut Taker<'_>) -> Result<u128, Damaged> {
        Ok(u128::from_le_bytes(from.array()?))
    }
}

impl Wire for () {
    fn put(&self, _: &mut Vec<u8>) {}
    fn take(_: &mut Taker<'_>) -> Result<(), Damaged> {
        Ok(())
    }
}

impl Wire for i128 {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        (*self as u128).put(out);
    }
    #[inline]
    fn take(from: &mut Taker<'_>) -> Result<i128, Damaged> {
        Ok(from.take::<u128>()? as i128)
    }
}

impl Wire for Box<str> {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), out);
    }
    fn take(from: &mut Taker<'_>) -> Result<Box<str>, Damaged> {
        Ok(std::str::from_utf8(from.bytes()?).map_err(|_| Damaged)?.into())
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    #[inline]
    fn take(from: &mut Taker<'_>) -> Result<(A, B), Damaged> {
        Ok((from.take()?, from.take()?))
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(from: &mut Taker<'_>) -> Result<Option<T>, Damaged> {
        Ok(if from.take()? { Some(from.take()?) } else { None })
    }
}

/// Lists. Items of no bytes do not come in them.
macro_rules! lists {
    ($($list:ident),*) => {$(
        impl<T: Wire> Wire for $list<T> {
            fn put(&self, out: &mut Vec<u8>) {
                self.len().put(out);
                self.iter().for_each(|item| item.put(out));
            }
            fn take(from: &mut Taker<'_>) -> Result<$list<T>, Damaged> {
                (0..from.count()?).map(|_| from.take()).collect()
            }
        }
    )*};
}
lists!(Vec, VecDeque);

#[cfg(test)]
mod tests {
    use super::*;

    fn both_ways<T: Wire + PartialEq + std::fmt::Debug>(value: T) {
        let mut bytes = Vec::new();
        value.put(&mut bytes);
        let mut from = Taker(&bytes);
        assert_eq!(from.take::<T>().as_ref(), Ok(&value));
        assert!(from.is_empty());
        // Cut anywhere, it is damaged.
        for end in 0..bytes.len() {
            assert_eq!(T::take(&mut Taker(&bytes[..end])), Err(Damaged), "{value:?} cut at {end}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        [0, 1, 127, 128, 300, u64::MAX / 2, u64::MAX].into_iter().for_each(both_ways::<u64>);
        [0, 1, -1, 63, -64, 64, i64::MIN, i64::MAX].into_iter().for_each(both_ways::<i64>);
        both_ways(1u128 << 100);
        both_ways(vec![(1u32, -5i64), (u32::MAX, 7)]);
        both_ways(Some(Box::<str>::from("ä")));
        both_ways(-0.5f64);
        let mut bytes = Vec::new();
        (-0.0f64).put(&mut bytes);
        assert_eq!(f64::take(&mut Taker(&bytes)).map(f64::to_bits), Ok((-0.0f64).to_bits()));
    }

    #[test]
    fn damage_is_no_panic() {
        assert_eq!(u64::take(&mut Taker(&[0xff; 20])), Err(Damaged));
        assert_eq!(Vec::<u64>::take(&mut Taker(&[0xff, 0xff, 0xff, 0x7f, 1])), Err(Damaged));
        assert_eq!(u8::take(&mut Taker(&[0x80, 0x02])), Err(Damaged));
        assert_eq!(bool::take(&mut Taker(&[2])), Err(Damaged));
    }
}
