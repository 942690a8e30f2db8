//! The definition of a campaign: data, read from a file. A further campaign needs no Rust.

use super::schema::LogicalTable;
use crate::channel::Channel;
use crate::message::{Category, MessageType, Urgency};
use crate::word::word_enum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A campaign: what it looks at, when a row is due, and which message follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Its name, unique within a tenant; part of every source reference, so it is never changed.
    pub name: CampaignName,
    /// What people call it.
    pub title: String,
    /// What it is for, in a sentence.
    pub purpose: String,
    /// The message that follows.
    pub message_type: MessageType,
    /// Its category.
    pub category: Category,
    /// Its urgency.
    pub urgency: Urgency,
    /// The channel it goes by where it can, before the channel's fallbacks; else the rules choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// On unless this, a tenant or the environment says otherwise.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The environment's switch (`ENABLE_WINBACK_DETECTION`); `ENABLE_<NAME>` works always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
    /// The switch in the tenant's `communication_preferences` (`winback_enabled`); `<name>_enabled` works always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// Every message waits for a person's yes.
    #[serde(default)]
    pub approval: bool,
    /// Where the words come from.
    #[serde(default)]
    pub content: Content,
    /// When it runs.
    pub schedule: Cadence,
    /// What happens to moments that passed while nothing ran.
    #[serde(default)]
    pub missed_run: MissedRun,
    /// A message that could not go out so many hours after it was proposed is not sent any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_after_hours: Option<u32>,
    /// The table whose rows come due.
    pub from: LogicalTable,
    /// Values of other tables that belong to a row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
    /// When a row is due.
    pub due: DueRule,
    /// What must be true besides; all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The template's variables, and where they come from. Null cells leave a variable out.
    #[serde(default)]
    pub context: BTreeMap<String, ContextSource>,
    /// The variables without which the message cannot be written: a row that lacks one is listed, not sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_context: Vec<String>,
}

/// When a campaign runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "every", rename_all = "snake_case")]
pub enum Cadence {
    /// Each day at an hour, UTC.
    Day {
        /// 0 to 23.
        hour_utc: u8,
        /// The environment's name for the hour (`SEVEN_DAY_CHECKIN_HOUR_UTC`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hour_env: Option<String>,
    },
    /// Every so many days at an hour, UTC, counted from 1970-01-01 (a Thursday), so that every node agrees.
    Days {
        /// 1 to 366.
        days: u32,
        /// 0 to 23.
        hour_utc: u8,
        /// The environment's name for the days (`WINBACK_INTERVAL_DAYS`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        days_env: Option<String>,
        /// The environment's name for the hour.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hour_env: Option<String>,
    },
    /// Every so many milliseconds, aligned to 1970.
    Interval {
        /// 60,000 to 86,400,000.
        interval_ms: i64,
        /// The environment's name for it (`APPOINTMENT_CONFIRMATION_INTERVAL_MS`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interval_env: Option<String>,
    },
    /// Once a year at an hour, UTC.
    Year {
        /// 1 to 12.
        month: i8,
        /// 1 to 31; in a month without it, the last day.
        day: i8,
        /// 0 to 23.
        hour_utc: u8,
        /// The environment's name for the hour.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hour_env: Option<String>,
    },
}

/// What happens to moments that passed while nothing ran. One late run covers every moment missed, so that nobody is
/// passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MissedRun {
    /// Moments older than so many hours are not made up for; they are reported as missed.
    pub skip_after_hours: u32,
}

impl Default for MissedRun {
    fn default() -> Self {
        Self { skip_after_hours: 72 }
    }
}

word_enum! {
    /// Where the words of a message come from.
    #[derive(Default)]
    pub enum Content {
        /// The template.
        #[default]
        Template = "template",
        /// A model, within limits; the template when it fails.
        Ai = "ai",
    }
}

/// A value of another table that belongs to a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Related {
    /// What definitions call it.
    pub name: String,
    /// Where it comes from.
    pub table: LogicalTable,
    /// The key both have: `customer_id` or `equipment_id`.
    pub by: String,
    /// What is taken of the rows found.
    pub take: Take,
    /// Of which column; the table's key when rows are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Only rows whose `since` is not older than this, in days before the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_days: Option<u32>,
    /// The date or instant `within_days` looks at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// A campaign works without it when the tenant has no such table or column.
    #[serde(default)]
    pub optional: bool,
    /// Stands in for another related value where the tenant's mapping lacks that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
}

word_enum! {
    /// What is taken of related rows.
    pub enum Take {
        /// How many; 0 when there are none.
        Count = "count",
        /// The greatest value.
        Latest = "latest",
        /// The smallest value.
        Earliest = "earliest",
    }
}

