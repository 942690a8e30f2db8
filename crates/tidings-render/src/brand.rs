//! The sender's identity as it appears in a message.

use crate::color::Color;
use crate::values::Fields;
use minijinja::Value;
use serde::{Deserialize, Serialize};

/// The colours of a brand as templates print them; computed from a [`Color`], so they need no check.
pub(crate) const BRAND_COLORS: [&str; 6] = [
    "brand.color",
    "brand.on_color",
    "brand.link_color",
    "brand.night_color",
    "brand.on_night_color",
    "brand.tint",
];

/// What a tenant's messages look like and who they come from. Templates read it as `brand`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Brand {
    /// The name people know the sender by.
    pub name: String,
    /// Colour of the header, buttons and bars.
    pub color: Color,
    /// Address of a logo, `https`, shown 160 pixels wide at most. The name stands in where there is none.
    pub logo_url: Option<String>,
    /// The sender's site, linked from the header.
    pub website_url: Option<String>,
    /// Where replies and questions go.
    pub support_email: Option<String>,
    /// A telephone number for questions, as it is to be read.
    pub support_phone: Option<String>,
    /// The postal address. Marketing mail is refused without it (CAN-SPAM section 5(a)(5)).
    pub postal_address: Option<String>,
}

impl Default for Brand {
    fn default() -> Self {
        Self {
            name: "Tidings".to_owned(),
            color: Color::new(0x0f, 0x76, 0x6e),
            logo_url: None,
            website_url: None,
            support_email: None,
            support_phone: None,
            postal_address: None,
        }
    }
}

impl Brand {
    /// The brand as templates see it: with the readable companions of its colour.
    pub(crate) fn to_value(&self) -> Value {
        let tint = self.color.mixed(Color::WHITE, 88);
        let night = self.color.readable_on(Color::NIGHT);
        let mut fields = Fields::default();
        fields.set("name", &self.name);
        fields.set("color", self.color.to_string());
        fields.set("on_color", self.color.text_on().to_string());
        fields.set("link_color", self.color.readable_on(Color::WHITE).to_string());
        fields.set("night_color", night.to_string());
        fields.set("on_night_color", night.text_on().to_string());
        fields.set("tint", tint.to_string());
        let optional = [
            ("logo_url", &self.logo_url),
            ("website_url", &self.website_url),
            ("support_email", &self.support_email),
            ("support_phone", &self.support_phone),
            ("postal_address", &self.postal_address),
        ];
        for (name, value) in optional {
            if let Some(value) = value.as_deref().filter(|value| !value.trim().is_empty()) {
                fields.set(name, value);
            }
        }
        Value::from_object(fields)
    }

    /// Whether the law's postal address is there.
    pub(crate) fn has_postal_address(&self) -> bool {
        self.postal_address
            .as_deref()
            .is_some_and(|address| !address.trim().is_empty())
    }
}
