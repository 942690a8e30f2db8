//! Variables as the template engine sees them.
//!
//! JSON null counts as missing: it would otherwise print as a word. When a render stops at a missing value, it
//! is run again over [`watched`] variables, where each hole notes its name when it is used, so that one answer
//! names all of them.

use minijinja::Value;
use minijinja::value::{Enumerator, Object, ObjectRepr};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Most text, over all strings and keys, that one message's variables may hold, in bytes.
pub(crate) const MAX_VARIABLES: usize = 512 * 1024;
/// How deep lists and objects may nest.
const MAX_DEPTH: usize = 16;
/// Most holes named in one answer.
const MAX_NAMED: usize = 50;

/// An object of variables.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    entries: BTreeMap<Arc<str>, Value>,
    watch: Option<Watch>,
}

#[derive(Clone)]
struct Watch {
    path: String,
    noted: Holes,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({})", self.path)
    }
}

/// Names of the missing values a render has used.
#[derive(Clone, Default)]
pub(crate) struct Holes(Arc<Mutex<BTreeSet<String>>>);

impl Holes {
    fn note(&self, name: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() < MAX_NAMED {
            names.insert(name.to_owned());
        }
    }

    /// The names, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }
}

impl Fields {
    /// Sets a field.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.entries.insert(Arc::from(name), value.into());
    }

    fn hole(&self, name: &str) -> Option<Value> {
        let watch = self.watch.as_ref()?;
        let path = if watch.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", watch.path)
        };
        Some(Value::from_object(Hole {
            path,
            noted: watch.noted.clone(),
        }))
    }
}

impl Object for Fields {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.entries.get(key).cloned().or_else(|| self.hole(key))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.entries.keys().map(|key| Value::from(&**key)).collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// What a template sees: the variables, and the names the engine fills in.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    pub fields: Arc<Fields>,
    pub brand: Value,
    pub mail: Value,
}

impl Root {
    /// As the engine takes it.
    pub(crate) fn to_value(&self) -> Value {
        Value::from_object(self.clone())
    }
}

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match key {
            "brand" => Some(self.brand.clone()),
            "mail" => Some(self.mail.clone()),
            // The requirement uses both names for one thing.
            "budget_allocations" if !self.fields.entries.contains_key(key) => self
                .fields
                .entries
                .get("budget_strategies")
                .cloned()
                .or_else(|| self.fields.hole(key)),
            _ => self.fields.get_value_by_str(key),
        }
    }
}

/// A missing value that notes its name when something is done with it. Asking whether it is defined is free.
pub(crate) struct Hole {
    path: String,
    noted: Holes,
}

impl fmt::Debug for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hole({})", self.path)
    }
}

impl Hole {
    /// Notes that the value was needed.
    pub(crate) fn note(&self) {
        self.noted.note(&self.path);
    }
}

impl Object for Hole {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn get_value(self: &Arc<Self>, _key: &Value) -> Option<Value> {
        self.note();
        None
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.note();
        Enumerator::Empty
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        None
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.note();
        false
    }

    fn render(self: &Arc<Self>, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note();
        Ok(())
    }
}

/// Whether the value is missing: undefined, none, or a watched hole.
pub(crate) fn is_missing(value: &Value) -> bool {
    value.is_undefined() || value.is_none() || value.downcast_object_ref::<Hole>().is_some()
}

/// Why variables cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// Not a JSON object.
    NotAnObject,
    /// More than [`MAX_VARIABLES`] bytes.
    TooLarge,
    /// Nested deeper than the limit.
    TooDeep,
}

/// The variables of a message, to which the reserved names can be added.
pub(crate) fn fields(variables: &serde_json::Value) -> Result<Fields, Unusable> {
    Reader {
        budget: MAX_VARIABLES,
        noted: None,
    }
    .root(variables)
}

/// The same, noting every hole that is used in the second value.
pub(crate) fn watched(variables: &serde_json::Value) -> Result<(Fields, Holes), Unusable> {
    let noted = Holes::default();
    let root = Reader {
        budget: MAX_VARIABLES,
        noted: Some(noted.clone()),
    }
    .root(variables)?;
    Ok((root, noted))
}

struct Reader {
    budget: usize,
    noted: Option<Holes>,
}

impl Reader {
    fn root(mut self, variables: &serde_json::Value) -> Result<Fields, Unusable> {
        match variables {
            serde_json::Value::Object(map) => self.object(map, "", 0),
            _ => Err(Unusable::NotAnObject),
        }
    }

    fn object(
        &mut self,
        map: &serde_json::Map<String, serde_json::Value>,
        path: &str,
        depth: usize,
    ) -> Result<Fields, Unusable> {
        let mut entries = BTreeMap::new();
        for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
            self.spend(key.len() + 8)?;
            let inner = self
                .noted
                .as_ref()
                .map(|_| join_path(path, key))
                .unwrap_or_default();
            entries.insert(Arc::from(key.as_str()), self.value(value, &inner, depth + 1)?);
        }
        let watch = self.noted.clone().map(|noted| Watch {
            path: path.to_owned(),
            noted,
        });
        Ok(Fields { entries, watch })
    }

    fn value(&mut self, value: &serde_json::Value, path: &str, depth: usize) -> Result<Value, Unusable> {
        if depth > MAX_DEPTH {
            return Err(Unusable::TooDeep);
        }
        Ok(match value {
            serde_json::Value::Null => Value::UNDEFINED,
            serde_json::Value::Bool(flag) => Value::from(*flag),
            serde_json::Value::Number(number) => number_value(number),
            serde_json::Value::String(text) => {
                self.spend(text.len())?;
                Value::from(text.as_str())
            }
            serde_json::Value::Array(items) => {
                let mut list = Vec::with_capacity(items.len().min(1024));
                for (index, item) in items.iter().enumerate() {
                    self.spend(8)?;
                    let inner = self
                        .noted
                        .as_ref()
                        .map(|_| format!("{path}[{index}]"))
                        .unwrap_or_default();
                    list.push(self.value(item, &inner, depth + 1)?);
                }
                Value::from_object(list)
            }
            serde_json::Value::Object(map) => Value::from_object(self.object(map, path, depth)?),
        })
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Unusable> {
        self.budget = self.budget.checked_sub(bytes).ok_or(Unusable::TooLarge)?;
        Ok(())
    }
}

fn join_path(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn number_value(number: &serde_json::Number) -> Value {
    if let Some(value) = number.as_i64() {
        Value::from(value)
    } else if let Some(value) = number.as_u64() {
        Value::from(value)
    } else {
        Value::from(number.as_f64().unwrap_or_default())
    }
}
