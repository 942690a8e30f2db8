//! Lifecycle campaigns: which rows of a tenant's own database are due for a message, as pure rules over data.
//!
//! A campaign is a [`Definition`]: which logical table it looks at, when a row of it is due, under which conditions,
//! which message follows. The rows come from `tidings-source`; whether one is due is said here, so the same
//! rule runs live, in `explain` and in a simulation. A [`Bound`] tells a source which rows it may leave out.

mod assess;
mod bounds;
mod built_in;
pub mod cadence;
mod calendar;
mod cells;
mod condition;
mod condition_check;
mod context;
mod definition;
mod due;
mod due_check;
mod names;
mod needs;
mod overrides;
mod reference;
mod row;
mod schema;
mod validate;
mod window;
mod words;

pub use assess::{
    Assessment, Due, Malformed, Moment, NotDue, NotDueCode, Step, StepOutcome, assess, assess_all,
};
pub use bounds::bounds;
pub use built_in::{built_in, built_in_named};
pub use cadence::CadenceError;
pub use context::context;
pub use definition::{
    Cadence, CampaignName, CampaignNameError, Condition, Content, ContextSource, Definition, DueRule,
    Literal, MissedRun, Operator, Related, Take,
};
pub use needs::{ColumnNeed, Need, needs};
pub use overrides::DefinitionOverrides;
pub use reference::{listed_key, source_reference};
pub use row::{Cell, Columns, Customer, Row};
pub use schema::{ColumnInfo, ColumnKind, LogicalTable, TableInfo, table};
pub use validate::DefinitionProblem;
pub use window::{Bound, Range, RunWindow};
