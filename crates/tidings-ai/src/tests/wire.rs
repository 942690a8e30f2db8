//! The same over real sockets, with a small client in place of the product's.

use super::{BODY, SUBJECT, request, settings};
use crate::stand_in::{ModelServer, Reply};
use crate::transport::{ModelAnswer, ModelCall, Transport, TransportError};
use crate::{RefusalReason, draft};
use async_trait::async_trait;
use secrecy::ExposeSecret;
use std::time::Duration;
use tidings_core::ErrorCategory;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// HTTP/1.1 by hand, one call a connection.
struct Plain;

#[async_trait]
impl Transport for Plain {
    async fn post_json(&self, call: ModelCall) -> Result<ModelAnswer, TransportError> {
        let url = url::Url::parse(&call.url).expect("a URL");
        let authority = format!(
            "{}:{}",
            url.host_str().expect("a host"),
            url.port().expect("a port")
        );
        let mut stream = TcpStream::connect(&authority)
            .await
            .map_err(|error| TransportError::NotSent(error.kind().to_string()))?;
        let broken = |error: std::io::Error| TransportError::Broken(error.kind().to_string());
        let mut head = format!(
            "POST {} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            url.path(),
            call.body.len()
        );
        for (name, value) in &call.headers {
            head.extend([name, ": ", value.expose_secret(), "\r\n"]);
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await.map_err(broken)?;
        stream.write_all(&call.body).await.map_err(broken)?;
        let mut answer = Vec::new();
        let limit = u64::try_from(call.max_body_bytes + 8192).expect("small");
        stream
            .take(limit)
            .read_to_end(&mut answer)
            .await
            .map_err(broken)?;
        read(&answer, call.max_body_bytes).ok_or_else(|| TransportError::Broken("no answer".to_owned()))
    }
}

fn read(answer: &[u8], limit: usize) -> Option<ModelAnswer> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let promised = headers
        .iter()
        .find(|(name, _)| name == "content-length")?
        .1
        .parse::<usize>()
        .ok()?;
    let body = &answer[end + 4..];
    let body = &body[..body.len().min(limit)];
    Some(ModelAnswer {
        status,
        headers,
        body: body.to_vec(),
        cut: body.len() < promised,
    })
}

#[tokio::test]
async fn both_vendors_draft_over_http() {
    for (kind, base, path) in [
        ("openai", "/v1", "/v1/chat/completions"),
        ("anthropic", "", "/v1/messages"),
    ] {
        let server = ModelServer::start([Reply::Words("no".to_owned()), Reply::draft(SUBJECT, BODY)]);
        let settings = settings(kind, &format!("{}{base}", server.url()));
        let draft = draft(&Plain, &settings, &request()).await.expect("a draft");
        assert_eq!((draft.body_text.as_str(), draft.tries), (BODY, 2));
        let received = server.received();
        assert_eq!((received.len(), received[0].url.as_str()), (2, path));
        assert_eq!(received[0].header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn what_goes_wrong_on_the_wire_is_named() {
    let cases = [
        (
            Reply::Error(429, "rate_limit_error", Some("3")),
            RefusalReason::ModelRateLimited,
            ErrorCategory::RateLimit,
        ),
        (
            Reply::Error(500, "api_error", None),
            RefusalReason::ModelFailed,
            ErrorCategory::Transient,
        ),
        (
            Reply::Html,
            RefusalReason::ModelAnswerUnreadable,
            ErrorCategory::Transient,
        ),
        (
            Reply::Huge,
            RefusalReason::ModelAnswerUnreadable,
            ErrorCategory::Transient,
        ),
        (
            Reply::Close,
            RefusalReason::ModelUnreachable,
            ErrorCategory::Transient,
        ),
    ];
    for (reply, reason, category) in cases {
        let server = ModelServer::start([reply]);
        let refused = draft(&Plain, &settings("openai", &server.url()), &request())
            .await
            .expect_err("refused");
        assert_eq!(
            (refused.reason, refused.category),
            (reason, Some(category)),
            "{refused}"
        );
        let wait = (reason == RefusalReason::ModelRateLimited).then_some(Duration::from_secs(3));
        assert_eq!(refused.retry_after, wait);
    }
}

#[tokio::test]
async fn nobody_waits_for_a_silent_server() {
    let server = ModelServer::start([Reply::Silence]);
    let given = serde_json::json!({
        "kind": "openai", "base_url": server.url(), "model": "m", "timeout_ms": 100, "total_timeout_ms": 100,
    });
    let given = serde_json::from_value(given).expect("settings");
    let settings = crate::ModelSettings::new(given, None).expect("usable");
    let refused = draft(&Plain, &settings, &request()).await.expect_err("refused");
    assert_eq!(refused.reason, RefusalReason::ModelTimedOut);
}
