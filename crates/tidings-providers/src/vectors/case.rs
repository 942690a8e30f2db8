//! One case, read tolerantly.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should.
    Passed,
    /// Not as it should.
    Failed(String),
    /// Nothing here can run it.
    Skipped(String),
}

impl Verdict {
    /// Passed, or failed with a reason.
    pub fn of(passed: bool, why: impl FnOnce() -> String) -> Self {
        if passed { Self::Passed } else { Self::Failed(why()) }
    }
}

/// A case of a file.
#[derive(Clone, Copy, Debug)]
pub struct Case<'v>(&'v Value);

impl<'v> Case<'v> {
    /// Wraps a JSON value.
    pub fn new(value: &'v Value) -> Self {
        Self(value)
    }

    /// A field; nothing when it is absent or null.
    pub fn get(self, name: &str) -> Option<&'v Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text field.
    pub fn text(self, name: &str) -> Option<&'v str> {
        self.get(name)?.as_str()
    }

    /// A whole number, written as one or as text.
    pub fn number(self, name: &str) -> Option<i64> {
        let value = self.get(name)?;
        value.as_i64().or_else(|| value.as_str()?.parse().ok())
    }

    /// A header, by a name in any case.
    pub fn header(self, name: &str) -> Option<&'v str> {
        let headers = self.get("headers")?.as_object()?;
        headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| value.as_str())
    }

    /// A body: `<name>_b64`, else `<name>_text`, `<name>_json` or `<name>`.
    pub fn bytes(self, name: &str) -> Option<Vec<u8>> {
        if let Some(encoded) = self.text(&format!("{name}_b64")) {
            return STANDARD.decode(encoded).ok();
        }
        let text = self.text(&format!("{name}_text")).or_else(|| self.text(name));
        text.map(|text| text.as_bytes().to_vec()).or_else(|| {
            self.get(&format!("{name}_json"))
                .map(|json| json.to_string().into_bytes())
        })
    }

    /// The texts of a list field, or the one text of a text field.
    pub fn list(self, name: &str) -> Vec<&'v str> {
        match self.get(name) {
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(text)) => vec![text],
            _ => Vec::new(),
        }
    }

    /// Compares an outcome with `expect`: `valid`, `invalid`, or anything else, where both are right.
    pub fn expects(self, valid: bool, why: impl FnOnce() -> String) -> Verdict {
        match self.text("expect") {
            Some("valid") => Verdict::of(valid, || format!("should be valid: {}", why())),
            Some("invalid") => Verdict::of(!valid, || "should be invalid".to_owned()),
            Some(_) => Verdict::Passed,
            None => Verdict::Failed("the case has no expect".to_owned()),
        }
    }
}
