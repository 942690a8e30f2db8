//! What became of messages whose last report never came: found by the time of their call, asked about one by one, and applied as
//! a webhook would have been.
//!
//! No transaction is open while a provider is asked. What it said and how far that goes are one commit: a question whose answer was
//! lost is asked again, and what was found counts once.

use crate::error::EngineError;
use crate::figures;
use crate::reconcile::{CHUNK, Desk, Ended, Reconciled, is_about_the_connection};
use crate::track::{self, Heard, Source};
use crate::webhook::bound;
use jiff::SignedDuration;
use std::collections::BTreeMap;
use tidings_core::reconcile::{EVERY, MOST_QUESTIONS, MOST_UNANSWERED, Mark, SOON, Step};
use tidings_providers::{Report, ReportedEvent, feedback};
use tidings_store::tracking::turns;
use tidings_store::tracking::unreported::{self, Stretch};

/// Calls that are looked through at once, those over other connections included.
const CALLS: i64 = 2_000;
/// And how often in one step and turn.
const MOST_STRETCHES: usize = 10;

/// Asks what became of the connection's messages, step by step.
pub(crate) async fn ask_about(desk: &Desk<'_>) -> Result<Ended, EngineError> {
    let mut conn = desk.inner.conn().await?;
    let marks = unreported::marks(&mut conn, desk.turn.tenant, desk.turn.connection).await?;
    drop(conn);
    let mut round = Round {
        done: Reconciled::default(),
        left: MOST_QUESTIONS,
        walked: BTreeMap::new(),
    };
    let mut wait = Some(EVERY);
    for step in Step::ALL.iter().copied() {
        let mark = marks.get(&step).copied();
        wait = match round.walk(desk, step, mark).await? {
            Walked::Through => wait,
            Walked::More => Some(SOON),
            Walked::Stopped(ended) => {
                wait = ended;
                break;
            }
        };
    }
    if !round.walked.is_empty() && !settle(desk, &[], &round.walked).await? {
        wait = None;
    }
    Ok((round.done, wait))
}

/// How a walk through a step ended.
enum Walked {
    /// Everything that is due was asked about.
    Through,
    /// There is more than fits into a turn.
    More,
    /// The turn is over: how long the connection is left alone, none where another node has the turn.
    Stopped(Option<SignedDuration>),
}

/// A turn's questions about messages.
struct Round {
    done: Reconciled,
    /// Questions that are left.
    left: usize,
    /// Marks that moved past calls without a question, to be written.
    walked: BTreeMap<Step, Mark>,
}

impl Round {
    async fn walk(&mut self, desk: &Desk<'_>, step: Step, mark: Option<Mark>) -> Result<Walked, EngineError> {
        let Some((mut after, to)) = step.due(mark, desk.inner.now()) else {
            return Ok(Walked::Through);
        };
        for _ in 0..MOST_STRETCHES {
            if self.left == 0 {
                return Ok(Walked::More);
            }
            let most = self.left.min(CHUNK);
            let mut conn = desk.inner.conn().await?;
            let (tenant, connection) = (desk.turn.tenant, desk.turn.connection);
            let stretch = unreported::stretch(&mut conn, tenant, connection, after, to, CALLS, most).await?;
            drop(conn);
            if let Some(stopped) = self.ask(desk, step, &stretch).await? {
                return Ok(stopped);
            }
            after = stretch.through;
            if !stretch.more {
                return Ok(Walked::Through);
            }
        }
        Ok(Walked::More)
    }

