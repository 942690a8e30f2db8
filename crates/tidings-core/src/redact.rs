//! Values that must never reach a log, an error or a metric.

use std::fmt;

/// Personal data: readable through [`Private::expose`], `[private]` in `Debug`.
#[derive(Clone, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Private<T>(T);

impl<T> Private<T> {
    /// Wraps personal data.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The data itself. Call it where it is used, never to log it.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The data itself, by value.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[private]")
    }
}
