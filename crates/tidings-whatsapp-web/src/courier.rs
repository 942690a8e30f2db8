//! Carrying one message: taken by its reference, opened, written, clicked, looked for. One at a time.
//!
//! Everything before the click ends in a certain no ([`No`]); from the click on there is what was seen in the chat, or nothing.

use crate::browser::{Browser, Followed, OpenChat};
use crate::companion::{Desk, Shared};
use crate::journal::JournalError;
use crate::last_message::Sent;
use crate::pace;
use crate::page::{LOOK_EVERY, NotSent, Page};
use crate::reader;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tidings_core::PhoneNumber;
use tidings_core::redact::Private;
use tidings_providers::whatsapp_web::wire::{
    LONGEST_REFERENCE, LONGEST_TEXT, MessageReport, NOT_ON_WHATSAPP, SendRequest, SessionState, Standing,
    TOO_SOON,
};
use tokio::time::Instant;

/// When to come back while another message is being written.
const BUSY: Duration = Duration::from_secs(15);

/// A certain no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct No {
    /// The HTTP status it is told with.
    pub status: u16,
    /// A word for programs.
    pub code: &'static str,
    /// What is wrong and what to do, without personal data.
    pub detail: String,
    /// When to come back.
    pub retry_after: Option<Duration>,
}

impl No {
    fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            retry_after: None,
        }
    }

    fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(422, code, detail)
    }

    fn later(code: &'static str, detail: impl Into<String>, after: Duration) -> Self {
        Self {
            retry_after: Some(after),
            ..Self::new(429, code, detail)
        }
    }

    /// The session is not where messages can be written. What only a person mends is told as a matter of the account.
    pub fn not_ready(state: SessionState, detail: Option<&str>) -> Self {
        let (status, code) = match state {
            SessionState::Pairing => (403, "not_paired"),
            SessionState::Blocked => (403, "blocked"),
            SessionState::Starting | SessionState::Disconnected | SessionState::Ready => (503, "not_ready"),
        };
        let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
        Self::new(status, code, format!("the session is {state}{detail}"))
    }
}

impl From<JournalError> for No {
    fn from(error: JournalError) -> Self {
        tracing::error!(%error, "a journal of the companion cannot be written");
        Self::new(
            503,
            "disk",
            "the companion's ledger cannot be written; see its log",
        )
    }
}

impl From<NotSent> for No {
    fn from(why: NotSent) -> Self {
        match why {
            NotSent::NotOnWhatsapp => Self::invalid(NOT_ON_WHATSAPP, "the number is not on WhatsApp"),
            // Only a person mends what stays over the page.
            NotSent::Page {
                code: "blocked",
                detail,
            } => Self::new(403, "blocked", detail),
            NotSent::Page { code, detail } => Self::new(503, code, detail),
            NotSent::Driver(error) => Self::new(503, "browser", error.to_string()),
        }
    }
}

/// What becomes of a request at once.
#[derive(Debug)]
pub enum Begun {
    /// Something is known of the reference already.
    Known(MessageReport),
    /// It is being carried; whoever waits hears of it.
    Carried(tokio::sync::oneshot::Receiver<Result<MessageReport, No>>),
}

