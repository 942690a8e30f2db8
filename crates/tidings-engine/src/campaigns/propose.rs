//! A page of rows: which are due, and what becomes of each. Proposals take the same path as every other request.

use super::author::Author;
use super::contacts::{Reachable, Unreachable, reachable, text};
use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use crate::request::{AcceptError, AcceptRequest, Accepted, MAX_REQUESTS, Recipient};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tidings_core::campaign::{
    Assessment, Customer, Definition, Due, Row, RunWindow, assess, context, listed_key, source_reference,
};
use tidings_core::decide::Verdict;
use tidings_core::redact::Private;
use tidings_core::{ContactId, MessageId, MessageStatus, zone};
use tidings_store::campaigns::{NewRow, RowOutcome};
use tidings_store::contacts::{self, SourceWord, UPSERT_LIMIT};
use tidings_store::messages::facts;
use tidings_store::tenants::Tenant;
use tokio_util::sync::CancellationToken;

/// What a run proposes by.
#[derive(Debug)]
pub(super) struct Proposer {
    pub tenant: Tenant,
    pub definition: Definition,
    pub window: RunWindow,
    /// When the run began: messages since then are its own, though an interrupted page finds them again.
    pub started_at: Timestamp,
    /// Writes the words, where the campaign does not take the template's.
    pub author: Option<Author>,
}

/// What is asked for of a row, and who is to get it.
pub(super) struct Asked<'a> {
    due: &'a DueRow<'a>,
    pub contact: ContactId,
    pub request: AcceptRequest,
}

/// A row that is due.
pub(super) struct DueRow<'a> {
    row: &'a Row,
    due: Due,
    reference: String,
}

/// A page that was worked on.
#[derive(Debug)]
pub(super) struct Proposed {
    /// Rows that were due, or of which it cannot be told.
    pub found: usize,
    /// What became of each.
    pub rows: Vec<NewRow>,
}

impl Proposer {
    /// What became of every due row of the page, and of every row of which it cannot be told; nothing when the process was
    /// to stop while a model was at work: no message was made then, and the page comes again. How many there are is counted
    /// when they are found, so that one that is lost on the way shows.
    pub async fn page(
        &self,
        engine: &Engine,
        rows: &[Row],
        stop: &CancellationToken,
    ) -> Result<Option<Proposed>, EngineError> {
        let mut done = Vec::new();
        let mut due = Vec::new();
        for row in rows {
            match assess(&self.definition, row, &self.zone_of(row), &self.window) {
                Assessment::NotDue(_) => {}
                Assessment::Malformed(malformed) => {
                    let detail = format!("{}: {}", malformed.column, malformed.problem);
                    done.push(told(row, "", RowOutcome::Malformed, "row.malformed", detail));
                }
                Assessment::Due(found) => due.push(DueRow {
                    reference: source_reference(&self.definition.name, &row.key, &found.occurrence),
                    row,
                    due: found,
                }),
            }
        }
        let found = done.len() + due.len();
        let fresh = self.without_known(&engine.inner, due, &mut done).await?;
        let reached = self.reached(fresh, &mut done);
        let contacts = self.contacts(&engine.inner, &reached).await?;
        let mut asked = self.requests(&reached, &contacts, &mut done);
        if let Some(author) = &self.author {
            // Apart: it is large, and most campaigns have none.
            let writing = Box::pin(author.write(&engine.inner, &self.tenant, &mut asked));
            tokio::select! {
                written = writing => written?,
                () = stop.cancelled() => return Ok(None),
            }
        }
        self.accept(engine, asked, &mut done).await?;
        Ok(Some(Proposed { found, rows: done }))
    }

    /// The zone a row's days are counted in: the customer's where the source knows it, else the tenant's.
    fn zone_of(&self, row: &Row) -> jiff::tz::TimeZone {
        let own = row
            .customer
            .as_deref()
            .and_then(|customer| text(customer, "zone"));
        zone::resolve(own.as_deref(), &self.tenant.policy.zone)
    }

