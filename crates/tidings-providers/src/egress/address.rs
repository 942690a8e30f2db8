//! Which addresses may be connected to.
//!
//! The list allows what is known to be global and refuses the rest. Sources: the IANA special-purpose address
//! registries for IPv4 and IPv6 (RFC 6890 and its updates), and the metadata addresses of the large clouds.

use super::EgressPolicy;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What an address is, as far as connecting to it is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// On the public internet.
    Global,
    /// This machine.
    Loopback,
    /// A private network (RFC 1918, RFC 4193).
    Private,
    /// Never to be connected to: link-local, metadata, multicast, transition mechanisms, documentation, reserved.
    Forbidden,
}

impl Judgement {
    /// Judges an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => of_v4(v4),
            IpAddr::V6(v6) => of_v6(v6),
        }
    }

    /// Whether the policy lets a connection be made.
    pub fn allowed(self, policy: &EgressPolicy) -> bool {
        match self {
            Self::Global => true,
            Self::Loopback => policy.allow_loopback,
            Self::Private => policy.allow_private,
            Self::Forbidden => false,
        }
    }
}

/// IPv4 networks that are not the public internet (network, prefix length).
const FORBIDDEN_V4: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),        // "this network"; 0.0.0.0 reaches the own machine
    ([100, 64, 0, 0], 10),    // carrier-grade NAT; also Alibaba's metadata 100.100.100.200
    ([168, 63, 129, 16], 32), // Azure's wire server
    ([169, 254, 0, 0], 16),   // link-local; metadata 169.254.169.254
    ([192, 0, 0, 0], 24),     // IETF protocol assignments; Oracle's metadata 192.0.0.192
    ([192, 0, 2, 0], 24),     // documentation
    ([192, 31, 196, 0], 24),  // AS112
    ([192, 52, 193, 0], 24),  // AMT
    ([192, 88, 99, 0], 24),   // 6to4 relays
    ([192, 175, 48, 0], 24),  // AS112
    ([198, 18, 0, 0], 15),    // benchmarking
    ([198, 51, 100, 0], 24),  // documentation
    ([203, 0, 113, 0], 24),   // documentation
    ([224, 0, 0, 0], 4),      // multicast
    ([240, 0, 0, 0], 4),      // reserved (class E) and broadcast
];

/// Private IPv4 networks (RFC 1918).
const PRIVATE_V4: &[([u8; 4], u32)] = &[([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16)];

/// IPv6 networks inside 2000::/3 that are not the public internet. All outside it is refused anyway: mapped and
/// compatible IPv4, NAT64 (64:ff9b::/96 and 64:ff9b:1::/48), SRv6 (5f00::/16), link-local, multicast.
const FORBIDDEN_V6: &[(Ipv6Addr, u32)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments: Teredo, ORCHID, benchmarking
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48), // AS112
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

fn of_v4(address: Ipv4Addr) -> Judgement {
    let inside = |table: &[([u8; 4], u32)]| table.iter().any(|(net, bits)| within_v4(address, *net, *bits));
    if address.is_loopback() {
        Judgement::Loopback
    } else if inside(PRIVATE_V4) {
        Judgement::Private
    } else if inside(FORBIDDEN_V4) {
        Judgement::Forbidden
    } else {
        Judgement::Global
    }
}

fn of_v6(address: Ipv6Addr) -> Judgement {
    let first = address.segments()[0];
    if address.is_loopback() {
        Judgement::Loopback
    } else if is_v6_metadata(address) {
        Judgement::Forbidden
    } else if first & 0xfe00 == 0xfc00 {
        Judgement::Private
    } else if first & 0xe000 != 0x2000
        || FORBIDDEN_V6
            .iter()
            .any(|(net, bits)| within_v6(address, *net, *bits))
    {
        Judgement::Forbidden
    } else {
        Judgement::Global
    }
}

/// Amazon's metadata and time services live in a unique local network.
fn is_v6_metadata(address: Ipv6Addr) -> bool {
    within_v6(address, Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32)
}

fn within_v4(address: Ipv4Addr, network: [u8; 4], bits: u32) -> bool {
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    u32::from(address) & mask == u32::from_be_bytes(network) & mask
}

fn within_v6(address: Ipv6Addr, network: Ipv6Addr, bits: u32) -> bool {
    let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
    u128::from(address) & mask == u128::from(network) & mask
}

/// Why a name leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The name has no address, or the resolver failed.
    #[error("the host name cannot be resolved")]
    NoAddress,
    /// The name leads to an address that must not be connected to.
    #[error("the host name leads to an address that is not allowed (private, link-local or reserved)")]
    Forbidden,
}

