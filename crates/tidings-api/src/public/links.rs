//! The open pixel and the click links of sent messages.

use super::html::{self, Notice};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tidings_engine::Engine;

/// A transparent GIF of one pixel.
const PIXEL: &[u8] =
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\x00\x00\x00\x2c\
\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x01\x44\x00\x3b";

/// `GET /t/o/{token}`: always the pixel, whatever the token, so that a mail never shows a broken image.
pub(super) async fn pixel(
    State(engine): State<Engine>,
    Path(token): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    if method == Method::GET
        && let Err(error) = engine.opened(&token, agent(&headers)).await
    {
        tracing::warn!(%error, "an open was not noted");
    }
    let mut response = (
        [
            (header::CONTENT_TYPE, "image/gif"),
            (header::CACHE_CONTROL, "no-store"),
        ],
        PIXEL,
    )
        .into_response();
    // Mail is read on other sites' pages.
    let policy = HeaderName::from_static("cross-origin-resource-policy");
    response
        .headers_mut()
        .insert(policy, HeaderValue::from_static("cross-origin"));
    response
}

/// `GET /t/c/{token}`: on to the signed target. What was not signed leads nowhere.
pub(super) async fn click(
    State(engine): State<Engine>,
    Path(token): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    // HEAD is a checker's question, not a person's click.
    let agent = if method == Method::GET {
        agent(&headers)
    } else {
        ""
    };
    let target = match engine.clicked(&token, agent).await {
        Ok(Some(target)) => target,
        Ok(None) => return html::notice(StatusCode::NOT_FOUND, Notice::LinkUnknown),
        Err(error) => return html::failed(&error),
    };
    match HeaderValue::from_str(target.as_str()) {
        Ok(location) => {
            let fixed = [
                (header::LOCATION, location),
                (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
                (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
                (
                    HeaderName::from_static("x-robots-tag"),
                    HeaderValue::from_static("noindex, nofollow"),
                ),
            ];
            (StatusCode::FOUND, fixed).into_response()
        }
        Err(_) => html::notice(StatusCode::NOT_FOUND, Notice::LinkUnknown),
    }
}

fn agent(headers: &HeaderMap) -> &str {
    headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
