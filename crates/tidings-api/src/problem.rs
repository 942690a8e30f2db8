//! Problem answers (RFC 9457): every refusal of this API is one of these, with a stable `code`.
//!
//! A problem never carries personal data and never tells apart what is foreign from what does not exist.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::borrow::Cow;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

/// The media type of a problem answer.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A refusal on its way out; [`ProblemBody`] is how it reads.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable word for programs.
    pub code: &'static str,
    /// The same for every problem of this code.
    pub title: &'static str,
    /// What is wrong here, and what to do about it.
    pub detail: String,
    /// The fields that are wrong, where there are any.
    pub errors: Vec<FieldError>,
    /// Only with status 500: the id of the request, under which the log tells more.
    pub request: Option<String>,
    /// Seconds for `Retry-After`.
    pub retry_after_seconds: Option<u32>,
}

/// A problem answer (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "type": "urn:tidings:problem:input.invalid",
    "title": "The input is not valid",
    "status": 422,
    "detail": "/urgency: unknown variant `soon`, expected one of `critical`, `high`, `normal`, `low`",
    "code": "input.invalid",
    "errors": [{"pointer": "/urgency", "code": "value.invalid", "detail": "unknown variant `soon`, expected one of `critical`, `high`, `normal`, `low`"}]
}))]
pub struct ProblemBody<'a> {
    /// A URN made of the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every problem of this code.
    pub title: &'a str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong here, and what to do about it.
    pub detail: &'a str,
    /// A stable word for programs.
    pub code: &'a str,
    /// Only with status 500: `urn:tidings:request:<id>`, the id under which the log tells more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The fields that are wrong, where there are any.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub errors: &'a [FieldError],
}

impl Serialize for Problem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let body = ProblemBody {
            kind: format!("urn:tidings:problem:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            instance: self
                .request
                .as_ref()
                .map(|id| format!("urn:tidings:request:{id}")),
            errors: &self.errors,
        };
        body.serialize(serializer)
    }
}

impl utoipa::PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        ProblemBody::schema()
    }
}

impl ToSchema for Problem {
    fn name() -> Cow<'static, str> {
        "Problem".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((
            FieldError::name().into_owned(),
            <FieldError as utoipa::PartialSchema>::schema(),
        ));
        ProblemBody::schemas(schemas);
    }
}

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// A JSON pointer (RFC 6901) into the body, or `#query/name`, `#path/name`, `#header/name`.
    pub pointer: String,
    /// A stable word for programs.
    pub code: Cow<'static, str>,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl FieldError {
    /// A field error at a JSON pointer.
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            code: code.into(),
            detail: detail.into(),
        }
    }
}

impl Problem {
    /// A problem of any status and code.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let (errors, request, retry_after_seconds) = (Vec::new(), None, None);
        Self {
            status,
            code,
            title,
            detail: detail.into(),
            errors,
            request,
            retry_after_seconds,
        }
    }

    /// 400: the request cannot be read.
    pub fn malformed(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            code,
            "The request cannot be read",
            detail,
        )
    }

    /// 401: no key, or not one we know. The same answer for absent, unknown, revoked and expired keys.
    pub fn unauthenticated() -> Self {
        let detail = "send a valid API key as \"Authorization: Bearer tdg_...\"";
        Self::new(
            StatusCode::UNAUTHORIZED,
            "auth.required",
            "Authentication is required",
            detail,
        )
    }

    /// 403: the key is known but may not do this.
    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, "The API key may not do this", detail)
    }

    /// 404: of this kind there is nothing under that id for this tenant. Foreign and unknown ids answer the same.
    pub fn not_found(what: &'static str) -> Self {
        let detail = format!("this tenant has no {what} with that id");
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail)
    }

    /// 409: the present state does not allow it.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            code,
            "The present state does not allow this",
            detail,
        )
    }

    /// 422: readable, but fields are wrong.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let count = errors.len();
        let detail = match errors.as_slice() {
            [one] => format!("{}: {}", place(&one.pointer), one.detail),
            _ => format!("{count} fields are not valid; see errors"),
        };
        Self {
            errors,
            ..Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "input.invalid",
                "The input is not valid",
                detail,
            )
        }
    }

    /// 422 with one wrong field.
    pub fn invalid_field(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(pointer, code, detail)])
    }

    /// 429: more than is taken at present.
    pub fn too_many(detail: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self {
            retry_after_seconds: Some(retry_after_seconds),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "Too many requests",
                detail,
            )
        }
    }

    /// 503: the service cannot answer now.
    pub fn unavailable(code: &'static str, detail: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self {
            retry_after_seconds: Some(retry_after_seconds),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                code,
                "The service cannot answer now",
                detail,
            )
        }
    }

    /// 500: our fault. The cause goes to the log (once, by the request middleware), never into the answer.
    pub fn internal() -> Self {
        let detail = "an internal error; the operator's log has the cause under the id given as instance";
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
            detail,
        )
    }
}

fn place(pointer: &str) -> &str {
    if pointer.is_empty() { "the body" } else { pointer }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"tidings\""),
            );
        }
        // Kept for the request middleware, which completes 500s with the request's id.
        response.extensions_mut().insert(Answered(self));
        response
    }
}

/// The problem behind a response, for the request middleware and metrics.
#[derive(Clone, Debug)]
pub(crate) struct Answered(pub Problem);

/// Marks an answer to a repeated request: nothing was done a second time.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// `Result` of a handler.
pub type Answer<T> = Result<T, Problem>;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn serialises_by_rfc_9457() {
        let problem = Problem::invalid_field("/to", "value.invalid", "there is no @");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["type"], "urn:tidings:problem:input.invalid");
        assert_eq!(json["status"], 422);
        assert_eq!(json["detail"], "/to: there is no @");
        assert_eq!(json["errors"][0]["pointer"], "/to");
        assert!(json.get("instance").is_none());
    }

    #[test]
    fn carries_its_headers() {
        let response = Problem::unauthenticated().into_response();
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
        assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
        let response = Problem::unavailable("database.unreachable", "x", 5).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "5");
    }
}
