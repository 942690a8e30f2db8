//! Lifecycle campaigns: when they run, what they find in a tenant's source, and what is proposed.
//!
//! In order: [`effective`] says which campaigns a tenant has, [`schedule`] when they run, [`run`] reads a source page by
//! page, [`propose`] makes messages of due rows by the same path as every other request, [`author`] has a model write them
//! where the campaign says so, [`why`] answers for who got none.

mod author;
mod check;
mod contacts;
mod effective;
mod facts;
mod propose;
mod run;
mod schedule;
mod source;
mod table;
mod why;

pub use check::{CampaignCheck, Missing, SampleRow, SourceCheck, Works};
pub use effective::{CampaignTold, Effective, Switch};
pub use run::{Ran, RunPace};
pub use source::SourceProblem;
pub use table::{coverage_csv, rows_csv};
pub use why::{NeverSelected, RowVerdict, StepTold};

pub(crate) use schedule::{SCHEDULE_PREFIX, next_of};
pub(crate) use source::{Opened, opened};
