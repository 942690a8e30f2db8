//! Ask, check, ask once more, give up: the way of a draft.

use crate::answer;
use crate::check::{Check, Finding, check};
use crate::model::{Conversation, ModelFailure, Role, Usage, complete};
use crate::prompt;
use crate::request::DraftRequest;
use crate::settings::ModelSettings;
use crate::transport::Transport;
use std::fmt;
use std::time::Duration;
use tidings_core::{ErrorCategory, word_enum};
use tokio::time::Instant;

/// The first try, and one more with the findings told.
const MOST_TRIES: u32 = 2;

/// A subject and a text without markup.
#[derive(Clone, PartialEq, Eq)]
pub struct DraftText {
    /// The subject; only an e-mail has one.
    pub subject: Option<String>,
    /// The text.
    pub body: String,
}

impl fmt::Debug for DraftText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DraftText([private])")
    }
}

/// A draft that passed every check.
#[derive(Clone)]
pub struct Draft {
    /// The subject; only an e-mail has one.
    pub subject: Option<String>,
    /// The text without markup.
    pub body_text: String,
    /// The model that wrote it.
    pub model: String,
    /// Tokens of all tries.
    pub usage: Usage,
    /// Calls made: 1 or 2.
    pub tries: u32,
    /// What it was checked for.
    pub checked: Vec<Check>,
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("model", &self.model)
            .field("usage", &self.usage)
            .field("tries", &self.tries)
            .finish_non_exhaustive()
    }
}

word_enum! {
    /// Why there is no draft. The template is sent instead.
    pub enum RefusalReason {
        /// The request contradicts itself; no model was asked.
        RequestInvalid = "ai_request_invalid",
        /// No connection, or it broke off.
        ModelUnreachable = "ai_model_unreachable",
        /// No answer within the limits.
        ModelTimedOut = "ai_model_timed_out",
        /// The endpoint asked to wait.
        ModelRateLimited = "ai_model_rate_limited",
        /// The endpoint refused the key, the account, the model's name or the address.
        ModelAuthFailed = "ai_model_auth_failed",
        /// The endpoint refused the request or ended the answer at the token limit.
        ModelRefusedRequest = "ai_model_refused_request",
        /// The endpoint failed.
        ModelFailed = "ai_model_failed",
        /// The endpoint's answer cannot be read.
        ModelAnswerUnreadable = "ai_model_answer_unreadable",
        /// The model would not write it.
        ModelDeclined = "ai_model_declined",
        /// The model answered twice in another form than asked for.
        DraftUnreadable = "ai_draft_unreadable",
        /// The draft did not pass the checks.
        ChecksFailed = "ai_checks_failed",
    }
}

/// Why there is no draft, with what is needed to explain it.
#[derive(Clone, Debug)]
pub struct DraftRefused {
    /// A stable word.
    pub reason: RefusalReason,
    /// A sentence for the log and the console, without personal data.
    pub detail: String,
    /// Where the call failed: the class of the error.
    pub category: Option<ErrorCategory>,
    /// How long the endpoint asked us to wait.
    pub retry_after: Option<Duration>,
    /// What the checks found in the last draft.
    pub findings: Vec<Finding>,
    /// Tokens of all tries.
    pub usage: Usage,
    /// Calls made: 0 to 2.
    pub tries: u32,
}

impl fmt::Display for DraftRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no draft ({}): {}", self.reason, self.detail)
    }
}

impl std::error::Error for DraftRefused {}

/// Tries, tokens and the last fault of a draft under way.
#[derive(Default)]
struct Course {
    usage: Usage,
    tries: u32,
    findings: Vec<Finding>,
}

impl Course {
    fn refused(self, reason: RefusalReason, detail: impl Into<String>) -> DraftRefused {
        DraftRefused {
            reason,
            detail: detail.into(),
            category: None,
            retry_after: None,
            findings: self.findings,
            usage: self.usage,
            tries: self.tries,
        }
    }

    fn failed(self, failure: ModelFailure) -> DraftRefused {
        let reason = reason_of(&failure);
        DraftRefused {
            category: Some(failure.category),
            retry_after: failure.retry_after,
            ..self.refused(reason, failure.detail)
        }
    }

    /// What is said after the last try.
    fn ended(self) -> DraftRefused {
        if self.findings.is_empty() {
            return self.refused(
                RefusalReason::DraftUnreadable,
                "the model did not answer with the JSON object asked for",
            );
        }
        let mut codes: Vec<&str> = self
            .findings
            .iter()
            .map(|finding| finding.code.as_str())
            .collect();
        codes.dedup();
        let detail = format!("the draft did not pass: {}", codes.join(", "));
        self.refused(RefusalReason::ChecksFailed, detail)
    }
}

fn reason_of(failure: &ModelFailure) -> RefusalReason {
    match (failure.code.as_str(), failure.category) {
        ("timed_out", _) => RefusalReason::ModelTimedOut,
        ("not_sent" | "broken_off", _) => RefusalReason::ModelUnreachable,
        ("unreadable" | "answer_cut", _) => RefusalReason::ModelAnswerUnreadable,
        ("declined", _) => RefusalReason::ModelDeclined,
        (_, ErrorCategory::RateLimit) => RefusalReason::ModelRateLimited,
        (_, ErrorCategory::AuthFailure) => RefusalReason::ModelAuthFailed,
        (_, ErrorCategory::InvalidInput | ErrorCategory::Permanent) => RefusalReason::ModelRefusedRequest,
        (_, ErrorCategory::Transient) => RefusalReason::ModelFailed,
    }
}

/// Asks the model for a draft and checks it. A draft with faults is sent back once, with the faults named; a call that
/// failed is not repeated here, because the template is at hand. Ends within the settings' total limit.
pub async fn draft(
    transport: &dyn Transport,
    settings: &ModelSettings,
    request: &DraftRequest<'_>,
) -> Result<Draft, DraftRefused> {
    let mut course = Course::default();
    if let Some(problem) = request.problem() {
        return Err(course.refused(RefusalReason::RequestInvalid, problem));
    }
    let deadline = Instant::now() + settings.total_timeout();
    let mut conversation = Conversation {
        system: prompt::system(request, settings),
        turns: vec![(Role::User, prompt::task(request))],
    };
    while course.tries < MOST_TRIES {
        let left = deadline.saturating_duration_since(Instant::now());
        course.tries += 1;
        let completion = match complete(transport, settings, &conversation, left).await {
            Ok(completion) => completion,
            Err(failure) => return Err(course.failed(failure)),
        };
        course.usage = course.usage.plus(completion.usage);
        let (own, correction) = match answer::parse(&completion.content, request.channel) {
            None => {
                course.findings.clear();
                // What cannot be read is not repeated to the model: it may be long, or not text at all.
                ("{}".to_owned(), prompt::WRONG_FORM.to_owned())
            }
            Some(text) => {
                course.findings = check(&text, request);
                if course.findings.is_empty() {
                    return Ok(passed(text, settings, &course));
                }
                (prompt::own_words(&text), prompt::correction(&course.findings))
            }
        };
        conversation
            .turns
            .extend([(Role::Assistant, own), (Role::User, correction)]);
    }
    Err(course.ended())
}

fn passed(text: DraftText, settings: &ModelSettings, course: &Course) -> Draft {
    Draft {
        subject: text.subject,
        body_text: text.body,
        model: settings.model().to_owned(),
        usage: course.usage,
        tries: course.tries,
        checked: Check::ALL.to_vec(),
    }
}
