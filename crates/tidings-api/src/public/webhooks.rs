//! Webhooks of providers: handed to the verifier byte for byte, answered when they are stored.

use crate::failure::database_unreachable;
use crate::problem::{Answer, Problem};
use axum::body::{Body, to_bytes};
use axum::extract::{OriginalUri, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tidings_engine::providers::{WebhookRefusal, WebhookRequest, WebhookResponse};
use tidings_engine::{Engine, WebhookError};

/// The largest body, in bytes: SendGrid's inbound parse takes mails of 30 MB.
pub(super) const BODY_MAX: usize = 30 * 1024 * 1024;

/// The most header fields handed on; providers send a few dozen.
const HEADERS_MAX: usize = 200;

/// `GET` and `POST /webhooks/{provider}/{connection}`.
pub(super) async fn take(
    State(engine): State<Engine>,
    Path((provider, connection)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Answer<Response> {
    let receiver = engine
        .webhook_receiver(&provider, &connection)
        .await
        .map_err(problem)?;
    let (parts, body) = request.into_parts();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = WebhookRequest {
        method: parts.method.as_str().to_owned(),
        url: format!(
            "{}{path}",
            engine.public_base_url().as_str().trim_end_matches('/')
        ),
        headers: text_headers(&parts.headers),
        body: read(body).await?,
    };
    Ok(answer(
        engine.webhook(&receiver, &request).await.map_err(problem)?,
    ))
}

async fn read(body: Body) -> Answer<axum::body::Bytes> {
    to_bytes(body, BODY_MAX).await.map_err(|_| {
        let detail = "the body is larger than 30 MiB or ended early";
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body.too_large",
            "The body is too large",
            detail,
        )
    })
}

/// Names come in lower case; values that are not text are of no use to a verifier.
fn text_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &axum::http::HeaderValue| value.to_str().ok().map(str::to_owned);
    let pairs = headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?)));
    pairs.take(HEADERS_MAX).collect()
}

fn answer(response: WebhookResponse) -> Response {
    match response.content_type {
        Some(kind) => (
            [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")],
            response.body,
        )
            .into_response(),
        None if response.body.is_empty() => StatusCode::NO_CONTENT.into_response(),
        None => ([(header::CACHE_CONTROL, "no-store")], response.body).into_response(),
    }
}

fn problem(error: WebhookError) -> Problem {
    let refused =
        |status, code, detail: String| Problem::new(status, code, "The webhook was refused", detail);
    match error {
        WebhookError::UnknownConnection => refused(
            StatusCode::NOT_FOUND,
            "webhook.unknown",
            WebhookError::UnknownConnection.to_string(),
        ),
        WebhookError::Refused(refusal) => {
            let (status, code) = match &refusal {
                WebhookRefusal::SignatureMissing => (StatusCode::UNAUTHORIZED, "webhook.unsigned"),
                WebhookRefusal::SignatureInvalid => (StatusCode::FORBIDDEN, "webhook.signature"),
                WebhookRefusal::Stale => (StatusCode::FORBIDDEN, "webhook.stale"),
                WebhookRefusal::WrongAccount => (StatusCode::FORBIDDEN, "webhook.account"),
                WebhookRefusal::NotConfigured(_) => (StatusCode::FORBIDDEN, "webhook.not_configured"),
                WebhookRefusal::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "webhook.unavailable"),
                WebhookRefusal::Malformed(_) => (StatusCode::BAD_REQUEST, "webhook.malformed"),
                WebhookRefusal::Unsupported => (StatusCode::NOT_FOUND, "webhook.unsupported"),
            };
            refused(status, code, refusal.to_string())
        }
        WebhookError::Misconfigured(reason) => {
            tracing::warn!(%reason, "a webhook came to a connection that cannot be used");
            let detail = "the connection's settings are wrong; its page says what to do";
            Problem::unavailable("webhook.misconfigured", detail, 60)
        }
        // The provider sends it again.
        WebhookError::Engine(error) => {
            tracing::error!(%error, "a webhook could not be stored");
            database_unreachable()
        }
    }
}
