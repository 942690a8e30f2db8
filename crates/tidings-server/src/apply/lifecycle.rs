//! The tenant's source and its campaigns.

use super::Applier;
use super::diff::{Entry, json_differences};
use super::file::{Credential, SourceSection, TenantSection};
use crate::failure::Failure;
use anyhow::{Context, Result, bail};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tidings_core::campaign::{self, CampaignName, Definition, DefinitionOverrides};
use tidings_core::{MessageType, zone};
use tidings_engine::source::{Mapping, Source, SourceSettings};
use tidings_store::TenantTx;
use tidings_store::campaigns::{self as stored, StoredCampaign};
use tidings_store::sources::{self, SourceInput};

impl Applier<'_> {
    /// Brings the source to what the file says. Nothing is contacted; `source check` does that.
    pub(super) async fn source(
        &mut self,
        tx: &mut TenantTx,
        tenant: &TenantSection,
        section: &SourceSection,
    ) -> Result<Entry> {
        let what = format!("source {}", tenant.slug);
        let wanted = self.source_input(tenant, section).with_context(|| what.clone())?;
        let entry = match sources::open(tx).await? {
            None => Entry::created(what.clone()),
            Some((known, access)) => {
                let mut differences = json_differences(
                    &json!({ "settings": known.settings, "mapping": known.mapping, "enabled": known.enabled }),
                    &json!({ "settings": wanted.settings, "mapping": wanted.mapping, "enabled": wanted.enabled }),
                );
                if access.expose_secret() != wanted.access.expose_secret() && differences.is_empty() {
                    differences.push("url: changed".to_owned());
                }
                Entry::existing(what.clone(), differences)
            }
        };
        if entry.is_change() {
            sources::put(tx, &wanted, self.now).await.with_context(|| what)?;
        }
        Ok(entry)
    }

    fn source_input(&self, tenant: &TenantSection, section: &SourceSection) -> Result<SourceInput> {
        let url = self.secret("source.url", &section.url)?;
        let mut settings = json!({ "kind": section.kind });
        for (name, value) in [
            (
                "statement_timeout_ms",
                section.statement_timeout_ms.map(Value::from),
            ),
            ("page_rows", section.page_rows.map(Value::from)),
            ("tls", section.tls.clone().map(Value::from)),
            ("tls_ca_pem", section.tls_ca_pem.clone().map(Value::from)),
            ("zone", section.zone.clone().map(Value::from)),
            ("schema", section.schema.clone().map(Value::from)),
        ] {
            if let Some(value) = value {
                settings[name] = value;
            }
        }
        let shown = settings.clone();
        settings["url"] = json!(url.expose_secret());
        // The parser may quote what it read; the url must not come out.
        let access: SourceSettings = serde_json::from_value(settings)
            .map_err(|error| Failure::Refused(hidden(&error.to_string(), &url)))?;
        let mapping: Mapping = section
            .mapping
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| Failure::Refused(format!("mapping: {}", error.message())))?;
        let sealed = access.to_json();
        let zone = tenant
            .policy
            .as_ref()
            .map_or("UTC", |policy| policy.zone.as_str());
        let zone = zone::resolve(None, zone);
        // Opening connects to nothing; it checks the settings and the mapping's words.
        Source::open(&access, mapping.clone(), &zone).map_err(Failure::refused)?;
        Ok(SourceInput {
            access: sealed,
            settings: shown,
            mapping: serde_json::to_value(&mapping).context("the mapping cannot be written as JSON")?,
            enabled: section.enabled,
        })
    }

    /// A secret in the file, or from the environment.
    pub(super) fn secret(&self, field: &str, credential: &Credential) -> Result<SecretString> {
        match credential {
            Credential::Value(value) => Ok(SecretString::from(value.clone())),
            Credential::Environment { env } => match self.environment.get(&[env.as_str()]) {
                Some(value) => Ok(SecretString::from(value.to_owned())),
                None => bail!(Failure::Refused(format!(
                    "{field} is to come from the environment variable {env}, which is not set"
                ))),
            },
        }
    }

    /// Brings what the tenant says of campaigns to what the file says, as a whole.
    pub(super) async fn campaigns(
        &mut self,
        tx: &mut TenantTx,
        slug: &str,
        tables: &[toml::Table],
    ) -> Result<Vec<Entry>> {
        let wanted = tables.iter().map(campaign).collect::<Result<Vec<_>>>()?;
        let mut seen = BTreeSet::new();
        if let Some(twice) = wanted.iter().find(|one| !seen.insert(one.stored.name.clone())) {
            bail!(Failure::Refused(format!(
                "campaign of {slug} \"{}\" is named twice",
                twice.stored.name
            )));
        }
        let known = stored::list(tx).await?;
        let what = |name: &CampaignName| format!("campaign {slug}/{name}");
        let mut entries: Vec<Entry> = wanted
            .iter()
            .map(|one| {
                let name = &one.stored.name;
                match known.iter().find(|stored| stored.name == *name) {
                    None => Entry::created(what(name)),
                    Some(stored) => Entry::existing(
                        what(name),
                        json_differences(&stored.definition, &one.stored.definition),
                    ),
                }
            })
            .collect();
        for gone in known
            .iter()
            .filter(|stored| !wanted.iter().any(|one| one.stored.name == stored.name))
        {
            entries.push(Entry::existing(
                what(&gone.name),
                vec!["no longer named: as built in, or gone".to_owned()],
            ));
        }
        if entries.iter().any(Entry::is_change) {
            let ask: BTreeSet<MessageType> = wanted.iter().filter_map(|one| one.asks.clone()).collect();
            let ask: Vec<MessageType> = ask.into_iter().collect();
            let campaigns: Vec<StoredCampaign> = wanted.into_iter().map(|one| one.stored).collect();
            stored::put(tx, &campaigns, &ask, self.now).await?;
        }
        Ok(entries)
    }
}

/// A campaign of the file.
struct Wanted {
    stored: StoredCampaign,
    /// Its type, when its messages wait for a person's yes.
    asks: Option<MessageType>,
}

/// Reads one: changes to a built-in campaign when the name is one, else a whole definition.
fn campaign(table: &toml::Table) -> Result<Wanted> {
    let name = table
        .get("name")
        .and_then(toml::Value::as_str)
        .ok_or_else(|| Failure::Refused("a campaign needs a name".to_owned()))?;
    let name = CampaignName::parse(name)
        .map_err(|error| Failure::Refused(format!("campaign \"{name}\": {error}")))?;
    let refused = |error: toml::de::Error| Failure::Refused(format!("campaign {name}: {}", error.message()));
    let built_in = campaign::built_in().iter().find(|one| one.name == name);
    let (definition, json, own) = if let Some(built_in) = built_in {
        let mut changes = table.clone();
        changes.remove("name");
        let changes: DefinitionOverrides = changes.try_into().map_err(refused)?;
        let json = serde_json::to_value(&changes).context("the changes cannot be written as JSON")?;
        (built_in.with(changes), json, false)
    } else {
        let own: Definition = table.clone().try_into().map_err(refused)?;
        let json = serde_json::to_value(&own).context("the definition cannot be written as JSON")?;
        (own, json, true)
    };
    if let Err(problems) = definition.validate() {
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        bail!(Failure::Refused(format!("campaign {name}: {}", told.join("; "))));
    }
    Ok(Wanted {
        asks: definition.approval.then(|| definition.message_type.clone()),
        stored: StoredCampaign {
            name,
            own,
            definition: json,
        },
    })
}

fn hidden(text: &str, secret: &SecretString) -> String {
    text.replace(secret.expose_secret(), "[url]")
}
