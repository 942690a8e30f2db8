//! Whose turn it is to ask a provider for feedback. One row a connection: a node that takes a turn puts the next one off, so two
//! never ask at once, and one that dies is followed by another when its time is over.

use super::inbox::{Row, WebhookConnection};
use crate::Result;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use tidings_core::word_enum;
use tidings_core::{ConnectionId, ProviderKind, TenantId};
use uuid::Uuid;

word_enum! {
    /// What is asked for.
    pub enum Feedback {
        /// What became of messages.
        Reports = "reports",
        /// The provider's own list of addresses it does not write to.
        Suppressions = "suppressions",
    }
}

/// A turn that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Whose connection.
    pub tenant: TenantId,
    /// The connection.
    pub connection: ConnectionId,
    /// What is asked for.
    pub what: Feedback,
    /// Tells this turn from every other.
    pub claim: Uuid,
}

/// Enabled connections of these providers whose turn has come, in order; `after` is the last of the page before.
pub async fn due(
    conn: &mut PgConnection,
    what: Feedback,
    providers: &[ProviderKind],
    after: Option<(TenantId, ConnectionId)>,
    limit: i64,
    now: Timestamp,
) -> Result<Vec<WebhookConnection>> {
    let providers: Vec<String> = providers.iter().map(|kind| kind.as_str().to_owned()).collect();
    let (tenant, connection) = after.map_or((Uuid::nil(), Uuid::nil()), |(tenant, id)| (tenant.0, id.0));
    let rows = sqlx::query_as!(
        Row,
        "SELECT c.tenant_id, c.id, c.provider, c.channel, c.config, c.credentials_sealed FROM connections c
         JOIN tenants t ON t.id = c.tenant_id AND t.status <> 'closed'
         WHERE (c.tenant_id, c.id) > ($1, $2) AND c.enabled AND c.provider = ANY ($3)
           AND NOT EXISTS (SELECT FROM feedback_turns f
                           WHERE f.tenant_id = c.tenant_id AND f.connection_id = c.id AND f.what = $4 AND f.not_before > $5)
         ORDER BY c.tenant_id, c.id LIMIT $6",
        tenant,
        connection,
        &providers,
        what.as_str(),
        now.to_sqlx() as _,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(WebhookConnection::try_from).collect()
}

/// Takes a turn that has come, and puts the next one off; false when another node was faster.
pub async fn take(conn: &mut PgConnection, turn: &Turn, until: Timestamp, now: Timestamp) -> Result<bool> {
    let taken = sqlx::query!(
        "INSERT INTO feedback_turns AS f (tenant_id, connection_id, what, claim, not_before) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (tenant_id, connection_id, what) DO UPDATE SET claim = excluded.claim, not_before = excluded.not_before
         WHERE f.not_before <= $6",
        turn.tenant.0,
        turn.connection.0,
        turn.what.as_str(),
        turn.claim,
        until.to_sqlx() as _,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Puts the next turn off until an instant: while this one goes on, or as it ends. False when the turn is another's by now;
/// then nothing of it may be written any more. In a transaction nobody takes it over before the end.
pub async fn put_off(conn: &mut PgConnection, turn: &Turn, until: Timestamp) -> Result<bool> {
    let held = sqlx::query!(
        "UPDATE feedback_turns SET not_before = $5
         WHERE tenant_id = $1 AND connection_id = $2 AND what = $3 AND claim = $4",
        turn.tenant.0,
        turn.connection.0,
        turn.what.as_str(),
        turn.claim,
        until.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(held.rows_affected() == 1)
}