/// Resolves a host (name or literal address) and keeps nothing unless every address passes: a name that mixes
/// allowed and forbidden addresses is an attempt to get past this check.
pub async fn resolve(host: &str, port: u16, policy: &EgressPolicy) -> Result<Vec<SocketAddr>, ResolveError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = match bare.parse::<IpAddr>() {
        Ok(literal) => vec![SocketAddr::new(literal, port)],
        Err(_) => tokio::net::lookup_host((bare, port))
            .await
            .map_err(|_| ResolveError::NoAddress)?
            .collect(),
    };
    if addresses.is_empty() {
        return Err(ResolveError::NoAddress);
    }
    if addresses.iter().all(|a| Judgement::of(a.ip()).allowed(policy)) {
        Ok(addresses)
    } else {
        Err(ResolveError::Forbidden)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("8.8.8.8", Judgement::Global)]
    #[case("2606:4700::1111", Judgement::Global)]
    #[case("2a00:1450::1", Judgement::Global)]
    #[case("127.0.0.1", Judgement::Loopback)]
    #[case("127.255.1.2", Judgement::Loopback)]
    #[case("::1", Judgement::Loopback)]
    #[case("10.0.0.1", Judgement::Private)]
    #[case("172.16.0.1", Judgement::Private)]
    #[case("172.31.255.255", Judgement::Private)]
    #[case("172.32.0.1", Judgement::Global)]
    #[case("192.168.1.1", Judgement::Private)]
    #[case("fc00::1", Judgement::Private)]
    #[case("fd12:3456::1", Judgement::Private)]
    #[case("fd00:ec2::254", Judgement::Forbidden)]
    #[case("0.0.0.0", Judgement::Forbidden)]
    #[case("0.1.2.3", Judgement::Forbidden)]
    #[case("100.64.0.1", Judgement::Forbidden)]
    #[case("100.127.255.255", Judgement::Forbidden)]
    #[case("100.128.0.1", Judgement::Global)]
    #[case("100.100.100.200", Judgement::Forbidden)]
    #[case("168.63.129.16", Judgement::Forbidden)]
    #[case("169.254.169.254", Judgement::Forbidden)]
    #[case("192.0.0.192", Judgement::Forbidden)]
    #[case("192.0.2.1", Judgement::Forbidden)]
    #[case("192.88.99.1", Judgement::Forbidden)]
    #[case("198.18.0.1", Judgement::Forbidden)]
    #[case("198.19.255.255", Judgement::Forbidden)]
    #[case("198.51.100.7", Judgement::Forbidden)]
    #[case("203.0.113.7", Judgement::Forbidden)]
    #[case("224.0.0.1", Judgement::Forbidden)]
    #[case("240.0.0.1", Judgement::Forbidden)]
    #[case("255.255.255.255", Judgement::Forbidden)]
    #[case("::", Judgement::Forbidden)]
    #[case("::ffff:127.0.0.1", Judgement::Forbidden)]
    #[case("::ffff:8.8.8.8", Judgement::Forbidden)]
    #[case("::127.0.0.1", Judgement::Forbidden)]
    #[case("64:ff9b::7f00:1", Judgement::Forbidden)]
    #[case("64:ff9b:1::1", Judgement::Forbidden)]
    #[case("2002:7f00:1::", Judgement::Forbidden)]
    #[case("2001::1", Judgement::Forbidden)]
    #[case("2001:10::1", Judgement::Forbidden)]
    #[case("2001:db8::1", Judgement::Forbidden)]
    #[case("2001:200::1", Judgement::Global)]
    #[case("3fff::1", Judgement::Forbidden)]
    #[case("5f00::1", Judgement::Forbidden)]
    #[case("fe80::1", Judgement::Forbidden)]
    #[case("fec0::1", Judgement::Forbidden)]
    #[case("ff02::1", Judgement::Forbidden)]
    #[case("100::1", Judgement::Forbidden)]
    fn judges(#[case] address: &str, #[case] expect: Judgement) {
        assert_eq!(Judgement::of(address.parse().unwrap()), expect, "{address}");
    }

    #[test]
    fn policy_opens_only_what_it_names() {
        let strict = EgressPolicy::default();
        let loopback = EgressPolicy::for_stand_ins();
        let private = EgressPolicy {
            allow_private: true,
            ..EgressPolicy::default()
        };
        assert!(!Judgement::Loopback.allowed(&strict) && Judgement::Loopback.allowed(&loopback));
        assert!(!Judgement::Private.allowed(&loopback) && Judgement::Private.allowed(&private));
        assert!(!Judgement::Forbidden.allowed(&private) && !Judgement::Forbidden.allowed(&loopback));
    }
}
