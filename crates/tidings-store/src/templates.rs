//! Templates: versioned content per message type, channel and locale. The product's built-in ones are not here; a published
//! one of the tenant comes before them.

use crate::columns::{Page, check_length, rows_for, word};
use crate::{Result, StoreError, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::Serialize;
use sqlx::PgConnection;
use tidings_core::{Channel, Dice, MessageType, TemplateId, TenantId, word_enum};
use uuid::Uuid;

/// The most published templates of a tenant that are loaded at once.
const PUBLISHED_LIMIT: i64 = 5_000;

/// The largest body, in bytes.
const BODY_LIMIT: usize = 1_048_576;

word_enum! {
    /// Where a version stands.
    pub enum TemplateState {
        /// Being written; never sent.
        Draft = "draft",
        /// In use.
        Published = "published",
        /// Was in use; kept because sent messages point to it.
        Archived = "archived",
    }
}

word_enum! {
    /// What a body is written in.
    pub enum BodyFormat {
        /// HTML.
        Html = "html",
        /// MJML, made into HTML when rendered.
        Mjml = "mjml",
        /// Plain text.
        Text = "text",
    }
}

/// What a template is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct TemplateKey {
    /// The message type.
    pub message_type: MessageType,
    /// The channel.
    pub channel: Channel,
    /// The locale (`en`, `de-AT`).
    pub locale: String,
}

/// The content of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TemplateContent {
    /// E-mail: the subject, itself a template.
    pub subject: Option<String>,
    /// The body, at most 1 MiB.
    pub body: String,
    /// What the body is written in.
    pub body_format: BodyFormat,
    /// E-mail: the text part; derived from the body when absent.
    pub text_body: Option<String>,
    /// WhatsApp: the approved template it goes by outside the service window, as the renderer reads it.
    pub whatsapp: Option<serde_json::Value>,
}

/// One version of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Template {
    /// Its id.
    pub id: TemplateId,
    /// What it is for.
    #[serde(flatten)]
    pub key: TemplateKey,
    /// Counts from 1 within its key.
    pub version: u32,
    /// Where it stands.
    pub state: TemplateState,
    /// What it says.
    #[serde(flatten)]
    pub content: TemplateContent,
    /// Since when.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// When it came into use.
    pub published_at: Option<Timestamp>,
}

/// Which templates to list.
#[derive(Clone, Debug, Default)]
pub struct TemplateFilter {
    /// Of this type.
    pub message_type: Option<MessageType>,
    /// Of this channel.
    pub channel: Option<Channel>,
    /// Of this locale.
    pub locale: Option<String>,
    /// In this state.
    pub state: Option<TemplateState>,
}

struct Row {
    id: Uuid,
    message_type: String,
    channel: String,
    locale: String,
    version: i32,
    state: String,
    subject: Option<String>,
    body: String,
    body_format: String,
    text_body: Option<String>,
    whatsapp: Option<serde_json::Value>,
    created_at: jiff_sqlx::Timestamp,
    updated_at: jiff_sqlx::Timestamp,
    published_at: Option<jiff_sqlx::Timestamp>,
}

impl TryFrom<Row> for Template {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self> {
        let message_type = MessageType::parse(&row.message_type)
            .map_err(|error| StoreError::invalid("templates.message_type", error.to_string()))?;
        let key = TemplateKey {
            message_type,
            channel: word("templates.channel", &row.channel)?,
            locale: row.locale,
        };
        let content = TemplateContent {
            subject: row.subject,
            body: row.body,
            body_format: word("templates.body_format", &row.body_format)?,
            text_body: row.text_body,
            whatsapp: row.whatsapp,
        };
        Ok(Self {
            id: TemplateId(row.id),
            key,
            version: row.version.unsigned_abs(),
            state: word("templates.state", &row.state)?,
            content,
            created_at: row.created_at.to_jiff(),
            updated_at: row.updated_at.to_jiff(),
            published_at: row.published_at.map(jiff_sqlx::Timestamp::to_jiff),
        })
    }
}

