//! The text of a query and its parameters, put together piece by piece. Names are quoted, values are always parameters.

use crate::settings::SourceKind;
use std::fmt::Write as _;

/// A value that goes into a query.
#[derive(Clone, PartialEq)]
pub(crate) enum Parameter {
    Text(String),
    Integer(i64),
    Unsigned(u64),
    Number(f64),
    /// PostgreSQL only.
    Texts(Vec<String>),
}

/// A query, ready to run.
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<Parameter>,
    /// For messages: "reading customers (dms.KUNDEN)".
    pub(crate) doing: String,
}

/// Puts a query together.
pub(crate) struct Builder {
    pub(crate) kind: SourceKind,
    sql: String,
    parameters: Vec<Parameter>,
}

impl Builder {
    pub(crate) fn new(kind: SourceKind) -> Self {
        Self {
            kind,
            sql: String::with_capacity(512),
            parameters: Vec::new(),
        }
    }

    /// SQL of this crate.
    pub(crate) fn push(&mut self, sql: &str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// A number of this crate's own.
    pub(crate) fn number(&mut self, number: usize) -> &mut Self {
        // Writing to a string cannot fail.
        let _ = write!(self.sql, "{number}");
        self
    }

    /// A place for a value.
    pub(crate) fn bind(&mut self, parameter: Parameter) -> &mut Self {
        self.parameters.push(parameter);
        match self.kind {
            SourceKind::Postgresql => {
                let _ = write!(self.sql, "${}", self.parameters.len());
            }
            SourceKind::Mysql | SourceKind::Sqlite => self.sql.push('?'),
        }
        self
    }

    /// Several pieces, with something between.
    pub(crate) fn each<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        between: &str,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        for (place, item) in items.into_iter().enumerate() {
            if place > 0 {
                self.sql.push_str(between);
            }
            write(self, item);
        }
        self
    }

    pub(crate) fn finish(self, doing: impl Into<String>) -> Statement {
        Statement {
            sql: self.sql,
            parameters: self.parameters,
            doing: doing.into(),
        }
    }
}

/// A name as the database quotes it.
pub(crate) fn quoted(kind: SourceKind, name: &str) -> String {
    let quote = match kind {
        SourceKind::Mysql => '`',
        SourceKind::Postgresql | SourceKind::Sqlite => '"',
    };
    let mut text = String::with_capacity(name.len() + 2);
    text.push(quote);
    for letter in name.chars() {
        if letter == quote {
            text.push(quote);
        }
        text.push(letter);
    }
    text.push(quote);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_name_ends_nothing() {
        assert_eq!(quoted(SourceKind::Postgresql, "a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(quoted(SourceKind::Mysql, "a`b\"c"), "`a``b\"c`");
        assert_eq!(quoted(SourceKind::Sqlite, "a`b\"c"), "\"a`b\"\"c\"");
    }
}
