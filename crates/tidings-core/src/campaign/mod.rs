//! Lifecycle campaigns: which rows of a tenant's own database are due for a message, as pure rules over data.
//!
//! A campaign is a [`Definition`]: which logical table it looks at, when a row of it is due, under which conditions,
//! which message follows. The rows come from `tidings-source`; whether one is due is said here, so the same
//! rule runs live, in `explain` and in a simulation. A [`Bound`] tells a source which rows it may leave out.

mod definition;
mod row;
mod schema;
mod window;

pub use definition::{
    Cadence, CampaignName, CampaignNameError, Condition, Content, ContextSource, Definition, DueRule,
    Literal, MissedRun, Operator, Related, Take,
};
pub use row::{Cell, Columns, Customer, Row};
pub use schema::{ColumnInfo, ColumnKind, LogicalTable, TableInfo, table};
pub use window::{Bound, Range, RunWindow};
