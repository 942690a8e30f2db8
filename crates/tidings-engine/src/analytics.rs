//! What became of deliveries, by day: counted in the background from the ledger, and shown with how current it is.

use crate::csv_text::written;
use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use tidings_core::TenantId;
use tidings_core::analytics::DeliveriesBy;
use tidings_store::analytics::{self, Counts, Line, Range};
use tidings_store::bound;
use tokio_util::sync::CancellationToken;

/// Between two looks at a tenant in the background: its present day is counted as a whole each time.
const EVERY: SignedDuration = SignedDuration::from_mins(30);
/// No statement takes longer in the background, in milliseconds: a day may have millions of deliveries.
const STATEMENT_LIMIT_MS: u32 = 300_000;
/// Between two rounds over tenants while there is something left to count.
const BUSY: Duration = Duration::from_secs(1);
/// And when there is not.
const IDLE: Duration = Duration::from_mins(1);
/// Tenants of one page.
const PAGE: i64 = 100;
/// Days of one tenant that are counted before others have their turn.
const DAYS_AT_ONCE: u32 = 3;
/// Stretches of time that are looked through before others have their turn.
const STRETCHES_AT_ONCE: u32 = 10;
/// Who asks for figures that are older has the newest days counted first.
const FRESH: SignedDuration = SignedDuration::from_secs(60);
/// But not where a statement of that takes longer than this, in milliseconds: it goes on in the background.
const REFRESH_LIMIT_MS: u32 = 4_000;
/// The most days of one answer.
const DAYS_MAX: i32 = 366;

/// What became of deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveriesTold {
    /// Everything up to then is looked at; none: nothing was.
    pub as_of: Option<Timestamp>,
    /// Days of the range that changed since and are not counted anew yet.
    pub due_days: i64,
    /// By key.
    pub lines: Vec<Line>,
}

impl Engine {
    /// Counts the days of all tenants that changed, until `stop` is cancelled.
    pub async fn count_deliveries(&self, stop: CancellationToken) {
        loop {
            let pause = match count_all(&self.inner, EVERY).await {
                Ok(0) => IDLE,
                Ok(_) => BUSY,
                Err(error) => {
                    tracing::warn!(%error, "deliveries could not be counted by day; this is tried again");
                    IDLE
                }
            };
            if tokio::time::timeout(pause, stop.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    /// What became of a tenant's deliveries of some days. Where the figures are not of the last minute the newest days that
    /// changed are counted first; what is left says the answer.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] when the range ends before it begins, or has more than 366 days.
    pub async fn deliveries_by(
        &self,
        tenant: TenantId,
        range: Range,
        by: DeliveriesBy,
    ) -> Result<DeliveriesTold, EngineError> {
        check(range)?;
        if let Err(error) = count_one(&self.inner, tenant, FRESH, REFRESH_LIMIT_MS).await {
            tracing::info!(%error, %tenant, "deliveries are counted by day in the background");
        }
        let mut tx = self.store().tenant(tenant).tx().await?;
        Ok(DeliveriesTold {
            as_of: analytics::marked_to(&mut tx, tenant).await?,
            due_days: analytics::due_within(&mut tx, range).await?,
            lines: analytics::deliveries(&mut tx, range, by).await?,
        })
    }
}

fn check(range: Range) -> Result<(), EngineError> {
    let invalid = |field: &str, problem: String| EngineError::Invalid {
        field: field.to_owned(),
        problem,
    };
    if range.to < range.from {
        return Err(invalid("to", "it is before from".to_owned()));
    }
    let days = (range.to - range.from).get_days();
    if days >= DAYS_MAX {
        return Err(invalid(
            "to",
            format!("at most {DAYS_MAX} days; it is {days} after from"),
        ));
    }
    Ok(())
}

/// Counts for every tenant that was not looked at for so long; returns how many steps that took.
async fn count_all(inner: &Inner, older_than: SignedDuration) -> Result<u64, EngineError> {
    let (mut after, mut steps) = (None, 0);
    loop {
        let mut conn = inner.conn().await?;
        let page = analytics::tenants(&mut conn, after, PAGE).await?;
        drop(conn);
        after = page.last().copied();
        if page.is_empty() {
            return Ok(steps);
        }
        for tenant in page {
            // One tenant's days hold up no other's.
            match count_one(inner, tenant, older_than, STATEMENT_LIMIT_MS).await {
                Ok(more) => steps += more,
                Err(error) => {
                    tracing::warn!(%error, %tenant, "a tenant's deliveries could not be counted by day");
                }
            }
        }
    }
}

/// Marks what changed and counts the newest days of it; returns how many days were counted.
async fn count_one(
    inner: &Inner,
    tenant: TenantId,
    older_than: SignedDuration,
    statement_limit_ms: u32,
) -> Result<u64, EngineError> {
    let now = inner.now();
    for _ in 0..STRETCHES_AT_ONCE {
        let mut tx = inner.tx().await?;
        let known = analytics::marked_to(&mut tx, tenant).await?;
        if known.is_some_and(|to| now.duration_since(to) < older_than) {
            break;
        }
        bound::statements(&mut tx, statement_limit_ms).await?;
        let marked = analytics::mark(&mut tx, tenant, now).await?;
        tx.commit().await?;
        if marked.to >= now {
            break;
        }
    }
    let mut counted = 0;
    for _ in 0..DAYS_AT_ONCE {
        let mut tx = inner.tx().await?;
        bound::statements(&mut tx, statement_limit_ms).await?;
        if analytics::count_next(&mut tx, tenant).await?.is_none() {
            break;
        }
        tx.commit().await?;
        counted += 1;
    }
    Ok(counted)
}

/// The figures as comma-separated values.
pub fn deliveries_csv(by: DeliveriesBy, lines: &[Line]) -> String {
    let mut header = vec![by.as_str(), "name"];
    header.extend(Counts::default().named().map(|(name, _)| name));
    header.extend(["median_ms", "p95_ms"]);
    let time = |ms: Option<u64>| ms.map(|ms| ms.to_string()).unwrap_or_default();
    let lines = lines.iter().map(|line| {
        let mut fields = vec![line.key.clone(), line.name.clone().unwrap_or_default()];
        fields.extend(line.counts.named().map(|(_, count)| count.to_string()));
        fields.extend([time(line.median_ms), time(line.p95_ms)]);
        fields
    });
    written(&header, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_become_a_formula_and_every_count_has_its_column() {
        let line = Line {
            key: "0192f0c1".to_owned(),
            name: Some("=HYPERLINK(\"x\")".to_owned()),
            counts: Counts {
                deliveries: 7,
                replied: 3,
                ..Counts::default()
            },
            median_ms: Some(1_200),
            p95_ms: None,
        };
        let csv = deliveries_csv(DeliveriesBy::Connection, &[line]);
        let mut lines = csv.lines();
        let header = lines.next().unwrap_or_default();
        assert!(
            header.starts_with("connection,name,deliveries,accepted,delivered,bounced,"),
            "{header}"
        );
        let fields = lines.next().unwrap_or_default();
        assert!(
            fields.starts_with("0192f0c1,\"'=HYPERLINK(\"\"x\"\")\",7,0,"),
            "{fields}"
        );
        assert!(fields.ends_with(",3,1200,"), "{fields}");
        assert_eq!(header.split(',').count(), 26);
    }
}
