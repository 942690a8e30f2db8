//! One-click unsubscribe (RFC 8058) and the page behind the same link.
//!
//! The token carries the blind index of the address, so it works as long as the tenant's key exists: without a login, more
//! than once, and after the contact was erased. It closes one address on one channel for marketing and service; what the
//! recipient is owed (receipts, confirmations) still goes.

use crate::engagement;
use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use crate::links::{Links, Unsubscriber};
use crate::track;
use crate::visitor::Sender;
use jiff::Timestamp;
use tidings_core::decide::facts::SuppressionReason;
use tidings_core::event::DeliveryEventKind;
use tidings_core::{Address, Category, Channel, ContactId, DeliveryEventId, Dice, Provenance, TenantId};
use tidings_store::consents::{self, NewConsent};
use tidings_store::contacts::{self, Contact};
use tidings_store::events::{self, NewEvent};
use tidings_store::suppressions::{self, NewSuppression};
use tidings_store::tenants;
use tidings_store::tracking::reports::{self, NewReport};
use tidings_store::{BlindIndex, TenantKey, TenantTx};

/// What the unsubscribe page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubscribePage {
    /// Who writes.
    pub sender: Sender,
    /// The address, masked; none when the contact is erased or has it no more.
    pub address: Option<String>,
    /// The channel that is closed.
    pub channel: Channel,
    /// It is closed.
    pub done: bool,
    /// The contact's preference page, where there is a contact.
    pub preferences_url: Option<String>,
    /// The contact's language.
    pub language: Option<String>,
}

/// By what a recipient unsubscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsubscribedBy {
    /// The mail program's button (RFC 8058).
    OneClick,
    /// The button of the page.
    Page,
}

impl UnsubscribedBy {
    const fn source(self) -> &'static str {
        match self {
            Self::OneClick => "one-click unsubscribe",
            Self::Page => "unsubscribe page",
        }
    }
}

/// A verified token with its tenant.
struct Verified {
    tenant: TenantId,
    key: TenantKey,
    who: Unsubscriber,
}

impl Engine {
    /// What the unsubscribe page shows; none for a token that is not ours. Changes nothing.
    pub async fn unsubscribe_page(&self, token: &str) -> Result<Option<UnsubscribePage>, EngineError> {
        let Some(verified) = self.unsubscriber(token).await? else {
            return Ok(None);
        };
        let mut tx = self.store().worker_tenant(verified.tenant).tx().await?;
        let page = self.page(&mut tx, &verified).await?;
        tx.commit().await?;
        Ok(Some(page))
    }

    /// Unsubscribes; the same again changes nothing. None for a token that is not ours.
    pub async fn unsubscribe(
        &self,
        token: &str,
        by: UnsubscribedBy,
    ) -> Result<Option<UnsubscribePage>, EngineError> {
        let Some(verified) = self.unsubscriber(token).await? else {
            return Ok(None);
        };
        let now = self.now();
        let mut dice = self.dice();
        let mut tx = self.store().worker_tenant(verified.tenant).tx().await?;
        let fresh = close(&self.inner, &mut tx, &verified, by, &mut dice, now).await?;
        let page = self.page(&mut tx, &verified).await?;
        tx.commit().await?;
        if fresh {
            let channel = verified.who.channel.as_str();
            metrics::counter!("tidings_unsubscribes_total", "channel" => channel).increment(1);
        }
        Ok(Some(page))
    }

    async fn unsubscriber(&self, token: &str) -> Result<Option<Verified>, EngineError> {
        let Some((tenant, key, token)) = self.token_key(token).await? else {
            return Ok(None);
        };
        Ok(token.unsubscribe(&key).map(|who| Verified { tenant, key, who }))
    }

    async fn page(&self, tx: &mut TenantTx, verified: &Verified) -> Result<UnsubscribePage, EngineError> {
        let Verified { tenant, key, who } = verified;
        let contact = living(tx, who.contact).await?;
        let index = BlindIndex(who.address);
        let held = contact.as_ref().and_then(|contact| {
            let mut addresses = contact.addresses.iter();
            addresses
                .find(|address| address.blind_index == index)
                .and_then(contacts::ContactAddress::address)
        });
        let closed = suppressions::in_force(tx, &[(*tenant, index)]).await?;
        let preferences_url = match &contact {
            Some(contact) => Some(Links::new(self.public_base_url(), key)?.preferences(contact.id)),
            None => None,
        };
        Ok(UnsubscribePage {
            sender: Sender::of(tenants::get(tx, *tenant).await?),
            address: held.map(|address| address.masked()),
            channel: who.channel,
            done: closed
                .iter()
                .any(|entry| entry.channel == who.channel && entry.reason == SuppressionReason::Unsubscribe),
            preferences_url,
            language: contact.and_then(|contact| contact.locale),
        })
    }
}

/// The contact, unless it is unknown or erased.
pub(crate) async fn living(tx: &mut TenantTx, contact: ContactId) -> Result<Option<Contact>, EngineError> {
    let found = contacts::get_many(tx, &[contact]).await?.pop();
    Ok(found.filter(|contact| contact.erased_at.is_none()))
}

