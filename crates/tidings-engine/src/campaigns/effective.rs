//! Which campaigns a tenant has: the built-in ones with its changes and the environment's, and its own.

use super::schedule::schedule_name;
use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use tidings_core::TenantId;
use tidings_core::campaign::{self, CampaignName, Definition, DefinitionOverrides};
use tidings_store::TenantTx;
use tidings_store::campaigns::{self as stored, StoredCampaign};
use tidings_store::tenants::{self, TenantSettings};

/// A campaign of a tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// What it does.
    pub definition: Definition,
    /// It is the tenant's own.
    pub own: bool,
    /// Whether it runs.
    pub switch: Switch,
}

/// Whether a campaign runs, and who says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Switch {
    /// It does.
    On,
    /// The definition says no.
    OffByDefinition,
    /// The environment says no.
    OffByEnvironment {
        /// Under this name.
        name: String,
    },
    /// The tenant's `communication_preferences` say no.
    OffByTenant {
        /// Under this name.
        name: String,
    },
}

impl Switch {
    /// Whether it runs.
    pub const fn is_on(&self) -> bool {
        matches!(self, Self::On)
    }
}

/// A campaign as lists show it.
#[derive(Clone, Debug, Serialize)]
pub struct CampaignTold {
    /// Its definition.
    #[serde(flatten)]
    pub definition: Definition,
    /// It is the tenant's own.
    pub own: bool,
    /// Whether it runs.
    pub switch: Switch,
    /// When it runs next; none when it does not.
    pub next_at: Option<Timestamp>,
}

impl Engine {
    /// The campaigns of a tenant, in order of their names, with their next moment.
    ///
    /// # Errors
    /// When there is no such tenant, or what it stored cannot be read.
    pub async fn campaigns(&self, tenant: TenantId) -> Result<Vec<CampaignTold>, EngineError> {
        let inner = &self.inner;
        let mut tx = inner.store.tenant(tenant).tx().await?;
        let settings = tenants::get(&mut tx, tenant).await?.settings;
        let campaigns = effective(inner, &mut tx, &settings).await?;
        let schedules = tidings_queue::schedule::list(&mut tx, tenant, super::SCHEDULE_PREFIX).await?;
        tx.commit().await?;
        let next: BTreeMap<String, Option<Timestamp>> = schedules
            .into_iter()
            .map(|schedule| (schedule.name, schedule.next_at))
            .collect();
        Ok(campaigns
            .into_iter()
            .map(|one| CampaignTold {
                next_at: next
                    .get(&schedule_name(&one.definition.name))
                    .copied()
                    .flatten()
                    .filter(|_| one.switch.is_on()),
                definition: one.definition,
                own: one.own,
                switch: one.switch,
            })
            .collect())
    }
}

/// The campaigns of a tenant, in order of their names.
pub(super) async fn effective(
    inner: &Inner,
    tx: &mut TenantTx,
    settings: &TenantSettings,
) -> Result<Vec<Effective>, EngineError> {
    let words = stored::list(tx).await?;
    combine(&inner.environment, settings, &words)
}

/// One campaign of a tenant.
pub(super) async fn find(
    inner: &Inner,
    tx: &mut TenantTx,
    settings: &TenantSettings,
    name: &CampaignName,
) -> Result<Option<Effective>, EngineError> {
    let all = effective(inner, tx, settings).await?;
    Ok(all.into_iter().find(|one| one.definition.name == *name))
}

/// Pure: definitions, then the tenant's changes, then the environment's hours; and every switch asked.
fn combine(
    environment: &BTreeMap<String, String>,
    settings: &TenantSettings,
    words: &[StoredCampaign],
) -> Result<Vec<Effective>, EngineError> {
    let mut definitions: BTreeMap<CampaignName, (Definition, bool)> = campaign::built_in()
        .iter()
        .map(|definition| (definition.name.clone(), (definition.clone(), false)))
        .collect();
    for word in words {
        let unreadable = |problem: String| EngineError::Conflict {
            problem: format!(
                "campaign {} as stored cannot be read ({problem}); apply it again",
                word.name
            ),
        };
        let json = word.definition.clone();
        if word.own {
            let own: Definition =
                serde_json::from_value(json).map_err(|error| unreadable(error.to_string()))?;
            definitions.insert(word.name.clone(), (own, true));
        } else if let Some((built_in, _)) = definitions.get(&word.name) {
            let changes: DefinitionOverrides =
                serde_json::from_value(json).map_err(|error| unreadable(error.to_string()))?;
            let changed = built_in.with(changes);
            definitions.insert(word.name.clone(), (changed, false));
        }
    }
    definitions
        .into_values()
        .map(|(mut definition, own)| {
            // The environment speaks for the installation; a tenant that names a schedule of its own keeps it.
            let named = words.iter().any(|word| {
                word.name == definition.name && (word.own || word.definition.get("schedule").is_some())
            });
            if !named {
                definition.schedule = definition
                    .schedule
                    .with_overrides(|name| environment.get(name).cloned())
                    .map_err(|error| EngineError::Conflict {
                        problem: format!("campaign {}: {error}", definition.name),
                    })?;
            }
            Ok(Effective {
                switch: switch(environment, settings, &definition),
                definition,
                own,
            })
        })
        .collect()
}

