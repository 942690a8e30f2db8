//! What a tenant wants, within the law: the policy the rules apply.

use super::facts::Window;
use crate::channel::Channel;
use crate::message::{Category, MessageType};
use crate::time_limit::TimeLimits;
use jiff::civil::{Weekday, time};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A tenant's policy. `Policy::default()` is the product's default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The tenant's IANA zone.
    pub zone: String,
    /// ISO 3166 alpha-2 region for national phone forms.
    pub default_region: Option<String>,
    /// Quiet hours of the tenant, in the contact's zone.
    pub quiet_hours: Vec<Window>,
    /// Quiet hours by channel, in the contact's zone.
    pub channel_quiet_hours: BTreeMap<Channel, Vec<Window>>,
    /// Quiet hours of contacts that set none of their own.
    pub contact_quiet_hours: Vec<Window>,
    /// Business hours, in the contact's zone.
    pub business_hours: Window,
    /// Days with business hours.
    pub business_days: BTreeSet<BusinessDay>,
    /// Whether a category needs a consent on record.
    pub consent_required: BTreeSet<Category>,
    /// Frequency caps by category.
    pub caps: BTreeMap<Category, Vec<Cap>>,
    /// Types that need a human's yes.
    pub approval_types: BTreeSet<MessageType>,
    /// Every type needs a human's yes.
    pub approval_all: bool,
    /// Message types switched off (feature flags and tenant settings).
    pub disabled_types: BTreeSet<MessageType>,
    /// Channels switched off.
    pub disabled_channels: BTreeSet<Channel>,
    /// WhatsApp through a browser is off unless this is set.
    pub whatsapp_web_enabled: bool,
    /// Types whose content is detailed: e-mail first.
    pub detailed_types: BTreeSet<MessageType>,
    /// Types that want a quick confirmation: SMS or WhatsApp first.
    pub quick_types: BTreeSet<MessageType>,
    /// How long a batch gathers, in seconds.
    pub batch_window_seconds: u32,
    /// How many messages close a batch.
    pub batch_size: u32,
    /// How long an approval may wait, in hours.
    pub approval_expires_hours: u32,
    /// What happens to an attempt of unknown outcome, by category.
    pub on_unknown: BTreeMap<Category, OnUnknown>,
    /// Local windows outside which marketing may not go by SMS or WhatsApp, by country (ISO 3166 alpha-2). The
    /// built-in floors (`timing::LEGAL_FLOORS`) hold as well: a window here can only tighten.
    pub legal_windows: BTreeMap<String, Window>,
    /// How long a channel is tried, and how long a message may be late.
    pub time_limits: TimeLimits,
}

/// At most `limit` messages in any `hours`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cap {
    /// How many.
    pub limit: u32,
    /// In a rolling window of so many hours.
    pub hours: u32,
}

crate::word::word_enum! {
    /// What to do about an attempt nobody can tell the outcome of.
    pub enum OnUnknown {
        /// Send again after a grace time.
        Resend = "resend",
        /// Hold for a person.
        Hold = "hold",
        /// Give up.
        Drop = "drop",
    }
}

crate::word::word_enum! {
    /// A day of the week.
    pub enum BusinessDay {
        /// Monday.
        Monday = "monday",
        /// Tuesday.
        Tuesday = "tuesday",
        /// Wednesday.
        Wednesday = "wednesday",
        /// Thursday.
        Thursday = "thursday",
        /// Friday.
        Friday = "friday",
        /// Saturday.
        Saturday = "saturday",
        /// Sunday.
        Sunday = "sunday",
    }
}

impl From<Weekday> for BusinessDay {
    fn from(day: Weekday) -> Self {
        match day {
            Weekday::Monday => Self::Monday,
            Weekday::Tuesday => Self::Tuesday,
            Weekday::Wednesday => Self::Wednesday,
            Weekday::Thursday => Self::Thursday,
            Weekday::Friday => Self::Friday,
            Weekday::Saturday => Self::Saturday,
            Weekday::Sunday => Self::Sunday,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        let window = |start: i8, end: i8| Window {
            start: time(start, 0, 0, 0),
            end: time(end, 0, 0, 0),
        };
        let words = |list: &[&str]| {
            list.iter()
                .filter_map(|word| MessageType::parse(word).ok())
                .collect()
        };
        Self {
            zone: "UTC".to_owned(),
            default_region: None,
            quiet_hours: vec![window(21, 8)],
            channel_quiet_hours: BTreeMap::from([(Channel::Email, vec![window(22, 8)])]),
            contact_quiet_hours: vec![window(22, 8)],
            business_hours: window(9, 18),
            business_days: BusinessDay::ALL.iter().copied().collect(),
            consent_required: BTreeSet::from([Category::Marketing]),
            caps: BTreeMap::from([
                (
                    Category::Marketing,
                    vec![Cap { limit: 1, hours: 24 }, Cap { limit: 3, hours: 168 }],
                ),
                (Category::Service, vec![Cap { limit: 3, hours: 24 }]),
            ]),
            approval_types: BTreeSet::new(),
            approval_all: false,
            disabled_types: BTreeSet::new(),
            disabled_channels: BTreeSet::new(),
            whatsapp_web_enabled: false,
            detailed_types: words(&[
                "welcome",
                "budget_summary",
                "vendor_options",
                "blueprint_delivery",
            ]),
            quick_types: words(&["reminder", "appointment_confirmation"]),
            batch_window_seconds: 300,
            batch_size: 3,
            approval_expires_hours: 72,
            on_unknown: BTreeMap::from([
                (Category::Transactional, OnUnknown::Resend),
                (Category::Service, OnUnknown::Hold),
                (Category::Marketing, OnUnknown::Hold),
            ]),
            legal_windows: BTreeMap::from([("US".to_owned(), window(8, 21))]),
            time_limits: TimeLimits::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_lists_every_field() {
        let page = include_str!("../../../../docs/policy.md");
        let told = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
        let listed: BTreeSet<String> = page.lines().filter_map(told).collect();
        let policy = serde_json::to_value(Policy::default()).expect("a policy is JSON");
        let fields: BTreeSet<String> = policy.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(listed, fields, "docs/policy.md and Policy differ");
    }
}
