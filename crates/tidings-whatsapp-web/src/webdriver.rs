//! The part of the W3C WebDriver protocol that is needed: a session, a page, elements, keys, scripts, a picture.
//!
//! Every call has a time limit and every answer a bound. What a failure says about whether the command was carried out is
//! [`DriverError::is_not_done`]; everything else may have been.

use serde_json::{Value, json};
use std::time::Duration;
use tidings_providers::egress::{Egress, EgressFailure, EgressRequest, EgressUrl};
use tidings_providers::mask::mask;

/// The key under which an element's id stands, by the standard.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How long a command may take; loading a page has its own time.
const COMMAND: Duration = Duration::from_secs(15);
/// How long a page may load.
pub const LOAD: Duration = Duration::from_secs(45);
/// How long the browser may take to start.
const START: Duration = Duration::from_mins(1);
/// How long a script may run in the page.
const SCRIPT: Duration = Duration::from_secs(10);

/// The largest answer read.
const LARGEST: usize = 4 * 1024 * 1024;
/// The largest picture read.
const LARGEST_PICTURE: usize = 32 * 1024 * 1024;

/// The shift key of the standard.
pub const SHIFT: char = '\u{E008}';
/// The escape key of the standard.
pub const ESCAPE: char = '\u{E00C}';
/// The enter key of the standard.
pub const ENTER: char = '\u{E007}';

/// Why a command was not answered as hoped. Holds no text of the page beyond a masked line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// Nothing was asked: nobody listens there.
    #[error("the browser's driver was not reached: {0}")]
    NotReached(String),
    /// It was asked, and no answer came.
    #[error("the browser's driver did not answer: {0}")]
    NoAnswer(String),
    /// The driver said no.
    #[error("the browser's driver said \"{code}\": {detail}")]
    Refused {
        /// The standard's word.
        code: String,
        /// What the driver added.
        detail: String,
    },
    /// The answer is not of the protocol.
    #[error("the browser's driver answered with something else than {0}")]
    Unreadable(&'static str),
}

impl DriverError {
    /// The command was certainly not carried out: nobody was asked, or the standard has the driver check before it acts.
    pub fn is_not_done(&self) -> bool {
        match self {
            Self::NotReached(_) => true,
            Self::Refused { code, .. } => matches!(
                code.as_str(),
                "element click intercepted"
                    | "element not interactable"
                    | "no such element"
                    | "stale element reference"
                    | "invalid argument"
            ),
            Self::NoAnswer(_) | Self::Unreadable(_) => false,
        }
    }

    /// The session or its driver is gone, so a new one is needed.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::NotReached(_) | Self::NoAnswer(_) => true,
            Self::Refused { code, detail } => {
                matches!(
                    code.as_str(),
                    "invalid session id" | "no such window" | "session not created"
                ) || detail.contains("disconnected")
                    || detail.contains("tab crashed")
            }
            Self::Unreadable(_) => false,
        }
    }
}

/// An element of the page, as long as it stays in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element(String);

impl Element {
    /// The element that a script returned.
    pub fn of(value: &Value) -> Option<Self> {
        value.get(ELEMENT)?.as_str().map(|id| Self(id.to_owned()))
    }
}

/// A browser session.
#[derive(Clone, Debug)]
pub struct Session {
    egress: Egress,
    url: EgressUrl,
}

impl Session {
    /// Asks the driver at `base` for a browser with these capabilities.
    pub async fn new(egress: &Egress, base: &EgressUrl, capabilities: Value) -> Result<Self, DriverError> {
        let body = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let request = post(base.join(&["session"], &[]), &body).timeout(START);
        let value = answer(egress, request).await?;
        let id = value
            .get("sessionId")
            .and_then(Value::as_str)
            .ok_or(DriverError::Unreadable("a session"))?;
        let session = Self {
            egress: egress.clone(),
            url: base.join(&["session", id], &[]),
        };
        let limits = json!({
            "script": SCRIPT.as_millis() as u64, "pageLoad": LOAD.as_millis() as u64, "implicit": 0
        });
        session.tell("timeouts", &limits).await?;
        Ok(session)
    }

    /// Loads a page, and returns when it is loaded.
    pub async fn navigate(&self, url: &str) -> Result<(), DriverError> {
        let request = post(self.url.join(&["url"], &[]), &json!({ "url": url }));
        answer(&self.egress, request.timeout(LOAD + COMMAND)).await?;
        Ok(())
    }

