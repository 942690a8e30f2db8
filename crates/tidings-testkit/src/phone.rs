//! The phone behind a page that behaves as WhatsApp's: what it knows decides what the page shows, and it notes what the page
//! sends. It is no part of the product, and knows none of it.
#![expect(clippy::unwrap_used, reason = "a page without its phone ends the test")]

use axum::extract::{Query, State};
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// What the page shows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Shown {
    version: i64,
    /// The account has this browser among its devices.
    pub paired: bool,
    /// The account's number; digits.
    pub account: String,
    /// What the phone must scan.
    pub code: String,
    /// A new code must be asked for.
    pub expired: bool,
    /// The chats, in their order.
    pub chats: Vec<Chat>,
    /// Something lies over everything.
    pub covered: bool,
    /// The account is open elsewhere.
    pub other_window: bool,
    /// A dialog that the escape key closes.
    pub news: bool,
    /// Nothing that is written can be sent.
    pub no_button: bool,
    /// The page changes what is typed.
    pub changes_text: bool,
    /// The page does nothing more once a message is sent.
    pub hangs: bool,
    /// What is sent gets no further than the page's own clock.
    #[serde(skip)]
    pub offline: bool,
    /// What is sent vanishes.
    #[serde(skip)]
    pub swallows: bool,
}

/// A chat.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Chat {
    /// `4366411@c.us`, `99@lid` or a group.
    pub peer: String,
    /// By which a link finds it; digits.
    pub number: String,
    /// What stands above it.
    pub title: String,
    /// Of several people.
    pub group: bool,
    /// Messages in that were not read.
    pub unread: usize,
    /// What was written and not sent.
    pub draft: String,
    /// The messages, oldest first.
    pub messages: Vec<Message>,
}

/// A message.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    /// WhatsApp's id.
    pub id: String,
    /// From us.
    pub out: bool,
    /// Its text.
    pub text: String,
    /// The mark on it: `pending`, `sent`, `delivered`, `read`, or none.
    pub tick: String,
}

impl Chat {
    /// With a number.
    pub fn of(number: &str, title: &str) -> Self {
        Self {
            peer: format!("{number}@c.us"),
            number: number.to_owned(),
            title: title.to_owned(),
            ..Self::default()
        }
    }

    /// Somebody whom WhatsApp calls by an id of its own.
    pub fn local(id: &str, number: &str, title: &str) -> Self {
        Self {
            peer: format!("{id}@lid"),
            ..Self::of(number, title)
        }
    }

    /// Adds a message, with this mark on it when it is ours.
    pub fn add(&mut self, out: bool, text: &str, tick: &str) {
        let number = self.messages.len();
        self.messages.push(Message {
            id: format!("{out}_{}_3EB0{number:04}", self.peer),
            out,
            text: text.to_owned(),
            tick: tick.to_owned(),
        });
    }
}

/// The phone, and the server of its page.
#[derive(Clone, Debug)]
pub struct Phone {
    shown: Arc<Mutex<Shown>>,
    changed: watch::Sender<i64>,
    url: String,
}

impl Phone {
    /// A phone that is not paired yet.
    pub async fn start(chats: Vec<Chat>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shown = Shown {
            account: "436641111111".to_owned(),
            code: "2@first,code,1".to_owned(),
            chats,
            ..Shown::default()
        };
        let phone = Self {
            shown: Arc::new(Mutex::new(shown)),
            changed: watch::Sender::new(0),
            url,
        };
        let page = || async { Html(include_str!("phone.html")) };
        let routes = Router::new()
            .route("/", get(page))
            .route("/send", get(page))
            .route("/_state", get(state))
            .route("/_send", post(send))
            .route("/_opened", post(opened))
            .route("/_draft", post(draft))
            .route("/_renew", post(renew))
            .route("/_news", post(news))
            .with_state(phone.clone());
        TaskTracker::new().spawn(async move { axum::serve(listener, routes).await });
        phone
    }

    /// One that is paired already.
    pub async fn paired(chats: Vec<Chat>) -> Self {
        let phone = Self::start(chats).await;
        phone.change(|shown| shown.paired = true);
        phone
    }

    /// Where the page is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Changes what the page shows.
    pub fn change(&self, change: impl FnOnce(&mut Shown)) {
        let mut shown = self.shown();
        change(&mut shown);
        shown.version += 1;
        self.changed.send_replace(shown.version);
    }

    /// Somebody writes to us.
    pub fn write(&self, peer: &str, text: &str) {
        self.change(|shown| {
            let chat = shown.chats.iter_mut().find(|chat| chat.peer == peer).unwrap();
            chat.add(false, text, "");
            chat.unread += 1;
        });
    }

    /// What was sent to a peer.
    pub fn sent(&self, peer: &str) -> Vec<String> {
        let shown = self.shown();
        let chat = shown.chats.iter().find(|chat| chat.peer == peer).unwrap();
        let ours = chat.messages.iter().filter(|message| message.out);
        ours.map(|message| message.text.clone()).collect()
    }

    /// The mark on every message to a peer.
    pub fn tick(&self, peer: &str, tick: &str) {
        self.change(|shown| {
            let chat = shown.chats.iter_mut().find(|chat| chat.peer == peer).unwrap();
            for message in chat.messages.iter_mut().filter(|message| message.out) {
                tick.clone_into(&mut message.tick);
            }
        });
    }

    /// Waits until what is shown is so.
    pub async fn until(&self, is_so: impl Fn(&Shown) -> bool) {
        let mut changed = self.changed.subscribe();
        while !is_so(&self.shown()) {
            changed.changed().await.unwrap();
        }
    }

    /// What the page shows now.
    pub fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap()
    }
}

#[derive(Deserialize)]
struct Since {
    since: i64,
}

async fn state(State(phone): State<Phone>, Query(since): Query<Since>) -> Json<Shown> {
    let mut changed = phone.changed.subscribe();
    while phone.shown().version == since.since {
        if changed.changed().await.is_err() {
            break;
        }
    }
    let shown = phone.shown().clone();
    Json(shown)
}

#[derive(Deserialize)]
struct ToPeer {
    peer: String,
    #[serde(default)]
    text: String,
}

async fn send(State(phone): State<Phone>, Json(sent): Json<ToPeer>) {
    phone.change(|shown| {
        let tick = if shown.offline { "pending" } else { "sent" };
        let swallows = shown.swallows;
        let chat = shown
            .chats
            .iter_mut()
            .find(|chat| chat.peer == sent.peer)
            .unwrap();
        chat.draft.clear();
        if !swallows {
            chat.add(true, &sent.text, tick);
        }
    });
}

async fn opened(State(phone): State<Phone>, Json(opened): Json<ToPeer>) {
    phone.change(|shown| {
        let chat = shown
            .chats
            .iter_mut()
            .find(|chat| chat.peer == opened.peer)
            .unwrap();
        chat.unread = 0;
    });
}

/// Drafts are kept without a word to the page, which has them.
async fn draft(State(phone): State<Phone>, Json(draft): Json<ToPeer>) {
    let mut shown = phone.shown();
    let chat = shown
        .chats
        .iter_mut()
        .find(|chat| chat.peer == draft.peer)
        .unwrap();
    chat.draft = draft.text;
}

async fn news(State(phone): State<Phone>) {
    phone.change(|shown| shown.news = false);
}

async fn renew(State(phone): State<Phone>) {
    phone.change(|shown| {
        "2@second,code,1".clone_into(&mut shown.code);
        shown.expired = false;
    });
}
