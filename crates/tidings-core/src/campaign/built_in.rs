//! The campaigns that come with the product, read from `campaigns/`.

use super::definition::Definition;
use std::sync::LazyLock;

macro_rules! read {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../../../campaigns/", $name, ".toml")))),+]
    };
}

const FILES: [(&str, &str); 15] = read![
    "seven_day_checkin",
    "post_service_survey",
    "annual_tuneup",
    "anniversary_offer",
    "service_reminder",
    "appointment_confirmation",
    "invoice_reminder",
    "seasonal_reminder_spring",
    "seasonal_reminder_fall",
    "winback_missed_you",
    "warranty_expiration",
    "trade_in_alert",
    "first_service_alert",
    "usage_service_alert",
    "educational_content",
];

static BUILT_IN: LazyLock<Vec<Definition>> = LazyLock::new(|| {
    let parse = |(name, text): &(&str, &str)| match toml::from_str(text) {
        Ok(definition) => definition,
        Err(error) => panic!("campaigns/{name}.toml does not parse: {error}"),
    };
    FILES.iter().map(parse).collect()
});

/// The fifteen campaigns, in the order of the documentation.
pub fn built_in() -> &'static [Definition] {
    &BUILT_IN
}

/// The built-in campaign of a name.
pub fn built_in_named(name: &str) -> Option<&'static Definition> {
    BUILT_IN.iter().find(|one| one.name.as_str() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_parses_is_named_like_its_campaign_and_is_valid() {
        for (definition, (name, _)) in built_in().iter().zip(FILES) {
            assert_eq!(definition.name.as_str(), name);
            assert_eq!(definition.validate(), Ok(()), "{name}");
        }
    }
}
