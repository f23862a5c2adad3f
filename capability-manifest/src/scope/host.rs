//! Network addresses: names, suffixes, addresses and blocks, each with a range of ports.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::pattern_set::Pattern;
use crate::limits::HOST_BYTES_MAX;

/// Which hosts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// One name, lowercase.
    Name(String),
    /// Every name below this one, but not the name itself: `*.example.org` is kept as `example.org`.
    Suffix(String),
    /// A block of addresses; one address is a block with a full prefix.
    Block(IpBlock),
}

/// A block of addresses, with no bit set behind its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpBlock {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no host pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// No port.
    #[error("a port is missing; write `{0}:443`, or a range such as `{0}:8000-8099`")]
    PortMissing(String),
    /// The port is no number from 1 to 65535, or the range runs backwards.
    #[error("`{0}` is no port from 1 to 65535, and no range of them")]
    Port(String),
    /// A port where only a name belongs.
    #[error("a host name here has no port")]
    PortUnwanted,
    /// `*` alone, or in the middle of a name.
    #[error("`*` may only stand for the first labels of a name, as in `*.example.org`")]
    Wildcard,
    /// Not a name by RFC 1123, section 2.1.
    #[error("`{0}` is no host name")]
    Name(String),
    /// A name that resolvers read as an address (all digits, or `0x`): WHATWG URL, "ends in a number".
    #[error("`{0}` could be read as an address in another notation; write it as `a.b.c.d`")]
    Numeric(String),
    /// An IPv6 address in front of a port, without brackets.
    #[error("an IPv6 address stands in brackets; write `{0}`")]
    Brackets(String),
    /// Not an address or block.
    #[error("`{0}` is no address")]
    Address(String),
    /// Bits behind the prefix.
    #[error("`{0}` has bits behind its prefix; did you mean `{1}`?")]
    HostBits(String, String),
    /// An IPv4 address in IPv6 clothes.
    #[error("`{0}` is an IPv4 address in IPv6 notation; write the IPv4 address")]
    Mapped(String),
    /// A scheme, a path or a user where only `host:port` belongs.
    #[error("`{0}` is a URL; write only `host:port`")]
    Url(String),
}

impl IpBlock {
    /// A block of `prefix` bits.
    fn parse(text: &str) -> Result<Self, HostError> {
        let bad = || HostError::Address(text.to_owned());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        if let IpAddr::V6(v6) = address
            && (v6.to_ipv4_mapped().is_some() || (v6.segments()[..6] == [0; 6] && v6.segments()[6] != 0))
        {
            return Err(HostError::Mapped(text.to_owned()));
        }
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| bad())?
            }
            Some(_) => return Err(bad()),
        };
        if prefix > width {
            return Err(bad());
        }
        let block = Self { address: first_of_block(address, prefix), prefix };
        if block.address == address {
            Ok(block)
        } else {
            Err(HostError::HostBits(text.to_owned(), block.to_string()))
        }
    }

    /// Whether the address is in the block. An IPv4-mapped IPv6 address is its IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.address.is_ipv4() == address.is_ipv4() && first_of_block(address, self.prefix) == self.address
    }
}

fn first_of_block(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

impl fmt::Display for IpBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        let full = if self.address.is_ipv4() { 32 } else { 128 };
        if self.prefix == full { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl HostPattern {
    /// A name, a suffix, or an address: no port.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text.contains("://") || text.contains('@') {
            return Err(HostError::Url(text.to_owned()));
        }
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or_else(|| HostError::Address(text.to_owned()))?;
            return match IpBlock::parse(inner)? {
                block if block.address.is_ipv6() => Ok(Self::Block(block)),
                _ => Err(HostError::Address(text.to_owned())),
            };
        }
        let looks_like_v4 =
            text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'/') && text.contains('.');
        if looks_like_v4 {
            return IpBlock::parse(text).map(Self::Block);
        }
        if text.contains('/') {
            return Err(HostError::Url(text.to_owned()));
        }
        if let Some(suffix) = text.strip_prefix("*.") {
            return if suffix.contains('*') {
                Err(HostError::Wildcard)
            } else {
                host_name(suffix).map(Self::Suffix)
            };
        }
        if text.contains('*') { Err(HostError::Wildcard) } else { host_name(text).map(Self::Name) }
    }

    /// Whether a host by that (lowercase) name is included. Addresses are not names.
    pub fn matches_name(&self, name: &str) -> bool {
        match self {
            Self::Name(mine) => mine == name,
            Self::Suffix(suffix) => is_below(name, suffix),
            Self::Block(_) => false,
        }
    }
}

