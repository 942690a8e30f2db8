//! The providers' own lists of addresses they do not write to, mirrored: what stands there is suppressed here, under every
//! connection, before another message is refused or lost over it.
//!
//! Nothing is ever lifted by a list, and what was lifted here stays so until the provider lists the address again. A list is read
//! from the last look on, page by page with a mark after each, and a page that cannot be read changes nothing.

use crate::error::EngineError;
use crate::figures;
use crate::learn;
use crate::reconcile::{Desk, Ended, Reconciled, is_about_the_connection};
use jiff::SignedDuration;
use tidings_core::reconcile::{LISTS_EVERY, LISTS_OVERLAP, SOON};
use tidings_core::{Address, ErrorCategory};
use tidings_providers::{ListQuestion, ListedSuppression, Rejection, SuppressionPage, UNSUPPORTED, feedback};
use tidings_store::suppressions::NewSuppression;
use tidings_store::tracking::listed::{self, ListMark, Listed};
use tidings_store::tracking::turns;

/// Pages read in one turn, of all lists.
const MOST_PAGES: usize = 20;

/// Reads the connection's lists from where they were read to.
pub(crate) async fn read(desk: &Desk<'_>) -> Result<Ended, EngineError> {
    let mut conn = desk.inner.conn().await?;
    let mut marks = listed::marks(&mut conn, desk.turn.tenant, desk.turn.connection).await?;
    drop(conn);
    let mut reading = Reading {
        done: Reconciled::default(),
        left: MOST_PAGES,
    };
    let mut wait = None;
    for list in desk.provider.suppression_lists() {
        let mark = marks.remove(*list).unwrap_or_default();
        match reading.list(desk, list, mark).await? {
            Read::Whole => {}
            Read::Failed(pause) => wait = wait.max(Some(pause)),
            Read::Stopped(ended) => return Ok((reading.done, ended)),
        }
    }
    Ok((reading.done, wait.or(Some(LISTS_EVERY))))
}

/// How reading a list ended.
enum Read {
    /// It is read up to now.
    Whole,
    /// It could not be read; others may be. How long the connection is left alone then.
    Failed(SignedDuration),
    /// The turn is over: how long the connection is left alone, none where another node has the turn.
    Stopped(Option<SignedDuration>),
}

struct Reading {
    done: Reconciled,
    /// Pages that are left.
    left: usize,
}

impl Reading {
    async fn list(&mut self, desk: &Desk<'_>, list: &str, mut mark: ListMark) -> Result<Read, EngineError> {
        loop {
            if self.left == 0 {
                return Ok(Read::Stopped(Some(SOON)));
            }
            if !desk.rest().await {
                return Ok(Read::Stopped(Some(SignedDuration::ZERO)));
            }
            self.left -= 1;
            let until = *mark.reading_to.get_or_insert(desk.inner.now());
            let since = mark.read_to.and_then(|at| at.saturating_sub(LISTS_OVERLAP).ok());
            let question = ListQuestion {
                list,
                since,
                until,
                page: mark.page.as_deref(),
            };
            let answer = ask(desk, &question).await;
            let page = match answer {
                Ok(page) => page,
                Err(no) => return self.refused(desk, list, mark, &no).await,
            };
            mark = match &page.next {
                Some(next) => ListMark {
                    page: Some(next.clone()),
                    ..mark
                },
                None => ListMark {
                    read_to: Some(until),
                    ..ListMark::default()
                },
            };
            let Some(new) = enter(desk, list, &page, &mark).await? else {
                return Ok(Read::Stopped(None));
            };
            self.done.mirrored += new;
            if mark.page.is_none() {
                return Ok(Read::Whole);
            }
        }
    }

    /// A page that was not given. One that is refused by its name is looked for from the beginning the next time: names of pages
    /// do not live for ever, and reading twice changes nothing.
    async fn refused(
        &self,
        desk: &Desk<'_>,
        list: &str,
        mark: ListMark,
        no: &Rejection,
    ) -> Result<Read, EngineError> {
        let pause = desk.unanswered(no);
        let by_name =
            mark.page.is_some() && no.category == ErrorCategory::InvalidInput && no.code != UNSUPPORTED;
        if by_name {
            let anew = ListMark {
                read_to: mark.read_to,
                ..ListMark::default()
            };
            if enter(desk, list, &SuppressionPage::default(), &anew)
                .await?
                .is_none()
            {
                return Ok(Read::Stopped(None));
            }
        }
        Ok(if is_about_the_connection(no) {
            Read::Stopped(Some(pause))
        } else {
            Read::Failed(pause)
        })
    }
}

async fn ask(desk: &Desk<'_>, question: &ListQuestion<'_>) -> Result<SuppressionPage, Rejection> {
    figures::provider_call(desk.provider.kind());
    let asking = desk.provider.suppressions(question);
    let answer = tokio::time::timeout(desk.inner.limits.call, asking).await;
    answer.unwrap_or_else(|_| Err(feedback::late()))
}

/// Enters a page and its mark in one commit; tells how many addresses are new, none when the turn is another's.
async fn enter(
    desk: &Desk<'_>,
    list: &str,
    page: &SuppressionPage,
    mark: &ListMark,
) -> Result<Option<usize>, EngineError> {
    let inner = desk.inner;
    let now = inner.now();
    let entries: Vec<Listed> = page
        .entries
        .iter()
        .filter_map(|entry| entry_of(desk, list, entry))
        .collect();
    let mut tx = inner.store.worker_tenant(desk.turn.tenant).tx().await?;
    if !turns::put_off(&mut tx, &desk.turn, desk.held_until()).await? {
        tx.rollback().await?;
        return Ok(None);
    }
    let readable = entries.len();
    let new = listed::mirror(&mut tx, entries, &mut inner.dice(), now).await?;
    let new = usize::try_from(new).unwrap_or(readable);
    listed::set_mark(&mut tx, desk.turn.tenant, desk.turn.connection, list, mark).await?;
    tx.commit().await?;
    let malformed = page.skipped + page.entries.len() - readable;
    if malformed > 0 {
        tracing::warn!(connection = %desk.turn.connection, list, malformed, "entries of a provider's list cannot be read");
    }
    if new > 0 {
        tracing::info!(connection = %desk.turn.connection, list, new, "addresses of a provider's list were suppressed");
    }
    for (outcome, entries) in [("new", new), ("known", readable - new), ("malformed", malformed)] {
        metrics::counter!("tidings_listed_suppressions_total", "api" => desk.provider.kind().as_str(), "outcome" => outcome)
            .increment(entries as u64);
    }
    Ok(Some(new))
}

/// An entry as it is entered here; none for what is no address.
fn entry_of(desk: &Desk<'_>, list: &str, entry: &ListedSuppression) -> Option<Listed> {
    let address = Address::parse(desk.channel, entry.address.expose(), None).ok()?;
    Some(Listed {
        item: NewSuppression {
            tenant: desk.turn.tenant,
            channel: desk.channel,
            blind_index: desk.key.blind_index(&address),
            reason: learn::reason_of(entry.because),
            source: format!("the list {list} of {}", desk.provider.kind()),
            detail: entry.code.clone(),
        },
        since: entry.since,
    })
}
