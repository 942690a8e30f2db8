//! Who wrote: by phone number, or by the id of a user who hides it.

use super::preference;
use crate::error::EngineError;
use jiff::Timestamp;
use tidings_core::decide::facts::SuppressionReason;
use tidings_core::{Address, Channel, ConnectionId, ContactId, Dice};
use tidings_providers::{InboundMessage, UserLink};
use tidings_store::tracking::reports::{self, Wanted};
use tidings_store::whatsapp::users;
use tidings_store::{BlindIndex, TenantTx, contacts, suppressions};

/// The hash the author of a message is known by, and the contacts it is: by the address, else by the message of ours that is
/// answered. Meta writes some numbers (Brazil, Mexico, Argentina) otherwise than contacts do.
pub(crate) async fn author(
    tx: &mut TenantTx,
    connection: ConnectionId,
    message: &InboundMessage,
) -> Result<(BlindIndex, Vec<ContactId>), EngineError> {
    let (index, mut holders) = sender(tx, message.channel, message.from.expose()).await?;
    if holders.is_empty()
        && message.channel == Channel::Whatsapp
        && let Some(answered) = &message.in_reply_to
    {
        holders.extend(recipient_of(tx, connection, answered).await?);
    }
    Ok((index, holders))
}

/// The contact a message of ours went to, by the provider's id of it; nobody when it was erased since.
async fn recipient_of(
    tx: &mut TenantTx,
    connection: ConnectionId,
    provider_message_id: &str,
) -> Result<Option<ContactId>, EngineError> {
    let wanted = Wanted {
        connection,
        delivery: None,
        provider_message_id: Some(provider_message_id),
    };
    let Some(delivery) = reports::find(tx, wanted).await? else {
        return Ok(None);
    };
    Ok(reports::recipient(tx, delivery).await?)
}

/// Waits for others who decide about the same users without a number. To be called before it is asked who they are, and before
/// contacts are locked.
pub(crate) async fn lock_users(tx: &mut TenantTx, senders: &[String]) -> Result<(), EngineError> {
    let mut indexes = Vec::new();
    for sender in senders {
        if Address::parse(Channel::Whatsapp, sender, None).is_err() {
            indexes.push(users::index(tx, sender).await?);
        }
    }
    Ok(users::lock(tx, &indexes).await?)
}

/// The contacts that users are about to be joined to.
pub(crate) async fn linked(
    tx: &mut TenantTx,
    connection: ConnectionId,
    links: &[UserLink],
) -> Result<Vec<ContactId>, EngineError> {
    let mut found = Vec::new();
    for link in links {
        found.extend(contact_of(tx, connection, link).await?);
    }
    Ok(found)
}

/// The hash a sender is known by, and the contacts it is.
pub(super) async fn sender(
    tx: &mut TenantTx,
    channel: Channel,
    from: &str,
) -> Result<(BlindIndex, Vec<ContactId>), EngineError> {
    let tenant = tx.tenant();
    if let Ok(address) = Address::parse(channel, from, None) {
        let keyring = tx.keyring();
        let index = keyring.tenant_key(tx, tenant).await?.blind_index(&address);
        return Ok((index, contacts::find_by_address(tx, &address).await?));
    }
    let index = users::index(tx, from).await?;
    let contact = if channel == Channel::Whatsapp {
        users::contact(tx, index).await?
    } else {
        None
    };
    Ok((index, contact.into_iter().collect()))
}

/// Joins user ids to contacts: by the number seen beside one, the message of ours it answers or got, the id it had before.
/// What a user had stopped before it was known who it is, is stopped then.
pub(crate) async fn link(
    tx: &mut TenantTx,
    connection: ConnectionId,
    links: &[UserLink],
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    for link in links {
        let user = users::index(tx, link.user_id.expose()).await?;
        let Some(contact) = contact_of(tx, connection, link).await? else {
            continue;
        };
        if users::link(tx, user, contact, now).await? {
            carry_over(tx, user, contact, dice, now).await?;
        }
    }
    Ok(())
}

/// What a user refused before it was known who it is.
async fn carry_over(
    tx: &mut TenantTx,
    user: BlindIndex,
    contact: ContactId,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let tenant = tx.tenant();
    for refused in suppressions::in_force(tx, &[(tenant, user)]).await? {
        match refused.reason {
            _ if refused.channel != Channel::Whatsapp => {}
            SuppressionReason::Stop => contacts::stop(tx, contact, Channel::Whatsapp, now).await?,
            SuppressionReason::Unsubscribe => {
                preference::withdraw_marketing(tx, contact, Channel::Whatsapp, dice, now).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

async fn contact_of(
    tx: &mut TenantTx,
    connection: ConnectionId,
    link: &UserLink,
) -> Result<Option<ContactId>, EngineError> {
    if let Some(phone) = &link.phone
        && let Ok(address) = Address::parse(Channel::Whatsapp, phone.expose(), None)
        && let Some(contact) = contacts::find_by_address(tx, &address).await?.first()
    {
        return Ok(Some(*contact));
    }
    if let Some(id) = &link.provider_message_id
        && let Some(contact) = recipient_of(tx, connection, id).await?
    {
        return Ok(Some(contact));
    }
    match &link.replaces {
        Some(before) => {
            let before = users::index(tx, before.expose()).await?;
            Ok(users::contact(tx, before).await?)
        }
        None => Ok(None),
    }
}
