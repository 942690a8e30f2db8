//! Rules of faults, and which of them strikes a call.
//!
//! Whether a rule with a probability strikes follows from the seed, the rule's place, the call's reference and how
//! often that reference was seen: the order in which concurrent calls arrive does not change it.

use super::Fault;
use crate::chance;
use crate::vendor::Vendor;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;

/// Rules held at once.
const MOST_RULES: usize = 100;
/// References whose calls are counted; beyond, counting begins anew.
const MOST_COUNTED: usize = 100_000;
/// The longest an answer is delayed.
const LONGEST_MS: u64 = 600_000;

/// A fault and the calls it strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What goes wrong.
    pub fault: Fault,
    /// Only at this vendor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<Vendor>,
    /// Only for recipients of this form; `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// The share of calls that are struck, 0 to 1; all of them without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// How often at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// Whether the message is taken nevertheless; each fault has its usual answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<bool>,
    /// Strikes questions (what became of a message, who is on a list) in place of messages.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked: bool,
}

impl Rule {
    /// A fault for every call.
    pub fn always(fault: Fault) -> Self {
        Self {
            fault,
            vendor: None,
            recipient: None,
            probability: None,
            times: None,
            accept: None,
            asked: false,
        }
    }

    /// For questions in place of messages.
    #[must_use]
    pub fn asked(mut self) -> Self {
        self.asked = true;
        self
    }

    /// Only at one vendor.
    #[must_use]
    pub fn at(mut self, vendor: Vendor) -> Self {
        self.vendor = Some(vendor);
        self
    }

    /// At most so often.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    fn check(&self) -> Result<(), String> {
        if self
            .probability
            .is_some_and(|share| !(0.0..=1.0).contains(&share))
        {
            return Err("probability must be 0 to 1".to_owned());
        }
        match self.fault {
            Fault::Latency { min_ms, max_ms } if min_ms > max_ms || max_ms > LONGEST_MS => Err(format!(
                "latency wants min_ms at most max_ms, and max_ms at most {LONGEST_MS}"
            )),
            _ => Ok(()),
        }
    }

    fn concerns(&self, call: &Call<'_>) -> bool {
        self.asked == call.asked
            && self.vendor.is_none_or(|vendor| vendor == call.vendor)
            && self
                .recipient
                .as_deref()
                .is_none_or(|form| fits(form, call.recipient))
    }
}

/// A rule, and how often it struck.
#[derive(Clone, Debug, Serialize)]
pub struct RuleState {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// How often it struck.
    pub struck: u64,
}

/// What rules look at.
#[derive(Clone, Copy)]
pub(crate) struct Call<'c> {
    pub vendor: Vendor,
    pub recipient: &'c str,
    /// The reference, or what else tells this message from others.
    pub about: &'c str,
    /// It is a question, not a message.
    pub asked: bool,
}

/// What strikes a call.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Strike {
    /// How long the answer is delayed.
    pub delay: Duration,
    /// What goes wrong, and whether the message is taken.
    pub fault: Option<(Fault, bool)>,
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    seed: u64,
    list: Vec<RuleState>,
    seen: HashMap<String, u32>,
}

impl Rules {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// Puts rules in the place of those before.
    pub(crate) fn replace(&mut self, rules: Vec<Rule>, seed: Option<u64>) -> Result<(), String> {
        if rules.len() > MOST_RULES {
            return Err(format!("at most {MOST_RULES} rules"));
        }
        for (at, rule) in rules.iter().enumerate() {
            rule.check().map_err(|why| format!("rule {at}: {why}"))?;
        }
        self.seed = seed.unwrap_or(self.seed);
        self.seen.clear();
        self.list = rules
            .into_iter()
            .map(|rule| RuleState { rule, struck: 0 })
            .collect();
        Ok(())
    }

    /// The rules and how often each struck.
    pub(crate) fn list(&self) -> Vec<RuleState> {
        self.list.clone()
    }

    /// What strikes this call: every latency, and the first other fault.
    pub(crate) fn strike(&mut self, call: &Call<'_>) -> Strike {
        let mut strike = Strike::default();
        if self.list.is_empty() {
            return strike;
        }
        if self.seen.len() >= MOST_COUNTED {
            self.seen.clear();
        }
        let nth = self.seen.entry(call.about.to_owned()).or_default();
        *nth += 1;
        let nth = *nth;
        for (at, state) in self.list.iter_mut().enumerate() {
            let rule = &state.rule;
            let spent = rule.times.is_some_and(|times| state.struck >= times);
            let is_latency = matches!(rule.fault, Fault::Latency { .. });
            if spent || !rule.concerns(call) || (strike.fault.is_some() && !is_latency) {
                continue;
            }
            let roll = |what: &str| {
                chance::fraction(self.seed, &[what, &at.to_string(), call.about, &nth.to_string()])
            };
            if rule.probability.is_some_and(|share| roll("strikes") >= share) {
                continue;
            }
            state.struck += 1;
            match &rule.fault {
                Fault::Latency { min_ms, max_ms } => {
                    strike.delay += between(*min_ms, *max_ms, roll("latency"));
                }
                fault => strike.fault = Some((fault.clone(), rule.accept.unwrap_or(fault.accepts()))),
            }
        }
        strike
    }
}

