//! Figures about messages that are counted in the database.

use crate::Result;
use crate::columns::first_id_of;
use jiff::Timestamp;
use sqlx::PgConnection;
use tidings_core::{MessageType, TenantId};

/// Tenants looked at.
const TENANTS: i64 = 500;

/// The newest messages of a tenant that are looked at.
const NEWEST: i64 = 200;

/// Mail of one tenant and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Whose.
    pub tenant: TenantId,
    /// Its type.
    pub message_type: MessageType,
    /// Mails that a provider took.
    pub mails: i64,
    /// Those that a person opened.
    pub opened: i64,
}

/// How much recent mail was opened: a sample of the newest 200 messages of each tenant (500 at most) accepted since an
/// instant. The cost is bounded whatever the tables hold.
pub async fn opened(conn: &mut PgConnection, since: Timestamp) -> Result<Vec<Opened>> {
    let rows = sqlx::query!(
        r#"
        SELECT n.tenant_id AS "tenant_id!", n.message_type AS "message_type!", count(*) AS "mails!",
               count(n.opened_at) AS "opened!"
        FROM (SELECT id FROM tenants ORDER BY id LIMIT $2) t
        CROSS JOIN LATERAL (
            SELECT m.tenant_id, m.id, m.message_type, m.opened_at, m.sent_at FROM messages m
            WHERE m.tenant_id = t.id AND m.id >= $1 ORDER BY m.id DESC LIMIT $3
        ) n
        WHERE n.sent_at IS NOT NULL AND EXISTS (
            SELECT FROM deliveries d
            WHERE d.tenant_id = n.tenant_id AND d.message_id = n.id AND d.channel = 'email'
              AND d.state IN ('accepted', 'delivered'))
        GROUP BY n.tenant_id, n.message_type
        "#,
        first_id_of(since),
        TENANTS,
        NEWEST,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let message_type = MessageType::parse(&row.message_type)
                .map_err(|error| sqlx::Error::Decode(format!("messages.message_type: {error}").into()))?;
            Ok(Opened {
                tenant: TenantId(row.tenant_id),
                message_type,
                mails: row.mails,
                opened: row.opened,
            })
        })
        .collect()
}
