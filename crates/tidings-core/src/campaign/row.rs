//! Rows as the rules see them: cells of known kinds, and the customer behind them.

use crate::redact::Private;
use jiff::Timestamp;
use jiff::civil::Date;
use std::sync::Arc;

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// The tenant's mapping has no such column.
    Unmapped,
    /// The database holds nothing.
    Null,
    /// Text; personal data for all we know.
    Text(Private<String>),
    /// A number.
    Number(f64),
    /// A day.
    Date(Date),
    /// A point in time.
    Instant(Timestamp),
    /// Yes or no.
    Flag(bool),
    /// Something stands there that is not what the column should hold.
    Malformed {
        /// What is wrong, without the value.
        problem: String,
    },
}

/// The names of a row's cells, shared by all rows of a read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns(Vec<String>);

impl Columns {
    /// Names in the order of the cells.
    pub fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// The names.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|one| one == name)
    }
}

/// A row of the table a campaign looks at, with what belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its key: parts joined by `/`, with `/` and `%` in a part written `%2F` and `%25`. Never personal data by itself, listed in reports.
    pub key: String,
    /// Names of the cells: columns of the table by their name, values of related tables by the relation's name.
    pub columns: Arc<Columns>,
    /// The cells.
    pub cells: Vec<Cell>,
    /// The customer it belongs to; none when the reference leads nowhere.
    pub customer: Option<Arc<Customer>>,
}

impl Row {
    /// The cell of a name; `customer.first_name` is the customer's. Unknown names are unmapped.
    pub fn cell(&self, name: &str) -> &Cell {
        if let Some(of_customer) = name.strip_prefix("customer.") {
            return self
                .customer
                .as_ref()
                .map_or(&Cell::Null, |customer| customer.cell(of_customer));
        }
        let cell = self.columns.place(name).and_then(|place| self.cells.get(place));
        cell.unwrap_or(&Cell::Unmapped)
    }
}

/// A customer as the source knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Customer {
    /// Its key, written like a row's: the contact's external id.
    pub key: String,
    /// Names of the cells.
    pub columns: Arc<Columns>,
    /// The cells of `customers`.
    pub cells: Vec<Cell>,
    /// E-mail addresses as they stand there, the primary first; at most 20.
    pub emails: Vec<Private<String>>,
    /// Phone numbers as they stand there, the primary first; at most 20. Those known not to be mobile are left out.
    pub phones: Vec<Private<String>>,
}

impl Customer {
    /// The cell of a column of `customers`.
    pub fn cell(&self, name: &str) -> &Cell {
        let cell = self.columns.place(name).and_then(|place| self.cells.get(place));
        cell.unwrap_or(&Cell::Unmapped)
    }
}
