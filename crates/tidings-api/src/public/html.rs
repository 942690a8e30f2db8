//! The frame of public pages: plain HTML that works without a script, on a phone, by day and by night.
//!
//! Nothing is loaded from anywhere. The one style sheet stands in the page, allowed by its hash; scripts, images, frames
//! and foreign form targets are forbidden by the policy.

use super::texts::Texts;
use aws_lc_rs::digest::{SHA256, digest};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::Serde;
use minijinja::{Environment, Value};
use serde::Serialize;
use std::sync::OnceLock;
use tidings_engine::render::Color;
use tidings_engine::{EngineError, Sender};

/// The page's background by night, as in `public.css`.
const NIGHT: Color = Color::NIGHT;

/// A page to be framed.
pub(super) struct PageFrame<'a> {
    /// Whose page it is; none where no token said so.
    pub sender: Option<&'a Sender>,
    /// In which words.
    pub texts: &'a Texts,
    /// Its title.
    pub title: &'a str,
    /// Its content, rendered.
    pub content: &'a str,
}

/// A page that says one thing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Notice {
    /// The link is not ours, or damaged.
    LinkUnknown,
    /// The form is not one of ours.
    FormUnknown,
    /// It cannot be done now.
    Unavailable,
}

#[derive(Serialize)]
struct Frame<'a> {
    t: &'a Texts,
    language: &'a str,
    title: &'a str,
    sender: Option<&'a str>,
    support_email: Option<&'a str>,
    postal_address: Option<&'a str>,
    style: &'a str,
    content: &'a str,
}

#[derive(Serialize)]
struct Said<'a> {
    title: &'a str,
    lead: &'a str,
}

/// Renders a template of ours. All of them are compiled by a test.
pub(super) fn render<T: Serialize>(name: &str, context: &T) -> String {
    let rendered = templates()
        .get_template(name)
        .and_then(|template| template.render(Value::from(Serde(context))));
    rendered.unwrap_or_else(|error| {
        tracing::error!(%error, name, "a page cannot be rendered; this is a bug");
        String::new()
    })
}

fn templates() -> &'static Environment<'static> {
    static TEMPLATES: OnceLock<Environment<'static>> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        let mut environment = Environment::new();
        for (name, source) in [
            ("frame.html", include_str!("../../assets/public/frame.html")),
            ("notice.html", include_str!("../../assets/public/notice.html")),
            (
                "unsubscribe.html",
                include_str!("../../assets/public/unsubscribe.html"),
            ),
            (
                "preferences.html",
                include_str!("../../assets/public/preferences.html"),
            ),
            ("erase.html", include_str!("../../assets/public/erase.html")),
        ] {
            if let Err(error) = environment.add_template(name, source) {
                tracing::error!(%error, name, "a page's template does not compile; this is a bug");
            }
        }
        environment
    })
}

/// A whole page.
pub(super) fn page(status: StatusCode, frame: &PageFrame<'_>) -> Response {
    let style = style(frame.sender.and_then(|sender| sender.accent_colour.as_deref()));
    let html = render(
        "frame.html",
        &Frame {
            t: frame.texts,
            language: frame.texts.language(),
            title: frame.title,
            sender: frame.sender.map(|sender| sender.name.as_str()),
            support_email: frame.sender.and_then(|sender| sender.support_email.as_deref()),
            postal_address: frame.sender.and_then(|sender| sender.postal_address.as_deref()),
            style: &style,
            content: frame.content,
        },
    );
    let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
    ];
    (status, headers, [(header::CONTENT_SECURITY_POLICY, policy)], html).into_response()
}

/// A page that says one thing, without a sender.
pub(super) fn notice(status: StatusCode, notice: Notice) -> Response {
    let texts = Texts::english();
    let (title, lead) = match notice {
        Notice::LinkUnknown => ("link_unknown_title", "link_unknown_lead"),
        Notice::FormUnknown => ("form_unknown_title", "form_unknown_lead"),
        Notice::Unavailable => ("unavailable_title", "unavailable_lead"),
    };
    let (title, lead) = (texts.get(title).to_owned(), texts.get(lead).to_owned());
    let content = render(
        "notice.html",
        &Said {
            title: &title,
            lead: &lead,
        },
    );
    page(
        status,
        &PageFrame {
            sender: None,
            texts: &texts,
            title: &title,
            content: &content,
        },
    )
}

/// The page of a failure; the cause goes to the log.
pub(super) fn failed(error: &EngineError) -> Response {
    tracing::error!(%error, "a public page failed");
    let mut response = notice(StatusCode::SERVICE_UNAVAILABLE, Notice::Unavailable);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, axum::http::HeaderValue::from_static("10"));
    response
}

/// The style sheet with the sender's colour, made readable by day and by night.
fn style(accent: Option<&str>) -> String {
    let accent = accent
        .and_then(|text| Color::parse(text).ok())
        .unwrap_or(Color::new(0x0f, 0x76, 0x6e));
    let (day, night) = (accent.readable_on(Color::WHITE), accent.readable_on(NIGHT));
    include_str!("../../assets/public/public.css")
        .replace("DAY_ACCENT", &day.to_string())
        .replace("DAY_ON_ACCENT", &day.text_on().to_string())
        .replace("NIGHT_ACCENT", &night.to_string())
        .replace("NIGHT_ON_ACCENT", &night.text_on().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_compiles_and_the_style_cannot_be_broken_out_of() {
        assert_eq!(templates().templates().count(), 5);
        for accent in [
            None,
            Some("#ff0000"),
            Some("</style><script>"),
            Some("red;}body{display:none"),
        ] {
            let style = style(accent);
            assert!(
                !style.contains('<') && !style.contains("display:none"),
                "{accent:?}"
            );
            assert!(!style.contains("ACCENT"), "{accent:?}");
        }
    }
}
