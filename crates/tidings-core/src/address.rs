//! Addresses that cannot be wrong: parsed once at the edge, trusted inside.

use crate::channel::Channel;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why an address was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The text is not an e-mail address by RFC 5321/5322.
    #[error("not an e-mail address: {0}")]
    Email(&'static str),
    /// The text is not a phone number, or not one that exists.
    #[error("not a phone number: {0}")]
    Phone(&'static str),
}

/// A syntactically valid e-mail address; the domain is lower case, the local part as given.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EmailAddress(String);

/// A phone number in E.164 form (`+` and at most 15 digits).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PhoneNumber(String);

/// One way to reach a contact.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// For the channel `email`.
    Email(EmailAddress),
    /// For `sms`, `whatsapp` and `whatsapp_web`.
    Phone(PhoneNumber),
}

impl EmailAddress {
    /// The address as text. Personal data: never log it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form two spellings of the same mailbox share; input of the blind index.
    pub fn normalised(&self) -> String {
        self.0.to_lowercase()
    }
}

impl PhoneNumber {
    /// The number in E.164 form. Personal data: never log it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Address {
    /// Parses for the channel: an e-mail address, or a phone number with the tenant's default region
    /// (ISO 3166 alpha-2) for national forms.
    pub fn parse(channel: Channel, text: &str, default_region: Option<&str>) -> Result<Self, AddressError> {
        if channel.uses_phone() {
            PhoneNumber::parse(text, default_region).map(Self::Phone)
        } else {
            EmailAddress::parse(text).map(Self::Email)
        }
    }

    /// The address as text. Personal data: never log it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Email(email) => email.as_str(),
            Self::Phone(phone) => phone.as_str(),
        }
    }

    /// Input of the blind index: equal for two spellings of the same address.
    pub fn normalised(&self) -> String {
        match self {
            Self::Email(email) => email.normalised(),
            Self::Phone(phone) => phone.as_str().to_owned(),
        }
    }

    /// A form that may be shown to a person who should recognise but not learn it (`b***@example.com`, `+1******0123`).
    pub fn masked(&self) -> String {
        match self {
            Self::Email(email) => match email.as_str().rsplit_once('@') {
                Some((local, domain)) => {
                    format!("{}***@{domain}", local.chars().next().unwrap_or('*'))
                }
                None => "***".to_owned(),
            },
            Self::Phone(phone) => {
                let text = phone.as_str();
                let tail = &text[text.len().saturating_sub(4)..];
                format!("{}******{tail}", &text[..text.len().min(2)])
            }
        }
    }
}

impl EmailAddress {
    /// Parses an address by RFC 5321 limits (64 octets local, 254 in all). No display name, no comments.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let text = text.strip_prefix("mailto:").unwrap_or(text);
        let (local, domain) = text
            .rsplit_once('@')
            .ok_or(AddressError::Email("there is no @"))?;
        if text.len() > 254 || local.is_empty() || local.len() > 64 {
            return Err(AddressError::Email(
                "a part is empty or too long (64 before the @, 254 in all)",
            ));
        }
        if text
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || invisible(c))
        {
            return Err(AddressError::Email(
                "it holds a blank, control or invisible character",
            ));
        }
        let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c) || !c.is_ascii();
        if !local.chars().all(atom) || local.starts_with('.') || local.ends_with('.') || local.contains("..")
        {
            return Err(AddressError::Email(
                "the part before the @ has a character or dot where none may be",
            ));
        }
        let label = |l: &str| {
            !l.is_empty()
                && l.len() <= 63
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '-' || !c.is_ascii())
        };
        let top = domain.rsplit('.').next().unwrap_or_default();
        if top.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AddressError::Email("the domain ends in a number"));
        }
        if !domain.contains('.') || !domain.split('.').all(label) {
            return Err(AddressError::Email("the domain is not a host name with a dot"));
        }
        Ok(Self(format!("{local}@{}", domain.to_lowercase())))
    }
}

impl PhoneNumber {
    /// Parses with libphonenumber's rules; national forms need the default region (ISO 3166 alpha-2).
    pub fn parse(text: &str, default_region: Option<&str>) -> Result<Self, AddressError> {
        if text.len() > 64 {
            return Err(AddressError::Phone("it is longer than 64 characters"));
        }
        let region = match default_region {
            Some(code) => Some(
                code.parse::<phonenumber::country::Id>()
                    .map_err(|_| AddressError::Phone("the default region is not an ISO 3166 code"))?,
            ),
            None => None,
        };
        let number = phonenumber::parse(region, plain_phone(text))
            .map_err(|_| AddressError::Phone("it cannot be read; write it as +<country><number>"))?;
        if !phonenumber::is_valid(&number) {
            return Err(AddressError::Phone("no such number exists in its country"));
        }
        Ok(Self(number.format().mode(phonenumber::Mode::E164).to_string()))
    }
}

/// Digits of any script and full-width signs in ASCII, without invisible characters and RFC 3966 parameters other than
/// the context (`;ext=5`).
fn plain_phone(text: &str) -> String {
    let text = text.trim();
    let number = match text.split_once(';') {
        Some((number, parameters)) if !parameters.contains("phone-context=") => number,
        _ => text,
    };
    number
        .chars()
        .filter(|c| !invisible(*c))
        .map(ascii_sign)
        .collect()
}

fn ascii_sign(c: char) -> char {
    const ZEROES: [char; 5] = ['\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{ff10}'];
    let digit = ZEROES.iter().find_map(|zero| {
        u32::from(c)
            .checked_sub(u32::from(*zero))
            .filter(|digit| *digit < 10)
    });
    match (digit.and_then(|digit| char::from_digit(digit, 10)), c) {
        (Some(digit), _) => digit,
        (None, '\u{ff0b}') => '+',
        (None, '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ff0d}') => '-',
        (None, '\u{ff08}') => '(',
        (None, '\u{ff09}') => ')',
        (None, c) if c.is_whitespace() => ' ',
        (None, c) => c,
    }
}

/// Characters nobody sees: soft hyphen, zero-width and directional marks, byte order mark.
fn invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

macro_rules! text_forms {
    ($name:ident, $parse:expr) => {
        impl TryFrom<String> for $name {
            type Error = AddressError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                $parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "([private])"))
            }
        }
    };
}

text_forms!(EmailAddress, EmailAddress::parse);
text_forms!(PhoneNumber, |text: &str| PhoneNumber::parse(text, None));