    /// Runs a script in the page; its value comes back.
    pub async fn execute(&self, script: &str, arguments: &Value) -> Result<Value, DriverError> {
        let body = json!({ "script": script, "args": arguments });
        let request = post(self.url.join(&["execute", "sync"], &[]), &body).timeout(COMMAND);
        answer(&self.egress, request).await
    }

    /// Clicks in the middle of an element, as a person would: not through what lies over it.
    pub async fn click(&self, element: &Element) -> Result<(), DriverError> {
        self.to_element(element, "click", &json!({})).await
    }

    /// Presses keys in an element; a modifier is let go at the end.
    pub async fn press(&self, element: &Element, keys: &str) -> Result<(), DriverError> {
        self.to_element(element, "value", &json!({ "text": keys })).await
    }

    /// A picture of the page, as base64 of a PNG.
    pub async fn screenshot(&self) -> Result<String, DriverError> {
        let request = EgressRequest::get(self.url.join(&["screenshot"], &[]))
            .timeout(COMMAND)
            .response_limit(LARGEST_PICTURE);
        let value = call(&self.egress, request).await?;
        let picture = value.as_str().ok_or(DriverError::Unreadable("a picture"))?;
        Ok(picture.to_owned())
    }

    /// Ends the session and its browser.
    pub async fn delete(&self) -> Result<(), DriverError> {
        let request = EgressRequest::delete(self.url.clone()).timeout(COMMAND);
        answer(&self.egress, request).await?;
        Ok(())
    }

    async fn tell(&self, what: &str, body: &Value) -> Result<(), DriverError> {
        let request = post(self.url.join(&[what], &[]), body).timeout(COMMAND);
        answer(&self.egress, request).await?;
        Ok(())
    }

    async fn to_element(&self, element: &Element, what: &str, body: &Value) -> Result<(), DriverError> {
        let url = self.url.join(&["element", &element.0, what], &[]);
        answer(&self.egress, post(url, body).timeout(COMMAND)).await?;
        Ok(())
    }
}

fn post(url: EgressUrl, body: &Value) -> EgressRequest {
    EgressRequest::post(url, "application/json", body.to_string())
}

async fn answer(egress: &Egress, request: EgressRequest) -> Result<Value, DriverError> {
    call(egress, request.response_limit(LARGEST)).await
}

async fn call(egress: &Egress, request: EgressRequest) -> Result<Value, DriverError> {
    let answer = egress.call(request).await.map_err(|failure| match failure {
        EgressFailure::NotSent(why) | EgressFailure::Forbidden(why) => DriverError::NotReached(why),
        EgressFailure::Unanswered(why) => DriverError::NoAnswer(why),
    })?;
    let value = serde_json::from_slice::<Value>(&answer.body)
        .ok()
        .and_then(|mut body| body.get_mut("value").map(Value::take))
        .filter(|_| !answer.cut)
        .ok_or(DriverError::Unreadable("a value"))?;
    if answer.status == 200 {
        return Ok(value);
    }
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    // Only the first line: the rest lists versions and a stack.
    let detail = text("message").lines().next().unwrap_or_default();
    Err(DriverError::Refused {
        code: text("error").chars().take(64).collect(),
        detail: mask(detail).chars().take(200).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn refused(code: &str) -> DriverError {
        DriverError::Refused {
            code: code.to_owned(),
            detail: String::new(),
        }
    }

    #[rstest]
    #[case(refused("element click intercepted"), true, false)]
    #[case(refused("stale element reference"), true, false)]
    #[case(refused("invalid session id"), false, true)]
    #[case(refused("timeout"), false, false)]
    #[case(refused("unknown error"), false, false)]
    #[case(DriverError::NotReached(String::new()), true, true)]
    #[case(DriverError::NoAnswer(String::new()), false, true)]
    #[case(DriverError::Unreadable("a value"), false, false)]
    fn what_a_failure_says(#[case] error: DriverError, #[case] not_done: bool, #[case] gone: bool) {
        assert_eq!((error.is_not_done(), error.is_gone()), (not_done, gone));
    }

    #[test]
    fn elements_are_read_from_scripts() {
        assert_eq!(
            Element::of(&json!({ ELEMENT: "f.1" })),
            Some(Element("f.1".to_owned()))
        );
        assert_eq!(Element::of(&json!({ "x": "f.1" })), None);
    }
}
