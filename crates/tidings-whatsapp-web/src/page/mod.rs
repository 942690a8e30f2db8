//! WhatsApp's page, read and written to. What it looks like is in [`selectors`]; what it says is judged by [`judge`].

pub mod judge;
pub mod selectors;

use crate::webdriver::{DriverError, ENTER, ESCAPE, Element, SHIFT, Session};
use judge::{Chat, Look, same_text};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;
use url::Url;

/// The script; see the file.
const SCRIPT: &str = include_str!("page.js");

/// How often the page is looked at while something is waited for.
pub const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The most messages of a chat that are read.
pub const MOST_MESSAGES: usize = 60;
/// The most unread chats of a look.
const MOST_UNREAD: usize = 20;

/// Why a message was not sent; certainly so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// WhatsApp does not know the number.
    NotOnWhatsapp,
    /// The page did not come to where it can be sent; a word for programs and what was seen.
    Page {
        /// A word for programs.
        code: &'static str,
        /// What was seen, without personal data.
        detail: String,
    },
    /// The driver failed before anything was clicked.
    Driver(DriverError),
}

impl From<DriverError> for NotSent {
    fn from(error: DriverError) -> Self {
        Self::Driver(error)
    }
}

/// An unread chat in the list.
#[derive(Clone, Debug)]
pub struct UnreadChat {
    count: usize,
    row: Element,
}

/// How long the page may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To open a chat, once it is loaded.
    pub opens: Duration,
    /// To show what was clicked or written.
    pub shows: Duration,
    /// To show a message in its chat, with a tick.
    pub sends: Duration,
    /// To show further marks, before another chat is opened.
    pub marks: Duration,
    /// To get rid of what lies over it; after that it is loaded anew.
    pub covered: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            opens: Duration::from_secs(30),
            shows: Duration::from_secs(5),
            sends: Duration::from_secs(10),
            marks: Duration::from_secs(20),
            covered: Duration::from_mins(1),
        }
    }
}

/// The page in a browser session.
#[derive(Clone, Debug)]
pub struct Page {
    session: Session,
    url: Url,
    limits: Limits,
}

