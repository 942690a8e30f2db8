//! Drafts and checks, from the outside.

mod drafting;
mod evasions;
mod everyday;
mod figures;
mod hostile;
mod texts;
mod vendors;
mod wire;

use crate::facts::{Fact, Facts};
use crate::figure::Figure;
use crate::request::{Base, BaseRole, Brand, DraftRequest, Limits};
use crate::settings::{GivenModelSettings, ModelSettings};
use crate::{DraftText, check};
use jiff::civil::date;
use secrecy::SecretString;
use std::borrow::Cow;
use tidings_core::{Channel, MessageType};

/// The subject and text of a draft that nothing speaks against.
pub(crate) const SUBJECT: &str = "Your Lawn King 350 is ready for its tune-up";
pub(crate) const BODY: &str = "Hi Anna,\n\n\
    It has been two years since you bought your Lawn King 350 at Green Valley Equipment. A yearly tune-up keeps it \
    starting easily, and our workshop has time for you before the season begins. The tune-up is $129.50, and we have \
    taken 10% off for owners like you until June 12, 2027.\n\n\
    Book a visit at https://book.greenvalley.example/t/8231 or call us at (555) 010-4477.\n\n\
    Kind regards,\nGreen Valley Equipment";

pub(crate) fn figure(text: &str) -> Figure {
    Figure::parse(text).expect("a figure")
}

pub(crate) fn facts(list: impl IntoIterator<Item = (&'static str, Fact)>) -> Facts {
    let mut facts = Facts::new();
    for (name, fact) in list {
        facts.set(name, fact).expect("a usable fact");
    }
    facts
}

/// A request with one fact of each kind.
pub(crate) fn request() -> DraftRequest<'static> {
    let rows = [
        ("customer_name", Fact::Name("Anna Smith".into())),
        ("technician", Fact::Name("Piotr Novak".into())),
        ("model", Fact::Text("Lawn King 350".into())),
        ("years", Fact::Number(figure("2"))),
        ("discount", Fact::Percent(figure("10"))),
        (
            "price",
            Fact::Money {
                amount: figure("129.50"),
                currency: "USD".into(),
            },
        ),
        ("until", Fact::Date(date(2027, 6, 12))),
        (
            "booking",
            Fact::Link("https://book.greenvalley.example/t/8231".into()),
        ),
    ];
    DraftRequest {
        message_type: MessageType::parse("annual_tuneup").expect("a type"),
        channel: Channel::Email,
        locale: "en-US".to_owned(),
        system_prompt: Cow::Borrowed(crate::prompt("annual_tuneup").expect("a prompt")),
        facts: facts(rows),
        addressee: Some("customer_name"),
        brand: Brand {
            name: "Green Valley Equipment".to_owned(),
            website_url: Some("https://greenvalley.example/".to_owned()),
            support_email: Some("service@greenvalley.example".to_owned()),
            support_phone: Some("+1 555 010 4477".to_owned()),
            postal_address: Some("1 Mill Road, 05401 Burlington, VT".to_owned()),
        },
        base: Base {
            subject: Some("Tune-up time".to_owned()),
            text: "Your tune-up is due. Reply within 14 days for 20% off at https://other.example/x."
                .to_owned(),
            role: BaseRole::Wording,
        },
        limits: Limits {
            min_words: 1,
            ..Limits::of(Channel::Email)
        },
    }
}

/// The codes of what speaks against a text of an e-mail.
pub(crate) fn codes(body: &str, request: &DraftRequest<'_>) -> Vec<&'static str> {
    let subject = (request.channel == Channel::Email).then(|| "Time for a tune-up".to_owned());
    let text = DraftText {
        subject,
        body: body.to_owned(),
    };
    let mut codes: Vec<&'static str> = check(&text, request)
        .iter()
        .map(|finding| finding.code.as_str())
        .collect();
    codes.dedup();
    codes
}

pub(crate) fn settings(kind: &str, base_url: &str) -> ModelSettings {
    let given: GivenModelSettings = serde_json::from_value(serde_json::json!({
        "kind": kind, "base_url": base_url, "model": "small-1", "timeout_ms": 2000, "total_timeout_ms": 3000,
        "temperature": 0.5, "system_prompt_extra": "Be brief.",
    }))
    .expect("settings");
    ModelSettings::new(given, Some(SecretString::from("sk-secret"))).expect("usable settings")
}
