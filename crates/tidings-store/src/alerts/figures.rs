//! The figures that alerts are judged by, of some tenants at once. Each query looks at a bounded number of newest rows of
//! each tenant, found by an index, so its cost does not grow with the tables.

use crate::Result;
use crate::columns::{first_id_of, word};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use std::collections::HashMap;
use tidings_core::alert::{
    CALLS_MOST, ConnectionHealth, Figures, MAILS_MOST, ProviderFigures, RunHealth, Thresholds,
};
use tidings_core::attempt::HELD_BACK;
use tidings_core::{ConnectionId, MessageType, ProviderKind, TenantId};
use uuid::Uuid;

/// Dead letters and held outcomes are counted up to here, or one beyond the tenant's threshold where that is more.
const COUNTED: u32 = 10_000;
/// The newest runs of campaigns that are looked at.
const RUNS: i64 = 200;

/// Mail of one type over one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailOpens {
    /// Whose.
    pub tenant: TenantId,
    /// The provider.
    pub provider: ProviderKind,
    /// Its type.
    pub message_type: MessageType,
    /// How much.
    pub mails: u64,
    /// How much of it a person opened.
    pub opened: u64,
}

/// Active tenants after one, in order of their ids. Wants the workers' pool.
///
/// # Errors
/// When the database refuses.
pub async fn tenants(conn: &mut PgConnection, after: Option<TenantId>, limit: i64) -> Result<Vec<TenantId>> {
    let rows = sqlx::query_scalar!(
        "SELECT id FROM tenants WHERE id > $1 AND status = 'active' ORDER BY id LIMIT $2",
        after.map_or(Uuid::nil(), |tenant| tenant.0),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(TenantId).collect())
}

/// The figures of tenants since an instant, without open rates and the queue's age. Every tenant asked for is answered;
/// its thresholds say how far is counted.
///
/// # Errors
/// When the database refuses.
pub async fn load(
    conn: &mut PgConnection,
    tenants: &[(TenantId, Thresholds)],
    since: Timestamp,
) -> Result<HashMap<TenantId, Figures>> {
    let ids: Vec<Uuid> = tenants.iter().map(|(tenant, _)| tenant.0).collect();
    let mut all: HashMap<TenantId, Figures> = tenants
        .iter()
        .map(|(tenant, _)| (*tenant, Figures::default()))
        .collect();
    calls(conn, &ids, since, &mut all).await?;
    backlog(conn, tenants, since, &mut all).await?;
    runs(conn, &ids, &mut all).await?;
    Ok(all)
}

