//! What every request passes: id, log line, time limit, panic to problem, security headers.

use crate::problem::{Answered, MEDIA_TYPE, Problem};
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tracing::Instrument;

/// How long one request may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The header that carries the request's id, in and out.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Content security policy of everything but captured mail: own files only, nothing inline.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Names requests: a prefix of the process and a counter, so ids are unique and need no randomness.
#[derive(Clone, Debug)]
pub(crate) struct RequestIds {
    prefix: Arc<str>,
    next: Arc<AtomicU64>,
}

impl RequestIds {
    /// Ids `<prefix>-<n>`.
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
            next: Arc::new(AtomicU64::new(1)),
        }
    }

    /// The caller's id when it is 1 to 64 harmless characters, else the next of ours.
    fn of(&self, headers: &HeaderMap) -> String {
        let given = headers
            .get(REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !given.is_empty() && given.len() <= 64 && given.bytes().all(harmless) {
            return given.to_owned();
        }
        format!("{}-{:x}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// Gives the request an id and a span, logs it once, counts it, and puts the id on the answer.
pub(crate) async fn observe(State(ids): State<RequestIds>, request: Request, next: Next) -> Response {
    let id = ids.of(request.headers());
    let method = request.method().clone();
    // The template of the route, never the path itself: tokens of links and pages are in it.
    let matched = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let route = matched.unwrap_or_else(|| "(none)".to_owned());
    let started = Instant::now();
    let span = tracing::info_span!("request", %id, %method, %route);
    let mut response = within_time(next.run(request)).instrument(span.clone()).await;
    complete_internal(&mut response, &id);
    span.in_scope(|| log(&response, started.elapsed()));
    count(&response, &method, &route, started.elapsed());
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

async fn within_time(answer: impl Future<Output = Response>) -> Response {
    if let Ok(response) = tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
        return response;
    }
    let detail = "the request took longer than 30 seconds and was given up; with an Idempotency-Key it is safe to send \
                  it again";
    Problem::unavailable("request.timeout", detail, 10).into_response()
}

/// An internal problem names the request under which the log tells the cause.
fn complete_internal(response: &mut Response, id: &str) {
    if response.status() != StatusCode::INTERNAL_SERVER_ERROR {
        return;
    }
    let mut problem = match response.extensions_mut().remove::<Answered>() {
        Some(Answered(problem)) => problem,
        None => Problem::internal(),
    };
    problem.request = Some(id.to_owned());
    *response = problem.into_response();
}

fn log(response: &Response, took: Duration) {
    let status = response.status().as_u16();
    let took_ms = took.as_millis() as u64;
    let code = response
        .extensions()
        .get::<Answered>()
        .map_or("", |answered| answered.0.code);
    if response.status().is_server_error() {
        tracing::error!(status, took_ms, code, "request failed");
    } else {
        tracing::debug!(status, took_ms, code, "request answered");
    }
}

/// Says on `/metrics` what the figures of the HTTP server mean.
pub fn describe_figures() {
    metrics::describe_counter!(
        "tidings_http_requests_total",
        "Requests that were answered, by method, route and status"
    );
    metrics::describe_histogram!(
        "tidings_http_request_seconds",
        metrics::Unit::Seconds,
        "From the head of a request to its answer, by method and route"
    );
}

fn count(response: &Response, method: &Method, route: &str, took: Duration) {
    let labels = [
        ("method", known_method(method).to_owned()),
        ("route", route.to_owned()),
        ("status", response.status().as_u16().to_string()),
    ];
    metrics::counter!("tidings_http_requests_total", &labels).increment(1);
    metrics::histogram!("tidings_http_request_seconds", &labels[..2]).record(took.as_secs_f64());
}

/// A label has few values: a caller may invent methods.
fn known_method(method: &Method) -> &str {
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    if known.contains(method) {
        method.as_str()
    } else {
        "OTHER"
    }
}

/// A panic becomes a 500; the panic hook has logged where it happened.
pub(crate) fn on_panic(_panic: Box<dyn Any + Send + 'static>) -> Response<Body> {
    tracing::error!("a handler panicked; this is a bug");
    Problem::internal().into_response()
}

/// Security headers on every answer. A handler that set one itself keeps its own.
pub(crate) async fn secure(request: Request, next: Next) -> Response {
    let private =
        request.uri().path().starts_with("/v1") || request.headers().contains_key(header::AUTHORIZATION);
    let mut response = next.run(request).await;
    let problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value == MEDIA_TYPE);
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    set(
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=()",
    );
    set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    if private || problem {
        set(header::CACHE_CONTROL, "no-store");
    }
    response
}
