//! The preference page: shows and saves a contact's choices, hands out their data, erases them.

use super::form::Form;
use super::html::{self, Notice, PageFrame};
use super::texts::{Texts, language_name};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::collections::BTreeSet;
use tidings_core::decide::facts::Window;
use tidings_core::{Category, Channel};
use tidings_engine::preferences::{
    ChannelChoice, PreferenceAction, PreferenceChoices, PreferencePage, PreferenceVisit, TOPICS,
};
use tidings_engine::privacy::Proven;
use tidings_engine::{Engine, Sender};

/// What the page says about what was just done.
#[derive(Clone, Copy)]
enum Said {
    Nothing,
    Done(&'static str),
    Wrong(&'static str),
}

#[derive(Serialize)]
struct Shown<'a> {
    t: &'a Texts,
    said: Option<&'a str>,
    wrong: Option<&'a str>,
    addresses: &'a [String],
    channels: Vec<Choice<'a>>,
    topics: Vec<Choice<'a>>,
    paused: Option<String>,
    quiet_from: String,
    quiet_to: String,
    quiet_hint: String,
    languages: Vec<Language<'a>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    value: &'a str,
    label: &'a str,
    hint: &'a str,
    on: bool,
    locked: bool,
}

#[derive(Serialize)]
struct Language<'a> {
    value: &'a str,
    label: &'a str,
    on: bool,
}

#[derive(Serialize)]
struct Erasing<'a> {
    t: &'a Texts,
    wrong: Option<&'a str>,
    addresses: &'a [String],
}

#[derive(Serialize)]
struct Told<'a> {
    title: &'a str,
    lead: &'a str,
}

/// `GET /p/{token}`.
pub(super) async fn show(
    State(engine): State<Engine>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    visited(&engine, &token, &headers, Said::Nothing).await
}

/// `POST /p/{token}`: what the pressed button says.
pub(super) async fn act(
    State(engine): State<Engine>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form = Form::read(&headers, &body);
    let address = form.one("address").unwrap_or_default();
    match form.one("action").unwrap_or_default() {
        "save" => match choices(&form) {
            Some(choices) => save(&engine, &token, &headers, choices).await,
            None => visited(&engine, &token, &headers, Said::Wrong("quiet_wrong")).await,
        },
        "pause" => change(&engine, &token, &headers, PreferenceAction::Pause, "paused_done").await,
        "resume" => {
            change(
                &engine,
                &token,
                &headers,
                PreferenceAction::Resume,
                "resumed_done",
            )
            .await
        }
        "unsubscribe_all" => {
            change(
                &engine,
                &token,
                &headers,
                PreferenceAction::UnsubscribeAll,
                "everything_off_done",
            )
            .await
        }
        "export" => export(&engine, &token, &headers, address).await,
        "erase" => confirm(&engine, &token, &headers, None).await,
        "erase_confirmed" => erase(&engine, &token, &headers, address).await,
        _ => html::notice(StatusCode::BAD_REQUEST, Notice::FormUnknown),
    }
}

async fn visited(engine: &Engine, token: &str, headers: &HeaderMap, said: Said) -> Response {
    match engine.preference_page(token).await {
        Ok(Some(visit)) => answer(&visit, headers, said),
        Ok(None) => html::notice(StatusCode::NOT_FOUND, Notice::LinkUnknown),
        Err(error) => html::failed(&error),
    }
}

async fn change(
    engine: &Engine,
    token: &str,
    headers: &HeaderMap,
    action: PreferenceAction,
    done: &'static str,
) -> Response {
    match engine.change_preferences(token, &action).await {
        Ok(Some(visit)) => answer(&visit, headers, Said::Done(done)),
        Ok(None) => html::notice(StatusCode::NOT_FOUND, Notice::LinkUnknown),
        Err(error) => html::failed(&error),
    }
}

