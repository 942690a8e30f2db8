//! Checks of inputs that types alone do not make; every wrong field is named at once.

use crate::problem::{Answer, FieldError, Problem};
use serde_json::{Map, Value};
use tidings_core::{Address, Channel, zone};

/// Collects what is wrong with an input.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    errors: Vec<FieldError>,
}

/// The most field errors one answer names.
const ERRORS_MAX: usize = 50;

impl Checks {
    /// Adds an error.
    pub(crate) fn add(&mut self, pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(FieldError::new(pointer, code, detail));
        }
    }

    /// Characters of a text, and no control characters.
    pub(crate) fn text(&mut self, pointer: &str, text: &str, least: usize, most: usize) {
        let length = text.chars().count();
        if length < least || length > most {
            self.add(
                pointer,
                "value.length",
                format!("{least} to {most} characters; it has {length}"),
            );
        } else if text.chars().any(char::is_control) {
            self.add(
                pointer,
                "value.invalid",
                "no control characters and no line breaks",
            );
        }
    }

    /// The same for a text that may be absent.
    pub(crate) fn optional_text(&mut self, pointer: &str, text: Option<&str>, least: usize, most: usize) {
        if let Some(text) = text {
            self.text(pointer, text, least, most);
        }
    }

    /// An IANA time zone that is known.
    pub(crate) fn zone(&mut self, pointer: &str, zone: Option<&str>) {
        if let Some(name) = zone
            && (name.len() > 64 || zone::find(name).is_none())
        {
            let detail = "not a time zone of the IANA database; write it as America/Chicago or Europe/Berlin";
            self.add(pointer, "zone.unknown", detail);
        }
    }

    /// A BCP 47 language tag in form: letters and digits in parts of 1 to 8, the first of 2 or 3 letters.
    pub(crate) fn locale(&mut self, pointer: &str, locale: Option<&str>) {
        let part = |part: &str| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let form = |tag: &str| {
            let language = tag.split('-').next().unwrap_or_default();
            let letters = language.bytes().all(|byte| byte.is_ascii_alphabetic());
            tag.len() <= 35 && (2..=3).contains(&language.len()) && letters && tag.split('-').all(part)
        };
        if let Some(tag) = locale
            && !form(tag)
        {
            self.add(
                pointer,
                "locale.invalid",
                "not a language tag; write it as en or pt-BR",
            );
        }
    }

    /// An ISO 3166 alpha-2 code in capitals.
    pub(crate) fn country(&mut self, pointer: &str, country: Option<&str>) {
        if let Some(code) = country
            && (code.len() != 2 || !code.bytes().all(|byte| byte.is_ascii_uppercase()))
        {
            self.add(
                pointer,
                "country.invalid",
                "two capital letters by ISO 3166, as in US or DE",
            );
        }
    }

    /// An address of the channel's kind; the detail says what is wrong and never repeats the address.
    pub(crate) fn address(
        &mut self,
        pointer: &str,
        channel: Channel,
        text: &str,
        region: Option<&str>,
    ) -> Option<Address> {
        match Address::parse(channel, text, region) {
            Ok(address) => Some(address),
            Err(error) => {
                self.add(pointer, "address.invalid", error.to_string());
                None
            }
        }
    }

    /// How many items a list may have.
    pub(crate) fn count(&mut self, pointer: &str, count: usize, least: usize, most: usize) {
        if count < least || count > most {
            self.add(
                pointer,
                "value.length",
                format!("{least} to {most} items; it has {count}"),
            );
        }
    }

    /// A number within bounds.
    pub(crate) fn number(&mut self, pointer: &str, number: i64, least: i64, most: i64) {
        if number < least || number > most {
            self.add(
                pointer,
                "value.invalid",
                format!("a number from {least} to {most}"),
            );
        }
    }

    /// The size of an object as JSON, in bytes.
    pub(crate) fn object(&mut self, pointer: &str, object: &Map<String, Value>, most: usize) {
        let size = serde_json::to_vec(object).map_or(usize::MAX, |bytes| bytes.len());
        if size > most {
            self.add(
                pointer,
                "value.length",
                format!("at most {most} bytes as JSON; it has {size}"),
            );
        }
    }

    /// Fine, or a problem that names every wrong field.
    pub(crate) fn finish(self) -> Answer<()> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Problem::invalid(self.errors))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(run: impl FnOnce(&mut Checks)) -> Vec<String> {
        let mut checks = Checks::default();
        run(&mut checks);
        checks
            .errors
            .into_iter()
            .map(|error| error.code.into_owned())
            .collect()
    }

    #[test]
    fn zones_locales_and_countries() {
        assert!(codes(|checks| checks.zone("/zone", Some("America/Chicago"))).is_empty());
        assert_eq!(
            codes(|checks| checks.zone("/zone", Some("Mars/Olympus"))),
            ["zone.unknown"]
        );
        for good in ["en", "pt-BR", "zh-Hant-TW"] {
            assert!(
                codes(|checks| checks.locale("/locale", Some(good))).is_empty(),
                "{good}"
            );
        }
        for bad in ["", "e", "english", "en_US", "en-", "en-<b>"] {
            assert_eq!(
                codes(|checks| checks.locale("/locale", Some(bad))),
                ["locale.invalid"],
                "{bad}"
            );
        }
        assert_eq!(
            codes(|checks| checks.country("/country", Some("usa"))),
            ["country.invalid"]
        );
    }

    #[test]
    fn an_address_error_does_not_repeat_the_address() {
        let mut checks = Checks::default();
        assert!(
            checks
                .address("/value", Channel::Email, "ann@@example.com", None)
                .is_none()
        );
        assert!(!checks.errors[0].detail.contains("ann"));
        assert_eq!(
            codes(|checks| checks.text("/name", "a\nb", 1, 10)),
            ["value.invalid"]
        );
    }
}
