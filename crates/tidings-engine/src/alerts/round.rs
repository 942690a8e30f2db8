//! One look at the figures of every tenant.

use super::raise;
use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidings_core::alert::{AlertKey, Figures, Finding, OpenFigures, Step, Thresholds, Verdict, assess, step};
use tidings_core::{AlertId, Dice, TenantId};
use tidings_queue::oldest_age;
use tidings_store::alerts::settings::{self, AlertSettings};
use tidings_store::alerts::{self, Alert, NewAlert, figures};
use tidings_store::{Conn, bound, tenants};

/// Tenants whose figures are loaded at once.
const PAGE: i64 = 25;
/// No query for them takes longer, in milliseconds.
const QUERY_LIMIT_MS: u32 = 10_000;
/// All of it takes no longer.
const PAGE_LIMIT: Duration = Duration::from_secs(30);
/// No further page is begun after this: the next round is due soon.
const ROUND_LIMIT: Duration = Duration::from_secs(45);
/// Notifications that are taken up again of one page, and alerts of tenants that are not served, at once.
const AT_ONCE: i64 = 500;
/// The window of calls, deliveries and dead letters.
const WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// The window of open rates.
const OPENS_WINDOW: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Mail has so long to be opened before it counts.
const OPENS_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// How far the last round came, where it did not come to the end.
#[derive(Debug, Default)]
pub(crate) struct WatchedTo(Mutex<Option<TenantId>>);

impl WatchedTo {
    fn take(&self) -> Option<TenantId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, to: Option<TenantId>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }
}

/// What a look at the figures brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundDone {
    /// Alerts opened.
    pub raised: usize,
    /// Alerts ended.
    pub resolved: usize,
}

impl Engine {
    /// Looks at the figures of every tenant now, beside the schedule.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn watch_now(&self) -> Result<RoundDone, EngineError> {
        round(&self.inner, true).await
    }
}

/// Looks at every tenant, for as long as a round may take: the next one goes on from there. A page whose figures cannot be
/// had is told and passed over, so that it hides no other's.
pub(super) async fn round(inner: &Inner, with_opens: bool) -> Result<RoundDone, EngineError> {
    let began = Instant::now();
    let mut done = RoundDone::default();
    match end_unwatched(inner).await {
        Ok(ended) => done.resolved += ended,
        Err(error) => {
            tracing::warn!(%error, "the alerts of tenants that are not served could not be ended");
        }
    }
    let mut after = inner.watched_to.take();
    while began.elapsed() < ROUND_LIMIT {
        let mut conn = inner.conn().await?;
        let page = figures::tenants(&mut conn, after, PAGE).await?;
        drop(conn);
        after = page.last().copied();
        let Some(last) = after else {
            return Ok(done);
        };
        match tokio::time::timeout(PAGE_LIMIT, page_of(inner, &page, with_opens)).await {
            Ok(Ok(one)) => {
                done.raised += one.raised;
                done.resolved += one.resolved;
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, tenants = page.len(), up_to = %last, "the figures of some tenants could not be looked at");
            }
            Err(_) => {
                tracing::warn!(limit = ?PAGE_LIMIT, tenants = page.len(), up_to = %last, "the figures of some tenants took too long");
            }
        }
    }
    tracing::warn!(limit = ?ROUND_LIMIT, "not every tenant could be looked at; the next round goes on from there");
    inner.watched_to.set(after);
    Ok(done)
}

/// Ends the alerts of tenants that are suspended or closed: nothing of theirs is looked at, so nobody would.
async fn end_unwatched(inner: &Inner) -> Result<usize, EngineError> {
    let now = inner.now();
    let mut tx = inner.tx().await?;
    let left = alerts::open_of_inactive(&mut tx, AT_ONCE).await?;
    if left.is_empty() {
        return Ok(0);
    }
    let left: Vec<&Alert> = left.iter().collect();
    let ended = alerts::resolve(&mut tx, &left, now).await?;
    raise::tell_over(&mut tx, &ended, now).await?;
    tx.commit().await?;
    Ok(ended.len())
}

async fn page_of(inner: &Inner, page: &[TenantId], with_opens: bool) -> Result<RoundDone, EngineError> {
    let now = inner.now();
    let mut tx = inner.tx().await?;
    bound::statements(&mut tx, QUERY_LIMIT_MS).await?;
    let configured = settings::load(&mut tx, page).await?;
    let limits: Vec<(TenantId, Thresholds)> = page
        .iter()
        .map(|tenant| {
            let set = configured.get(tenant).map(|one| one.thresholds);
            (*tenant, set.unwrap_or_default())
        })
        .collect();
    let mut loaded = load(&mut tx, &limits, with_opens, now).await?;
    let open = alerts::open(&mut tx, page).await?;
    raise::tell_again(&mut tx, page, AT_ONCE, now).await?;
    tx.commit().await?;
    let mut by_tenant: HashMap<TenantId, Vec<Alert>> = HashMap::new();
    for alert in open {
        by_tenant.entry(alert.tenant).or_default().push(alert);
    }
    let mut dice = inner.dice();
    let mut changes = Changes::default();
    for (tenant, limits) in &limits {
        let figures = loaded.remove(tenant).unwrap_or_default();
        let open = by_tenant.remove(tenant).unwrap_or_default();
        changes.judge(*tenant, &figures, limits, open, &mut dice, now);
    }
    write(inner, &changes, &configured, now).await
}

