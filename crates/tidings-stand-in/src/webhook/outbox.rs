//! When reports are made: after their time, in batches, again when they were not answered well.

use super::{Event, MAGIC_AFTER_MS, Outgoing, Report, Step, requests, retries};
use crate::account::Account;
use crate::chance::sha256;
use crate::ledger::Entry;
use crate::vendor::Vendor;
use crate::world::World;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidings_providers::egress::{Egress, EgressFailure, EgressRequest};
use tokio::sync::watch;
use url::Url;

/// Reports that wait at once; more are dropped, and counted.
const MOST_WAITING: u64 = 20_000;
/// Reports gathered into one batch.
const MOST_OF_A_BATCH: usize = 1_000;
/// How long the receiver may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// What became of reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reported {
    /// On their way: waiting for their time, their batch or a further try.
    pub waiting: u64,
    /// Answered with 2xx.
    pub delivered: u64,
    /// Given up.
    pub failed: u64,
    /// Dropped because too many waited.
    pub dropped: u64,
    /// The vendor has no such report, or the account no address for it.
    pub unspoken: u64,
}

/// How a request went in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Tried {
    /// How often it was made.
    pub tries: u32,
    /// The last answer's status, if there was one.
    pub status: Option<u16>,
    /// How often the vendor would have tried it again, had its sender waited.
    pub tries_left: usize,
}

