//! Extractors that answer with problems: JSON bodies, query strings, path parameters, idempotency keys.

use crate::problem::{FieldError, Problem};
use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path as FieldPath, Segment};

/// A JSON body: media type, size, syntax, unknown fields and types are checked, each refusal a problem.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// A JSON body that may be left out.
#[derive(Debug)]
pub struct OptionalJson<T>(pub Option<T>);

/// A JSON body with its fingerprint, for requests that may carry an `Idempotency-Key`.
#[derive(Debug)]
pub struct Fingerprinted<T> {
    /// The body.
    pub body: T,
    /// SHA-256 of the operation and the canonical body.
    pub fingerprint: Vec<u8>,
}

/// A query string; unknown parameters are refused.
#[derive(Debug)]
pub struct Query<T>(pub T);

/// Path parameters, each of its form.
#[derive(Debug)]
pub struct Path<T>(pub T);

/// The `Idempotency-Key` header: 1 to 255 visible ASCII characters.
#[derive(Debug)]
pub struct IdempotencyKey(pub Option<String>);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        parse_json(&json_bytes(request, state).await?).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Fingerprinted<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let operation = format!("{} {}", request.method(), request.uri().path());
        let bytes = json_bytes(request, state).await?;
        let body = parse_json(&bytes)?;
        let value: Value = parse_json(&bytes)?;
        let input = tidings_core::idempotency::fingerprint_input(&operation, &value);
        Ok(Self {
            body,
            fingerprint: digest(&SHA256, &input).as_ref().to_vec(),
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let typed = request.headers().contains_key(header::CONTENT_TYPE);
        if typed {
            return json_bytes(request, state)
                .await
                .and_then(|bytes| parse_json(&bytes))
                .map(Some)
                .map(Self);
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| body_problem(&rejection))?;
        if bytes.is_empty() {
            Ok(Self(None))
        } else {
            parse_json(&bytes).map(Some).map(Self)
        }
    }
}

async fn json_bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    if !is_json(request.headers()) {
        let detail = "send the body as \"Content-Type: application/json\"";
        let title = "The media type is not supported";
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "body.media_type",
            title,
            detail,
        ));
    }
    Bytes::from_request(request, state)
        .await
        .map_err(|rejection| body_problem(&rejection))
}

/// Why a raw body could not be read within the route's limit.
pub(crate) fn body_problem(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let detail =
            "the body is larger than this operation takes; see its description, or split the request";
        return Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body.too_large",
            "The body is too large",
            detail,
        );
    }
    Problem::malformed(
        "body.unreadable",
        "the body ended early or could not be read; send it again",
    )
}

impl<T: serde::Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Parses a JSON body into an input type.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_some_and(|byte| matches!(byte, b'[' | b'"' | b'0'..=b'9' | b'-' | b't' | b'f' | b'n')) {
        // Serde would read an array as the fields in order.
        return Err(Problem::invalid_field("", "type.wrong", "send a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer(error.path());
        json_problem(&pointer, error.inner())
    })?;
    deserializer.end().map_err(|error| json_problem("", &error))?;
    Ok(value)
}

/// The same for a part that is JSON already; pointers are relative to it.
pub fn parse_value<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    if !value.is_object() {
        return Err(Problem::invalid_field("", "type.wrong", "send a JSON object"));
    }
    serde_path_to_error::deserialize(value)
        .map_err(|error| json_problem(&pointer(error.path()), error.inner()))
}

fn json_problem(pointer: &str, error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let message: String = without_position(&error.to_string()).chars().take(300).collect();
    if error.is_data() {
        return Problem::invalid(vec![field_error(pointer, &message)]);
    }
    if error.is_eof() && line <= 1 && column == 0 {
        return Problem::malformed("body.empty", "the body is empty; send a JSON object");
    }
    Problem::malformed(
        "json.syntax",
        format!("not JSON at line {line}, column {column}: {message}"),
    )
}

/// Gives serde's words for a wrong field a stable code, and an unknown or missing field its own pointer.
fn field_error(pointer: &str, message: &str) -> FieldError {
    let quoted = || message.split('`').nth(1).unwrap_or_default();
    let child = || {
        let name = escape(quoted());
        if pointer.ends_with(&format!("/{name}")) {
            pointer.to_owned()
        } else {
            format!("{pointer}/{name}")
        }
    };
    if message.starts_with("unknown field") {
        FieldError::new(child(), "field.unknown", message)
    } else if message.starts_with("missing field") {
        FieldError::new(child(), "field.required", message)
    } else if message.starts_with("duplicate field") {
        FieldError::new(child(), "field.duplicate", message)
    } else if message.starts_with("invalid value") {
        FieldError::new(pointer, "value.invalid", without_value(message))
    } else if message.starts_with("invalid type") {
        FieldError::new(pointer, "type.wrong", without_value(message))
    } else {
        FieldError::new(pointer, "value.invalid", message)
    }
}