/// The ledger keeps the words the topics were offered in: those of the page the visitor saw.
async fn save(engine: &Engine, token: &str, headers: &HeaderMap, mut choices: PreferenceChoices) -> Response {
    match engine.preference_page(token).await {
        Ok(Some(PreferenceVisit::Contact(page))) => {
            let texts = Texts::of(&page.sender, page.language.as_deref(), headers);
            choices.wordings = TOPICS
                .iter()
                .map(|topic| (*topic, texts.get(topic_key(*topic)).to_owned()))
                .collect();
        }
        Ok(_) => {}
        Err(error) => return html::failed(&error),
    }
    change(
        engine,
        token,
        headers,
        PreferenceAction::Save(choices),
        "saved_done",
    )
    .await
}

/// Reads the form; none when the quiet hours are no times of day.
fn choices(form: &Form) -> Option<PreferenceChoices> {
    let time = |name: &str| match form.one(name).map(str::trim).filter(|text| !text.is_empty()) {
        None => Some(None),
        Some(text) => Time::strptime("%H:%M", text.get(..5).unwrap_or(text))
            .ok()
            .map(Some),
    };
    let quiet_hours = match (time("quiet_from")?, time("quiet_to")?) {
        (None, None) => None,
        (Some(start), Some(end)) => (start != end).then_some(Window { start, end }),
        _ => return None,
    };
    let channels: BTreeSet<Channel> = form.all("channel").filter_map(|word| word.parse().ok()).collect();
    let topics: BTreeSet<Category> = form.all("topic").filter_map(|word| word.parse().ok()).collect();
    let language = form
        .one("language")
        .filter(|text| !text.is_empty())
        .map(str::to_owned);
    Some(PreferenceChoices {
        channels,
        topics,
        quiet_hours,
        language,
        wordings: Vec::new(),
    })
}