impl Tried {
    fn fine(self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

type Batches = HashMap<(Vendor, String), Vec<Report>>;

/// The way out for reports.
#[derive(Debug)]
pub(crate) struct Outbox {
    egress: Egress,
    batches: Mutex<Batches>,
    reported: watch::Sender<Reported>,
}

impl Outbox {
    pub(crate) fn new(egress: Egress) -> Self {
        Self {
            egress,
            batches: Mutex::new(HashMap::new()),
            reported: watch::Sender::new(Reported::default()),
        }
    }

    /// What became of reports so far; changes wake whoever waits.
    pub(crate) fn reported(&self) -> watch::Receiver<Reported> {
        self.reported.subscribe()
    }

    fn count(&self, change: impl FnOnce(&mut Reported)) {
        self.reported.send_modify(change);
    }

    /// Makes the reports of a script that come before the answer, and sets the others on their way.
    pub(crate) async fn script(&self, world: &Arc<World>, entries: &[Entry], magic: Option<Event>) {
        let Some(first) = entries.first().filter(|entry| !entry.replay) else {
            return;
        };
        let Some(account) = world.account(first.vendor, &first.account) else {
            return;
        };
        let steps = match magic {
            Some(event) => vec![Step {
                after_ms: MAGIC_AFTER_MS,
                ..Step::of(event)
            }],
            None => account.script.clone(),
        };
        for (nth, step) in steps.into_iter().enumerate() {
            for entry in entries {
                let (before, wait) = (step.before_response, Duration::from_millis(step.after_ms));
                if self.reported.borrow().waiting >= MOST_WAITING {
                    self.count(|reported| reported.dropped += u64::from(step.times));
                    continue;
                }
                self.count(|reported| reported.waiting += u64::from(step.times));
                let id =
                    sha256(format!("{}:{}:{nth}", entry.provider_id, entry.seq).as_bytes())[..32].to_owned();
                let (entry, step) = (entry.clone(), step.clone());
                let task = run(Arc::clone(world), Arc::clone(&account), entry, step, id, wait);
                if before {
                    task.await;
                } else {
                    world.spawn(task);
                }
            }
        }
    }

    /// Makes a request until it is answered well, or given up: as the vendor does, or as soon as the waits between the
    /// tries come to more than `patience`.
    pub(crate) async fn deliver(
        &self,
        world: &World,
        vendor: Vendor,
        account: &Account,
        request: &Outgoing,
        patience: Duration,
    ) -> Tried {
        let (usual, only_unreached) = retries(vendor);
        let (waits, only_unreached) = match &account.retries_ms {
            Some(waits) => (waits.as_slice(), false),
            None => (usual, only_unreached),
        };
        let mut tried = Tried {
            tries: 0,
            status: None,
            tries_left: waits.len(),
        };
        let mut waited = Duration::ZERO;
        loop {
            tried.status = tokio::select! {
                status = self.once(account, request, world.now()) => status,
                () = world.ended().cancelled() => return tried,
            };
            let wait = waits
                .get(tried.tries as usize)
                .copied()
                .map(Duration::from_millis);
            tried.tries += 1;
            let enough = tried.fine() || (only_unreached && tried.status.is_some());
            let Some(wait) = wait.filter(|_| !enough) else {
                tried.tries_left = 0;
                return tried;
            };
            waited = waited.saturating_add(wait);
            if waited > patience || !world.sleep(wait).await {
                return tried;
            }
            tried.tries_left -= 1;
        }
    }

    async fn once(&self, account: &Account, request: &Outgoing, now: Timestamp) -> Option<u16> {
        let target = route(&request.url, account.via.as_deref());
        let url = match self.egress.url(&target) {
            Ok(url) => url,
            Err(error) => {
                tracing::warn!(%error, "a webhook cannot be sent there");
                return None;
            }
        };
        let mut call =
            EgressRequest::post(url, request.content_type, request.body.clone()).timeout(ANSWER_LIMIT);
        for (name, value) in request.signer.headers(&request.url, &request.body, now) {
            call = call.secret_header(name, &value).ok()?;
        }
        match self.egress.call(call).await {
            Ok(answer) => Some(answer.status),
            Err(
                EgressFailure::Forbidden(why) | EgressFailure::NotSent(why) | EgressFailure::Unanswered(why),
            ) => {
                tracing::info!(why, "a webhook was not answered");
                None
            }
        }
    }
}

/// Where a request really goes: to the address as it is called, or with scheme, host and port of another.
fn route(url: &str, via: Option<&str>) -> String {
    let through = |via: &str| {
        let (mut target, via) = (Url::parse(url).ok()?, Url::parse(via).ok()?);
        target.set_scheme(via.scheme()).ok()?;
        target.set_host(via.host_str()).ok()?;
        target.set_port(via.port()).ok()?;
        Some(target.to_string())
    };
    // The fragment is for the vendor alone.
    let whole = via.and_then(through).unwrap_or_else(|| url.to_owned());
    whole.split('#').next().unwrap_or_default().to_owned()
}

/// One report: its time, its batch, its request.
async fn run(world: Arc<World>, account: Arc<Account>, entry: Entry, step: Step, id: String, wait: Duration) {
    if !world.sleep(wait).await {
        return;
    }
    let (vendor, name) = (entry.vendor, entry.account.clone());
    let report = Report {
        entry,
        at: world.now(),
        id,
        step,
    };
    let same = vec![report.clone(); report.step.times as usize];
    if account.batch_ms == 0 || report.step.before_response {
        return send(&world, vendor, &name, &account, same).await;
    }
    if !gather(&world, vendor, &name, same) || !world.sleep(Duration::from_millis(account.batch_ms)).await {
        return;
    }
    let mut batch = {
        let mut batches = world
            .outbox
            .batches
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        batches.remove(&(vendor, name.clone())).unwrap_or_default()
    };
    if account.reorder {
        batch.reverse();
    }
    send(&world, vendor, &name, &account, batch).await;
}

/// Puts reports into the account's batch; true for whoever begins one, and must see it off.
fn gather(world: &World, vendor: Vendor, name: &str, reports: Vec<Report>) -> bool {
    let mut batches = world
        .outbox
        .batches
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let batch = batches.entry((vendor, name.to_owned())).or_default();
    let begins = batch.is_empty();
    if batch.len() + reports.len() > MOST_OF_A_BATCH {
        world.outbox.count(|reported| {
            reported.dropped += reports.len() as u64;
            reported.waiting = reported.waiting.saturating_sub(reports.len() as u64);
        });
        return false;
    }
    batch.extend(reports);
    begins
}

async fn send(world: &World, vendor: Vendor, name: &str, account: &Account, reports: Vec<Report>) {
    let all = reports.len() as u64;
    let requests = requests(vendor, name, account, &reports);
    let spoken: u64 = requests.iter().map(|request| request.holds as u64).sum();
    let mute = all.saturating_sub(spoken);
    world.outbox.count(|reported| {
        reported.unspoken += mute;
        reported.waiting = reported.waiting.saturating_sub(mute);
    });
    for request in &requests {
        let tried = world
            .outbox
            .deliver(world, vendor, account, request, Duration::MAX)
            .await;
        world.outbox.count(|reported| {
            let holds = request.holds as u64;
            reported.waiting = reported.waiting.saturating_sub(holds);
            if tried.fine() {
                reported.delivered += holds;
            } else {
                reported.failed += holds;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_host_keeps_path_and_query() {
        let url = "https://hooks.brand.test/webhooks/twilio/1?a=b%20c#rc=3";
        assert_eq!(
            route(url, None),
            "https://hooks.brand.test/webhooks/twilio/1?a=b%20c"
        );
        assert_eq!(
            route(url, Some("http://127.0.0.1:8420")),
            "http://127.0.0.1:8420/webhooks/twilio/1?a=b%20c"
        );
    }
}