impl Page {
    /// The page at `url`, in a session.
    pub fn new(session: Session, url: Url, limits: Limits) -> Self {
        Self { session, url, limits }
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Loads it anew; chats and dialogs are closed by it.
    pub async fn load(&self) -> Result<(), DriverError> {
        self.session.navigate(self.url.as_str()).await
    }

    /// What it shows.
    pub async fn look(&self) -> Result<Look, DriverError> {
        self.read("look", json!(null), "a look").await
    }

    /// Asks for a new pairing code, where the old one has expired.
    pub async fn renew_code(&self) -> Result<(), DriverError> {
        match Element::of(&self.run("renew", json!(null)).await?) {
            Some(button) => self.session.click(&button).await,
            None => Ok(()),
        }
    }

    /// The chat that is open, with its newest messages.
    pub async fn chat(&self) -> Result<Chat, DriverError> {
        self.read("chat", json!({ "most": MOST_MESSAGES }), "a chat")
            .await
    }

    /// Chats with unread messages; groups are left out.
    pub async fn unread(&self) -> Result<Vec<UnreadChat>, DriverError> {
        let found = self.run("unread", json!({ "most": MOST_UNREAD })).await?;
        let rows = found
            .as_array()
            .ok_or(DriverError::Unreadable("a list of chats"))?;
        let rows = rows.iter().filter_map(|found| {
            let count = found.get("count")?.as_u64()?.clamp(1, MOST_MESSAGES as u64);
            let row = Element::of(found.get("row")?)?;
            Some(UnreadChat {
                count: count as usize,
                row,
            })
        });
        Ok(rows.collect())
    }

    /// Opens a chat of the list and reads it, with how many of its messages are unread. Where the chat before it is still shown
    /// after a while, it is that one, and nothing in it is called unread.
    pub async fn open_unread(&self, chat: &UnreadChat) -> Result<(Chat, usize), DriverError> {
        let before = self.chat().await?;
        self.session.click(&chat.row).await?;
        let until = Instant::now() + self.limits.shows;
        loop {
            let shown = self.chat().await?;
            let is_another = !before.open || shown.newest() != before.newest();
            if shown.open && is_another {
                return Ok((shown, chat.count));
            }
            if Instant::now() >= until {
                return Ok((shown, 0));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Opens the chat of a number (digits only) by loading the page with it, and reads it.
    pub async fn open_number(&self, digits: &str) -> Result<Chat, NotSent> {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("send");
        }
        url.query_pairs_mut()
            .append_pair("phone", digits)
            .append_pair("type", "phone_number")
            .append_pair("app_absent", "0");
        self.session.navigate(url.as_str()).await?;
        let until = Instant::now() + self.limits.opens;
        let mut escape_at = Instant::now() + self.limits.shows;
        loop {
            let chat = self.chat().await?;
            if let Some(words) = chat.modal.as_deref() {
                if judge::says_not_on_whatsapp(words) {
                    return Err(NotSent::NotOnWhatsapp);
                }
                // News of the page, most likely.
                if Instant::now() >= escape_at {
                    escape_at = until;
                    self.escape().await?;
                }
            } else if chat.open {
                return chat.of_number(digits).map_err(|detail| NotSent::Page {
                    code: "other_chat",
                    detail,
                });
            }
            if Instant::now() >= until {
                let (code, detail) = if chat.modal.is_some() {
                    (
                        "blocked",
                        "something lies over the page; look at its screenshot".to_owned(),
                    )
                } else {
                    let limit = self.limits.opens.as_secs();
                    ("chat_not_open", format!("the chat did not open within {limit} s"))
                };
                return Err(NotSent::Page { code, detail });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Writes a text into the box of the open chat, and finds the button that sends it. What stands in the box is compared
    /// with what was to be written: the page changes what is typed, and what is not as asked is not sent.
    pub async fn write(&self, text: &str) -> Result<Element, NotSent> {
        let wrong = |code, detail: &str| NotSent::Page {
            code,
            detail: detail.to_owned(),
        };
        let left = self.run("clear", json!(null)).await?;
        if left.as_str().is_none_or(|left| !left.trim().is_empty()) {
            return Err(wrong(
                "box",
                "the box to write in is not there or cannot be emptied",
            ));
        }
        for (number, line) in text.split('\n').enumerate() {
            if number > 0 {
                let field = Element::of(&self.run("box", json!(null)).await?)
                    .ok_or_else(|| wrong("box", "the box to write in is gone"))?;
                self.session.press(&field, &format!("{SHIFT}{ENTER}")).await?;
            }
            if !line.is_empty() {
                self.run("insert", json!({ "text": line })).await?;
            }
        }
        let until = Instant::now() + self.limits.shows;
        loop {
            let written = self.run("written", json!(null)).await?;
            let as_asked = written.as_str().is_some_and(|written| same_text(written, text));
            if as_asked && let Some(button) = Element::of(&self.run("send", json!(null)).await?) {
                return Ok(button);
            }
            if Instant::now() >= until {
                self.run("clear", json!(null)).await?;
                return Err(if as_asked {
                    wrong("button", "the button that sends is not there")
                } else {
                    wrong("box", "the box does not hold the text that was written into it")
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Presses the key that closes dialogs.
    async fn escape(&self) -> Result<(), DriverError> {
        match Element::of(&self.run("body", json!(null)).await?) {
            Some(body) => self.session.press(&body, &ESCAPE.to_string()).await,
            None => Ok(()),
        }
    }

    /// Empties the box of the open chat.
    pub async fn clear(&self) -> Result<(), DriverError> {
        self.run("clear", json!(null)).await.map(|_| ())
    }

    async fn run(&self, task: &str, given: Value) -> Result<Value, DriverError> {
        let arguments = json!([selectors::selectors(), task, given]);
        self.session.execute(SCRIPT, &arguments).await
    }

    async fn read<T: DeserializeOwned>(
        &self,
        task: &str,
        given: Value,
        what: &'static str,
    ) -> Result<T, DriverError> {
        let value = self.run(task, given).await?;
        serde_json::from_value(value).map_err(|_| DriverError::Unreadable(what))
    }
}
