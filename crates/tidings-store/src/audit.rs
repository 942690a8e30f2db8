//! The audit log: who did what to which object, hash-chained per tenant so that a changed, removed, swapped or cut-off entry
//! shows. Entries are appended in the transaction of the deed. Personal detail is sealed and the hash covers the ciphertext, so
//! erasing a contact does not break the chain.

use crate::columns::{Page, check_length, rows_for};
use crate::{Keyring, Place, Result, SealError, StoreError};
use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use tidings_core::{ContactId, TenantId};
use uuid::Uuid;

/// Entries checked per query.
const VERIFY_PAGE: i64 = 1000;

/// The chain of what the operator of the installation does.
pub const OPERATOR: TenantId = TenantId(Uuid::nil());

/// A deed to be recorded.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    /// Whose chain; [`OPERATOR`] for deeds that belong to no tenant.
    pub tenant: TenantId,
    /// Who: a key's prefix, a user's id, `system`.
    pub actor: String,
    /// What (`contact.erase`), at most 100 characters.
    pub action: String,
    /// To what (`contact 0192..`), never personal data.
    pub object: String,
    /// Whose key seals the detail; none: the tenant's.
    pub contact: Option<ContactId>,
    /// Particulars; may be personal. The operator's chain has no key and takes none.
    pub detail: Option<serde_json::Value>,
}

/// A recorded deed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditRecord {
    /// Counts from 1 within the chain.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub object: String,
    /// Particulars; none when there were none or the contact was erased.
    pub detail: Option<serde_json::Value>,
}

/// The end of a chain. Exported and kept elsewhere, it shows a later cut or rewriting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// Whose chain.
    pub tenant: TenantId,
    /// The number of its last entry; 0 for an empty chain.
    pub seq: i64,
    /// The hash of its last entry, hexadecimal.
    pub hash: String,
}

/// Appends an entry in the caller's transaction; the chain waits for it to end.
pub async fn append(
    conn: &mut PgConnection,
    keyring: &Keyring,
    entry: AuditEntry,
    now: Timestamp,
) -> Result<AuditHead> {
    for (field, text, most) in [
        ("actor", &entry.actor, 200),
        ("action", &entry.action, 100),
        ("object", &entry.object, 200),
    ] {
        check_length(field, text, most)?;
    }
    let head = sqlx::query!(
        "INSERT INTO audit_heads (tenant_id, seq, hash) VALUES ($1, 0, $2)
         ON CONFLICT (tenant_id) DO UPDATE SET seq = audit_heads.seq RETURNING seq, hash",
        entry.tenant.0,
        [0u8; 32].as_slice(),
    )
    .fetch_one(&mut *conn)
    .await?;
    let seq = head.seq + 1;
    let detail = seal_detail(conn, keyring, &entry, seq, now).await?;
    // The database keeps microseconds; the hash must be of what is read back.
    let at = jiff::Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
    let link = Link {
        tenant: entry.tenant.0,
        seq,
        at_us: at.as_microsecond(),
        actor: &entry.actor,
        action: &entry.action,
        object: &entry.object,
        contact: entry.contact.map(|id| id.0),
        detail: detail.as_deref(),
    };
    let hash = link.hash(&head.hash);
    sqlx::query!(
        "INSERT INTO audit_log (tenant_id, seq, at, actor, action, object, contact_id, detail_sealed, prev_hash, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        entry.tenant.0,
        seq,
        at.to_sqlx() as _,
        entry.actor,
        entry.action,
        entry.object,
        entry.contact.map(|id| id.0),
        detail,
        head.hash,
        hash.as_slice(),
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE audit_heads SET seq = $2, hash = $3 WHERE tenant_id = $1",
        entry.tenant.0,
        seq,
        hash.as_slice()
    )
    .execute(conn)
    .await?;
    Ok(AuditHead {
        tenant: entry.tenant,
        seq,
        hash: hex::encode(hash),
    })
}

/// The end of a chain, to be kept outside the database.
pub async fn head(conn: &mut PgConnection, tenant: TenantId) -> Result<AuditHead> {
    let row = sqlx::query!("SELECT seq, hash FROM audit_heads WHERE tenant_id = $1", tenant.0)
        .fetch_optional(conn)
        .await?;
    let (seq, hash) = row.map_or((0, vec![0; 32]), |row| (row.seq, row.hash));
    Ok(AuditHead {
        tenant,
        seq,
        hash: hex::encode(hash),
    })
}

