//! Published templates of the types a batch needs. A published version never changes, so what was compiled stays good.

use super::words::word;
use crate::Result;
use crate::whatsapp::templates::usable;
use sqlx::PgConnection;
use tidings_core::{Channel, MessageType, TemplateId, TenantId};

/// Which version is published for a type, channel and locale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedRow {
    /// Whose.
    pub tenant: TenantId,
    /// The version.
    pub id: TemplateId,
    /// The type.
    pub message_type: MessageType,
    /// The channel.
    pub channel: Channel,
    /// The locale.
    pub locale: String,
    /// It goes by an approved WhatsApp template, and Meta has not stopped that one.
    pub whatsapp_template: bool,
}

/// The published versions of the wanted types.
pub async fn load(conn: &mut PgConnection, wanted: &[(TenantId, MessageType)]) -> Result<Vec<PublishedRow>> {
    let tenants: Vec<_> = wanted.iter().map(|(tenant, _)| tenant.0).collect();
    let types: Vec<_> = wanted
        .iter()
        .map(|(_, message_type)| message_type.as_str())
        .collect();
    let rows = sqlx::query!(
        r#"
        SELECT t.tenant_id, t.id, t.message_type, t.channel, t.locale,
            CASE WHEN t.whatsapp IS NOT NULL THEN whatsapp_standings(t.tenant_id, t.whatsapp) END AS "whatsapp_standings?"
        FROM unnest($1::uuid[], $2::text[]) AS i(tenant_id, message_type)
        JOIN templates t ON t.tenant_id = i.tenant_id AND t.message_type = i.message_type AND t.state = 'published'
        "#,
        &tenants,
        &types as _,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(PublishedRow {
                tenant: TenantId(row.tenant_id),
                id: TemplateId(row.id),
                message_type: MessageType::parse(&row.message_type)
                    .map_err(|error| sqlx::Error::Decode(error.to_string().into()))?,
                channel: word(&row.channel)?,
                locale: row.locale,
                whatsapp_template: usable(row.whatsapp_standings.as_deref())?,
            })
        })
        .collect()
}

/// The text of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateText {
    /// Subject of an e-mail.
    pub subject: Option<String>,
    /// Body.
    pub body: String,
    /// `html`, `mjml` or `text`.
    pub body_format: String,
    /// Text part of an e-mail.
    pub text_body: Option<String>,
    /// The approved WhatsApp template it goes by.
    pub whatsapp: Option<serde_json::Value>,
}

/// Reads the text of a version.
pub async fn text(
    conn: &mut PgConnection,
    tenant: TenantId,
    template: TemplateId,
) -> Result<Option<TemplateText>> {
    let text = sqlx::query_as!(
        TemplateText,
        "SELECT subject, body, body_format, text_body, whatsapp FROM templates WHERE tenant_id = $1 AND id = $2",
        tenant.0,
        template.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(text)
}