/// Takes a request: answers from the ledger, or begins to carry it in a task of its own, which goes on when nobody waits.
pub fn begin(shared: &Arc<Shared>, request: SendRequest) -> Result<Begun, No> {
    let digits = check(&request)?;
    let now = shared.clock.now();
    {
        let mut desk = shared.desk();
        if desk.under_way.as_deref() == Some(request.reference.as_str()) {
            return Ok(Begun::Known(sending(&request.reference)));
        }
        if let Some(report) = desk.ledger.report(&request.reference) {
            if report.standing == Standing::Withdrawn {
                let detail = "the reference was asked about before it arrived, and withdrawn";
                return Err(No::new(410, "withdrawn", detail));
            }
            return Ok(Begun::Known(report));
        }
        if desk.under_way.is_some() {
            return Err(No::later("busy", "another message is being written", BUSY));
        }
        if let Some(wait) = pace::wait(desk.ledger.last(), now) {
            return Err(No::later(
                TOO_SOON,
                "the account's messages keep a distance of 60 to 90 seconds",
                seconds_up(wait),
            ));
        }
        desk.under_way = Some(request.reference.clone());
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    let shared_too = shared.clone();
    shared.tracker.spawn(async move {
        let shared = shared_too;
        let _desk = UnderWay(&shared);
        let carried = carry(&shared, &request, &digits).await;
        match &carried {
            Ok(report) => tracing::info!(reference = %report.reference, standing = %report.standing, "carried"),
            Err(no) => tracing::info!(reference = %request.reference, code = no.code, detail = %no.detail, "not sent"),
        }
        // Nobody may be waiting any more; the ledger knows.
        let _ = tell.send(carried);
    });
    Ok(Begun::Carried(told))
}

/// What is known of a reference.
pub fn report(shared: &Shared, reference: &str) -> Option<MessageReport> {
    known(&shared.desk(), reference)
}

fn known(desk: &Desk, reference: &str) -> Option<MessageReport> {
    let under_way = desk.under_way.as_deref() == Some(reference);
    let in_ledger = desk.ledger.report(reference);
    in_ledger.or_else(|| under_way.then(|| sending(reference)))
}

/// What is known of a reference; where that is nothing, it will never be sent.
pub fn withdraw(shared: &Shared, reference: &str) -> Result<MessageReport, No> {
    if !is_reference(reference) {
        return Err(No::invalid(
            "reference",
            "a reference has 1 to 128 letters, digits, '-', '.' and '_'",
        ));
    }
    // Looked at and withdrawn under one lock: nothing arrives in between.
    let mut desk = shared.desk();
    if let Some(report) = known(&desk, reference) {
        return Ok(report);
    }
    desk.ledger
        .stands(reference, Standing::Withdrawn, None, shared.clock.now())?;
    desk.ledger
        .report(reference)
        .ok_or_else(|| No::new(503, "disk", "the ledger has lost the reference"))
}

/// The task is over, however it ended.
struct UnderWay<'s>(&'s Shared);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.desk().under_way = None;
    }
}

fn sending(reference: &str) -> MessageReport {
    MessageReport {
        reference: reference.to_owned(),
        standing: Standing::Sending,
        id: None,
        detail: None,
    }
}

/// The recipient's digits of a request that can be carried.
fn check(request: &SendRequest) -> Result<String, No> {
    if !is_reference(&request.reference) {
        return Err(No::invalid(
            "reference",
            "a reference has 1 to 128 letters, digits, '-', '.' and '_'",
        ));
    }
    let number = PhoneNumber::parse(request.to.expose(), None)
        .map_err(|_| No::invalid("to", "the recipient must be a phone number in international form"))?;
    let text = request.text.expose();
    let length = text.chars().count();
    if text.trim().is_empty() || length > LONGEST_TEXT {
        return Err(No::invalid(
            "text",
            format!("a text has 1 to {LONGEST_TEXT} characters, this one {length}"),
        ));
    }
    if text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        return Err(No::invalid("text", "the text holds a control character"));
    }
    Ok(number.as_str().chars().filter(char::is_ascii_digit).collect())
}

fn is_reference(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (1..=LONGEST_REFERENCE).contains(&text.len()) && text.bytes().all(known)
}

/// Line ends as one line feed, tabs as a blank: a tab would leave the box.
fn typed(text: &str) -> String {
    text.replace("\r\n", "\n")
        .replace(['\r'], "\n")
        .replace('\t', " ")
}

fn seconds_up(wait: SignedDuration) -> Duration {
    Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(0))
}

async fn carry(shared: &Arc<Shared>, request: &SendRequest, digits: &str) -> Result<MessageReport, No> {
    let mut browser = shared.browser.lock().await;
    let text = typed(request.text.expose());
    let page = match browser.page().await {
        Ok(page) => page,
        Err(error) => return Err(No::new(503, "browser", error.to_string())),
    };
    let prepared = prepare(shared, &mut browser, &page, digits, &text).await;
    let (button, before) = match prepared {
        Ok(prepared) => prepared,
        Err(Stopped::No(no)) => return Err(no),
        Err(Stopped::NotSent(why)) => {
            leave(shared, &mut browser, &page, &why).await;
            return Err(why.into());
        }
    };
    let reference = &request.reference;
    let gap = pace::draw(&mut shared.dice.lock().unwrap_or_else(PoisonError::into_inner));
    let at = shared.clock.now();
    {
        let mut desk = shared.desk();
        desk.last_message.replace(Sent {
            reference: reference.clone(),
            number: Private::new(digits.to_owned()),
            text: Private::new(text.clone()),
            before: before.clone(),
            at,
        })?;
        desk.ledger.click(reference, pace::Last { at, gap })?;
    }
    if let Err(error) = page.session().click(&button).await {
        if error.is_not_done() {
            {
                let mut desk = shared.desk();
                desk.ledger.no_click(reference)?;
                desk.last_message.forget(reference)?;
            }
            // The draft is emptied before the next message too; a failure here changes nothing.
            let _ = page.clear().await;
            shared.lost(&mut browser, &error).await;
            return Err(No::new(
                503,
                "covered",
                format!("the button that sends could not be clicked: {error}"),
            ));
        }
        tracing::warn!(%reference, %error, "nobody knows whether the button was clicked");
    }
    let followed = Followed {
        reference: reference.clone(),
        text,
        before,
        until: Instant::now() + browser.limits().marks,
    };
    seen(shared, &mut browser, &page, followed).await;
    shared
        .desk()
        .ledger
        .report(reference)
        .ok_or_else(|| No::new(503, "disk", "the ledger has lost the reference"))
}

