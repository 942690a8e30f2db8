//! What a page or a mail program posts: URL-encoded forms, and multipart forms as far as RFC 8058 needs them.

use axum::http::{HeaderMap, header};
use std::collections::BTreeMap;
use url::form_urlencoded;

/// The most fields of a form.
const FIELDS_MAX: usize = 100;
/// The most bytes of a value.
const VALUE_MAX: usize = 2_000;

/// The fields of a posted form.
#[derive(Debug, Default)]
pub(super) struct Form(BTreeMap<String, Vec<String>>);

impl Form {
    /// Reads a body. Without a content type it is taken as URL-encoded: one-click requests of some programs have none.
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Self {
        let kind = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let mut form = Self::default();
        if kind
            .trim_start()
            .to_ascii_lowercase()
            .starts_with("multipart/form-data")
        {
            if let Some(boundary) = boundary(kind) {
                for (name, value) in parts(body, &boundary) {
                    form.push(name, value);
                }
            }
        } else {
            for (name, value) in form_urlencoded::parse(body).take(FIELDS_MAX) {
                form.push(name.into_owned(), value.into_owned());
            }
        }
        form
    }

    fn push(&mut self, name: String, value: String) {
        if value.len() <= VALUE_MAX {
            self.0.entry(name).or_default().push(value);
        }
    }

    /// The first value of a field.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of a field.
    pub(super) fn all<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f str> + use<'f> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }

    /// Whether it asks to unsubscribe by one click (RFC 8058 section 3.2), or by the page's button, which says the same.
    pub(super) fn is_one_click(&self) -> bool {
        let fields = self
            .0
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("list-unsubscribe"));
        fields
            .flat_map(|(_, values)| values)
            .any(|value| value.trim().eq_ignore_ascii_case("one-click"))
    }
}

/// The boundary parameter of a content type (RFC 2046 section 5.1.1).
fn boundary(kind: &str) -> Option<String> {
    let parameters = kind.split(';').skip(1).filter_map(|part| part.split_once('='));
    let value = parameters
        .into_iter()
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"))?
        .1;
    let value = value.trim().trim_matches('"');
    (!value.is_empty() && value.len() <= 70).then(|| value.to_owned())
}

/// Name and value of each part. Tolerant: bare line feeds and a missing closing delimiter are no reason to keep writing to
/// somebody who asked us not to.
fn parts(body: &[u8], boundary: &str) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(body);
    let delimiter = format!("--{boundary}");
    let mut found = Vec::new();
    for part in text.split(delimiter.as_str()).skip(1).take(FIELDS_MAX) {
        if part.starts_with("--") {
            break;
        }
        let part = part.trim_start_matches(['\r', '\n']);
        let split = part.split_once("\r\n\r\n").or_else(|| part.split_once("\n\n"));
        let Some((head, value)) = split else { continue };
        if let Some(name) = part_name(head) {
            found.push((name, value.trim_end_matches(['\r', '\n']).to_owned()));
        }
    }
    found
}

fn part_name(head: &str) -> Option<String> {
    let line = head
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let parameters = line.split(';').skip(1).filter_map(|part| part.split_once('='));
    let value = parameters
        .into_iter()
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("name"))?
        .1;
    Some(value.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn read(kind: &str, body: &str) -> Form {
        let mut headers = HeaderMap::new();
        if !kind.is_empty() {
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        }
        Form::read(&headers, body.as_bytes())
    }

    #[test]
    fn one_click_in_every_form_it_comes_in() {
        let form = "application/x-www-form-urlencoded";
        let multi = "multipart/form-data; boundary=x";
        let part =
            "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n";
        for (kind, body) in [
            (form, "List-Unsubscribe=One-Click"),
            ("", "List-Unsubscribe=One-Click"),
            (
                "application/x-www-form-urlencoded; charset=UTF-8",
                "a=b&List-Unsubscribe=One-Click",
            ),
            (multi, part),
            ("Multipart/Form-Data; Boundary=\"x\"", part),
            (multi, &part.replace("\r\n", "\n")),
            (multi, part.trim_end_matches("--x--\r\n")),
        ] {
            assert!(read(kind, body).is_one_click(), "{kind} {body}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        let multi = "multipart/form-data; boundary=x";
        for (kind, body) in [
            ("", ""),
            ("", "List-Unsubscribe=No"),
            ("application/json", "{\"List-Unsubscribe\":\"One-Click\"}"),
            (multi, "List-Unsubscribe=One-Click"),
            (
                multi,
                "--x\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nOne-Click\r\n--x--",
            ),
            (
                multi,
                "--x--\r\n--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n",
            ),
            ("multipart/form-data", "--x"),
        ] {
            assert!(!read(kind, body).is_one_click(), "{kind} {body}");
        }
    }
}