async fn calls(
    conn: &mut PgConnection,
    ids: &[Uuid],
    since: Timestamp,
    all: &mut HashMap<TenantId, Figures>,
) -> Result<()> {
    // A call that was held back was not made, and the one after it repeats nothing. A repetition that was refused leaves
    // its outcome unknown; its category says why, as it does for any other.
    let rows = sqlx::query!(
        r#"
        WITH called AS (
            SELECT a.tenant_id, a.connection_id,
                count(*) FILTER (WHERE a.made) AS calls,
                count(*) FILTER (WHERE a.made AND a.failed) AS errors,
                count(*) FILTER (WHERE a.made AND a.repeats) AS repeated,
                count(*) FILTER (WHERE a.last AND a.state IN ('accepted', 'delivered')) AS reached,
                count(*) FILTER (WHERE a.last AND a.state IN ('bounced', 'failed')) AS lost,
                max(a.finished_at) FILTER (WHERE a.taken) AS taken_at
            FROM unnest($1::uuid[]) AS t (id)
            CROSS JOIN LATERAL (
                SELECT c.tenant_id, c.connection_id, c.finished_at, d.state, d.attempt_no = c.attempt_no AS last,
                    c.outcome <> 'intended' AND c.code IS DISTINCT FROM $4 AS made,
                    c.outcome IN ('rejected', 'unknown') AND c.category IS DISTINCT FROM 'permanent' AS failed,
                    c.outcome = 'accepted' OR c.outcome = 'rejected' AND c.category = 'permanent' AS taken,
                    CASE WHEN c.attempt_no > 1 THEN EXISTS (
                        SELECT FROM attempts e WHERE e.tenant_id = c.tenant_id AND e.delivery_id = c.delivery_id
                            AND e.attempt_no < c.attempt_no AND e.code IS DISTINCT FROM $4) ELSE false END AS repeats
                FROM (SELECT * FROM attempts WHERE tenant_id = t.id AND intended_at >= $2
                      ORDER BY intended_at DESC LIMIT $3) c
                JOIN deliveries d ON d.tenant_id = c.tenant_id AND d.id = c.delivery_id
            ) a
            GROUP BY a.tenant_id, a.connection_id
        )
        SELECT c.tenant_id AS "tenant_id!", c.id AS "id!", c.channel AS "channel!", c.provider AS "provider!",
            c.breaker AS "breaker!", c.enabled AS "enabled!", coalesce(called.calls, 0) AS "calls!",
            coalesce(called.errors, 0) AS "errors!", coalesce(called.repeated, 0) AS "repeated!",
            coalesce(called.reached, 0) AS "reached!", coalesce(called.lost, 0) AS "lost!",
            refused.at AS "refused_at?: jiff_sqlx::Timestamp", called.taken_at AS "taken_at: jiff_sqlx::Timestamp"
        FROM connections c LEFT JOIN called ON called.tenant_id = c.tenant_id AND called.connection_id = c.id
        LEFT JOIN LATERAL (
            SELECT r.finished_at AS at FROM attempts r
            WHERE r.tenant_id = c.tenant_id AND r.connection_id = c.id AND r.category = 'auth_failure'
                AND r.outcome <> 'accepted' AND r.intended_at >= $2
            ORDER BY r.intended_at DESC LIMIT 1
        ) refused ON true
        WHERE c.tenant_id = ANY ($1)
        ORDER BY c.tenant_id, c.id
        "#,
        ids,
        since.to_sqlx() as _,
        i64::from(CALLS_MOST),
        HELD_BACK,
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        let provider: ProviderKind = word("connections.provider", &row.provider)?;
        let figures = all.entry(TenantId(row.tenant_id)).or_default();
        if row.enabled {
            figures.connections.push(ConnectionHealth {
                id: ConnectionId(row.id),
                channel: word("connections.channel", &row.channel)?,
                provider,
                breaker: word("connections.breaker", &row.breaker)?,
                refused_at: row.refused_at.map(jiff_sqlx::Timestamp::to_jiff),
                taken_at: row.taken_at.map(jiff_sqlx::Timestamp::to_jiff),
            });
        }
        add_calls(
            figures,
            ProviderFigures {
                provider,
                calls: count(row.calls),
                errors: count(row.errors),
                repeated: count(row.repeated),
                reached: count(row.reached),
                lost: count(row.lost),
            },
        );
    }
    Ok(())
}

/// Connections of one provider are one.
fn add_calls(figures: &mut Figures, more: ProviderFigures) {
    if more.calls == 0 {
        return;
    }
    match figures
        .providers
        .iter_mut()
        .find(|known| known.provider == more.provider)
    {
        Some(known) => {
            known.calls += more.calls;
            known.errors += more.errors;
            known.repeated += more.repeated;
            known.reached += more.reached;
            known.lost += more.lost;
        }
        None => figures.providers.push(more),
    }
}

async fn backlog(
    conn: &mut PgConnection,
    tenants: &[(TenantId, Thresholds)],
    since: Timestamp,
    all: &mut HashMap<TenantId, Figures>,
) -> Result<()> {
    let ids: Vec<Uuid> = tenants.iter().map(|(tenant, _)| tenant.0).collect();
    let most = |of: fn(&Thresholds) -> u32| -> Vec<i64> {
        let limits = tenants.iter().map(|(_, limits)| of(limits));
        limits
            .map(|most| i64::from(COUNTED.max(most.saturating_add(1))))
            .collect()
    };
    let rows = sqlx::query!(
        r#"
        SELECT t.id AS "tenant!", dead.n AS "dead!", held.n AS "held!"
        FROM unnest($1::uuid[], $3::bigint[], $4::bigint[]) AS t (id, dead_most, held_most)
        CROSS JOIN LATERAL (SELECT count(*) AS n FROM (
            SELECT FROM dead_letters d WHERE d.tenant_id = t.id AND d.died_at >= $2
                AND d.job_type NOT IN ('alert.notify', 'alert.digest') LIMIT t.dead_most) l) dead
        CROSS JOIN LATERAL (SELECT count(*) AS n FROM (
            SELECT FROM unknown_deliveries u WHERE u.tenant_id = t.id AND u.held LIMIT t.held_most) l) held
        WHERE dead.n > 0 OR held.n > 0
        "#,
        &ids,
        since.to_sqlx() as _,
        &most(|limits| limits.dead_letters_max),
        &most(|limits| limits.unknown_max),
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        let figures = all.entry(TenantId(row.tenant)).or_default();
        figures.new_dead_letters = count(row.dead);
        figures.held_unknown = count(row.held);
    }
    Ok(())
}

