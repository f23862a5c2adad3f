//! Names that were granted and addresses that they must not lead to: those of this machine and its network. A name in someone
//! else's hands could be pointed there after it was granted.

use std::net::IpAddr;

/// Whether somebody else's name, in lowercase and without the dot of the root, leads to an address of this machine or its network.
pub(crate) fn leads_home(name: &str, address: IpAddr) -> bool {
    is_local(address) && !is_local_name(name)
}

/// `localhost` and what is below it always mean this machine: RFC 6761, section 6.3.
fn is_local_name(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// Addresses that only mean something here: loopback, private, link-local (with the cloud's metadata service), carrier-grade
/// NAT, unique local, multicast and reserved ones. IANA's special-purpose registries (RFC 6890).
fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && v4.octets()[2] == 0)
                || (a == 198 && (18..20).contains(&b))
        }
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || first & 0xfe00 == 0xfc00
                || first & 0xffc0 == 0xfe80
                // Addresses that carry an IPv4 address inside: NAT64 and 6to4.
                || (first == 0x64 && v6.segments()[1] == 0xff9b)
                || first == 0x2002
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_lead_here() {
        let leads = |name: &str, address: &str| leads_home(name, address.parse().expect("an address"));
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "100.64.0.1",
            "192.168.0.1",
            "0.0.0.0",
            "::1",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
        ] {
            assert!(leads("example.org", address), "{address}");
            assert!(!leads("localhost", address) && !leads("a.localhost", address), "{address}");
        }
        assert!(leads("notlocalhost", "127.0.0.1"));
        for address in ["192.0.1.1", "100.63.0.1", "9.255.255.255", "2001:db8::1", "::ffff:93.184.215.14"] {
            assert!(!leads("example.org", address), "{address}");
        }
    }
}