    /// Asks about a stretch and writes what is known then; tells when that is the end of the turn.
    async fn ask(
        &mut self,
        desk: &Desk<'_>,
        step: Step,
        stretch: &Stretch,
    ) -> Result<Option<Walked>, EngineError> {
        if stretch.unreported.is_empty() {
            self.walked.insert(step, stretch.through);
            return Ok(None);
        }
        let answers = ask(desk, stretch).await;
        self.left = self.left.saturating_sub(answers.asked);
        let mut marks = std::mem::take(&mut self.walked);
        marks.extend(answers.through.map(|through| (step, through)));
        if !settle(desk, &answers.events, &marks).await? {
            return Ok(Some(Walked::Stopped(None)));
        }
        self.done.asked += answers.asked;
        self.done.found += answers.found;
        Ok(answers.wait.map(|wait| Walked::Stopped(Some(wait))))
    }
}

/// The answers about a stretch of calls.
#[derive(Default)]
struct Answers {
    events: Vec<ReportedEvent>,
    asked: usize,
    found: usize,
    /// Up to there everything was answered or needed no question. A question without an answer is passed over when one behind it
    /// has one: it is about that message then, and the next step asks again.
    through: Option<Mark>,
    /// How long the connection is left alone, where the last questions had no answer.
    wait: Option<SignedDuration>,
}

/// Asks one after the other, until the connection is found to give no answers.
async fn ask(desk: &Desk<'_>, stretch: &Stretch) -> Answers {
    let mut answers = Answers::default();
    let mut silent = 0;
    for one in &stretch.unreported {
        if !desk.rest().await {
            // Whoever comes next goes on at once.
            answers.wait = Some(SignedDuration::ZERO);
            return answers;
        }
        let asking = desk.provider.report(&one.provider_message_id);
        let answer = tokio::time::timeout(desk.inner.limits.call, asking).await;
        let answer = answer.unwrap_or_else(|_| Report::Unanswered(feedback::late()));
        answers.asked += 1;
        count(desk, &answer);
        match answer {
            Report::Unanswered(no) => {
                silent += 1;
                answers.wait = Some(desk.unanswered(&no));
                if silent >= MOST_UNANSWERED || is_about_the_connection(&no) {
                    return answers;
                }
                continue;
            }
            Report::Known(mut events) => {
                events.iter_mut().for_each(bound);
                answers.found += 1;
                answers.events.append(&mut events);
            }
            Report::Nothing | Report::NotKnown => {}
        }
        (silent, answers.wait, answers.through) = (0, None, Some(one.call));
    }
    if answers.wait.is_none() {
        answers.through = Some(stretch.through);
    }
    answers
}

fn count(desk: &Desk<'_>, answer: &Report) {
    let outcome = match answer {
        Report::Known(_) => "found",
        Report::Nothing => "nothing",
        Report::NotKnown => "not_known",
        Report::Unanswered(_) => "unanswered",
    };
    let api = desk.provider.kind();
    figures::provider_call(api);
    metrics::counter!("tidings_reports_asked_total", "api" => api.as_str(), "outcome" => outcome)
        .increment(1);
}

/// Applies what was found as if it had been reported, and moves the marks, in one commit; false when the turn is another's.
async fn settle(
    desk: &Desk<'_>,
    events: &[ReportedEvent],
    marks: &BTreeMap<Step, Mark>,
) -> Result<bool, EngineError> {
    let inner = desk.inner;
    let (tenant, connection) = (desk.turn.tenant, desk.turn.connection);
    let now = inner.now();
    let mut dice = inner.dice();
    let mut tx = inner.store.worker_tenant(tenant).tx().await?;
    if !turns::put_off(&mut tx, &desk.turn, desk.held_until()).await? {
        tx.rollback().await?;
        return Ok(false);
    }
    let heard = Heard {
        source: Source::poll(connection, now),
        channel: Some(desk.channel),
        events,
    };
    let found = track::find(&mut tx, &[heard]).await?;
    found.lock(&mut tx, &[]).await?;
    track::apply(inner, &mut tx, &found, &mut dice, now).await?;
    unreported::move_marks(&mut tx, tenant, connection, marks).await?;
    inner.fail.pass("reconcile_before_commit");
    tx.commit().await?;
    inner.fail.pass("reconcile_after_commit");
    Ok(true)
}