async fn export(engine: &Engine, token: &str, headers: &HeaderMap, address: &str) -> Response {
    match engine.export_own_data(token, address).await {
        Ok(Proven::Done(export)) => {
            let json = serde_json::to_vec_pretty(&export).unwrap_or_default();
            let fixed = [
                (header::CONTENT_TYPE, "application/json"),
                (
                    header::CONTENT_DISPOSITION,
                    "attachment; filename=\"my-data.json\"",
                ),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (fixed, json).into_response()
        }
        Ok(Proven::AddressDiffers) => visited(engine, token, headers, Said::Wrong("address_wrong")).await,
        Ok(Proven::Unknown) => visited(engine, token, headers, Said::Nothing).await,
        Err(error) => html::failed(&error),
    }
}

/// Asks once more before anything is erased.
async fn confirm(engine: &Engine, token: &str, headers: &HeaderMap, wrong: Option<&'static str>) -> Response {
    let page = match engine.preference_page(token).await {
        Ok(Some(PreferenceVisit::Contact(page))) => page,
        Ok(Some(PreferenceVisit::Erased(sender))) => return erased(&sender, headers),
        Ok(None) => return html::notice(StatusCode::NOT_FOUND, Notice::LinkUnknown),
        Err(error) => return html::failed(&error),
    };
    let texts = Texts::of(&page.sender, page.language.as_deref(), headers);
    let erasing = Erasing {
        t: &texts,
        wrong: wrong.map(|key| texts.get(key)),
        addresses: &page.addresses,
    };
    let content = html::render("erase.html", &erasing);
    let status = if wrong.is_some() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    let frame = PageFrame {
        sender: Some(&page.sender),
        texts: &texts,
        title: texts.get("erase_title"),
        content: &content,
    };
    html::page(status, &frame)
}

async fn erase(engine: &Engine, token: &str, headers: &HeaderMap, address: &str) -> Response {
    match engine.erase_own_data(token, address).await {
        Ok(Proven::AddressDiffers) => confirm(engine, token, headers, Some("address_wrong")).await,
        // Done, or done before: the page says that nothing is left.
        Ok(Proven::Done(_) | Proven::Unknown) => visited(engine, token, headers, Said::Nothing).await,
        Err(error) => html::failed(&error),
    }
}

fn answer(visit: &PreferenceVisit, headers: &HeaderMap, said: Said) -> Response {
    match visit {
        PreferenceVisit::Contact(page) => shown(page, headers, said),
        PreferenceVisit::Erased(sender) => erased(sender, headers),
    }
}

fn erased(sender: &Sender, headers: &HeaderMap) -> Response {
    let texts = Texts::of(sender, None, headers);
    let title = texts.get("erased_title");
    let content = html::render(
        "notice.html",
        &Told {
            title,
            lead: texts.get("erased_lead"),
        },
    );
    html::page(
        StatusCode::OK,
        &PageFrame {
            sender: Some(sender),
            texts: &texts,
            title,
            content: &content,
        },
    )
}

fn shown(page: &PreferencePage, headers: &HeaderMap, said: Said) -> Response {
    let texts = Texts::of(&page.sender, page.language.as_deref(), headers);
    let zone = page.zone.as_deref().and_then(|name| TimeZone::get(name).ok());
    let (said, wrong, status) = match said {
        Said::Nothing => (None, None, StatusCode::OK),
        Said::Done(key) => (Some(texts.get(key)), None, StatusCode::OK),
        Said::Wrong(key) => (None, Some(texts.get(key)), StatusCode::UNPROCESSABLE_ENTITY),
    };
    let clock = |time: Option<Time>| time.map_or_else(String::new, |time| time.strftime("%H:%M").to_string());
    let topics = page.topics.iter().map(|choice| Choice {
        value: choice.topic.as_str(),
        label: texts.get(topic_key(choice.topic)),
        hint: "",
        on: choice.on,
        locked: false,
    });
    let languages = page.languages.iter().map(|tag| Language {
        value: tag,
        label: language_name(tag),
        on: page.language.as_ref() == Some(tag),
    });
    let content = Shown {
        t: &texts,
        said,
        wrong,
        addresses: &page.addresses,
        channels: page
            .channels
            .iter()
            .map(|choice| channel(&texts, *choice))
            .collect(),
        topics: topics.collect(),
        paused: page.paused_until.map(|until| {
            texts
                .get("paused_until")
                .replace("{date}", &day(until, zone.as_ref()))
        }),
        quiet_from: clock(page.quiet_hours.map(|window| window.start)),
        quiet_to: clock(page.quiet_hours.map(|window| window.end)),
        quiet_hint: match &page.zone {
            Some(name) if zone.is_some() => texts.get("quiet_hint_zone").replace("{zone}", &city(name)),
            _ => texts.get("quiet_hint").to_owned(),
        },
        languages: if page.languages.len() > 1 {
            languages.collect()
        } else {
            Vec::new()
        },
    };
    let content = html::render("preferences.html", &content);
    let title = texts.get("preferences_title");
    html::page(
        status,
        &PageFrame {
            sender: Some(&page.sender),
            texts: &texts,
            title,
            content: &content,
        },
    )
}

fn channel(texts: &Texts, choice: ChannelChoice) -> Choice<'_> {
    let label = match choice.channel {
        Channel::Email => "email",
        Channel::Sms => "sms",
        Channel::Whatsapp => "whatsapp",
        Channel::WhatsappWeb => "whatsapp_web",
    };
    Choice {
        value: choice.channel.as_str(),
        label: texts.get(label),
        hint: if choice.stopped {
            texts.get("stopped_hint")
        } else {
            ""
        },
        on: choice.on,
        locked: choice.stopped,
    }
}

const fn topic_key(topic: Category) -> &'static str {
    match topic {
        Category::Marketing => "topic_marketing",
        Category::Service => "topic_service",
        Category::Transactional => "topic_transactional",
    }
}

/// The place in a zone's name: `Chicago` of `America/Chicago`.
fn city(zone: &str) -> String {
    zone.rsplit('/').next().unwrap_or(zone).replace('_', " ")
}

/// A day as a person reads it, where they are.
fn day(at: Timestamp, zone: Option<&TimeZone>) -> String {
    at.to_zoned(zone.cloned().unwrap_or(TimeZone::UTC))
        .strftime("%-d %B %Y")
        .to_string()
}
