//! Spans of time and amounts of data as people write them: `90s`, `1h30m`, `7d`, `250ms`; `500MB`, `10GB`, `64MiB`.

use std::{fmt, str::FromStr};

/// A non-negative span of time in whole microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(pub i64);

impl TimeSpan {
    pub const fn seconds(n: i64) -> TimeSpan {
        TimeSpan(n * 1_000_000)
    }
    pub const fn days(n: i64) -> TimeSpan {
        TimeSpan(n * 86_400_000_000)
    }
    pub fn micros(self) -> i64 {
        self.0
    }
}

const UNITS: [(&str, i64); 7] = [
    ("w", 604_800_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

impl FromStr for TimeSpan {
    type Err = String;
    fn from_str(text: &str) -> Result<TimeSpan, String> {
        let bad = || format!("`{text}` is no span of time: expected for example `90s`, `5m`, `1h30m` or `7d`");
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(bad());
        }
        let mut total = 0i64;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: i64 = rest[..digits].parse().map_err(|_| bad())?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..letters]).ok_or_else(bad)?;
            rest = rest[letters..].trim_start();
            total = number.checked_mul(*unit).and_then(|n| total.checked_add(n)).ok_or_else(bad)?;
        }
        Ok(TimeSpan(total))
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, unit) =
            UNITS.iter().skip(1).find(|(_, unit)| self.0 % unit == 0 && self.0 >= *unit).unwrap_or(&("s", 1_000_000));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl<'de> serde::Deserialize<'de> for TimeSpan {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<TimeSpan, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for TimeSpan {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeSpan".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^([0-9]+(us|ms|s|m|h|d|w) *)+$",
            "description": "A span of time: 90s, 5m, 1h30m, 7d"
        })
    }
}

/// An amount of data in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

const BYTE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl FromStr for ByteSize {
    type Err = String;
    fn from_str(text: &str) -> Result<ByteSize, String> {
        let bad = || format!("`{text}` is no amount of data: expected for example `500MB`, `10GB` or `64MiB`");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = text[..digits].parse().map_err(|_| bad())?;
        let (_, unit) = BYTE_UNITS.iter().find(|(name, _)| *name == text[digits..].trim()).ok_or_else(bad)?;
        number.checked_mul(*unit).map(ByteSize).ok_or_else(bad)
    }
}

impl<'de> serde::Deserialize<'de> for ByteSize {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<ByteSize, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for ByteSize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ByteSize".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[0-9]+ *(B|kB|KB|MB|GB|TB|MiB|GiB|TiB)$",
            "description": "An amount of data: 500MB, 10GB, 64MiB"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_data() {
        let ok = |text: &str, bytes: u64| assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        ok("500MB", 500_000_000);
        ok("64 MiB", 64 << 20);
        ok("7B", 7);
        for bad in ["", "5", "GB", "5 XB", "-5MB", "99999999999TB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_of_time() {
        let ok = |text: &str, us: i64| assert_eq!(text.parse(), Ok(TimeSpan(us)), "{text}");
        ok("90s", 90_000_000);
        ok("1h30m", 5_400_000_000);
        ok("250ms", 250_000);
        ok("0s", 0);
        for bad in ["", "5", "m", "5 parsecs", "-5m", "99999999999999d"] {
            assert!(bad.parse::<TimeSpan>().is_err(), "{bad}");
        }
        assert_eq!(TimeSpan(5_400_000_000).to_string(), "90m");
        assert_eq!(TimeSpan(0).to_string(), "0s");
    }
}
