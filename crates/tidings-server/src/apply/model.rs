//! The language model a tenant drafts with.

use super::Applier;
use super::diff::{Entry, json_differences};
use super::file::ModelSection;
use crate::failure::Failure;
use anyhow::{Context, Result};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tidings_ai::{GivenModelSettings, ModelKind, ModelSettings};
use tidings_store::TenantTx;
use tidings_store::models::{self, ModelInput};

/// Where the key of OpenAI itself is looked for when the file names none.
const OPENAI_KEY: &str = "OPENAI_API_KEY";
/// OpenAI itself: its key goes to nobody else unasked.
const OPENAI_HOST: &str = "api.openai.com";

impl Applier<'_> {
    /// Brings the model to what the file says. Nothing is contacted.
    pub(super) async fn model(
        &mut self,
        tx: &mut TenantTx,
        slug: &str,
        section: &ModelSection,
    ) -> Result<Entry> {
        let what = format!("model {slug}");
        let settings = serde_json::to_value(&section.settings)
            .context("the settings cannot be written as JSON")
            .with_context(|| what.clone())?;
        let known = models::open(tx).await?;
        let kept = known
            .as_ref()
            .filter(|(model, _)| same_endpoint(&model.settings, &settings))
            .and_then(|(_, key)| key.clone());
        let key = self
            .model_key(section, &settings, kept)
            .with_context(|| what.clone())?;
        check(&settings, key.clone()).with_context(|| what.clone())?;
        let wanted = ModelInput {
            key,
            settings,
            enabled: section.enabled,
        };
        let entry = match &known {
            None => Entry::created(what.clone()),
            Some((model, key)) => {
                let mut differences = json_differences(
                    &json!({ "settings": model.settings, "enabled": model.enabled }),
                    &json!({ "settings": wanted.settings, "enabled": wanted.enabled }),
                );
                differences.extend(key_difference(key.as_ref(), wanted.key.as_ref()));
                Entry::existing(what.clone(), differences)
            }
        };
        if entry.is_change() {
            models::put(tx, &wanted, self.now).await.with_context(|| what)?;
        }
        Ok(entry)
    }

    /// The key the file names; else the one that is stored for the same endpoint; else OpenAI's from the environment.
    fn model_key(
        &self,
        section: &ModelSection,
        settings: &Value,
        kept: Option<SecretString>,
    ) -> Result<Option<SecretString>> {
        if let Some(named) = &section.api_key {
            return self.secret("model.api_key", named).map(Some);
        }
        let of_openai = is_openai(settings)
            .then(|| self.environment.get(&[OPENAI_KEY]))
            .flatten()
            .map(SecretString::from);
        Ok(of_openai.or(kept))
    }
}

/// Refuses what no model could be called by. The settings hold no secret; the key is not repeated.
fn check(settings: &Value, key: Option<SecretString>) -> Result<()> {
    let given: GivenModelSettings = serde_json::from_value(settings.clone()).map_err(Failure::refused)?;
    ModelSettings::new(given, key).map_err(Failure::refused)?;
    Ok(())
}

fn same_endpoint(stored: &Value, wanted: &Value) -> bool {
    ["kind", "base_url"]
        .iter()
        .all(|name| stored.get(name) == wanted.get(name))
}

fn is_openai(settings: &Value) -> bool {
    let text = |name: &str| settings.get(name).and_then(Value::as_str);
    let host = text("base_url").map(|base| {
        let url = url::Url::parse(base.trim()).ok();
        url.and_then(|url| url.host_str().map(str::to_owned))
    });
    text("kind") == Some(ModelKind::Openai.as_str())
        && host.is_none_or(|host| host.as_deref() == Some(OPENAI_HOST))
}

fn key_difference(from: Option<&SecretString>, to: Option<&SecretString>) -> Option<String> {
    let text = |key: Option<&SecretString>| key.map(|key| key.expose_secret().to_owned());
    (text(from) != text(to)).then(|| {
        let word = match (from, to) {
            (None, _) => "given",
            (_, None) => "taken away",
            _ => "changed",
        };
        format!("api_key: {word}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_openai_itself_gets_its_key_unasked() {
        assert!(is_openai(&json!({"kind": "openai", "model": "m"})));
        assert!(is_openai(
            &json!({"kind": "openai", "base_url": "https://api.openai.com/v1"})
        ));
        for other in [
            json!({"kind": "anthropic", "model": "m"}),
            json!({"kind": "openai", "base_url": "http://127.0.0.1:11434/v1"}),
            json!({"kind": "openai", "base_url": "https://api.openai.com.evil.example/v1"}),
            json!({"kind": "openai", "base_url": "nonsense"}),
        ] {
            assert!(!is_openai(&other), "{other}");
        }
    }
}
