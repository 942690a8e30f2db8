//! What the figures say of each thing that is watched.
//!
//! While an alert is open its threshold is a little stricter than the one that raised it, so that a figure which swings
//! about the threshold is one alert and not many.

use super::figures::{ConnectionHealth, Figures, OpenFigures, ProviderFigures};
use super::thresholds::{CALLS_MOST, MAILS_MOST, Thresholds};
use super::{AlertKey, AlertRule, WHOLE};
use crate::breaker::BreakerState;
use crate::channel::{Channel, ProviderKind};
use crate::ids::ConnectionId;
use std::collections::{BTreeMap, BTreeSet};

/// A rate that fell below its least is well again this many percent above it.
const MARGIN_PERCENT: u64 = 2;

/// What the figures say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is bad; a sentence with the figures, without personal data.
    Bad(String),
    /// It is well.
    Good,
    /// Too little is known to say either.
    Unclear,
}

/// A verdict on one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The thing.
    pub key: AlertKey,
    /// What the figures say.
    pub verdict: Verdict,
}

/// Judges everything the figures speak of, and every open alert: each key once.
pub fn assess(figures: &Figures, limits: &Thresholds, open: &BTreeSet<AlertKey>) -> Vec<Finding> {
    let mut found: BTreeMap<AlertKey, Verdict> = BTreeMap::new();
    credentials(figures, &mut found);
    channels(figures, &mut found);
    for one in &figures.providers {
        rates(one, limits, open, &mut found);
    }
    for one in figures.opens.iter().flatten() {
        opens(one, limits, open, &mut found);
    }
    backlog(figures, limits, open, &mut found);
    for run in &figures.failing_runs {
        if run.given_up || run.tries >= limits.source_tries {
            let key = AlertKey::new(AlertRule::SourceUnreachable, run.campaign.clone());
            let detail = format!(
                "the campaign {} could not look at its source: {} tries of its newest run failed{}; run `tidings source check`",
                run.campaign,
                run.tries,
                if run.given_up { ", and it was given up" } else { "" }
            );
            found.insert(key, Verdict::Bad(detail));
        }
    }
    for key in open {
        if !found.contains_key(key)
            && let Some(verdict) = unheard(key, figures)
        {
            found.insert(key.clone(), verdict);
        }
    }
    found
        .into_iter()
        .map(|(key, verdict)| Finding { key, verdict })
        .collect()
}

/// An open alert that no figure speaks of any more: what it was about is gone or quiet.
fn unheard(key: &AlertKey, figures: &Figures) -> Option<Verdict> {
    match key.rule {
        AlertRule::AuthFailure
        | AlertRule::ChannelDown
        | AlertRule::SourceUnreachable
        | AlertRule::DeadLetters
        | AlertRule::UnknownOutcomes
        | AlertRule::QueueAge
        | AlertRule::Test => Some(Verdict::Good),
        AlertRule::OpenRate if figures.opens.is_none() => None,
        AlertRule::DeliveryRate | AlertRule::ApiErrors | AlertRule::Retries | AlertRule::OpenRate => {
            Some(Verdict::Unclear)
        }
    }
}

/// What an alert about refused credentials says.
pub fn auth_failure_detail(provider: ProviderKind, connection: ConnectionId) -> String {
    format!(
        "{provider} refuses the credentials of connection {connection}; nothing goes over it until they are put right"
    )
}

fn credentials(figures: &Figures, found: &mut BTreeMap<AlertKey, Verdict>) {
    for one in &figures.connections {
        let verdict = match (one.refused_at, one.taken_at) {
            (Some(refused), Some(taken)) if taken > refused => Verdict::Good,
            (Some(_), _) => Verdict::Bad(auth_failure_detail(one.provider, one.id)),
            (None, Some(_)) => Verdict::Good,
            (None, None) => Verdict::Unclear,
        };
        found.insert(AlertKey::new(AlertRule::AuthFailure, one.id.to_string()), verdict);
    }
}

fn channels(figures: &Figures, found: &mut BTreeMap<AlertKey, Verdict>) {
    let mut by_channel: BTreeMap<Channel, Vec<&ConnectionHealth>> = BTreeMap::new();
    for one in &figures.connections {
        by_channel.entry(one.channel).or_default().push(one);
    }
    for (channel, connections) in by_channel {
        let all = |state: BreakerState| connections.iter().all(|one| one.breaker == state);
        let verdict = if all(BreakerState::Open) {
            let count = connections.len();
            Verdict::Bad(format!(
                "the breakers of all {count} connections of {channel} are open: nothing goes by {channel}"
            ))
        } else if connections.iter().any(|one| one.breaker == BreakerState::Closed) {
            Verdict::Good
        } else {
            // A probe is under way.
            Verdict::Unclear
        };
        found.insert(AlertKey::new(AlertRule::ChannelDown, channel.as_str()), verdict);
    }
}