/// Walks a whole chain and returns how many entries it has. With a head that was exported earlier, also finds a cut-off end and
/// a chain that was written anew.
///
/// # Errors
/// [`StoreError::AuditBroken`] at the first entry that does not fit.
pub async fn verify(conn: &mut PgConnection, tenant: TenantId, exported: Option<&AuditHead>) -> Result<i64> {
    let broken = |seq, problem| StoreError::AuditBroken { tenant, seq, problem };
    let (mut last, mut previous) = (0i64, vec![0u8; 32]);
    loop {
        let rows = sqlx::query!(
            "SELECT seq, at, actor, action, object, contact_id, detail_sealed, prev_hash, hash FROM audit_log
             WHERE tenant_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
            tenant.0,
            last,
            VERIFY_PAGE,
        )
        .fetch_all(&mut *conn)
        .await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            if row.seq != last + 1 {
                return Err(broken(last + 1, "the entry is missing"));
            }
            let link = Link {
                tenant: tenant.0,
                seq: row.seq,
                at_us: row.at.to_jiff().as_microsecond(),
                actor: &row.actor,
                action: &row.action,
                object: &row.object,
                contact: row.contact_id,
                detail: row.detail_sealed.as_deref(),
            };
            if row.prev_hash != previous {
                return Err(broken(row.seq, "it does not follow the entry before it"));
            }
            if link.hash(&previous).as_slice() != row.hash {
                return Err(broken(row.seq, "its content was changed"));
            }
            if exported.is_some_and(|head| head.seq == row.seq && head.hash != hex::encode(&row.hash)) {
                return Err(broken(
                    row.seq,
                    "it differs from the head exported earlier; the chain was written anew",
                ));
            }
            (last, previous) = (row.seq, row.hash);
        }
    }
    let stored = head(conn, tenant).await?;
    if stored.seq != last || stored.hash != hex::encode(&previous) {
        return Err(broken(
            last + 1,
            "the chain and its recorded end differ; entries at the end were removed",
        ));
    }
    if exported.is_some_and(|head| head.seq > last) {
        return Err(broken(
            last + 1,
            "the chain is shorter than the head exported earlier; entries at the end were removed",
        ));
    }
    Ok(last)
}

/// A chain's entries, newest first, details opened.
pub async fn list(
    conn: &mut PgConnection,
    keyring: &Keyring,
    tenant: TenantId,
    before: Option<i64>,
    limit: u32,
) -> Result<Page<AuditRecord, i64>> {
    let rows = sqlx::query!(
        "SELECT seq, at, actor, action, object, contact_id, detail_sealed FROM audit_log
         WHERE tenant_id = $1 AND ($2::bigint IS NULL OR seq < $2) ORDER BY seq DESC LIMIT $3",
        tenant.0,
        before,
        rows_for(limit),
    )
    .fetch_all(&mut *conn)
    .await?;
    let contacts: Vec<_> = rows
        .iter()
        .filter_map(|row| row.contact_id.map(|id| (tenant, ContactId(id))))
        .collect();
    let keys = keyring.existing_contact_keys(conn, &contacts).await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        let detail = match (&row.detail_sealed, row.contact_id) {
            (None, _) => None,
            (Some(sealed), Some(contact)) => match keys.get(tenant, ContactId(contact)) {
                Ok(key) => Some(key.open(&detail_place(tenant, row.seq), sealed)?),
                Err(SealError::Erased(_)) => None,
                Err(error) => return Err(error.into()),
            },
            (Some(sealed), None) => Some(
                keyring
                    .tenant_key(conn, tenant)
                    .await?
                    .open(&detail_place(tenant, row.seq), sealed)?,
            ),
        };
        let read = |json: Vec<u8>| {
            serde_json::from_slice(&json).map_err(|error| StoreError::json("audit_log.detail", &error))
        };
        items.push(AuditRecord {
            seq: row.seq,
            at: row.at.to_jiff(),
            actor: row.actor,
            action: row.action,
            object: row.object,
            detail: detail.map(read).transpose()?,
        });
    }
    Ok(Page::from_rows(items, limit, |record| record.seq))
}

async fn seal_detail(
    conn: &mut PgConnection,
    keyring: &Keyring,
    entry: &AuditEntry,
    seq: i64,
    now: Timestamp,
) -> Result<Option<Vec<u8>>> {
    let Some(detail) = &entry.detail else {
        return Ok(None);
    };
    if entry.tenant == OPERATOR {
        return Err(StoreError::invalid(
            "detail",
            "the operator's chain takes no detail; name the object instead",
        ));
    }
    let json = serde_json::to_vec(detail).map_err(|error| StoreError::json("detail", &error))?;
    let place = detail_place(entry.tenant, seq);
    let sealed = match entry.contact {
        Some(contact) => {
            let keys = keyring
                .contact_keys(conn, &[(entry.tenant, contact)], now)
                .await?;
            keys.get(entry.tenant, contact)?.seal(&place, &json)?
        }
        None => keyring
            .tenant_key(conn, entry.tenant)
            .await?
            .seal(&place, &json)?,
    };
    Ok(Some(sealed))
}

/// The row's own id is its number in the chain.
fn detail_place(tenant: TenantId, seq: i64) -> Place {
    Place::new(
        "audit_log",
        "detail_sealed",
        tenant,
        Uuid::from_u128(u128::from(seq.unsigned_abs())),
    )
}

/// What is hashed of an entry. Every part carries its length, so no two entries give the same bytes.
struct Link<'a> {
    tenant: Uuid,
    seq: i64,
    at_us: i64,
    actor: &'a str,
    action: &'a str,
    object: &'a str,
    contact: Option<Uuid>,
    detail: Option<&'a [u8]>,
}

impl Link<'_> {
    fn hash(&self, previous: &[u8]) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        let mut part = |bytes: Option<&[u8]>| {
            // An absent part is told apart from an empty one.
            let length = bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
            context.update(&length.to_be_bytes());
            context.update(bytes.unwrap_or_default());
        };
        part(Some(previous));
        part(Some(self.tenant.as_bytes()));
        part(Some(&self.seq.to_be_bytes()));
        part(Some(&self.at_us.to_be_bytes()));
        part(Some(self.actor.as_bytes()));
        part(Some(self.action.as_bytes()));
        part(Some(self.object.as_bytes()));
        part(self.contact.as_ref().map(|id| id.as_bytes().as_slice()));
        part(self.detail);
        let mut hash = [0u8; 32];
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }
}
