//! What the pages of recipients know of the tenant: who writes, in which words and colour.

use std::collections::BTreeMap;
use tidings_store::tenants::Tenant;

/// The tenant as its recipients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its name.
    pub name: String,
    /// Colour of buttons and links, as set; may be no colour.
    pub accent_colour: Option<String>,
    /// Where questions go.
    pub support_email: Option<String>,
    /// Its postal address.
    pub postal_address: Option<String>,
    /// Its own wordings, by key.
    pub texts: BTreeMap<String, String>,
    /// The language of its pages where the visitor's is not known.
    pub language: Option<String>,
}

impl Sender {
    pub(crate) fn of(tenant: Tenant) -> Self {
        let settings = tenant.settings;
        Self {
            name: tenant.name,
            accent_colour: settings.branding.accent_colour,
            support_email: settings.support_email,
            postal_address: settings.postal_address,
            texts: settings.public_texts,
            language: settings.default_locale,
        }
    }
}