/// A duration between two, by a fraction.
pub(crate) fn between(min_ms: u64, max_ms: u64, fraction: f64) -> Duration {
    let spread = max_ms.saturating_sub(min_ms) as f64 * fraction;
    Duration::from_millis(min_ms + spread.round() as u64)
}

/// Whether a text has a form in which `*` stands for any characters. Letter case does not count.
fn fits(form: &str, text: &str) -> bool {
    let (form, text) = (form.to_lowercase(), text.to_lowercase());
    let mut pieces = form.split('*');
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rstest::rstest;

    fn call(about: &str) -> Call<'_> {
        Call {
            vendor: Vendor::Sendgrid,
            recipient: "Bob@example.com",
            about,
            asked: false,
        }
    }

    #[rstest]
    #[case("*", true)]
    #[case("bob@example.com", true)]
    #[case("bob@*", true)]
    #[case("*@example.com", true)]
    #[case("b*@*.com", true)]
    #[case("*bob*com", true)]
    #[case("bob", false)]
    #[case("*@example.org", false)]
    #[case("b*x*com", true)]
    #[case("b*z*com", false)]
    fn forms_of_recipients(#[case] form: &str, #[case] expect: bool) {
        assert_eq!(fits(form, "bob@example.com"), expect);
    }

    #[test]
    fn a_rule_strikes_as_often_as_it_says_and_where_it_says() {
        let mut rules = Rules::new(1);
        let rule = Rule::always(Fault::Reset).at(Vendor::Sendgrid).times(2);
        rules.replace(vec![rule], None).unwrap();
        let twilio = Call {
            vendor: Vendor::Twilio,
            ..call("d1")
        };
        assert_eq!(rules.strike(&twilio), Strike::default());
        let struck: Vec<bool> = (0..4)
            .map(|_| rules.strike(&call("d1")).fault.is_some())
            .collect();
        assert_eq!(struck, [true, true, false, false]);
        assert_eq!(rules.list()[0].struck, 2);
    }

    #[test]
    fn questions_have_rules_of_their_own() {
        let mut rules = Rules::new(1);
        rules
            .replace(vec![Rule::always(Fault::Reset).asked().times(1)], None)
            .unwrap();
        let question = Call {
            asked: true,
            ..call("d1")
        };
        assert_eq!(rules.strike(&call("d1")), Strike::default());
        assert!(rules.strike(&question).fault.is_some());
        assert!(rules.strike(&question).fault.is_none());
    }

    #[test]
    fn chance_follows_from_the_seed_whatever_the_order() {
        let rule = Rule {
            probability: Some(0.3),
            ..Rule::always(Fault::Drip)
        };
        let struck = |seed: u64, order: &[u32]| {
            let mut rules = Rules::new(seed);
            rules.replace(vec![rule.clone()], None).unwrap();
            let mut found: Vec<(u32, bool)> = order
                .iter()
                .map(|n| (*n, rules.strike(&call(&format!("d{n}"))).fault.is_some()))
                .collect();
            found.sort_unstable();
            found
        };
        let forwards: Vec<u32> = (0..500).collect();
        let backwards: Vec<u32> = (0..500).rev().collect();
        assert_eq!(struck(7, &forwards), struck(7, &backwards));
        assert_ne!(struck(7, &forwards), struck(8, &forwards));
        let share = struck(7, &forwards).iter().filter(|(_, hit)| *hit).count();
        assert!((100..200).contains(&share), "{share} of 500 at 0.3");
    }

    #[test]
    fn latencies_add_to_the_first_other_fault() {
        let mut rules = Rules::new(1);
        let slow = Fault::Latency {
            min_ms: 10,
            max_ms: 10,
        };
        let list = [Fault::Reset, slow.clone(), Fault::Drip, slow];
        rules.replace(list.map(Rule::always).to_vec(), None).unwrap();
        let strike = rules.strike(&call("d1"));
        assert_eq!(strike.delay, Duration::from_millis(20));
        assert_eq!(strike.fault, Some((Fault::Reset, false)));
        assert_eq!(rules.list()[2].struck, 0);
    }

    #[test]
    fn wrong_rules_are_refused_with_their_place() {
        let mut rules = Rules::new(1);
        let wrong = Rule {
            probability: Some(1.5),
            ..Rule::always(Fault::Reset)
        };
        let error = rules
            .replace(vec![Rule::always(Fault::Drip), wrong], None)
            .unwrap_err();
        assert_eq!(error, "rule 1: probability must be 0 to 1");
        assert!(serde_json::from_str::<Rule>(r#"{"fault": "explodes"}"#).is_err());
        assert!(serde_json::from_str::<Rule>(r#"{"fault": "reset", "colour": 1}"#).is_err());
        let read: Rule = serde_json::from_str(r#"{"fault": {"redirect": {}}, "times": 1}"#).unwrap();
        assert!(matches!(read.fault, Fault::Redirect { location } if location.starts_with("http://169.254")));
    }
}
