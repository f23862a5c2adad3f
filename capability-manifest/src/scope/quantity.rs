//! Sizes and times, written as people write them and compared exactly.

use std::fmt;

/// Why a text is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantityError {
    /// No whole number in front of a unit.
    #[error("write a whole number and a unit, such as `{0}`")]
    Malformed(&'static str),
    /// More than fits.
    #[error("more than can be counted in 64 bits")]
    TooLarge,
    /// Zero, which would mean "nothing", and nothing is said by leaving the grant out.
    #[error("zero; to give nothing, leave it out")]
    Zero,
}

const BYTE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

const TIME_UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteCount(pub u64);

/// A span of time, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanoseconds(pub u64);

impl ByteCount {
    /// `64MiB`, `1GB`, `512B`: at least one byte.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        parse(text, &BYTE_UNITS, "64MiB").map(Self)
    }
}

impl Nanoseconds {
    /// `2s`, `500ms`, `10min`: at least one nanosecond.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        parse(text, &TIME_UNITS, "500ms").map(Self)
    }
}

fn parse(text: &str, units: &[(&str, u64)], example: &'static str) -> Result<u64, QuantityError> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let malformed = QuantityError::Malformed(example);
    if digits.is_empty() {
        return Err(malformed);
    }
    let factor = units.iter().find(|(name, _)| *name == unit).ok_or(malformed)?.1;
    let number: u64 = digits.parse().map_err(|_| QuantityError::TooLarge)?;
    match number.checked_mul(factor).ok_or(QuantityError::TooLarge)? {
        0 => Err(QuantityError::Zero),
        value => Ok(value),
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, self.0, &BYTE_UNITS[..3], "B")
    }
}

impl fmt::Display for Nanoseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            ("h", 3_600_000_000_000),
            ("min", 60_000_000_000),
            ("s", 1_000_000_000),
            ("ms", 1_000_000),
            ("us", 1_000),
        ];
        print(f, self.0, &units, "ns")
    }
}

/// The largest unit that divides the value.
fn print(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)], smallest: &str) -> fmt::Result {
    match units.iter().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor)) {
        Some((unit, factor)) => write!(f, "{}{unit}", value / factor),
        None => write!(f, "{value}{smallest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parses() {
        for text in ["64MiB", "1GiB", "1000B", "1KiB"] {
            assert_eq!(ByteCount::parse(text).expect(text).to_string(), text);
        }
        for text in ["2s", "500ms", "3us", "7ns", "90s", "2min", "1h"] {
            assert_eq!(Nanoseconds::parse(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn refuses_what_has_no_unit_or_does_not_fit() {
        assert_eq!(ByteCount::parse("64"), Err(QuantityError::Malformed("64MiB")));
        assert_eq!(ByteCount::parse("1.5MiB"), Err(QuantityError::Malformed("64MiB")));
        assert_eq!(ByteCount::parse("-1MiB"), Err(QuantityError::Malformed("64MiB")));
        assert_eq!(ByteCount::parse("64mb"), Err(QuantityError::Malformed("64MiB")));
        assert_eq!(ByteCount::parse("0MiB"), Err(QuantityError::Zero));
        assert_eq!(ByteCount::parse("18446744073709551615B"), Ok(ByteCount(u64::MAX)));
        assert_eq!(ByteCount::parse("18446744073709551616B"), Err(QuantityError::TooLarge));
        assert_eq!(ByteCount::parse("17179869184GiB"), Err(QuantityError::TooLarge));
        assert_eq!(Nanoseconds::parse("2 m"), Err(QuantityError::Malformed("500ms")));
    }
}