/// The locales to look for, best first: `de-AT`, `de`, then the tenant's default likewise, then `en`.
pub fn locale_chain(locale: Option<&str>, tenant_default: Option<&str>) -> Vec<String> {
    let mut chain: Vec<String> = Vec::with_capacity(5);
    for wanted in [locale, tenant_default, Some("en")].into_iter().flatten() {
        let mut rest = wanted.trim().replace('_', "-");
        while !rest.is_empty() {
            if !chain.contains(&rest) {
                chain.push(rest.clone());
            }
            rest = rest
                .rsplit_once('-')
                .map_or_else(String::new, |(parent, _)| parent.to_owned());
        }
    }
    chain
}

/// Saves the draft of a key: the one there is, or a new version.
pub async fn save_draft(
    tx: &mut TenantTx,
    key: &TemplateKey,
    content: &TemplateContent,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Template> {
    check(key, content)?;
    lock_key(tx, key).await?;
    let row = sqlx::query_as!(
        Row,
        "INSERT INTO templates (tenant_id, id, message_type, channel, locale, version, state, subject, body, body_format,
                                text_body, whatsapp, created_at, updated_at)
         SELECT $1, $2, $3, $4, $5, coalesce(max(version), 0) + 1, 'draft', $6, $7, $8, $9, $11, $10, $10
         FROM templates WHERE tenant_id = $1 AND message_type = $3 AND channel = $4 AND locale = $5
         ON CONFLICT (tenant_id, message_type, channel, locale) WHERE state = 'draft'
         DO UPDATE SET subject = EXCLUDED.subject, body = EXCLUDED.body, body_format = EXCLUDED.body_format,
                       text_body = EXCLUDED.text_body, whatsapp = EXCLUDED.whatsapp, updated_at = EXCLUDED.updated_at
         RETURNING id, message_type, channel, locale, version, state, subject, body, body_format, text_body, whatsapp,
                   created_at, updated_at, published_at",
        tx.tenant().0,
        dice.uuid(now),
        key.message_type.as_str(),
        key.channel.as_str(),
        key.locale,
        content.subject,
        content.body,
        content.body_format.as_str(),
        content.text_body,
        now.to_sqlx() as _,
        content.whatsapp,
    )
    .fetch_one(&mut **tx)
    .await?;
    row.try_into()
}

/// Brings a draft, or an archived version again, into use; the version in use until now is archived. The caller has checked
/// that it renders.
pub async fn publish(tx: &mut TenantTx, id: TemplateId, now: Timestamp) -> Result<Template> {
    let template = get(tx, id).await?;
    lock_key(tx, &template.key).await?;
    sqlx::query!(
        "UPDATE templates SET state = 'archived', updated_at = $6
         WHERE tenant_id = $1 AND message_type = $2 AND channel = $3 AND locale = $4 AND state = 'published' AND id <> $5",
        tx.tenant().0,
        template.key.message_type.as_str(),
        template.key.channel.as_str(),
        template.key.locale,
        id.0,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    set_state(tx, id, TemplateState::Published, now).await
}

/// Takes a version out of use; the built-in content, or another locale's, answers then.
pub async fn archive(tx: &mut TenantTx, id: TemplateId, now: Timestamp) -> Result<Template> {
    set_state(tx, id, TemplateState::Archived, now).await
}

/// One version.
pub async fn get(tx: &mut TenantTx, id: TemplateId) -> Result<Template> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, message_type, channel, locale, version, state, subject, body, body_format, text_body, whatsapp,
                created_at, updated_at, published_at FROM templates WHERE tenant_id = $1 AND id = $2",
        tx.tenant().0,
        id.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.ok_or_else(|| StoreError::not_found("template", id))?
        .try_into()
}

/// The tenant's templates, newest first.
pub async fn list(
    tx: &mut TenantTx,
    filter: &TemplateFilter,
    before: Option<TemplateId>,
    limit: u32,
) -> Result<Page<Template, TemplateId>> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, message_type, channel, locale, version, state, subject, body, body_format, text_body, whatsapp,
                created_at, updated_at, published_at FROM templates
         WHERE tenant_id = $1 AND ($2::text IS NULL OR message_type = $2) AND ($3::text IS NULL OR channel = $3)
           AND ($4::text IS NULL OR locale = $4) AND ($5::text IS NULL OR state = $5) AND ($6::uuid IS NULL OR id < $6)
         ORDER BY id DESC LIMIT $7",
        tx.tenant().0,
        filter.message_type.as_ref().map(MessageType::as_str),
        filter.channel.map(Channel::as_str),
        filter.locale.as_deref(),
        filter.state.map(TemplateState::as_str),
        before.map(|id| id.0),
        rows_for(limit),
    )
    .fetch_all(&mut **tx)
    .await?;
    let templates = rows
        .into_iter()
        .map(Template::try_from)
        .collect::<Result<Vec<_>>>()?;
    Ok(Page::from_rows(templates, limit, |template| template.id))
}

