//! What a run covers, and which rows a source may leave out.

use jiff::Timestamp;

/// The moments a run covers: after `previous`, up to and including `as_of`. A row whose moment lies in it is due; so
/// after downtime one run makes up for all that were missed, and nobody is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunWindow {
    /// The moment of the run: its scheduled one, not the clock's, so that a late or repeated run finds the same rows.
    pub as_of: Timestamp,
    /// The moment up to which earlier runs covered; none on the first run. The caller has cut off what is too old to be
    /// made up for.
    pub previous: Option<Timestamp>,
}

/// Rows whose column lies outside cannot be due; a source that can compare leaves them out. Null and malformed values
/// are never left out by a bound: the rules say what becomes of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// A column of the campaign's own table.
    pub column: String,
    /// What may be due.
    pub range: Range,
}

/// Ends are inclusive; none is open. Date and instant ranges are wide enough for every zone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// Of a date column.
    Dates {
        /// First day.
        from: Option<jiff::civil::Date>,
        /// Last day.
        to: Option<jiff::civil::Date>,
    },
    /// Of an instant column.
    Instants {
        /// First instant.
        from: Option<Timestamp>,
        /// Last instant.
        to: Option<Timestamp>,
    },
    /// Of a number column.
    Numbers {
        /// Least.
        from: Option<f64>,
        /// Most.
        to: Option<f64>,
    },
}