async fn load(
    conn: &mut Conn,
    watched: &[(TenantId, Thresholds)],
    with_opens: bool,
    now: Timestamp,
) -> Result<HashMap<TenantId, Figures>, EngineError> {
    let before = |span: SignedDuration| now.saturating_sub(span).unwrap_or(now);
    let mut loaded = figures::load(conn, watched, before(WINDOW)).await?;
    let page: Vec<TenantId> = watched.iter().map(|(tenant, _)| *tenant).collect();
    for (tenant, age) in oldest_age(conn, &page, now).await? {
        loaded.entry(tenant).or_default().queue_age = Some(age);
    }
    if with_opens {
        let opens = figures::opens(conn, &page, before(OPENS_WINDOW), before(OPENS_AFTER)).await?;
        let settings = tenants::load(conn, &page).await?;
        for figures in loaded.values_mut() {
            figures.opens = Some(Vec::new());
        }
        for one in opens {
            let tracked = settings
                .get(&one.tenant)
                .is_some_and(|tenant| tenant.settings.tracking.of(&one.message_type).opens);
            if tracked {
                add_opens(loaded.entry(one.tenant).or_default(), &one);
            }
        }
    }
    Ok(loaded)
}

fn add_opens(figures: &mut Figures, more: &figures::MailOpens) {
    let all = figures.opens.get_or_insert_default();
    match all.iter_mut().find(|known| known.provider == more.provider) {
        Some(known) => {
            known.mails += more.mails;
            known.opened += more.opened;
        }
        None => all.push(OpenFigures {
            provider: more.provider,
            mails: more.mails,
            opened: more.opened,
        }),
    }
}

/// What changes, of some tenants.
#[derive(Debug, Default)]
struct Changes {
    raise: Vec<NewAlert>,
    seen: Vec<(Alert, String)>,
    over: Vec<Alert>,
    /// Stays open.
    open: Vec<Alert>,
}

impl Changes {
    fn judge(
        &mut self,
        tenant: TenantId,
        figures: &Figures,
        limits: &Thresholds,
        open: Vec<Alert>,
        dice: &mut Dice,
        now: Timestamp,
    ) {
        let keys: BTreeSet<AlertKey> = open.iter().map(Alert::key).collect();
        let mut known: HashMap<AlertKey, Alert> =
            open.into_iter().map(|alert| (alert.key(), alert)).collect();
        let hold = SignedDuration::from_secs(i64::from(limits.hold_s));
        for Finding { key, verdict } in assess(figures, limits, &keys) {
            let seen = known.get(&key).map(|alert| alert.last_seen_at);
            match (step(key.rule, seen, &verdict, hold, now), verdict) {
                (Step::Raise, Verdict::Bad(detail)) => self.raise.push(NewAlert {
                    tenant,
                    id: AlertId(dice.uuid(now)),
                    key,
                    detail,
                }),
                (Step::Seen, Verdict::Bad(detail)) => {
                    self.seen
                        .extend(known.get(&key).map(|alert| (alert.clone(), detail)));
                }
                (Step::Resolve, _) => self.over.extend(known.remove(&key)),
                _ => {}
            }
        }
        self.open.extend(known.into_values());
    }
}

async fn write(
    inner: &Inner,
    changes: &Changes,
    configured: &HashMap<TenantId, AlertSettings>,
    now: Timestamp,
) -> Result<RoundDone, EngineError> {
    if changes.raise.is_empty() && changes.over.is_empty() && changes.open.is_empty() {
        return Ok(RoundDone::default());
    }
    let mut tx = inner.tx().await?;
    let over: Vec<&Alert> = changes.over.iter().collect();
    let ended = alerts::resolve(&mut tx, &over, now).await?;
    let seen: Vec<(&Alert, String)> = changes
        .seen
        .iter()
        .map(|(alert, detail)| (alert, detail.clone()))
        .collect();
    alerts::seen(&mut tx, &seen, now).await?;
    let mut open = alerts::raise(&mut tx, &changes.raise, now).await?;
    let done = RoundDone {
        raised: open.len(),
        resolved: ended.len(),
    };
    let raised: Vec<_> = open.iter().map(|alert| alert.rule).collect();
    // Those that were open before as well: a notifier that was set up meanwhile hears of them.
    open.extend(changes.open.iter().cloned());
    raise::tell_of(&mut tx, &open, configured, now).await?;
    raise::tell_over(&mut tx, &ended, now).await?;
    tx.commit().await?;
    raised.into_iter().for_each(raise::count);
    Ok(done)
}
