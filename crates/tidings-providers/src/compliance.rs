//! What every provider must pass: the same situations for all, arranged by each with its own recorded shapes.

use crate::contract::{Lookup, Provider, Report, SendOutcome, Submission};
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_core::ErrorCategory;

/// A situation that a stand-in can be brought into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Situation {
    /// It takes the message.
    Accepts,
    /// It says no, with an answer of this category.
    Rejects(ErrorCategory),
    /// Nobody listens.
    NotListening,
    /// It reads the whole request and says nothing.
    SilentAfterWrite,
    /// It reads the whole request and closes the connection.
    ClosesAfterWrite,
    /// It answers with bytes that are not of the protocol.
    Garbage,
    /// It reports success, and the rest of the answer is nonsense.
    SuccessWithNonsense,
    /// It reports success with an answer of ten mebibytes.
    HugeAnswer,
    /// It reports success, and the rest of the answer never ends.
    DrippingAnswer,
    /// It reports success, and the answer breaks off.
    CutAnswer,
}

/// A provider in a situation. Dropping it ends the stand-in.
pub struct Arranged {
    /// The provider, pointed at the stand-in.
    pub provider: Arc<dyn Provider>,
    /// Keeps the stand-in alive.
    pub stand_in: Box<dyn Any + Send>,
}

/// A provider under test.
pub trait Subject {
    /// The provider, with its stand-in in the situation; nothing when its protocol cannot be in it.
    fn arrange(&self, situation: Situation) -> Option<Arranged>;

    /// A message it can carry.
    fn submission(&self) -> Submission;

    /// Messages that try to put a line break where a header is; all must be refused without a call.
    fn injections(&self) -> Vec<Submission>;

    /// Secrets it was built with; none may show in `Debug`, findings or details.
    fn secrets(&self) -> Vec<String>;
}

/// The longest a call may take with the short timeouts that a subject's provider should be built with.
const LONGEST_CALL: Duration = Duration::from_secs(5);

/// Runs every situation; gives what was wrong, empty when nothing was.
pub async fn run_compliance(subject: &dyn Subject) -> Vec<String> {
    let mut wrong = Vec::new();
    let rejections = ErrorCategory::ALL
        .iter()
        .map(|category| Situation::Rejects(*category));
    let others = [
        Situation::Accepts,
        Situation::NotListening,
        Situation::SilentAfterWrite,
        Situation::ClosesAfterWrite,
        Situation::Garbage,
        Situation::SuccessWithNonsense,
        Situation::HugeAnswer,
        Situation::DrippingAnswer,
        Situation::CutAnswer,
    ];
    for situation in others.into_iter().chain(rejections) {
        if let Some(arranged) = subject.arrange(situation) {
            check_situation(subject, situation, &arranged, &mut wrong).await;
        }
    }
    check_injections(subject, &mut wrong).await;
    check_lookup(subject, &mut wrong).await;
    wrong
}

async fn check_situation(
    subject: &dyn Subject,
    situation: Situation,
    arranged: &Arranged,
    wrong: &mut Vec<String>,
) {
    let begun = Instant::now();
    let outcome = arranged.provider.send(&subject.submission()).await;
    let right = match situation {
        Situation::Accepts => matches!(outcome, SendOutcome::Accepted { .. }),
        Situation::Rejects(category) => {
            matches!(&outcome, SendOutcome::Rejected(no) if no.category == category && no.detail.len() <= 2_000)
        }
        Situation::NotListening => {
            matches!(&outcome, SendOutcome::Rejected(no) if no.category == ErrorCategory::Transient)
        }
        Situation::SilentAfterWrite | Situation::ClosesAfterWrite | Situation::Garbage => {
            matches!(outcome, SendOutcome::Unknown { .. })
        }
        // A success that cannot be read is at worst unknown; it is never a no.
        Situation::SuccessWithNonsense
        | Situation::HugeAnswer
        | Situation::DrippingAnswer
        | Situation::CutAnswer => !matches!(outcome, SendOutcome::Rejected(_)),
    };
    if !right {
        wrong.push(format!("{situation:?}: {outcome:?}"));
    }
    if begun.elapsed() > LONGEST_CALL {
        wrong.push(format!("{situation:?}: took {:?}", begun.elapsed()));
    }
    let shown = format!("{:?} {outcome:?} {:?}", arranged.provider, subject.submission());
    let address = subject.submission().to.expose().as_str().to_owned();
    for secret in subject.secrets().iter().chain([&address]) {
        if shown.contains(secret.as_str()) {
            wrong.push(format!("{situation:?}: a secret or an address shows in Debug"));
        }
    }
}

async fn check_injections(subject: &dyn Subject, wrong: &mut Vec<String>) {
    let Some(arranged) = subject.arrange(Situation::Accepts) else {
        wrong.push("the subject cannot arrange Accepts".to_owned());
        return;
    };
    for (at, submission) in subject.injections().iter().enumerate() {
        let outcome = arranged.provider.send(submission).await;
        if !matches!(&outcome, SendOutcome::Rejected(no) if no.category == ErrorCategory::InvalidInput) {
            wrong.push(format!("injection {at}: {outcome:?}"));
        }
    }
}

async fn check_lookup(subject: &dyn Subject, wrong: &mut Vec<String>) {
    let Some(arranged) = subject.arrange(Situation::NotListening) else {
        return;
    };
    let answer = arranged.provider.lookup("no-such-reference").await;
    // Where nobody can be asked, "not found" would make the engine send again.
    if answer == Lookup::NotFound {
        wrong.push("lookup says NotFound although nobody was asked".to_owned());
    }
    // And anything but "unanswered" that it is never asked again.
    let answer = arranged.provider.report(&format!("SM{}", "a1".repeat(16))).await;
    if !matches!(answer, Report::Unanswered(_)) {
        wrong.push(format!("report says {answer:?} although nobody was asked"));
    }
}