/// The published template in the first of these locales that has one (see [`locale_chain`]).
pub async fn published(
    tx: &mut TenantTx,
    message_type: &MessageType,
    channel: Channel,
    locales: &[String],
) -> Result<Option<Template>> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, message_type, channel, locale, version, state, subject, body, body_format, text_body, whatsapp,
                created_at, updated_at, published_at FROM templates
         WHERE tenant_id = $1 AND message_type = $2 AND channel = $3 AND locale = ANY ($4) AND state = 'published'
         ORDER BY array_position($4, locale) LIMIT 1",
        tx.tenant().0,
        message_type.as_str(),
        channel.as_str(),
        locales,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(Template::try_from).transpose()
}

/// Everything a tenant has published, for a cache of the engine. Works in both roles.
pub async fn all_published(conn: &mut PgConnection, tenant: TenantId) -> Result<Vec<Template>> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, message_type, channel, locale, version, state, subject, body, body_format, text_body, whatsapp,
                created_at, updated_at, published_at FROM templates
         WHERE tenant_id = $1 AND state = 'published' ORDER BY message_type, channel, locale LIMIT $2",
        tenant.0,
        PUBLISHED_LIMIT,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Template::try_from).collect()
}

async fn set_state(
    tx: &mut TenantTx,
    id: TemplateId,
    state: TemplateState,
    now: Timestamp,
) -> Result<Template> {
    let row = sqlx::query_as!(
        Row,
        "UPDATE templates SET state = $3, updated_at = $4,
                published_at = CASE WHEN $3 = 'published' THEN $4 ELSE published_at END
         WHERE tenant_id = $1 AND id = $2
         RETURNING id, message_type, channel, locale, version, state, subject, body, body_format, text_body, whatsapp,
                   created_at, updated_at, published_at",
        tx.tenant().0,
        id.0,
        state.as_str(),
        now.to_sqlx() as _,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.ok_or_else(|| StoreError::not_found("template", id))?
        .try_into()
}

/// Two people who save or publish the same key wait for each other instead of colliding on the version.
async fn lock_key(tx: &mut TenantTx, key: &TemplateKey) -> Result<()> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended($1 || '|' || $2 || '|' || $3 || '|' || $4, 0))",
        tx.tenant().to_string(),
        key.message_type.as_str(),
        key.channel.as_str(),
        key.locale,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn check(key: &TemplateKey, content: &TemplateContent) -> Result<()> {
    let form = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !(2..=35).contains(&key.locale.len()) || !key.locale.chars().all(form) {
        return Err(StoreError::invalid(
            "locale",
            "use a language tag such as en or de-AT",
        ));
    }
    if let Some(subject) = &content.subject {
        check_length("subject", subject, 998)?;
    }
    for (field, text) in [
        ("body", Some(&content.body)),
        ("text_body", content.text_body.as_ref()),
    ] {
        if text.is_some_and(|text| text.is_empty() || text.len() > BODY_LIMIT) {
            return Err(StoreError::invalid(
                field,
                format!("needs 1 to {BODY_LIMIT} bytes"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::locale_chain;

    #[test]
    fn a_locale_falls_back_to_its_language_then_the_tenants_then_english() {
        assert_eq!(
            locale_chain(Some("de-AT"), Some("fr")),
            ["de-AT", "de", "fr", "en"]
        );
        assert_eq!(
            locale_chain(Some("zh_Hant_TW"), None),
            ["zh-Hant-TW", "zh-Hant", "zh", "en"]
        );
        assert_eq!(locale_chain(None, Some("en-GB")), ["en-GB", "en"]);
        assert_eq!(locale_chain(None, None), ["en"]);
    }
}