/// `invalid type: string "secret", expected u64` names the value: cut it, it may be personal data.
fn without_value(message: &str) -> String {
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let kind = found.split(['"', '`']).next().unwrap_or_default();
    format!("{}, expected {expected}", kind.trim())
}

fn without_position(message: &str) -> String {
    message.split(" at line ").next().unwrap_or_default().to_owned()
}

fn pointer(path: &FieldPath) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => {
                text.push('/');
                text.push_str(&index.to_string());
            }
            Segment::Map { key } => {
                text.push('/');
                text.push_str(&escape(key));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    text
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(query) => Ok(Self(query.0)),
            Err(rejection) => Err(query_problem(&rejection.body_text())),
        }
    }
}

fn query_problem(text: &str) -> Problem {
    let message = text.trim_start_matches("Failed to deserialize query string: ");
    let (name, message) = match message.split_once(": ") {
        Some((name, rest)) if !name.contains(' ') => (name.to_owned(), rest.to_owned()),
        _ => (
            message.split('`').nth(1).unwrap_or_default().to_owned(),
            message.to_owned(),
        ),
    };
    let code = if message.starts_with("unknown field") {
        "field.unknown"
    } else {
        "value.invalid"
    };
    Problem::invalid_field(format!("#query/{}", escape(&name)), code, message)
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(path) => Ok(Self(path.0)),
            Err(_) => Err(Problem::malformed(
                "path.invalid",
                "a part of the path is not of its form; ids are UUIDs as this API gave them",
            )),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else {
            return Ok(Self(None));
        };
        let text = value.to_str().unwrap_or_default();
        let visible = text.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
        if text.is_empty() || text.len() > 255 || !visible {
            let detail = "1 to 255 visible ASCII characters, without blanks; a UUID is a good one";
            return Err(Problem::invalid_field(
                "#header/Idempotency-Key",
                "value.invalid",
                detail,
            ));
        }
        Ok(Self(Some(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only its parsing is tested")]
        count: u32,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only its parsing is tested")]
        items: Vec<Inner>,
    }

    fn check(body: &str, status: u16, code: &str, pointer: Option<&str>) {
        let problem = parse_json::<Outer>(body.as_bytes()).unwrap_err();
        assert_eq!(problem.status.as_u16(), status, "{body}: {problem:?}");
        match pointer {
            None => assert_eq!(problem.code, code, "{body}"),
            Some(pointer) => {
                assert_eq!(problem.errors[0].pointer, pointer, "{body}");
                assert_eq!(problem.errors[0].code, code, "{body}");
            }
        }
    }

    #[test]
    fn every_wrong_body_says_what_and_where() {
        check("", 400, "body.empty", None);
        check("{\"items\":\n [}", 400, "json.syntax", None);
        check("{\"items\":[]} x", 400, "json.syntax", None);
        check("[[]]", 422, "type.wrong", Some(""));
        check("{}", 422, "field.required", Some("/items"));
        check(
            "{\"items\":[], \"tenant_id\":1}",
            422,
            "field.unknown",
            Some("/tenant_id"),
        );
        check(
            "{\"items\":[{\"count\":1},{\"count\":\"x\"}]}",
            422,
            "type.wrong",
            Some("/items/1/count"),
        );
        check(
            "{\"items\":[{\"count\":-1}]}",
            422,
            "value.invalid",
            Some("/items/0/count"),
        );
        check(
            "{\"items\":[{\"count\":1,\"a/b\":2}]}",
            422,
            "field.unknown",
            Some("/items/0/a~1b"),
        );
    }

    #[test]
    fn a_syntax_error_names_its_line_and_column() {
        let problem = parse_json::<Outer>(b"{\"items\":\n [}").unwrap_err();
        assert!(problem.detail.contains("line 2, column 3"), "{}", problem.detail);
    }

    #[test]
    fn a_wrong_type_does_not_repeat_the_value() {
        let problem = parse_json::<Outer>(b"{\"items\":[{\"count\":\"ann@example.com\"}]}").unwrap_err();
        let text = serde_json::to_string(&problem).unwrap();
        assert!(!text.contains("ann@"), "{text}");
        assert!(
            problem.errors[0].detail.contains("string, expected u32"),
            "{}",
            problem.errors[0].detail
        );
    }
}
