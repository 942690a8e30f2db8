//! The client behind [`Egress`].

use super::address::{ResolveError, resolve};
use super::{EgressPolicy, EgressUrl};
use crate::config::ConfigError;
use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::Clock;

/// Bytes of an answer that are read unless a request says otherwise.
pub const DEFAULT_RESPONSE_LIMIT: usize = 64 * 1024;

/// The one HTTP client. Cheap to clone; connections are pooled and shared.
#[derive(Clone, Debug)]
pub struct Egress {
    client: reqwest::Client,
    policy: Arc<EgressPolicy>,
    clock: Option<Arc<dyn Clock>>,
}

/// One request. Header values are checked when it is built: no CR, LF or NUL gets on the wire.
#[derive(Clone)]
pub struct EgressRequest {
    method: reqwest::Method,
    url: EgressUrl,
    headers: HeaderMap,
    body: Bytes,
    response_limit: usize,
    timeout: Option<Duration>,
    limit: Duration,
}

/// An answer, perhaps cut.
#[derive(Clone, Debug)]
pub struct EgressResponse {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case; values that are not text are left out.
    pub headers: Vec<(String, String)>,
    /// The body, at most as long as the request allowed.
    pub body: Bytes,
    /// The body was longer than allowed, or broke off.
    pub cut: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressFailure {
    /// The host resolves to an address that must not be connected to: a matter of configuration.
    #[error("{0}")]
    Forbidden(String),
    /// No byte of the request left: no such name, no connection, no TLS session.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The request, or a part of it, was written, and no answer came.
    #[error("written, but not answered: {0}")]
    Unanswered(String),
}

impl EgressRequest {
    /// A request without a body.
    pub fn get(url: EgressUrl) -> Self {
        Self::new(reqwest::Method::GET, url, Bytes::new())
    }

    /// A request with a body of this type.
    pub fn post(url: EgressUrl, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut request = Self::new(reqwest::Method::POST, url, body.into());
        request.headers.insert(
            reqwest::header::CONTENT_TYPE,
            HeaderValue::from_static(content_type),
        );
        request
    }

    /// A request that takes something back.
    pub fn delete(url: EgressUrl) -> Self {
        Self::new(reqwest::Method::DELETE, url, Bytes::new())
    }

    fn new(method: reqwest::Method, url: EgressUrl, body: Bytes) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body,
            response_limit: DEFAULT_RESPONSE_LIMIT,
            timeout: None,
            limit: Duration::MAX,
        }
    }

    /// Adds a header whose value is kept out of `Debug` and of HTTP/2 compression tables.
    ///
    /// Fails when the value holds a byte that no header value may hold.
    pub fn secret_header(mut self, name: &'static str, value: &str) -> Result<Self, EgressFailure> {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            EgressFailure::NotSent(format!(
                "the value for the header {name} holds a control character"
            ))
        })?;
        value.set_sensitive(true);
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }

    /// Gives the whole call this long, the answer's body included, in place of the policy's total timeout: for what
    /// thinks before it answers.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Ends the call by itself within this time where it would take longer: of an answer that has begun the status is known
    /// then, and of a call that somebody else cuts off nothing is.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Reads at most this many bytes of the answer.
    #[must_use]
    pub fn response_limit(mut self, bytes: usize) -> Self {
        self.response_limit = bytes;
        self
    }
}

impl EgressResponse {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Egress {
    /// Builds the client. Fails when the trusted certificates cannot be loaded.
    #[expect(clippy::disallowed_methods, reason = "the one place where a client is built")]
    pub fn new(policy: EgressPolicy) -> Result<Self, ConfigError> {
        let wrong = |problem: String| ConfigError::egress(problem);
        let mut roots = Vec::new();
        for pem in &policy.extra_roots_pem {
            let parsed = reqwest::Certificate::from_pem_bundle(pem.as_bytes())
                .map_err(|_| wrong("an extra root certificate is not PEM".to_owned()))?;
            roots.extend(parsed);
        }
        let policy = Arc::new(policy);
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .gzip(false)
            .connect_timeout(policy.connect_timeout)
            .timeout(policy.total_timeout)
            .pool_idle_timeout(Duration::from_secs(50))
            .pool_max_idle_per_host(32)
            .user_agent(concat!("Tidings/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(FilteredResolver(policy.clone())));
        if !roots.is_empty() {
            builder = builder.tls_certs_merge(roots);
        }
        let client = builder
            .build()
            .map_err(|error| wrong(format!("the HTTP client cannot be built: {error}")))?;
        Ok(Self {
            client,
            policy,
            clock: None,
        })
    }

    /// With a clock, for requests that are signed with the time.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock: Some(clock),
            ..self
        }
    }

