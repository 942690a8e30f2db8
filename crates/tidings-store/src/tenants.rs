//! Tenants: the companies whose customers are written to.
//!
//! Creating and listing is the operator's work and wants the workers' pool; reading and changing one works in both roles.

use crate::columns::{Page, check_length, from_json, rows_for, to_json, word};
use crate::{Keyring, Result, StoreError};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tidings_core::decide::Policy;
use tidings_core::{Channel, MessageType, TenantId, word_enum};
use uuid::Uuid;

word_enum! {
    /// Whether a tenant's messages go out.
    pub enum TenantStatus {
        /// They do.
        Active = "active",
        /// Nothing new is accepted and nothing is sent; data stays.
        Suspended = "suspended",
        /// Over; data waits for its retention to end.
        Closed = "closed",
    }
}

/// A tenant.
#[derive(Clone, Debug, Serialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its short name in URLs and files: lower-case letters, digits and hyphens.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Whether it sends.
    pub status: TenantStatus,
    /// The policy of its rules.
    pub policy: Policy,
    /// How its messages look and what they must say.
    pub settings: TenantSettings,
    /// Types of campaigns whose messages wait for a person's yes.
    #[serde(skip)]
    pub approval_campaign_types: BTreeSet<MessageType>,
    /// Since when.
    #[serde(skip)]
    pub created_at: Timestamp,
    /// Last change.
    #[serde(skip)]
    pub updated_at: Timestamp,
}

/// How a tenant's messages look and what they must say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantSettings {
    /// Logo and colours.
    pub branding: Branding,
    /// The sender's postal address, which marketing mail must carry.
    pub postal_address: Option<String>,
    /// Where recipients may turn to.
    pub support_email: Option<String>,
    /// The sender's name by channel; the tenant's name where none is set.
    pub from_names: BTreeMap<Channel, String>,
    /// The locale of contacts without one (`en`, `de-AT`).
    pub default_locale: Option<String>,
    /// Whether opens and clicks are tracked.
    pub tracking: Tracking,
    /// Switches: `<message type or campaign>_enabled`; what is not named is on.
    pub communication_preferences: BTreeMap<String, bool>,
    /// Texts recipients see outside messages, by key: the answer to HELP, the preference page.
    pub public_texts: BTreeMap<String, String>,
}

/// Logo and colours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Branding {
    /// An https URL.
    pub logo_url: Option<String>,
    /// What the logo shows, for those who do not see it.
    pub logo_alt: Option<String>,
    /// CSS colour of buttons and links.
    pub accent_colour: Option<String>,
    /// The tenant's site.
    pub website_url: Option<String>,
}

/// Whether opens and clicks are tracked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tracking {
    /// An open pixel in e-mail.
    pub opens: bool,
    /// Rewritten links.
    pub clicks: bool,
    /// Other choices for single message types.
    pub by_type: BTreeMap<MessageType, TrackingChoice>,
}

/// What is tracked for one message type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackingChoice {
    /// An open pixel in e-mail.
    pub opens: bool,
    /// Rewritten links.
    pub clicks: bool,
}

impl Default for Tracking {
    fn default() -> Self {
        Self {
            opens: true,
            clicks: true,
            by_type: BTreeMap::new(),
        }
    }
}

impl TenantSettings {
    /// Message types switched off by `communication_preferences`.
    pub fn disabled_types(&self) -> impl Iterator<Item = MessageType> {
        let off = self.communication_preferences.iter().filter(|(_, on)| !**on);
        off.filter_map(|(name, _)| MessageType::parse(name.strip_suffix("_enabled")?).ok())
    }
}

impl Tracking {
    /// What holds for a message type.
    pub fn of(&self, message_type: &MessageType) -> TrackingChoice {
        let general = TrackingChoice {
            opens: self.opens,
            clicks: self.clicks,
        };
        self.by_type.get(message_type).copied().unwrap_or(general)
    }
}

/// A tenant to be.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// Its id.
    pub id: TenantId,
    /// Its short name; unique in the installation.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Its policy.
    pub policy: Policy,
    /// Its settings.
    pub settings: TenantSettings,
}

/// What to change; `None` leaves as is.
#[derive(Clone, Debug, Default)]
pub struct TenantChanges {
    /// The name.
    pub name: Option<String>,
    /// The status.
    pub status: Option<TenantStatus>,
    /// The whole policy.
    pub policy: Option<Policy>,
    /// All settings.
    pub settings: Option<TenantSettings>,
}

struct Row {
    id: Uuid,
    slug: String,
    name: String,
    status: String,
    policy: serde_json::Value,
    settings: serde_json::Value,
    approval_campaign_types: Vec<String>,
    created_at: jiff_sqlx::Timestamp,
    updated_at: jiff_sqlx::Timestamp,
}

