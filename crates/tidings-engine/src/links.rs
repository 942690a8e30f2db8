//! Links in outgoing messages: signed tokens for the open pixel, click redirects, unsubscribing and preferences.
//!
//! A token says what it is about and is signed under a tenant's key made for its purpose, so it cannot be forged,
//! guessed, used for another purpose or moved to another tenant. A click token carries its target, so there is no
//! open redirect: what was not signed leads nowhere. Tokens hold ids and keyed hashes, no personal data beyond the
//! link the message had anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use tidings_core::{Channel, ConnectionId, ContactId, MessageId, ProviderKind, TenantId};
use tidings_store::{SealError, TenantKey, TokenKey};
use url::Url;
use uuid::Uuid;

/// Bytes of the signature in a token: 128 bits, as RFC 8058's "hard to forge" asks at the least.
const SIGNATURE_BYTES: usize = 16;
/// The longest token that is looked at, in characters: a signed URL of 2,000 characters and the ids.
const MAX_TOKEN_CHARS: usize = 3_000;
/// The longest link that is tracked; longer ones are left as they are.
const MAX_TRACKED_URL_BYTES: usize = 2_000;

/// What a token is for. Each purpose has a key and a path of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The open pixel.
    Open,
    /// A click on a link.
    Click,
    /// One-click unsubscribe (RFC 8058) and its page.
    Unsubscribe,
    /// The preference page.
    Preferences,
}

impl Purpose {
    const fn key(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Click => "click",
            Self::Unsubscribe => "unsubscribe",
            Self::Preferences => "preferences",
        }
    }

    /// The first part of the path under the public base URL.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Open => "t/o",
            Self::Click => "t/c",
            Self::Unsubscribe => "u",
            Self::Preferences => "p",
        }
    }
}

/// Makes the links of one tenant's messages. Cheap to make for a batch; signs without I/O.
#[derive(Debug)]
pub struct Links {
    base: String,
    tenant: TenantId,
    open: TokenKey,
    click: TokenKey,
    unsubscribe: TokenKey,
    preferences: TokenKey,
}

/// Who unsubscribes from what. Holds the address's blind index, so that it works after the contact was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscriber {
    /// The contact.
    pub contact: ContactId,
    /// The message the link stood in.
    pub message: MessageId,
    /// The channel it came by.
    pub channel: Channel,
    /// The blind index of the address it went to.
    pub address: [u8; 32],
}

impl Links {
    /// The links of a tenant, under the public base URL.
    pub fn new(base: &Url, key: &TenantKey) -> Result<Self, SealError> {
        Ok(Self {
            base: base.as_str().trim_end_matches('/').to_owned(),
            tenant: key.tenant(),
            open: key.token_key(Purpose::Open.key())?,
            click: key.token_key(Purpose::Click.key())?,
            unsubscribe: key.token_key(Purpose::Unsubscribe.key())?,
            preferences: key.token_key(Purpose::Preferences.key())?,
        })
    }

    /// The host of the public base URL: the right side of `Message-ID`.
    pub fn host(&self) -> &str {
        let rest = self
            .base
            .split_once("://")
            .map_or(self.base.as_str(), |(_, rest)| rest);
        rest.split(['/', ':']).next().unwrap_or(rest)
    }

    /// Where a provider reports to about a connection's messages.
    pub fn webhook(&self, provider: ProviderKind, connection: ConnectionId) -> String {
        format!("{}/webhooks/{provider}/{connection}", self.base)
    }

    /// The URL of the open pixel.
    pub fn open_pixel(&self, message: MessageId) -> String {
        self.link(Purpose::Open, &self.open, message.0.as_bytes())
    }

    /// The tracked form of a link; the link itself where it cannot or need not be tracked (not http, too long,
    /// one of ours).
    pub fn click(&self, message: MessageId, target: &str) -> String {
        let http = target.starts_with("https://") || target.starts_with("http://");
        if !http
            || target.len() > MAX_TRACKED_URL_BYTES
            || target.starts_with(&self.base)
            || Url::parse(target).is_err()
        {
            return target.to_owned();
        }
        let mut content = message.0.as_bytes().to_vec();
        content.extend_from_slice(target.as_bytes());
        self.link(Purpose::Click, &self.click, &content)
    }

