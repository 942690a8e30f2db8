//! HTTP in: the contract of [`tidings_providers::whatsapp_web::wire`], under a bearer token.

use crate::companion::Shared;
use crate::courier::{self, Begun, No};
use crate::qr;
use aws_lc_rs::constant_time;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tidings_providers::whatsapp_web::wire::{MessageReport, NO_SUCH_MESSAGE, Refusal, SendRequest};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The largest body taken: the longest text, escaped.
const LARGEST_BODY: usize = 64 * 1024;
/// How long a picture may wait for the page.
const PICTURE_WITHIN: Duration = Duration::from_secs(30);

/// What requests come in by.
#[derive(Clone, Debug)]
pub struct Door {
    shared: Arc<Shared>,
    bearer: Arc<SecretString>,
    answer_within: Duration,
}

impl Door {
    /// For whoever has the token.
    pub fn new(shared: Arc<Shared>, token: &SecretString, answer_within: Duration) -> Self {
        let bearer = format!("Bearer {}", token.expose_secret());
        Self {
            shared,
            bearer: Arc::new(SecretString::from(bearer)),
            answer_within,
        }
    }
}

/// Serves until it is told to end.
pub async fn serve(listener: TcpListener, door: Door, ended: CancellationToken) {
    let served = axum::serve(listener, routes(door)).with_graceful_shutdown(ended.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the companion does not listen any more");
    }
}

fn routes(door: Door) -> Router {
    Router::new()
        .route("/messages", post(send))
        .route("/messages/{reference}", get(report).delete(withdraw))
        .route("/state", get(state))
        .route("/qr", get(code))
        .route("/screenshot", get(screenshot))
        .layer(middleware::from_fn_with_state(door.clone(), known))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(door)
}

/// Lets through whoever has the token; compares in constant time.
async fn known(State(door): State<Door>, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let wanted = door.bearer.expose_secret().as_bytes();
    if constant_time::verify_slices_are_equal(given, wanted).is_err() {
        let detail = "the token is missing or another; it is in the companion's token file";
        return refusal(StatusCode::UNAUTHORIZED, "token", detail);
    }
    next.run(request).await
}

async fn send(State(door): State<Door>, body: Bytes) -> Result<Response, No> {
    let Ok(request) = serde_json::from_slice::<SendRequest>(&body) else {
        let detail = "the body must be an object with reference, to and text";
        return Ok(refusal(StatusCode::BAD_REQUEST, "body", detail));
    };
    let reference = request.reference.clone();
    let told = match courier::begin(&door.shared, request)? {
        Begun::Known(report) => return Ok(reported(&report)),
        Begun::Carried(told) => told,
    };
    if let Ok(Ok(carried)) = tokio::time::timeout(door.answer_within, told).await {
        return Ok(reported(&carried?));
    }
    // It takes longer, or its task ended: the ledger knows more later.
    let report = courier::report(&door.shared, &reference);
    Ok(report.map_or_else(
        || {
            refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "lost",
                "ask about the reference",
            )
        },
        |report| reported(&report),
    ))
}

async fn report(State(door): State<Door>, Path(reference): Path<String>) -> Response {
    match courier::report(&door.shared, &reference) {
        Some(report) => Json(report).into_response(),
        None => refusal(
            StatusCode::NOT_FOUND,
            NO_SUCH_MESSAGE,
            "nothing is known of this reference",
        ),
    }
}

async fn withdraw(State(door): State<Door>, Path(reference): Path<String>) -> Result<Response, No> {
    let report = courier::withdraw(&door.shared, &reference)?;
    Ok(Json(report).into_response())
}

async fn state(State(door): State<Door>) -> Response {
    Json(door.shared.report()).into_response()
}

#[derive(Deserialize)]
struct Form {
    #[serde(default)]
    form: String,
}

async fn code(State(door): State<Door>, Query(wanted): Query<Form>) -> Response {
    let Some(text) = door.shared.qr() else {
        let detail = "there is no code to scan now; see /state";
        return refusal(StatusCode::NOT_FOUND, "no_code", detail);
    };
    let (kind, drawn) = match wanted.form.as_str() {
        "text" => ("text/plain; charset=utf-8", qr::terminal(text.expose())),
        _ => ("image/svg+xml", qr::svg(text.expose())),
    };
    match drawn {
        // Whoever scans it has the account: it is kept nowhere.
        Ok(drawn) => (
            [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")],
            drawn,
        )
            .into_response(),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "code", &error.to_string()),
    }
}

async fn screenshot(State(door): State<Door>) -> Response {
    let picture = async {
        let mut browser = door.shared.browser.lock().await;
        let page = browser.page().await.map_err(|error| error.to_string())?;
        let picture = page
            .session()
            .screenshot()
            .await
            .map_err(|error| error.to_string())?;
        STANDARD
            .decode(picture)
            .map_err(|_| "the picture cannot be read".to_owned())
    };
    match tokio::time::timeout(PICTURE_WITHIN, picture).await {
        Ok(Ok(png)) => {
            let headers = [
                (header::CONTENT_TYPE, "image/png"),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (headers, png).into_response()
        }
        Ok(Err(problem)) => refusal(StatusCode::SERVICE_UNAVAILABLE, "browser", &problem),
        Err(_) => refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "the page is in use; try again",
        ),
    }
}

/// 200 when WhatsApp has it, 202 when that is not known (yet).
fn reported(report: &MessageReport) -> Response {
    let status = if report.standing.has_left() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    (status, Json(report)).into_response()
}

fn refusal(status: StatusCode, code: &str, detail: &str) -> Response {
    let body = Refusal {
        code: code.to_owned(),
        detail: detail.to_owned(),
    };
    (status, Json(body)).into_response()
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut headers = HeaderMap::new();
        if let Some(after) = self.retry_after {
            let seconds = after.as_millis().div_ceil(1_000).max(1) as u64;
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        (headers, refusal(status, self.code, &self.detail)).into_response()
    }
}
