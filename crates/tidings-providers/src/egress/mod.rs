//! The one way out: every HTTP request of Tidings leaves through [`Egress`].
//!
//! Addresses are judged when the connection is made, not when a URL is stored: the name is resolved once, every
//! address is checked by [`address::Judgement`], and the socket opens to an address that passed. A URL that names
//! an address literally is checked by [`EgressUrl::parse`]. There are no redirects, no proxies from the
//! environment, and every answer is bounded in size and time.

pub mod address;
mod client;
mod url;

pub use self::client::{Egress, EgressFailure, EgressRequest, EgressResponse};
pub(crate) use self::client::{find, tls_failure};
pub use self::url::{EgressUrl, EgressUrlError};

use std::time::Duration;

/// What the operator allows. The default is the strictest: global addresses, TLS, ports 80 and 443.
#[derive(Clone, Debug)]
pub struct EgressPolicy {
    /// Allows 127.0.0.0/8 and ::1, on any port and without TLS. For tests and stand-ins.
    pub allow_loopback: bool,
    /// Allows private networks (RFC 1918, unique local IPv6), on any port. For relays and gateways of one's own.
    /// Link-local and metadata addresses stay forbidden.
    pub allow_private: bool,
    /// Further ports besides 80 and 443.
    pub extra_ports: Vec<u16>,
    /// Time to resolve, connect and shake hands.
    pub connect_timeout: Duration,
    /// Time for the whole call, the answer's body included.
    pub total_timeout: Duration,
    /// Certificates of private authorities (PEM), trusted besides the system's.
    pub extra_roots_pem: Vec<String>,
    /// A stand-in that answers for the URLs of Amazon SNS (certificates, confirmations). For tests only: who sets it
    /// decides whose webhooks are believed.
    pub sns_stand_in: Option<String>,
}

impl Default for EgressPolicy {
    fn default() -> Self {
        Self {
            allow_loopback: false,
            allow_private: false,
            extra_ports: Vec::new(),
            connect_timeout: Duration::from_secs(3),
            total_timeout: Duration::from_secs(15),
            extra_roots_pem: Vec::new(),
            sns_stand_in: None,
        }
    }
}

impl EgressPolicy {
    /// The default, with loopback allowed: for tests and stand-ins on the same machine.
    pub fn for_stand_ins() -> Self {
        Self {
            allow_loopback: true,
            ..Self::default()
        }
    }
}
