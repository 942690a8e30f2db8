//! What an `apply` changes, one line a difference.

use serde::Serialize;
use serde_json::Value;

/// What happens to one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is made.
    Created,
    /// It is changed.
    Changed,
    /// It is as the file says.
    Unchanged,
}

/// One thing of the file, and what happens to it.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// What happens.
    pub change: Change,
    /// Which thing: `connection shop/sandbox`.
    pub what: String,
    /// Each difference: `priority: 0 -> 10`. Secrets are never shown.
    pub differences: Vec<String>,
}

impl Entry {
    /// A thing that is made.
    pub fn created(what: impl Into<String>) -> Self {
        Self {
            change: Change::Created,
            what: what.into(),
            differences: Vec::new(),
        }
    }

    /// A thing that is there: changed when there are differences.
    pub fn existing(what: impl Into<String>, differences: Vec<String>) -> Self {
        let change = if differences.is_empty() {
            Change::Unchanged
        } else {
            Change::Changed
        };
        Self {
            change,
            what: what.into(),
            differences,
        }
    }

    /// Whether something is to be done.
    pub fn is_change(&self) -> bool {
        self.change != Change::Unchanged
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = match self.change {
            Change::Created => '+',
            Change::Changed => '~',
            Change::Unchanged => '=',
        };
        write!(f, "{sign} {}", self.what)?;
        for difference in &self.differences {
            write!(f, "\n    {difference}")?;
        }
        Ok(())
    }
}

/// The differences between two JSON values, by path; `from` is what is there.
pub fn json_differences(from: &Value, to: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk("", from, to, &mut found);
    found
}

fn walk(path: &str, from: &Value, to: &Value, found: &mut Vec<String>) {
    if from == to {
        return;
    }
    if let (Value::Object(from), Value::Object(to)) = (from, to) {
        let names: std::collections::BTreeSet<&String> = from.keys().chain(to.keys()).collect();
        for name in names {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            walk(
                &path,
                from.get(name).unwrap_or(&Value::Null),
                to.get(name).unwrap_or(&Value::Null),
                found,
            );
        }
        return;
    }
    found.push(format!("{path}: {} -> {}", short(from), short(to)));
}

/// The longest value that is shown whole, in characters.
const SHOWN: usize = 80;

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN {
        return text;
    }
    format!("{}…", text.chars().take(SHOWN).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_are_named_by_path() {
        let from = json!({ "zone": "UTC", "caps": { "marketing": 1, "service": 3 } });
        let to = json!({ "zone": "UTC", "caps": { "marketing": 2, "service": 3 }, "new": true });
        assert_eq!(
            json_differences(&from, &to),
            ["caps.marketing: 1 -> 2", "new: null -> true"]
        );
        assert!(json_differences(&from, &from).is_empty());
    }
}