fn rates(
    one: &ProviderFigures,
    limits: &Thresholds,
    open: &BTreeSet<AlertKey>,
    found: &mut BTreeMap<AlertKey, Verdict>,
) {
    let provider = one.provider;
    let mut judge = |rule: AlertRule, part: u64, of: u64, at_least: bool, percent: u32, words: &str| {
        let key = AlertKey::new(rule, provider.as_str());
        // More than is looked at would never be reached.
        let verdict = if of < u64::from(limits.sample_min.min(CALLS_MOST)) {
            Verdict::Unclear
        } else {
            share(part, of, at_least, percent, open.contains(&key), |shown| {
                format!("{shown} {words} {provider} within an hour ({part} of {of})")
            })
        };
        found.insert(key, verdict);
    };
    let ended = one.reached.saturating_add(one.lost);
    judge(
        AlertRule::DeliveryRate,
        one.reached,
        ended,
        true,
        limits.delivery_rate_min_percent,
        "of the deliveries reached their address over",
    );
    judge(
        AlertRule::ApiErrors,
        one.errors,
        one.calls,
        false,
        limits.api_errors_max_percent,
        "of the calls failed to",
    );
    judge(
        AlertRule::Retries,
        one.repeated,
        one.calls,
        false,
        limits.retries_max_percent,
        "of the calls were repetitions to",
    );
}

fn opens(
    one: &OpenFigures,
    limits: &Thresholds,
    open: &BTreeSet<AlertKey>,
    found: &mut BTreeMap<AlertKey, Verdict>,
) {
    let key = AlertKey::new(AlertRule::OpenRate, one.provider.as_str());
    let verdict = if one.mails < u64::from(limits.open_sample_min.min(MAILS_MOST)) {
        Verdict::Unclear
    } else {
        let percent = limits.open_rate_min_percent;
        share(
            one.opened,
            one.mails,
            true,
            percent,
            open.contains(&key),
            |shown| {
                format!(
                    "{shown} of the mail over {} was opened within seven days ({} of {})",
                    one.provider, one.opened, one.mails
                )
            },
        )
    };
    found.insert(key, verdict);
}

/// Judges `part` of `of` against a share in percent, in whole numbers: no rounding decides.
fn share(
    part: u64,
    of: u64,
    at_least: bool,
    percent: u32,
    is_open: bool,
    detail: impl FnOnce(String) -> String,
) -> Verdict {
    let (part, of, percent) = (u128::from(part), u128::from(of), u128::from(percent));
    let bad = if at_least {
        let wanted = if is_open {
            (percent + u128::from(MARGIN_PERCENT)).min(100)
        } else {
            percent
        };
        part * 100 < of * wanted
    } else if is_open {
        // Well again at four fifths of what is too much.
        part * 500 > of * percent * 4
    } else {
        part * 100 > of * percent
    };
    if bad {
        let tenths = part * 1000 / of.max(1);
        Verdict::Bad(detail(format!("{}.{} %", tenths / 10, tenths % 10)))
    } else {
        Verdict::Good
    }
}

fn backlog(
    figures: &Figures,
    limits: &Thresholds,
    open: &BTreeSet<AlertKey>,
    found: &mut BTreeMap<AlertKey, Verdict>,
) {
    let mut judge = |rule: AlertRule, value: u64, most: u32, detail: String| {
        let key = AlertKey::new(rule, WHOLE);
        let most = u64::from(most);
        let most = if open.contains(&key) { most / 2 } else { most };
        let verdict = if value > most {
            Verdict::Bad(detail)
        } else {
            Verdict::Good
        };
        found.insert(key, verdict);
    };
    judge(
        AlertRule::DeadLetters,
        figures.new_dead_letters,
        limits.dead_letters_max,
        format!(
            "{} jobs were given up within an hour; see `tidings queue causes`",
            figures.new_dead_letters
        ),
    );
    judge(
        AlertRule::UnknownOutcomes,
        figures.held_unknown,
        limits.unknown_max,
        format!(
            "{} deliveries whose outcome nobody knows wait for a person; see /v1/queue/unknown",
            figures.held_unknown
        ),
    );
    let age = figures
        .queue_age
        .map_or(0, |age| age.as_secs().max(0).unsigned_abs());
    judge(
        AlertRule::QueueAge,
        age,
        limits.queue_age_max_s,
        format!("the oldest due job has been waiting for {age} s; add workers or raise MAX_CONCURRENT_JOBS"),
    );
}
