//! What one peer may have at once, so that nobody alone keeps the others out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Those who are connected.
#[derive(Debug)]
pub(crate) struct Peers {
    connections: usize,
    mails: usize,
    known: Mutex<HashMap<IpAddr, Peer>>,
}

/// What one peer has.
#[derive(Debug)]
struct Peer {
    connections: usize,
    mails: Arc<Semaphore>,
}

/// A place among the connections of one peer, until it is dropped.
pub(crate) struct PeerPlace {
    peers: Arc<Peers>,
    peer: IpAddr,
    /// The mails this peer may have under way.
    pub(crate) mails: Arc<Semaphore>,
}

impl Peers {
    /// Nobody yet; each may have so many connections and mails.
    pub(crate) fn new(connections: usize, mails: usize) -> Arc<Self> {
        Arc::new(Self {
            connections,
            mails: mails.max(1),
            known: Mutex::default(),
        })
    }

    /// A place for a connection from this address; none when its peer has all it may have.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<PeerPlace> {
        let peer = network(address);
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(peer).or_insert_with(|| Peer {
            connections: 0,
            mails: Arc::new(Semaphore::new(self.mails)),
        });
        if known.connections >= self.connections {
            return None;
        }
        known.connections += 1;
        Some(PeerPlace {
            peers: Arc::clone(self),
            peer,
            mails: Arc::clone(&known.mails),
        })
    }
}

impl Drop for PeerPlace {
    fn drop(&mut self) {
        let mut all = self.peers.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get_mut(&self.peer) {
            known.connections -= 1;
            if known.connections == 0 {
                all.remove(&self.peer);
            }
        }
    }
}

/// Who counts as one peer: an address of IPv4, a network of 64 bits of IPv6, which one subscriber has whole.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => IpAddr::V4(four),
            None => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("192.0.2.1", "192.0.2.2", false)]
    #[case("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true)]
    #[case("2001:db8:1:2::1", "2001:db8:1:3::1", false)]
    #[case("::ffff:192.0.2.1", "192.0.2.1", true)]
    fn a_subscriber_is_one_peer(#[case] one: &str, #[case] other: &str, #[case] same: bool) {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of(one) == of(other), same);
    }
}