    /// Takes out the rows that were proposed before: one query a page, and nothing else is done about them.
    async fn without_known<'a>(
        &self,
        inner: &Inner,
        due: Vec<DueRow<'a>>,
        done: &mut Vec<NewRow>,
    ) -> Result<Vec<DueRow<'a>>, EngineError> {
        if due.is_empty() {
            return Ok(due);
        }
        let (tenant, message_type) = (self.tenant.id, &self.definition.message_type);
        let references: Vec<_> = due
            .iter()
            .map(|one| (tenant, message_type.clone(), one.reference.clone()))
            .collect();
        let mut conn = inner.conn().await?;
        let known = facts::duplicates(&mut conn, &references).await?;
        drop(conn);
        let mut fresh = Vec::with_capacity(due.len());
        for (one, reference) in due.into_iter().zip(references) {
            match known.get(&reference) {
                None => fresh.push(one),
                Some((message, contact, status)) => {
                    let mut row = new(
                        one.row,
                        &one.due.occurrence,
                        self.outcome_of_known(*message, *status),
                    );
                    row.contact = Some(*contact);
                    row.message = Some(*message);
                    done.push(row);
                }
            }
        }
        Ok(fresh)
    }

    /// An earlier run's message is a duplicate; one that this run made before it was interrupted is its own.
    fn outcome_of_known(&self, message: MessageId, status: MessageStatus) -> RowOutcome {
        let made_at = message
            .0
            .get_timestamp()
            .and_then(|time| {
                let (seconds, nanos) = time.to_unix();
                Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()
            })
            .unwrap_or(Timestamp::MIN);
        // Ids count milliseconds.
        if made_at.as_millisecond() < self.started_at.as_millisecond() {
            return RowOutcome::Duplicate;
        }
        match status {
            MessageStatus::Suppressed => RowOutcome::Suppressed,
            MessageStatus::Pending => RowOutcome::Held,
            _ => RowOutcome::Proposed,
        }
    }

    /// Takes out the rows whose customer cannot be written to.
    fn reached<'a>(&self, due: Vec<DueRow<'a>>, done: &mut Vec<NewRow>) -> Vec<(DueRow<'a>, Reachable)> {
        let region = self.tenant.policy.default_region.as_deref();
        let mut known: HashMap<*const Customer, Result<Reachable, Unreachable>> = HashMap::new();
        let mut reached = Vec::with_capacity(due.len());
        for one in due {
            let Some(customer) = &one.row.customer else {
                let detail = "the customer it refers to is not in the source".to_owned();
                done.push(told(
                    one.row,
                    &one.due.occurrence,
                    RowOutcome::Malformed,
                    "customer.missing",
                    detail,
                ));
                continue;
            };
            let found = known
                .entry(Arc::as_ptr(customer))
                .or_insert_with(|| reachable(customer, region));
            match found {
                Ok(contact) => reached.push((one, contact.clone())),
                Err(why) => done.push(told(
                    one.row,
                    &one.due.occurrence,
                    RowOutcome::Unreachable,
                    why.code(),
                    why.detail().to_owned(),
                )),
            }
        }
        reached
    }

    /// Creates the contacts or brings them up to date, with what the source says of opt-outs and consent.
    async fn contacts(
        &self,
        inner: &Inner,
        reached: &[(DueRow<'_>, Reachable)],
    ) -> Result<HashMap<String, ContactId>, EngineError> {
        let mut by_key: BTreeMap<&str, &Reachable> = BTreeMap::new();
        for (_, contact) in reached {
            if let Some(key) = &contact.input.external_id {
                by_key.insert(key, contact);
            }
        }
        let wanted: Vec<(&str, &Reachable)> = by_key.into_iter().collect();
        let region = self.tenant.policy.default_region.as_deref();
        let (now, mut dice) = (inner.now(), inner.dice());
        let mut found = HashMap::with_capacity(wanted.len());
        for part in wanted.chunks(UPSERT_LIMIT) {
            let mut tx = inner.store.worker_tenant(self.tenant.id).tx().await?;
            let inputs: Vec<_> = part.iter().map(|(_, contact)| contact.input.clone()).collect();
            let made = contacts::upsert_batch(&mut tx, &inputs, region, &mut dice, now).await?;
            let words: Vec<SourceWord> = part
                .iter()
                .zip(&made)
                .map(|((_, contact), made)| SourceWord {
                    contact: made.id,
                    opted_out: contact.opted_out.clone(),
                    marketing_consent: contact.marketing_consent,
                })
                .collect();
            contacts::take_over(&mut tx, &words, &mut dice, now).await?;
            tx.commit().await?;
            found.extend(
                part.iter()
                    .zip(&made)
                    .map(|((key, _), made)| ((*key).to_owned(), made.id)),
            );
        }
        Ok(found)
    }

    /// The requests of the rows; a row whose variables cannot be filled is taken out.
    fn requests<'a>(
        &self,
        reached: &'a [(DueRow<'a>, Reachable)],
        contacts: &HashMap<String, ContactId>,
        done: &mut Vec<NewRow>,
    ) -> Vec<Asked<'a>> {
        let definition = &self.definition;
        let mut asked = Vec::with_capacity(reached.len());
        for (one, contact) in reached {
            let key = contact.input.external_id.as_deref().unwrap_or_default();
            let Some(contact) = contacts.get(key).copied() else {
                continue;
            };
            let variables = match context(definition, one.row, &one.due) {
                Ok(variables) => variables,
                Err(malformed) => {
                    let detail = format!("{}: {}", malformed.column, malformed.problem);
                    done.push(told(
                        one.row,
                        &one.due.occurrence,
                        RowOutcome::Malformed,
                        "row.malformed",
                        detail,
                    ));
                    continue;
                }
            };
            let mut request =
                AcceptRequest::new(Recipient::ContactId(contact), definition.message_type.clone());
            request.context = Private::new(variables);
            request.category = Some(definition.category);
            request.urgency = Some(definition.urgency);
            request.channel = definition.channel;
            request.expires_at = one
                .due
                .expires_at(definition, &self.zone_of(one.row), self.window.as_of);
            request.source_reference = Some(one.reference.clone());
            asked.push(Asked {
                due: one,
                contact,
                request,
            });
        }
        asked
    }

    async fn accept(
        &self,
        engine: &Engine,
        asked: Vec<Asked<'_>>,
        done: &mut Vec<NewRow>,
    ) -> Result<(), EngineError> {
        // A commit's worth at once: what a page says in words is not all in memory.
        let most = engine.inner.limits.accept_batch.clamp(1, MAX_REQUESTS);
        for part in asked.chunks(most) {
            let requests = part.iter().map(|one| one.request.clone()).collect();
            let answers = engine.accept(self.tenant.id, requests).await;
            for (one, answer) in part.iter().zip(answers) {
                let mut row = match answer {
                    Ok(accepted) => self.accepted(one, &accepted),
                    Err(error) if error.is_transient() => {
                        return Err(EngineError::Conflict {
                            problem: error.to_string(),
                        });
                    }
                    Err(error) => refused(one.due, &error),
                };
                row.contact = Some(one.contact);
                done.push(row);
            }
        }
        Ok(())
    }

    fn accepted(&self, asked: &Asked<'_>, accepted: &Accepted) -> NewRow {
        let one = asked.due;
        let outcome = match &accepted.verdict {
            Verdict::Send(_) => RowOutcome::Proposed,
            Verdict::Hold { .. } | Verdict::Batch { .. } | Verdict::Approve { .. } => RowOutcome::Held,
            Verdict::Suppress if of_the_address(accepted.because.as_deref()) => RowOutcome::Unreachable,
            Verdict::Suppress => RowOutcome::Suppressed,
            Verdict::Duplicate { .. } => self.outcome_of_known(accepted.message_id, accepted.status),
        };
        let mut row = new(one.row, &one.due.occurrence, outcome);
        row.code.clone_from(&accepted.because);
        row.message = Some(accepted.message_id);
        // An earlier message has the words it has, and nobody reads those of one that ends here.
        if !accepted.duplicate && accepted.verdict != Verdict::Suppress {
            row.detail = asked.request.words.as_ref().map(ToString::to_string);
        }
        row
    }
}

/// Whether the rules found no address to write to.
fn of_the_address(because: Option<&str>) -> bool {
    because.is_some_and(|code| code.starts_with("address."))
}

fn refused(one: &DueRow<'_>, error: &AcceptError) -> NewRow {
    // A run that came too late for its messages; nothing is wrong with the row.
    let outcome = match error {
        AcceptError::Expired { .. } => RowOutcome::Suppressed,
        _ => RowOutcome::Malformed,
    };
    told(
        one.row,
        &one.due.occurrence,
        outcome,
        error.code(),
        error.to_string(),
    )
}

fn new(row: &Row, occurrence: &str, outcome: RowOutcome) -> NewRow {
    NewRow {
        key: listed_key(&row.key),
        occurrence: occurrence.to_owned(),
        outcome,
        code: None,
        detail: None,
        contact: None,
        message: None,
    }
}

fn told(row: &Row, occurrence: &str, outcome: RowOutcome, code: &str, detail: String) -> NewRow {
    NewRow {
        code: Some(code.to_owned()),
        detail: Some(detail),
        ..new(row, occurrence, outcome)
    }
}