    /// The one-click unsubscribe URL.
    pub fn unsubscribe(&self, who: &Unsubscriber) -> String {
        let mut content = Vec::with_capacity(65);
        content.extend_from_slice(who.contact.0.as_bytes());
        content.extend_from_slice(who.message.0.as_bytes());
        content.push(channel_byte(who.channel));
        content.extend_from_slice(&who.address);
        self.link(Purpose::Unsubscribe, &self.unsubscribe, &content)
    }

    /// The URL of the contact's preference page.
    pub fn preferences(&self, contact: ContactId) -> String {
        self.link(Purpose::Preferences, &self.preferences, contact.0.as_bytes())
    }

    fn link(&self, purpose: Purpose, key: &TokenKey, content: &[u8]) -> String {
        let mut bytes = Vec::with_capacity(16 + content.len() + SIGNATURE_BYTES);
        bytes.extend_from_slice(self.tenant.0.as_bytes());
        bytes.extend_from_slice(content);
        let signature = key.sign(&bytes);
        bytes.extend_from_slice(&signature[..SIGNATURE_BYTES]);
        format!("{}/{}/{}", self.base, purpose.path(), BASE64.encode(&bytes))
    }
}

/// A token taken apart but not yet believed: its tenant says under whose key to verify it.
#[derive(Debug)]
pub struct Token {
    tenant: TenantId,
    bytes: Vec<u8>,
}

impl Token {
    /// Takes a token apart; none when it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_TOKEN_CHARS {
            return None;
        }
        let bytes = BASE64.decode(text).ok()?;
        if bytes.len() < 16 + SIGNATURE_BYTES {
            return None;
        }
        Some(Self {
            tenant: TenantId(uuid_at(&bytes, 0)?),
            bytes,
        })
    }

    /// The tenant it claims.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The message whose pixel was fetched.
    pub fn open(&self, key: &TenantKey) -> Option<MessageId> {
        let content = self.verified(key, Purpose::Open)?;
        (content.len() == 16)
            .then(|| uuid_at(content, 0).map(MessageId))
            .flatten()
    }

    /// The message and the target of a click.
    pub fn click(&self, key: &TenantKey) -> Option<(MessageId, String)> {
        let content = self.verified(key, Purpose::Click)?;
        let target = std::str::from_utf8(content.get(16..)?).ok()?;
        Some((MessageId(uuid_at(content, 0)?), target.to_owned()))
    }

    /// Who unsubscribes.
    pub fn unsubscribe(&self, key: &TenantKey) -> Option<Unsubscriber> {
        let content = self.verified(key, Purpose::Unsubscribe)?;
        Some(Unsubscriber {
            contact: ContactId(uuid_at(content, 0)?),
            message: MessageId(uuid_at(content, 16)?),
            channel: byte_channel(*content.get(32)?)?,
            address: content.get(33..)?.try_into().ok()?,
        })
    }

    /// Whose preferences.
    pub fn preferences(&self, key: &TenantKey) -> Option<ContactId> {
        let content = self.verified(key, Purpose::Preferences)?;
        (content.len() == 16)
            .then(|| uuid_at(content, 0).map(ContactId))
            .flatten()
    }

    fn verified(&self, key: &TenantKey, purpose: Purpose) -> Option<&[u8]> {
        let (signed, signature) = self.bytes.split_at(self.bytes.len() - SIGNATURE_BYTES);
        let right =
            key.tenant() == self.tenant && key.token_key(purpose.key()).ok()?.verify(signed, signature);
        right.then(|| &signed[16..])
    }
}

fn uuid_at(bytes: &[u8], at: usize) -> Option<Uuid> {
    Uuid::from_slice(bytes.get(at..at + 16)?).ok()
}

const fn channel_byte(channel: Channel) -> u8 {
    match channel {
        Channel::Email => 1,
        Channel::Sms => 2,
        Channel::Whatsapp => 3,
        Channel::WhatsappWeb => 4,
    }
}

const fn byte_channel(byte: u8) -> Option<Channel> {
    match byte {
        1 => Some(Channel::Email),
        2 => Some(Channel::Sms),
        3 => Some(Channel::Whatsapp),
        4 => Some(Channel::WhatsappWeb),
        _ => None,
    }
}