async fn runs(conn: &mut PgConnection, ids: &[Uuid], all: &mut HashMap<TenantId, Figures>) -> Result<()> {
    // Only of sources that are looked at: one that was switched off on purpose is no alert.
    let rows = sqlx::query!(
        r#"
        SELECT r.tenant_id AS "tenant_id!", r.campaign AS "campaign!", r.state AS "state!", r.tries AS "tries!"
        FROM (SELECT tenant_id FROM sources WHERE tenant_id = ANY ($1) AND enabled) s
        CROSS JOIN LATERAL (
            SELECT DISTINCT ON (n.campaign) n.tenant_id, n.campaign, n.state, n.tries, n.last_error
            FROM (SELECT tenant_id, campaign, state, tries, as_of, last_error FROM campaign_runs
                  WHERE tenant_id = s.tenant_id ORDER BY as_of DESC, id LIMIT $2) n
            WHERE n.state <> 'waiting' OR n.tries > 0
            ORDER BY n.campaign, n.as_of DESC
        ) r
        WHERE r.last_error IS NOT NULL AND (r.state = 'failed' OR r.state <> 'complete' AND r.tries > 0)
        ORDER BY r.tenant_id, r.campaign
        "#,
        ids,
        RUNS,
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        all.entry(TenantId(row.tenant_id))
            .or_default()
            .failing_runs
            .push(RunHealth {
                campaign: row.campaign,
                tries: row.tries.unsigned_abs(),
                given_up: row.state == "failed",
            });
    }
    Ok(())
}

/// How much mail sent between two instants was opened: of the newest 500 messages of each tenant.
///
/// # Errors
/// When the database refuses.
pub async fn opens(
    conn: &mut PgConnection,
    tenants: &[TenantId],
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<MailOpens>> {
    let ids: Vec<Uuid> = tenants.iter().map(|tenant| tenant.0).collect();
    let rows = sqlx::query!(
        r#"
        SELECT n.tenant_id AS "tenant_id!", c.provider AS "provider!", n.message_type AS "message_type!",
            count(*) AS "mails!", count(n.opened_at) AS "opened!"
        FROM unnest($1::uuid[]) AS t (id)
        CROSS JOIN LATERAL (
            SELECT m.tenant_id, m.id, m.message_type, m.opened_at, m.sent_at FROM messages m
            WHERE m.tenant_id = t.id AND m.id >= $2 AND m.id < $3 ORDER BY m.id DESC LIMIT $4
        ) n
        JOIN deliveries d ON d.tenant_id = n.tenant_id AND d.message_id = n.id AND d.channel = 'email'
            AND d.state IN ('accepted', 'delivered')
        JOIN connections c ON c.tenant_id = d.tenant_id AND c.id = d.connection_id
        WHERE n.sent_at < $5
        GROUP BY n.tenant_id, c.provider, n.message_type
        "#,
        &ids,
        first_id_of(from),
        first_id_of(to),
        i64::from(MAILS_MOST),
        to.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(MailOpens {
                tenant: TenantId(row.tenant_id),
                provider: word("connections.provider", &row.provider)?,
                message_type: word("messages.message_type", &row.message_type)?,
                mails: count(row.mails),
                opened: count(row.opened),
            })
        })
        .collect()
}

fn count(n: i64) -> u64 {
    n.max(0).unsigned_abs()
}