impl TryFrom<Row> for Tenant {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: TenantId(row.id),
            slug: row.slug,
            name: row.name,
            status: word("tenants.status", &row.status)?,
            policy: from_json("tenants.policy", row.policy)?,
            settings: from_json("tenants.settings", row.settings)?,
            approval_campaign_types: row
                .approval_campaign_types
                .iter()
                .map(|text| word("tenants.approval_campaign_types", text))
                .collect::<Result<_>>()?,
            created_at: row.created_at.to_jiff(),
            updated_at: row.updated_at.to_jiff(),
        })
    }
}

/// Creates a tenant and its data key. Wants the workers' pool; the caller's transaction makes both one step.
///
/// # Errors
/// [`StoreError::Conflict`] when the slug is taken, [`StoreError::Invalid`] when slug or name break their form.
pub async fn create(
    conn: &mut PgConnection,
    keyring: &Keyring,
    tenant: NewTenant,
    now: Timestamp,
) -> Result<Tenant> {
    check_slug(&tenant.slug)?;
    check_length("name", &tenant.name, 200)?;
    let mut tx = sqlx::Acquire::begin(conn).await?;
    let inserted = sqlx::query!(
        "INSERT INTO tenants (id, slug, name, status, policy, settings, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (slug) DO NOTHING",
        tenant.id.0,
        tenant.slug,
        tenant.name,
        TenantStatus::Active.as_str(),
        to_json("policy", &tenant.policy)?,
        to_json("settings", &tenant.settings)?,
        now.to_sqlx() as _,
    )
    .execute(&mut *tx)
    .await?;
    if inserted.rows_affected() == 0 {
        return Err(StoreError::Conflict {
            what: format!("a tenant with the slug \"{}\" exists", tenant.slug),
        });
    }
    keyring.create_tenant_key(&mut tx, tenant.id, now).await?;
    let created = get(&mut tx, tenant.id).await?;
    tx.commit().await?;
    Ok(created)
}

/// One tenant.
pub async fn get(conn: &mut PgConnection, id: TenantId) -> Result<Tenant> {
    load(conn, &[id])
        .await?
        .remove(&id)
        .ok_or_else(|| StoreError::not_found("tenant", id))
}

/// One tenant by its slug. Wants the workers' pool.
pub async fn get_by_slug(conn: &mut PgConnection, slug: &str) -> Result<Tenant> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, slug, name, status, policy, settings, approval_campaign_types, created_at, updated_at FROM tenants WHERE slug = $1",
        slug,
    )
    .fetch_optional(conn)
    .await?;
    row.ok_or_else(|| StoreError::not_found("tenant", slug))?
        .try_into()
}

/// Many tenants in one query; unknown ids are left out.
pub async fn load(conn: &mut PgConnection, ids: &[TenantId]) -> Result<HashMap<TenantId, Tenant>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, slug, name, status, policy, settings, approval_campaign_types, created_at, updated_at FROM tenants WHERE id = ANY ($1)",
        &ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((TenantId(row.id), row.try_into()?)))
        .collect()
}

/// Tenants in order of their slug. Wants the workers' pool.
pub async fn list(conn: &mut PgConnection, after: Option<&str>, limit: u32) -> Result<Page<Tenant, String>> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, slug, name, status, policy, settings, approval_campaign_types, created_at, updated_at FROM tenants
         WHERE $1::text IS NULL OR slug > $1 ORDER BY slug LIMIT $2",
        after,
        rows_for(limit),
    )
    .fetch_all(conn)
    .await?;
    let tenants = rows
        .into_iter()
        .map(Tenant::try_from)
        .collect::<Result<Vec<_>>>()?;
    Ok(Page::from_rows(tenants, limit, |tenant| tenant.slug.clone()))
}

/// Changes a tenant and returns it as it is then.
pub async fn update(
    conn: &mut PgConnection,
    id: TenantId,
    changes: TenantChanges,
    now: Timestamp,
) -> Result<Tenant> {
    if let Some(name) = &changes.name {
        check_length("name", name, 200)?;
    }
    let policy = changes
        .policy
        .as_ref()
        .map(|policy| to_json("policy", policy))
        .transpose()?;
    let settings = changes
        .settings
        .as_ref()
        .map(|settings| to_json("settings", settings))
        .transpose()?;
    let row = sqlx::query_as!(
        Row,
        "UPDATE tenants SET name = coalesce($2, name), status = coalesce($3, status), policy = coalesce($4, policy),
                settings = coalesce($5, settings), updated_at = $6
         WHERE id = $1 RETURNING id, slug, name, status, policy, settings, approval_campaign_types,
                created_at, updated_at",
        id.0,
        changes.name,
        changes.status.map(TenantStatus::as_str),
        policy,
        settings,
        now.to_sqlx() as _,
    )
    .fetch_optional(conn)
    .await?;
    row.ok_or_else(|| StoreError::not_found("tenant", id))?.try_into()
}

fn check_slug(slug: &str) -> Result<()> {
    let form = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if slug.is_empty() || slug.len() > 63 || slug.starts_with('-') || !slug.chars().all(form) {
        return Err(StoreError::invalid(
            "slug",
            "use 1 to 63 lower-case letters, digits and hyphens; no hyphen in front",
        ));
    }
    Ok(())
}
