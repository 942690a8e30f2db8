//! A URL that may be called.

use super::EgressPolicy;
use super::address::Judgement;
use std::net::IpAddr;
use url::{Host, Url};

/// Why a URL may not be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressUrlError {
    /// Not an absolute URL with a host.
    #[error("not an absolute URL such as https://api.example.com")]
    Malformed,
    /// Neither `https`, nor `http` to a place where it is allowed.
    #[error("only https is allowed (http only to this machine, where the operator allows loopback)")]
    Scheme,
    /// A user name or password in the URL would be sent or logged by accident.
    #[error("the URL must not hold a user name or password")]
    UserInfo,
    /// A port that is not open to egress.
    #[error("port {0} is not allowed; allowed are 80, 443 and the operator's extra ports")]
    Port(u16),
    /// The host is an address that must not be connected to.
    #[error("the host is an address that is not allowed (private, link-local or reserved)")]
    Forbidden,
}

/// A URL that passed the checks that need no network. Names are checked when they are resolved.
#[derive(Clone, PartialEq, Eq)]
pub struct EgressUrl(Url);

impl EgressUrl {
    /// Parses and checks. The parser reads decimal, octal and hexadecimal spellings of IPv4 addresses the way
    /// browsers do, so no spelling gets past the address check.
    pub fn parse(text: &str, policy: &EgressPolicy) -> Result<Self, EgressUrlError> {
        let mut url = Url::parse(text.trim()).map_err(|_| EgressUrlError::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(EgressUrlError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EgressUrlError::UserInfo);
        }
        let judgement = match url.host().ok_or(EgressUrlError::Malformed)? {
            Host::Ipv4(v4) => Some(Judgement::of(IpAddr::V4(v4))),
            Host::Ipv6(v6) => Some(Judgement::of(IpAddr::V6(v6))),
            Host::Domain(name) => is_local_name(name).then_some(Judgement::Loopback),
        };
        if judgement.is_some_and(|j| !j.allowed(policy)) {
            return Err(EgressUrlError::Forbidden);
        }
        let local = matches!(judgement, Some(Judgement::Loopback | Judgement::Private));
        if url.scheme() == "http" && !local {
            return Err(EgressUrlError::Scheme);
        }
        let port = url.port_or_known_default().unwrap_or(443);
        if !local && !matches!(port, 80 | 443) && !policy.extra_ports.contains(&port) {
            return Err(EgressUrlError::Port(port));
        }
        url.set_fragment(None);
        Ok(Self(url))
    }

    /// The same URL with percent-encoded segments appended to its path and its query replaced. Segments are
    /// data: a slash or dots in one cannot change the path.
    #[must_use]
    pub fn join(&self, segments: &[&str], query: &[(&str, &str)]) -> Self {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            for segment in segments {
                // The parser would resolve a dot segment; nothing of ours is called so.
                path.push(if matches!(*segment, "." | "..") {
                    "%2E"
                } else {
                    segment
                });
            }
        }
        url.set_query(None);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Self(url)
    }

    /// The URL.
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// The host, for messages to people.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

/// Without path and query: they may hold account ids and tokens.
impl std::fmt::Debug for EgressUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EgressUrl({}://{})", self.0.scheme(), self.host())
    }
}

fn is_local_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// Ways to write, or to hide, an address inside.
    pub(crate) const FORBIDDEN: &[&str] = &[
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://0x7f.1/",
        "https://017700000001/",
        "https://127.000.000.001/",
        "https://0/",
        "https://0.0.0.0/",
        "https://[::]/",
        "https://[::1]/",
        "https://[0:0:0:0:0:0:0:1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[::127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[64:ff9b::169.254.169.254]/",
        "https://[64:ff9b:1::a00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[2002:a9fe:a9fe::]/",
        "https://[2001:0:7f00:1::]/",
        "https://[fe80::1]/",
        "https://[fc00::1]/",
        "https://[fd00:ec2::254]/",
        "https://[fec0::1]/",
        "https://[ff02::1]/",
        "https://[2001:db8::1]/",
        "https://[5f00::1]/",
        "https://[3fff::1]/",
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://192.168.0.1/",
        "https://169.254.169.254/latest",
        "https://0xa9fea9fe/",
        "https://2852039166/",
        "https://0251.0376.0251.0376/",
        "https://100.64.0.1/",
        "https://100.100.100.200/",
        "https://192.0.0.192/",
        "https://192.0.2.1/",
        "https://198.18.0.1/",
        "https://198.19.255.254/",
        "https://198.51.100.1/",
        "https://203.0.113.1/",
        "https://224.0.0.1/",
        "https://240.0.0.1/",
        "https://255.255.255.255/",
        "https://168.63.129.16/",
        "https://192.88.99.1/",
        "https://localhost/",
        "https://LOCALHOST/",
        "https://localhost./",
        "https://a.localhost/",
        "https://user@example.com/",
        "https://user:pass@example.com/",
        "https://example.com@127.0.0.1/",
        "https://①②⑦.⓪.⓪.①/",
        "https://127。0。0。1/",
        "https://example.com:22/",
        "https://example.com:5432/",
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "javascript:alert(1)",
        "//example.com/",
        "example.com",
        "",
        "https://",
    ];

    #[test]
    fn the_corpus_is_refused() {
        let policy = EgressPolicy::default();
        for text in FORBIDDEN {
            assert!(EgressUrl::parse(text, &policy).is_err(), "{text} was allowed");
        }
        assert!(FORBIDDEN.len() >= 60);
    }

    #[test]
    fn public_https_passes_and_loopback_only_when_allowed() {
        let strict = EgressPolicy::default();
        for text in [
            "https://api.twilio.com",
            "https://api.sendgrid.com/v3",
            "https://8.8.8.8/",
        ] {
            assert!(EgressUrl::parse(text, &strict).is_ok(), "{text}");
        }
        let open = EgressPolicy::for_stand_ins();
        assert!(EgressUrl::parse("http://127.0.0.1:8080/x", &open).is_ok());
        assert!(EgressUrl::parse("http://[::1]:8080/x", &open).is_ok());
        assert_eq!(
            EgressUrl::parse("http://10.0.0.1/", &open).unwrap_err(),
            EgressUrlError::Forbidden
        );
        assert_eq!(
            EgressUrl::parse("http://[::ffff:127.0.0.1]/", &open).unwrap_err(),
            EgressUrlError::Forbidden
        );
        assert_eq!(
            EgressUrl::parse("http://example.com/", &open).unwrap_err(),
            EgressUrlError::Scheme
        );
    }

    #[test]
    fn segments_cannot_leave_their_place() {
        let base = EgressUrl::parse("https://api.example.com/root/", &EgressPolicy::default()).unwrap();
        let url = base.join(&["Accounts", "../../admin", "..", "a?b#c"], &[("q", "x&y=z")]);
        assert_eq!(
            url.as_url().as_str(),
            "https://api.example.com/root/Accounts/..%2F..%2Fadmin/%252E/a%3Fb%23c?q=x%26y%3Dz"
        );
        assert_eq!(format!("{url:?}"), "EgressUrl(https://api.example.com)");
    }
}