fn host_name(text: &str) -> Result<String, HostError> {
    let bad = || HostError::Name(text.to_owned());
    if text.is_empty() || text.len() > HOST_BYTES_MAX {
        return Err(bad());
    }
    let name = text.to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !name.split('.').all(is_label) {
        return Err(bad());
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") {
        return Err(HostError::Numeric(text.to_owned()));
    }
    Ok(name)
}

fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

impl Pattern for HostPattern {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(mine), Self::Name(theirs)) => mine == theirs,
            (Self::Suffix(mine), Self::Name(theirs)) => is_below(theirs, mine),
            (Self::Suffix(mine), Self::Suffix(theirs)) => mine == theirs || is_below(theirs, mine),
            (Self::Block(mine), Self::Block(theirs)) => {
                mine.prefix <= theirs.prefix && mine.contains(theirs.address)
            }
            _ => false,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*.{suffix}"),
            Self::Block(block) if block.address.is_ipv6() => write!(f, "[{block}]"),
            Self::Block(block) => write!(f, "{block}"),
        }
    }
}

/// Hosts, and the ports that may be used on them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// Which hosts.
    pub host: HostPattern,
    /// Lowest port, at least 1.
    pub first: u16,
    /// Highest port.
    pub last: u16,
}

impl HostPort {
    /// `host:port`, `*.suffix:port`, `address:port`, `[v6]:port` or `block/prefix:port`; a port may be a range `first-last`.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text.contains("://") || text.contains('@') {
            return Err(HostError::Url(text.to_owned()));
        }
        let (host, ports) = match text.rsplit_once(':') {
            Some((host, ports)) if !ports.contains(']') => (host, ports),
            _ => return Err(HostError::PortMissing(text.to_owned())),
        };
        if host.contains(':') && !host.starts_with('[') {
            return Err(HostError::Brackets(format!("[{host}]:{ports}")));
        }
        let host = HostPattern::parse(host)?;
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let (first, last) = port(first).zip(port(last)).ok_or_else(|| HostError::Port(ports.to_owned()))?;
        if first > last {
            return Err(HostError::Port(ports.to_owned()));
        }
        Ok(Self { host, first, last })
    }

    /// Whether the port is in the range.
    pub fn includes_port(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

fn port(digits: &str) -> Option<u16> {
    (digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0')).then(|| digits.parse().ok())?
}

impl Pattern for HostPort {
    fn covers(&self, other: &Self) -> bool {
        self.first <= other.first && other.last <= self.last && self.host.covers(&other.host)
    }

    fn meet(&self, other: &Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        if first > last {
            return None;
        }
        Some(Self { host: self.host.meet(&other.host)?, first, last })
    }

    fn join(&self, other: &Self) -> Option<Self> {
        if self.covers(other) {
            return Some(self.clone());
        }
        if other.covers(self) {
            return Some(other.clone());
        }
        let touch = u32::from(self.first) <= u32::from(other.last) + 1
            && u32::from(other.first) <= u32::from(self.last) + 1;
        (self.host == other.host && touch).then(|| Self {
            host: self.host.clone(),
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        })
    }

    /// The ports of every pattern whose hosts include this one's, taken together.
    fn is_covered_by(&self, patterns: &[Self]) -> bool {
        if patterns.iter().any(|pattern| pattern.covers(self)) {
            return true;
        }
        uncovered(self, patterns.iter().filter(|pattern| pattern.host.covers(&self.host))).is_empty()
    }

    /// A port that a wider host pattern gives is not said again for a narrower one.
    fn reduce(patterns: &mut Vec<Self>) {
        let wider = |pattern: &Self| {
            let host = pattern.host.clone();
            patterns.iter().filter(move |other| other.host != host && other.host.covers(&host))
        };
        let reduced = patterns.iter().flat_map(|pattern| uncovered(pattern, wider(pattern))).collect();
        *patterns = reduced;
    }
}

/// The ports of a pattern that none of the others has, in ranges.
fn uncovered<'p>(pattern: &HostPort, others: impl Iterator<Item = &'p HostPort>) -> Vec<HostPort> {
    let mut ranges: Vec<(u16, u16)> = others.map(|other| (other.first, other.last)).collect();
    ranges.sort_unstable();
    let mut rest = Vec::new();
    let mut next = u32::from(pattern.first);
    for (first, last) in ranges {
        if u32::from(first) > next {
            rest.push((next, u32::from(first) - 1));
        }
        next = next.max(u32::from(last) + 1);
    }
    rest.push((next, u32::from(u16::MAX)));
    let last = u32::from(pattern.last);
    rest.into_iter()
        .map(|(from, to)| (from, to.min(last)))
        .filter(|(from, to)| from <= to)
        .filter_map(|(from, to)| {
            Some(HostPort {
                host: pattern.host.clone(),
                first: from.try_into().ok()?,
                last: to.try_into().ok()?,
            })
        })
        .collect()
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.first)?;
        if self.first == self.last { Ok(()) } else { write!(f, "-{}", self.last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> HostPort {
        HostPort::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn prints_what_it_parses() {
        for text in [
            "img.example.org:443",
            "*.example.org:8000-8099",
            "127.0.0.1:80",
            "10.0.0.0/8:443",
            "[::1]:1-65535",
            "[fd00::/8]:443",
            "[::]:80",
        ] {
            assert_eq!(host(text).to_string(), text);
        }
        assert_eq!(host("IMG.Example.org:443").to_string(), "img.example.org:443");
    }

    #[test]
    fn refuses_other_notations_of_an_address() {
        for text in [
            "2130706433:80",
            "0x7f000001:80",
            "0x7f.1:80",
            "127.1:80",
            "0177.0.0.1:80",
            "[::ffff:127.0.0.1]:80",
            "[::127.0.0.1]:80",
            "::1:80",
            "10.0.0.1/8:80",
            "*:443",
            "a.*.b:443",
            "a*.b:443",
            "*.*.b:443",
            "a..b:443",
            "-a.b:443",
            "a.b",
            "a.b:",
            "a.b:0",
            "a.b:65536",
            "a.b:90-80",
            "a.b:080",
            "https://a.b:443",
            "u@a.b:443",
            "a.b/c:443",
            "a b:443",
            "ä.b:443",
            "a.b.:443",
            "10.0.0.0/33:1",
            "10.0.0.0/+8:1",
            "[10.0.0.1]:1",
            "[::1:1",
        ] {
            assert!(HostPort::parse(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn a_suffix_covers_only_what_is_below_it() {
        let suffix = host("*.example.org:443");
        assert!(suffix.covers(&host("a.b.example.org:443")));
        assert!(suffix.covers(&host("*.b.example.org:443")));
        for other in ["example.org:443", "evilexample.org:443", "a.example.org:80", "a.example.org:443-444"] {
            assert!(!suffix.covers(&host(other)), "{other}");
        }
    }

    #[test]
    fn adjacent_ranges_of_a_host_are_one() {
        assert_eq!(host("a.b:1-5").join(&host("a.b:6-9")), Some(host("a.b:1-9")));
        assert_eq!(host("a.b:1-5").join(&host("a.b:7-9")), None);
        assert_eq!(host("a.b:1-5").join(&host("c.b:6-9")), None);
    }

    #[test]
    fn ports_are_covered_by_several_patterns_together() {
        let set = super::super::PatternSet::new([host("*.b:1-5"), host("a.b:6-9"), host("x.b:2-7")]);
        assert!(set.covers_pattern(&host("a.b:2-8")));
        assert!(!set.covers_pattern(&host("c.b:2-8")));
        assert!(!set.covers_pattern(&host("a.b:2-10")));
        let printed: Vec<String> = set.iter().map(ToString::to_string).collect();
        assert_eq!(printed, ["a.b:6-9", "x.b:6-7", "*.b:1-5"]);
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        let block = IpBlock::parse("127.0.0.0/8").expect("valid");
        assert!(block.contains("::ffff:127.1.2.3".parse().expect("valid")));
        assert!(!block.contains("::1".parse().expect("valid")));
        assert!(IpBlock::parse("0.0.0.0/0").expect("valid").contains("8.8.8.8".parse().expect("valid")));
    }
}