fn switch(
    environment: &BTreeMap<String, String>,
    settings: &TenantSettings,
    definition: &Definition,
) -> Switch {
    if !definition.enabled {
        return Switch::OffByDefinition;
    }
    let general = format!("ENABLE_{}", definition.name.as_str().to_ascii_uppercase());
    for name in definition.flag.iter().chain([&general]) {
        let off = environment.get(name).is_some_and(|text| {
            matches!(
                text.trim().to_ascii_lowercase().as_str(),
                "0" | "false" | "no" | "off"
            )
        });
        if off {
            return Switch::OffByEnvironment { name: name.clone() };
        }
    }
    let general = format!("{}_enabled", definition.name);
    for name in definition.setting.iter().chain([&general]) {
        if settings.communication_preferences.get(name) == Some(&false) {
            return Switch::OffByTenant { name: name.clone() };
        }
    }
    Switch::On
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;
    use tidings_core::campaign::Cadence;

    fn find(all: &[Effective], name: &str) -> Effective {
        all.iter()
            .find(|one| one.definition.name.as_str() == name)
            .unwrap()
            .clone()
    }

    fn word(name: &str, own: bool, definition: serde_json::Value) -> StoredCampaign {
        StoredCampaign {
            name: CampaignName::parse(name).unwrap(),
            own,
            definition,
        }
    }

    #[test]
    fn switches_are_asked_in_order_and_say_who_said_no() {
        let mut settings = TenantSettings::default();
        settings
            .communication_preferences
            .insert("winback_enabled".to_owned(), false);
        let environment = BTreeMap::from([
            ("ENABLE_SEASONAL_REMINDERS".to_owned(), "false".to_owned()),
            ("ENABLE_SEVEN_DAY_CHECKIN".to_owned(), "true".to_owned()),
        ]);
        let off = [word("trade_in_alert", false, json!({"enabled": false}))];
        let all = combine(&environment, &settings, &off).unwrap();
        assert_eq!(find(&all, "seven_day_checkin").switch, Switch::On);
        assert_eq!(
            find(&all, "seasonal_reminder_spring").switch,
            Switch::OffByEnvironment {
                name: "ENABLE_SEASONAL_REMINDERS".to_owned()
            }
        );
        assert_eq!(
            find(&all, "winback_missed_you").switch,
            Switch::OffByTenant {
                name: "winback_enabled".to_owned()
            }
        );
        assert_eq!(find(&all, "trade_in_alert").switch, Switch::OffByDefinition);
    }

    #[test]
    fn the_environment_moves_hours_unless_the_tenant_names_its_own() {
        let environment = BTreeMap::from([("SEVEN_DAY_CHECKIN_HOUR_UTC".to_owned(), "9".to_owned())]);
        let settings = TenantSettings::default();
        let hour = |words: &[StoredCampaign]| {
            let all = combine(&environment, &settings, words).unwrap();
            match find(&all, "seven_day_checkin").definition.schedule {
                Cadence::Day { hour_utc, .. } => hour_utc,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(hour(&[]), 9);
        let own = word(
            "seven_day_checkin",
            false,
            json!({"schedule": {"every": "day", "hour_utc": 17}}),
        );
        assert_eq!(hour(&[own]), 17);
        let wrong = BTreeMap::from([("SEVEN_DAY_CHECKIN_HOUR_UTC".to_owned(), "noon".to_owned())]);
        let error = combine(&wrong, &settings, &[]).unwrap_err().to_string();
        assert!(error.contains("SEVEN_DAY_CHECKIN_HOUR_UTC"), "{error}");
    }

    #[test]
    fn a_campaign_of_the_tenants_own_stands_beside_the_built_in_ones() {
        let built_in = &campaign::built_in()[0];
        let mut own = serde_json::to_value(built_in).unwrap();
        own["name"] = json!("sixteenth");
        let all = combine(
            &BTreeMap::new(),
            &TenantSettings::default(),
            &[word("sixteenth", true, own)],
        )
        .unwrap();
        assert_eq!(all.len(), campaign::built_in().len() + 1);
        assert!(find(&all, "sixteenth").own);
    }
}