    /// The present instant, where there is a clock.
    pub fn now(&self) -> Option<Timestamp> {
        self.clock.as_ref().map(|clock| clock.now())
    }

    /// What the operator allows.
    pub fn policy(&self) -> &EgressPolicy {
        &self.policy
    }

    /// Checks a URL given by a tenant.
    pub fn url(&self, text: &str) -> Result<EgressUrl, super::EgressUrlError> {
        EgressUrl::parse(text, &self.policy)
    }

    /// Makes one call: no redirect is followed and nothing is repeated. Ends within the request's own timeout, else the
    /// policy's total one.
    pub async fn call(&self, request: EgressRequest) -> Result<EgressResponse, EgressFailure> {
        let EgressRequest {
            method,
            url,
            headers,
            body,
            response_limit,
            timeout,
            limit,
        } = request;
        let timeout = timeout.unwrap_or(self.policy.total_timeout).min(limit);
        let sent = self
            .client
            .request(method, url.as_url().clone())
            .headers(headers)
            .body(body)
            .timeout(timeout)
            .send()
            .await;
        let mut response = sent.map_err(|error| failure_of(&error))?;
        let mut answer = EgressResponse {
            status: response.status().as_u16(),
            headers: readable_headers(response.headers()),
            body: Bytes::new(),
            cut: false,
        };
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= response_limit => {
                    body.extend_from_slice(&chunk);
                }
                Ok(Some(chunk)) => {
                    body.extend_from_slice(&chunk[..response_limit - body.len()]);
                    answer.cut = true;
                    break;
                }
                Ok(None) => break,
                // The status is known; a body that breaks off does not make it unknown again.
                Err(_) => {
                    answer.cut = true;
                    break;
                }
            }
        }
        answer.body = body.freeze();
        Ok(answer)
    }
}

fn readable_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect()
}

/// The transport's verdict on what left. Everything that is not certainly before the first byte counts as written.
fn failure_of(error: &reqwest::Error) -> EgressFailure {
    if let Some(refused) = find::<ResolveError>(error)
        && *refused == ResolveError::Forbidden
    {
        return EgressFailure::Forbidden(refused.to_string());
    }
    if error.is_builder() {
        return EgressFailure::NotSent("the request cannot be built".to_owned());
    }
    if error.is_connect() {
        let why = match find::<ResolveError>(error) {
            Some(resolve) => resolve.to_string(),
            None if error.is_timeout() => "connecting took too long".to_owned(),
            None if find::<rustls::Error>(error).is_some() => tls_failure(error),
            None => match find::<std::io::Error>(error) {
                Some(io) => format!("no connection ({})", io.kind()),
                None => "no connection".to_owned(),
            },
        };
        return EgressFailure::NotSent(why);
    }
    if error.is_timeout() {
        return EgressFailure::Unanswered("no answer in time".to_owned());
    }
    EgressFailure::Unanswered("the connection broke off".to_owned())
}

/// What a TLS handshake failed of, such as an untrusted certificate.
pub(crate) fn tls_failure(error: &(dyn StdError + 'static)) -> String {
    match find::<rustls::Error>(error) {
        Some(cause) => format!("TLS failed: {}", crate::mask::mask(&cause.to_string())),
        None => "TLS failed".to_owned(),
    }
}

/// The cause of a type, anywhere in a chain of errors.
pub(crate) fn find<'e, T: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e T> {
    let mut current = Some(error);
    for _ in 0..16 {
        let here = current?;
        if let Some(found) = here.downcast_ref::<T>() {
            return Some(found);
        }
        // An io::Error hides its payload from `source`.
        if let Some(io) = here.downcast_ref::<std::io::Error>()
            && let Some(found) = io.get_ref().and_then(|inner| inner.downcast_ref::<T>())
        {
            return Some(found);
        }
        current = here.source();
    }
    None
}

struct FilteredResolver(Arc<EgressPolicy>);

impl Resolve for FilteredResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            // Port 0: reqwest puts in the URL's own.
            let addresses = resolve(name.as_str(), 0, &policy).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
