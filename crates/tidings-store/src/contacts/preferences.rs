//! How and when a contact wants to be reached. Every change locks the contact's row, which the dispatch gate locks too: no
//! dispatch begins after an opt-out was acknowledged.

use super::{lock, windows_json};
use crate::columns::{channel_words, channels, check_length, from_json};
use crate::{Result, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::Serialize;
use tidings_core::decide::facts::Window;
use tidings_core::{Channel, ContactId};

/// A contact's preferences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Preferences {
    /// Preferred channels, best first.
    pub preferred_channels: Vec<Channel>,
    /// Channels opted out of: no marketing and service.
    pub opted_out: Vec<Channel>,
    /// Channels stopped: nothing at all.
    pub stopped: Vec<Channel>,
    /// Its own quiet hours.
    pub quiet_hours: Vec<Window>,
    /// No marketing or service before this instant.
    pub paused_until: Option<Timestamp>,
}

/// What to change; `None` leaves as is. For a field that can be empty, `Some(None)` empties it.
#[derive(Clone, Debug, Default)]
pub struct PreferencesChange {
    /// Preferred channels, best first.
    pub preferred_channels: Option<Vec<Channel>>,
    /// All channels opted out of.
    pub opted_out: Option<Vec<Channel>>,
    /// Quiet hours.
    pub quiet_hours: Option<Vec<Window>>,
    /// Pause.
    pub paused_until: Option<Option<Timestamp>>,
    /// Language and region.
    pub locale: Option<Option<String>>,
    /// IANA zone name.
    pub zone: Option<Option<String>>,
}

pub(super) struct Columns {
    pub preferred_channels: Vec<String>,
    pub opted_out: Vec<String>,
    pub stopped: Vec<String>,
    pub quiet_hours: serde_json::Value,
    pub paused_until: Option<jiff_sqlx::Timestamp>,
}

impl Columns {
    pub(super) fn read(self) -> Result<Preferences> {
        Ok(Preferences {
            preferred_channels: channels("contacts.preferred_channels", &self.preferred_channels)?,
            opted_out: channels("contacts.opted_out", &self.opted_out)?,
            stopped: channels("contacts.stopped", &self.stopped)?,
            quiet_hours: from_json("contacts.quiet_hours", self.quiet_hours)?,
            paused_until: self.paused_until.map(jiff_sqlx::Timestamp::to_jiff),
        })
    }
}

/// Changes preferences and returns them as they are then.
pub async fn update_preferences(
    tx: &mut TenantTx,
    contact: ContactId,
    change: PreferencesChange,
    now: Timestamp,
) -> Result<Preferences> {
    for (field, text, most) in [("zone", &change.zone, 64), ("locale", &change.locale, 35)] {
        if let Some(Some(text)) = text {
            check_length(field, text, most)?;
        }
    }
    let preferred = change.preferred_channels.as_deref().map(channel_words);
    let opted_out = change.opted_out.as_deref().map(channel_words);
    lock(tx, contact).await?;
    let row = sqlx::query_as!(
        Columns,
        "UPDATE contacts SET preferred_channels = coalesce($3, preferred_channels), opted_out = coalesce($4, opted_out),
                quiet_hours = coalesce($5, quiet_hours),
                paused_until = CASE WHEN $6 THEN $7 ELSE paused_until END,
                locale = CASE WHEN $8 THEN $9 ELSE locale END, zone = CASE WHEN $10 THEN $11 ELSE zone END,
                updated_at = $12
         WHERE tenant_id = $1 AND id = $2
         RETURNING preferred_channels, opted_out, stopped, quiet_hours, paused_until",
        tx.tenant().0,
        contact.0,
        preferred.as_deref(),
        opted_out.as_deref(),
        change.quiet_hours.as_deref().map(windows_json).transpose()?,
        change.paused_until.is_some(),
        change.paused_until.flatten().map(ToSqlx::to_sqlx) as _,
        change.locale.is_some(),
        change.locale.flatten(),
        change.zone.is_some(),
        change.zone.flatten(),
        now.to_sqlx() as _,
    )
    .fetch_one(&mut **tx)
    .await?;
    row.read()
}

/// Stops a channel for the contact: nothing at all goes there any more.
pub async fn stop(tx: &mut TenantTx, contact: ContactId, channel: Channel, now: Timestamp) -> Result<()> {
    lock(tx, contact).await?;
    sqlx::query!(
        "UPDATE contacts SET stopped = array_append(array_remove(stopped, $3), $3), updated_at = $4
         WHERE tenant_id = $1 AND id = $2",
        tx.tenant().0,
        contact.0,
        channel.as_str(),
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Opens a stopped channel again, on the contact's own word (START).
pub async fn start(tx: &mut TenantTx, contact: ContactId, channel: Channel, now: Timestamp) -> Result<()> {
    lock(tx, contact).await?;
    sqlx::query!(
        "UPDATE contacts SET stopped = array_remove(stopped, $3), updated_at = $4 WHERE tenant_id = $1 AND id = $2",
        tx.tenant().0,
        contact.0,
        channel.as_str(),
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes that the contact wrote to us on WhatsApp, which opens the 24 h service window. Late and repeated reports are harmless.
pub async fn note_whatsapp_inbound(tx: &mut TenantTx, contact: ContactId, at: Timestamp) -> Result<()> {
    sqlx::query!(
        "UPDATE contacts SET last_whatsapp_inbound_at = greatest(last_whatsapp_inbound_at, $3)
         WHERE tenant_id = $1 AND id = $2",
        tx.tenant().0,
        contact.0,
        at.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
