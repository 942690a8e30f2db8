//! The unsubscribe link: `GET` shows a page with a button and changes nothing (scanners follow links), `POST` acts.

use super::form::Form;
use super::html::{self, Notice, PageFrame};
use super::texts::Texts;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use tidings_core::Channel;
use tidings_engine::Engine;
use tidings_engine::unsubscribe::{UnsubscribePage, UnsubscribedBy};

#[derive(Serialize)]
struct Shown<'a> {
    t: &'a Texts,
    done: bool,
    lead: String,
    address: Option<&'a str>,
    preferences_url: Option<&'a str>,
}

/// `GET /u/{token}`.
pub(super) async fn show(
    State(engine): State<Engine>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    match engine.unsubscribe_page(&token).await {
        Ok(Some(page)) => shown(&page, &headers),
        Ok(None) => html::notice(StatusCode::NOT_FOUND, Notice::LinkUnknown),
        Err(error) => html::failed(&error),
    }
}

/// `POST /u/{token}`: the mail program's one click (RFC 8058), or the page's own button. No redirect, no cookie, no login.
pub(super) async fn act(
    State(engine): State<Engine>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form = Form::read(&headers, &body);
    if !form.is_one_click() {
        return html::notice(StatusCode::BAD_REQUEST, Notice::FormUnknown);
    }
    let by = if form.one("by") == Some("page") {
        UnsubscribedBy::Page
    } else {
        UnsubscribedBy::OneClick
    };
    match engine.unsubscribe(&token, by).await {
        Ok(Some(page)) => shown(&page, &headers),
        Ok(None) => html::notice(StatusCode::NOT_FOUND, Notice::LinkUnknown),
        Err(error) => html::failed(&error),
    }
}

fn shown(page: &UnsubscribePage, headers: &HeaderMap) -> Response {
    let texts = Texts::of(&page.sender, page.language.as_deref(), headers);
    let channel = match page.channel {
        Channel::Email => "channel_email",
        Channel::Sms => "channel_sms",
        Channel::Whatsapp | Channel::WhatsappWeb => "channel_whatsapp",
    };
    let title = texts
        .get(if page.done {
            "unsubscribed_title"
        } else {
            "unsubscribe_title"
        })
        .to_owned();
    let lead = texts.get(if page.done {
        "unsubscribed_lead"
    } else {
        "unsubscribe_lead"
    });
    let lead = lead.replace("{channel}", texts.get(channel));
    let shown = Shown {
        t: &texts,
        done: page.done,
        lead,
        address: page.address.as_deref(),
        preferences_url: page.preferences_url.as_deref(),
    };
    let content = html::render("unsubscribe.html", &shown);
    html::page(
        StatusCode::OK,
        &PageFrame {
            sender: Some(&page.sender),
            texts: &texts,
            title: &title,
            content: &content,
        },
    )
}