/// Closes the address for marketing and service; false when nothing was left to do. The suppression is entered first: it
/// locks the contacts that have the address, in the order everybody locks them.
async fn close(
    inner: &Inner,
    tx: &mut TenantTx,
    verified: &Verified,
    by: UnsubscribedBy,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<bool, EngineError> {
    let Verified { tenant, who, .. } = verified;
    let item = NewSuppression {
        tenant: *tenant,
        channel: who.channel,
        blind_index: BlindIndex(who.address),
        reason: SuppressionReason::Unsubscribe,
        source: by.source().to_owned(),
        detail: None,
    };
    let entered = suppressions::add(tx, &[item], dice, now).await? > 0;
    let contact = living(tx, who.contact).await?.map(|contact| contact.id);
    let withdrawn = match contact {
        Some(contact) => {
            withdraw(
                tx,
                contact,
                Category::Marketing,
                Some(who.channel),
                by.source(),
                dice,
                now,
            )
            .await?
        }
        None => false,
    };
    if !entered && !withdrawn {
        return Ok(false);
    }
    let event = NewEvent {
        tenant: *tenant,
        kind: "ContactUnsubscribed".to_owned(),
        contact,
        message: Some(who.message),
        subject: None,
        data: serde_json::json!({ "channel": who.channel, "by": by.source() }),
    };
    events::append(tx, &[event], dice, now).await?;
    report(inner, tx, who, dice, now).await?;
    Ok(true)
}

/// How a wish that came by mail is entered.
const BY_MAIL: &str = "unsubscribe by mail";

/// The contacts who have the address in whose name a mail asks to be left alone.
pub(crate) async fn leaver(tx: &mut TenantTx, from: &str) -> Result<Vec<ContactId>, EngineError> {
    match Address::parse(Channel::Email, from, None) {
        Ok(address) => Ok(contacts::find_by_address(tx, &address).await?),
        Err(_) => Ok(Vec::new()),
    }
}

/// Closes an address for marketing and service because a mail in its name asks for it; also one that nobody has yet. Nothing
/// proves the name. The address alone is closed, never the contact's others, and what the recipient is owed still goes.
pub(crate) async fn by_mail(
    tx: &mut TenantTx,
    from: &str,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let Ok(address) = Address::parse(Channel::Email, from, None) else {
        return Ok(());
    };
    let (tenant, keyring) = (tx.tenant(), tx.keyring());
    let index = keyring.tenant_key(tx, tenant).await?.blind_index(&address);
    let item = NewSuppression {
        tenant,
        channel: Channel::Email,
        blind_index: index,
        reason: SuppressionReason::Unsubscribe,
        source: BY_MAIL.to_owned(),
        detail: None,
    };
    if suppressions::add(tx, &[item], dice, now).await? == 0 {
        return Ok(());
    }
    metrics::counter!("tidings_unsubscribes_total", "channel" => Channel::Email.as_str()).increment(1);
    let holders = contacts::find_by_address(tx, &address).await?;
    let entries: Vec<_> = holders
        .into_iter()
        .map(|contact| NewEvent {
            tenant,
            kind: "ContactUnsubscribed".to_owned(),
            contact: Some(contact),
            message: None,
            subject: None,
            data: serde_json::json!({ "channel": Channel::Email, "by": BY_MAIL }),
        })
        .collect();
    events::append(tx, &entries, dice, now).await?;
    Ok(())
}

/// Records that a consent is taken back, unless the newest entry says so already.
pub(crate) async fn withdraw(
    tx: &mut TenantTx,
    contact: ContactId,
    purpose: Category,
    channel: Option<Channel>,
    source: &str,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<bool, EngineError> {
    let tenant = tx.tenant();
    let known = consents::in_force(tx, &[(tenant, contact)]).await?;
    let newest = known
        .values()
        .flatten()
        .filter(|consent| {
            consent.purpose == purpose && (consent.channel.is_none() || consent.channel == channel)
        })
        .max_by_key(|consent| (consent.at, !consent.granted));
    if newest.is_some_and(|consent| !consent.granted) {
        return Ok(false);
    }
    let entry = NewConsent {
        contact,
        purpose,
        channel,
        granted: false,
        source: source.to_owned(),
        wording: None,
    };
    consents::record(tx, entry, dice, now).await?;
    Ok(true)
}

/// The delivery's own timeline says so too, while the message exists.
async fn report(
    inner: &Inner,
    tx: &mut TenantTx,
    who: &Unsubscriber,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let Some(delivery) = reports::newest_of(tx, who.message).await? else {
        return Ok(());
    };
    let Some(reported) = reports::lock(tx, delivery).await? else {
        return Ok(());
    };
    let report = NewReport {
        id: DeliveryEventId(dice.uuid(now)),
        connection: engagement::OURSELVES,
        dedupe_key: format!("unsubscribed:{}:{}", who.message, who.channel),
        delivery: Some(reported.delivery),
        message: Some(reported.message),
        kind: DeliveryEventKind::Unsubscribed,
        provenance: Provenance::Webhook,
        bounce_class: None,
        error_category: None,
        code: None,
        detail: None,
        occurred_at: now,
    };
    track::note(inner, tx, reported, &report, dice, now).await?;
    Ok(())
}