/// Leaves the page as it is found by the next message: without the dialog that ended this one.
async fn leave(shared: &Shared, browser: &mut Browser, page: &Page, why: &NotSent) {
    browser.chat = None;
    let left = match why {
        NotSent::Driver(error) => Err(error.clone()),
        NotSent::NotOnWhatsapp | NotSent::Page { .. } => page.load().await,
    };
    if let Err(error) = left {
        shared.lost(browser, &error).await;
    }
}

/// Why nothing was clicked.
enum Stopped {
    No(No),
    NotSent(NotSent),
}

impl<E: Into<NotSent>> From<E> for Stopped {
    fn from(why: E) -> Self {
        Self::NotSent(why.into())
    }
}

/// Opens the chat, hands over what was written to us in it, and writes the text; gives the button, and the messages that were
/// there before it is clicked.
async fn prepare(
    shared: &Shared,
    browser: &mut Browser,
    page: &Page,
    digits: &str,
    text: &str,
) -> Result<(crate::webdriver::Element, HashSet<String>), Stopped> {
    let look = page.look().await?;
    shared.note(&look);
    let (state, detail) = look.state();
    // What lies over the chats is gone once the page is loaded anew, or tells by itself that it is not.
    let covered = look.ready && state == SessionState::Blocked;
    if state != SessionState::Ready && !covered {
        return Err(Stopped::No(No::not_ready(state, detail)));
    }
    browser.chat = None;
    let chat = page.open_number(digits).await?;
    reader::hand_over(shared, &chat, 0, None, Some(digits));
    browser.chat = Some(OpenChat {
        before: chat.ids(),
        number: Some(digits.to_owned()),
        followed: None,
    });
    let button = page.write(text).await?;
    Ok((button, page.chat().await?.ids()))
}

/// Looks for the message in the chat until it has a tick, for a while; goes on following it later.
async fn seen(shared: &Shared, browser: &mut Browser, page: &Page, followed: Followed) {
    if let Some(chat) = &mut browser.chat {
        chat.followed = Some(followed);
    }
    let until = Instant::now() + browser.limits().sends;
    loop {
        match page.chat().await {
            Ok(chat) => {
                if reader::follow(shared, browser, &chat).is_some_and(Standing::has_left) {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the chat cannot be read after the click");
                return shared.lost(browser, &error).await;
            }
        }
        if Instant::now() >= until {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// When the account may write again, from now.
pub fn next_send(shared: &Shared, now: Timestamp) -> Duration {
    pace::wait(shared.desk().ledger.last(), now).map_or(Duration::ZERO, seconds_up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("r-1.2_x", "+436641234567", "Hello\r\nKim\t!", None)]
    #[case("", "+436641234567", "Hello", Some("reference"))]
    #[case("a/b", "+436641234567", "Hello", Some("reference"))]
    #[case("r", "0664 1234567", "Hello", Some("to"))]
    #[case("r", "+436641234567", " \n ", Some("text"))]
    #[case("r", "+436641234567", "Hello\u{E007}\u{7}", Some("text"))]
    fn requests_are_checked(
        #[case] reference: &str,
        #[case] to: &str,
        #[case] text: &str,
        #[case] code: Option<&str>,
    ) {
        let request = SendRequest {
            reference: reference.to_owned(),
            to: Private::new(to.to_owned()),
            text: Private::new(text.to_owned()),
        };
        match check(&request) {
            Ok(digits) => assert_eq!((digits.as_str(), code), ("436641234567", None)),
            Err(no) => assert_eq!((Some(no.code), no.status), (code, 422)),
        }
    }

    #[test]
    fn lines_are_parted_by_one_line_feed() {
        assert_eq!(typed("a\r\nb\rc\td"), "a\nb\nc d");
    }
}
