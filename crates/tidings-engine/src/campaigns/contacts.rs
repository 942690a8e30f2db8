//! From customers of a source to contacts: who can be reached, and what the source says about opt-outs and consent.

use tidings_core::campaign::{Cell, Customer};
use tidings_core::redact::Private;
use tidings_core::{Address, Channel, zone};
use tidings_store::contacts::{AddressInput, AddressKind, ContactInput};

/// The longest external id of a contact, in characters.
const LONGEST_KEY: usize = 200;
/// The longest name, in characters.
const LONGEST_NAME: usize = 200;

/// A customer that can be written to.
#[derive(Clone, Debug)]
pub(super) struct Reachable {
    pub input: ContactInput,
    pub opted_out: Vec<Channel>,
    pub marketing_consent: Option<bool>,
}

/// Why a customer cannot be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreachable {
    /// It has no address at all.
    NoAddress,
    /// None of its addresses is one.
    MalformedAddress,
    /// Its key cannot be a contact's external id.
    LongKey,
}

impl Unreachable {
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoAddress => "address.missing",
            Self::MalformedAddress => "address.malformed",
            Self::LongKey => "customer.key_too_long",
        }
    }

    pub const fn detail(self) -> &'static str {
        match self {
            Self::NoAddress => "the customer has neither an e-mail address nor a phone number",
            Self::MalformedAddress => "no e-mail address or phone number of the customer is well formed",
            Self::LongKey => "the customer's key has more than 200 characters",
        }
    }
}

/// The contact a customer becomes: the first well-formed address of each kind, and what else is known and makes sense.
pub(super) fn reachable(customer: &Customer, default_region: Option<&str>) -> Result<Reachable, Unreachable> {
    if customer.key.is_empty() || customer.key.chars().count() > LONGEST_KEY {
        return Err(Unreachable::LongKey);
    }
    let first = |channel, texts: &[Private<String>]| {
        texts
            .iter()
            .find(|text| Address::parse(channel, text.expose().trim(), default_region).is_ok())
            .cloned()
    };
    let email = first(Channel::Email, &customer.emails);
    let phone = first(Channel::Sms, &customer.phones);
    if email.is_none() && phone.is_none() {
        return Err(if customer.emails.is_empty() && customer.phones.is_empty() {
            Unreachable::NoAddress
        } else {
            Unreachable::MalformedAddress
        });
    }
    let address = |kind, text: Option<Private<String>>| {
        text.map(|text| AddressInput {
            kind,
            text,
            primary: true,
        })
    };
    let addresses = [
        address(AddressKind::Email, email),
        address(AddressKind::Phone, phone),
    ];
    let country = text(customer, "country")
        .map(|text| text.trim().to_ascii_uppercase())
        .filter(|text| text.len() == 2 && text.chars().all(|c| c.is_ascii_uppercase()));
    let locale = text(customer, "locale").filter(|text| (2..=35).contains(&text.len()));
    let preferred = text(customer, "preferred_channel")
        .and_then(|text| text.trim().to_ascii_lowercase().parse::<Channel>().ok());
    Ok(Reachable {
        input: ContactInput {
            external_id: Some(customer.key.clone()),
            name: full_name(customer),
            zone: text(customer, "zone").filter(|name| zone::find(name).is_some()),
            locale,
            country,
            preferred_channels: preferred.map(|channel| vec![channel]),
            addresses: addresses.into_iter().flatten().collect(),
            ..ContactInput::default()
        },
        opted_out: opted_out(customer),
        marketing_consent: flag(customer, "marketing_consent"),
    })
}

fn opted_out(customer: &Customer) -> Vec<Channel> {
    [
        ("opt_out_email", Channel::Email),
        ("opt_out_sms", Channel::Sms),
        ("opt_out_whatsapp", Channel::Whatsapp),
    ]
    .into_iter()
    .filter(|(column, _)| flag(customer, column) == Some(true))
    .map(|(_, channel)| channel)
    .collect()
}

fn full_name(customer: &Customer) -> Option<Private<String>> {
    let parts: Vec<String> = ["first_name", "last_name"]
        .into_iter()
        .filter_map(|column| text(customer, column))
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect();
    let name = if parts.is_empty() {
        text(customer, "company")?.trim().to_owned()
    } else {
        parts.join(" ")
    };
    let name: String = name.chars().take(LONGEST_NAME).collect();
    (!name.is_empty()).then(|| Private::new(name))
}

pub(super) fn text(customer: &Customer, column: &str) -> Option<String> {
    match customer.cell(column) {
        Cell::Text(text) => Some(text.expose().clone()),
        _ => None,
    }
}

fn flag(customer: &Customer, column: &str) -> Option<bool> {
    match customer.cell(column) {
        Cell::Flag(flag) => Some(*flag),
        _ => None,
    }
}
