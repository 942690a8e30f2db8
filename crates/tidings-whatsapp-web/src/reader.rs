//! Looking at the page in between: how the session stands, marks on the message that was sent last, and what was written to us.

use crate::browser::{Browser, Followed, OpenChat};
use crate::companion::{Desk, Shared};
use crate::outbox::{Item, digest_of};
use crate::page::judge::{Chat, Message, Peer};
use crate::page::{NotSent, Page};
use crate::webdriver::DriverError;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::redact::Private;
use tidings_providers::whatsapp_web::wire::{Arrived, SessionState, Standing, StandingReport};
use tokio::time::Instant;

/// Looks at the page again and again until the companion ends.
pub async fn run(shared: Arc<Shared>, every: Duration) {
    let mut blocked_since = None;
    loop {
        look(&shared, &mut blocked_since).await;
        tokio::select! {
            () = shared.ended.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

async fn look(shared: &Shared, blocked_since: &mut Option<Instant>) {
    let mut browser = shared.browser.lock().await;
    if shared.ended.is_cancelled() {
        return;
    }
    let page = match browser.page().await {
        Ok(page) => page,
        Err(error) => {
            tracing::warn!(%error, "there is no browser");
            if let crate::browser::BrowserError::Driver(error) = &error {
                browser.failed(error).await;
            }
            return shared.note_state(SessionState::Starting, Some(error.to_string()));
        }
    };
    if let Err(error) = look_at(shared, &mut browser, &page, blocked_since).await {
        tracing::warn!(%error, "the page cannot be looked at");
        shared.note_state(SessionState::Starting, Some(error.to_string()));
        browser.failed(&error).await;
    }
}

async fn look_at(
    shared: &Shared,
    browser: &mut Browser,
    page: &Page,
    blocked_since: &mut Option<Instant>,
) -> Result<(), DriverError> {
    let look = page.look().await?;
    shared.note(&look);
    let (state, _) = look.state();
    if state != SessionState::Blocked {
        *blocked_since = None;
    }
    match state {
        SessionState::Pairing if look.expired => page.renew_code().await,
        SessionState::Blocked => {
            let since = *blocked_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= browser.limits().covered {
                *blocked_since = None;
                browser.chat = None;
                page.load().await?;
            }
            Ok(())
        }
        SessionState::Ready => read(shared, browser, page).await,
        SessionState::Pairing | SessionState::Starting | SessionState::Disconnected => Ok(()),
    }
}

/// Reads the chat that is open, then those with unread messages.
async fn read(shared: &Shared, browser: &mut Browser, page: &Page) -> Result<(), DriverError> {
    if let Err(error) = shared.desk().last_message.expire(shared.clock.now()) {
        tracing::error!(%error, "the last message cannot be forgotten");
    }
    if browser.chat.is_none() {
        take_up(shared, browser, page).await?;
    }
    if browser.chat.is_some() {
        let chat = page.chat().await?;
        follow(shared, browser, &chat);
        if let Some(open) = &browser.chat {
            hand_over(shared, &chat, 0, Some(&open.before), open.number.as_deref());
        }
    }
    for unread in page.unread().await? {
        if shared.outbox().is_full() || shared.ended.is_cancelled() {
            return Ok(());
        }
        let open = browser.chat.as_ref();
        let followed = open.and_then(|chat| chat.followed.as_ref());
        if followed.is_some_and(|followed| Instant::now() < followed.until) {
            return Ok(());
        }
        browser.chat = None;
        let (chat, count) = page.open_unread(&unread).await?;
        hand_over(shared, &chat, count, None, None);
        browser.chat = Some(OpenChat {
            before: chat.ids(),
            number: None,
            followed: None,
        });
    }
    Ok(())
}

/// Opens the chat of the message that was sent last, when it was closed before the message was read: by the end of the browser, or of
/// the process.
async fn take_up(shared: &Shared, browser: &mut Browser, page: &Page) -> Result<(), DriverError> {
    let sent = {
        let mut desk = shared.desk();
        let Some(sent) = desk.last_message.take_up() else {
            return Ok(());
        };
        // Not in the ledger: the process ended before the button was clicked.
        if desk.ledger.report(&sent.reference).is_none() {
            forget(&mut desk, &sent.reference);
            return Ok(());
        }
        sent
    };
    let digits = sent.number.expose();
    let chat = match page.open_number(digits).await {
        Ok(chat) => chat,
        Err(NotSent::Driver(error)) => return Err(error),
        Err(why) => {
            tracing::warn!(reference = %sent.reference, ?why, "the chat of the last message cannot be opened again");
            return page.load().await;
        }
    };
    tracing::info!(reference = %sent.reference, "its chat is open again");
    hand_over(shared, &chat, 0, None, Some(digits));
    browser.chat = Some(OpenChat {
        before: chat.ids(),
        number: Some(digits.clone()),
        followed: Some(Followed {
            reference: sent.reference,
            text: sent.text.expose().clone(),
            before: sent.before,
            until: Instant::now() + browser.limits().marks,
        }),
    });
    Ok(())
}

/// There is nothing more to see of a message.
fn forget(desk: &mut Desk, reference: &str) {
    if let Err(error) = desk.last_message.forget(reference) {
        tracing::error!(%error, "the last message cannot be forgotten");
    }
}

/// Looks for the message that was sent last; what is new of it is written down and reported. Gives where it stands.
pub fn follow(shared: &Shared, browser: &mut Browser, chat: &Chat) -> Option<Standing> {
    let open = browser.chat.as_mut()?;
    let followed = open.followed.as_ref()?;
    let message = chat.sent(&followed.before, &followed.text)?;
    let (standing, now) = (message.standing(), shared.clock.now());
    let id = message.whatsapp_id().to_owned();
    let reference = followed.reference.clone();
    let new = {
        let mut desk = shared.desk();
        if standing == Standing::Read {
            forget(&mut desk, &reference);
        }
        desk.ledger.stands(&reference, standing, Some(id.clone()), now)
    };
    match new {
        Ok(true) if standing.has_left() => shared.put(Item::Report(StandingReport {
            reference,
            standing,
            id: Some(id),
            seen_at: now,
        })),
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "the ledger cannot be written"),
    }
    if standing == Standing::Read {
        open.followed = None;
    }
    Some(standing)
}

/// Puts messages that were not handed over before into the outbox.
pub fn hand_over(
    shared: &Shared,
    chat: &Chat,
    unread: usize,
    before: Option<&HashSet<String>>,
    number: Option<&str>,
) {
    if let (Some(Peer::Local(local)), Some(number)) = (chat.peer(), number)
        && let Err(error) = shared.outbox().learn(local, number)
    {
        tracing::error!(%error, "the outbox cannot be written");
    }
    for message in chat.may_be_new(unread, before) {
        if message.text.trim().is_empty() && !message.media {
            // A notice of the page itself.
            continue;
        }
        let id = digest_of(&message.id);
        if shared.outbox().knows(&id) {
            continue;
        }
        let Some(from) = author(shared, chat, message, number) else {
            if message.peer() != Some(Peer::Group) {
                tracing::warn!(message = %id, "the page does not tell the number of whoever wrote; save no name for it on the phone");
            }
            continue;
        };
        shared.put(Item::Message(Arrived {
            id,
            from: Private::new(format!("+{from}")),
            text: Private::new(message.text.clone()),
            media: message.media,
            seen_at: shared.clock.now(),
        }));
    }
}

/// The digits of whoever wrote a message.
fn author(shared: &Shared, chat: &Chat, message: &Message, number: Option<&str>) -> Option<String> {
    match message.peer() {
        Some(Peer::Group) => None,
        Some(Peer::Number(digits)) => Some(digits.to_owned()),
        Some(Peer::Local(local)) => {
            let learned = shared
                .outbox()
                .number_of(local)
                .map(|number| number.expose().clone());
            learned
                .or_else(|| chat.number_shown(message))
                .or_else(|| number.map(str::to_owned))
        }
        None => number.map(str::to_owned).or_else(|| chat.number_shown(message)),
    }
}