/// When a row is due. Names are columns of the table or related values. `lookback_days`: a row that came due up to so
/// many days before is due as well when nothing was proposed for it: how far the first run reaches back, and how long a
/// row entered late still counts. A date may stand in a date or an instant column; an instant counts by its local day,
/// and its occurrence is named after its day in UTC, so that a corrected zone brings no second message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "rule", rename_all = "snake_case")]
pub enum DueRule {
    /// Days, months and years after the latest of several dates, in the contact's zone. Occurrence: that latest date.
    After {
        /// The latest of those that are there counts.
        latest_of: Vec<String>,
        /// Years after.
        #[serde(default)]
        years: u16,
        /// Months after.
        #[serde(default)]
        months: u16,
        /// Days after.
        #[serde(default)]
        days: u16,
        /// How far back a row still counts.
        #[serde(default)]
        lookback_days: u32,
    },
    /// Days before a date. Occurrence: the date.
    Before {
        /// The date.
        date: String,
        /// Days before.
        days: u16,
        /// How far back a row still counts; never past the date itself.
        #[serde(default)]
        lookback_days: u32,
    },
    /// Days before the yearly return of a date, from the first year on. 29 February returns on 28 February in common
    /// years. Occurrence: the year of the return.
    Anniversary {
        /// The date.
        date: String,
        /// Days before the return.
        days_before: u16,
        /// How far back a row still counts; never past the return itself.
        #[serde(default)]
        lookback_days: u32,
    },
    /// Between two ages in hours after an instant (48 to 72). Occurrence: the instant.
    HoursAfter {
        /// The instant.
        instant: String,
        /// From this age on.
        from_hours: u32,
        /// Up to this age, exclusive, on a first run; later runs take up where the one before ended.
        to_hours: u32,
    },
    /// Between two distances in hours before an instant (24 to 25; a first run takes what is more than 24 and at most
    /// 25 hours away). Occurrence: the instant, so that a date that is moved is confirmed again.
    HoursBefore {
        /// The instant.
        instant: String,
        /// Rows more than so many hours away.
        from_hours: u32,
        /// And at most so many: where a row comes due.
        to_hours: u32,
        /// A late run still takes rows that are more than so many hours away.
        #[serde(default)]
        late_from_hours: u32,
    },
    /// Whenever the campaign runs, once a season. Occurrence: the word and the year.
    Season {
        /// What it is called in the reference and context (`spring`).
        word: String,
    },
    /// Once a number has reached a value. Occurrence: the value, once.
    Reached {
        /// The number.
        number: String,
        /// The value.
        at_least: f64,
    },
    /// Each time a number has passed a further multiple of a step since another one. Occurrence: the multiple.
    Crossed {
        /// The number.
        number: String,
        /// The same number at the last service; 0 when it is not there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<String>,
        /// The step.
        step: f64,
    },
    /// The parts of a series, one every so many days after a date; where a late run covers several, the latest counts.
    /// Occurrence: the part.
    Series {
        /// The date.
        date: String,
        /// Days between parts; the first comes after as many.
        every_days: u16,
        /// How many parts there are.
        parts: u16,
    },
}

/// A condition on a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The column or related value; `customer.company` is the customer's.
    pub column: String,
    /// What must be true of it.
    pub is: Operator,
    /// Compared with: a number, text or flag; dates as `2027-06-12`. Text is compared without regard to case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Literal>,
    /// For `one_of` and `none_of`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Literal>,
    /// For `older_than` and `within`: days before the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// A tenant without the column is not asked: the condition counts as met.
    #[serde(default)]
    pub optional: bool,
}

word_enum! {
    /// What a condition asks. A null cell meets `absent`, `not_equal` and `none_of`, nothing else.
    pub enum Operator {
        /// There is a value.
        Present = "present",
        /// There is none.
        Absent = "absent",
        /// The same.
        Equal = "equal",
        /// Not the same.
        NotEqual = "not_equal",
        /// One of several.
        OneOf = "one_of",
        /// None of several.
        NoneOf = "none_of",
        /// At least.
        AtLeast = "at_least",
        /// At most.
        AtMost = "at_most",
        /// More than.
        MoreThan = "more_than",
        /// Less than.
        LessThan = "less_than",
        /// A date or instant more than so many days before the run.
        OlderThan = "older_than",
        /// A date or instant at most so many days before the run.
        Within = "within",
    }
}

/// A value written in a definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Literal {
    /// Yes or no.
    Flag(bool),
    /// A number.
    Number(f64),
    /// Text, or a date.
    Text(String),
}

/// Where a variable of the template comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ContextSource {
    /// A column, a related value, or one of the computed ones: `customer_name` (first name, else company, else last
    /// name, else "customer"), `equipment_label` (make and model, else type), and what the due rule knows (`due_on`,
    /// `latest_on`, `years`, `return_on`, `days_since`, `days_left`, `season`, `part`, `mark`).
    Name(String),
    /// The same for everybody.
    Value {
        /// What stands there.
        value: Literal,
    },
}

/// A campaign's name: lower-case letters, digits and underscores, at most 64 characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CampaignName(String);

/// A campaign name that breaks the form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a campaign's name is 1 to 64 lower-case letters, digits or underscores and starts with a letter")]
pub struct CampaignNameError;

impl CampaignName {
    /// Parses and checks the form.
    ///
    /// # Errors
    /// When it breaks the form.
    pub fn parse(text: &str) -> Result<Self, CampaignNameError> {
        match MessageType::parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(CampaignNameError),
        }
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CampaignName {
    type Error = CampaignNameError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<CampaignName> for String {
    fn from(value: CampaignName) -> Self {
        value.0
    }
}

impl fmt::Display for CampaignName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for CampaignName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CampaignName({})", self.0)
    }
}

fn yes() -> bool {
    true
}
