//! Which model a tenant drafts with.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::time::Duration;
use tidings_core::word_enum;
use url::Url;

word_enum! {
    /// The form of the endpoint.
    pub enum ModelKind {
        /// `POST {base}/chat/completions`: OpenAI and everything compatible with it, also on one's own machine.
        Openai = "openai",
        /// `POST {base}/v1/messages`.
        Anthropic = "anthropic",
    }
}

/// Settings as a person writes them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenModelSettings {
    /// The form of the endpoint.
    pub kind: ModelKind,
    /// Address of the endpoint, `https://api.openai.com/v1`; the vendor's own where it is missing.
    pub base_url: Option<String>,
    /// The model's name at the endpoint.
    pub model: String,
    /// 0 to 2; the model's own where it is missing. Some models refuse any.
    pub temperature: Option<f32>,
    /// Tokens of one answer.
    #[serde(default = "default_max_output_tokens")]
    pub max_output_tokens: u32,
    /// Limit of one call.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// Limit of the whole draft, the second try included.
    #[serde(default = "default_total_timeout_ms")]
    pub total_timeout_ms: u64,
    /// Whether the endpoint is asked to answer in JSON (`response_format`); not every compatible server can.
    #[serde(default)]
    pub json_mode: bool,
    /// Appended to every system prompt: the tenant's tone and house rules.
    #[serde(default)]
    pub system_prompt_extra: String,
}

const fn default_max_output_tokens() -> u32 {
    1024
}

const fn default_timeout_ms() -> u64 {
    20_000
}

const fn default_total_timeout_ms() -> u64 {
    30_000
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the model setting {field} cannot be used: {problem}")]
pub struct ModelSettingsError {
    /// Which.
    pub field: &'static str,
    /// What is wrong, and what is right.
    pub problem: &'static str,
}

/// A model that can be called.
#[derive(Clone, Debug)]
pub struct ModelSettings {
    given: GivenModelSettings,
    base_url: Url,
    api_key: Option<SecretString>,
}

impl ModelSettings {
    /// Checks the settings. An endpoint of OpenAI's form may need no key, as local ones do.
    pub fn new(given: GivenModelSettings, api_key: Option<SecretString>) -> Result<Self, ModelSettingsError> {
        let base_url = base_url(&given)?;
        let api_key = api_key.filter(|key| !key.expose_secret().is_empty());
        let visible = |key: &SecretString| key.expose_secret().bytes().all(|byte| byte.is_ascii_graphic());
        let problem = if given.model.trim().is_empty() || given.model.len() > 200 {
            Some(("model", "1 to 200 characters, as the endpoint names it"))
        } else if given.temperature.is_some_and(|heat| !(0.0..=2.0).contains(&heat)) {
            Some(("temperature", "from 0 to 2, or left out"))
        } else if !(64..=8192).contains(&given.max_output_tokens) {
            Some(("max_output_tokens", "from 64 to 8192"))
        } else if !(100..=120_000).contains(&given.timeout_ms) {
            Some(("timeout_ms", "from 100 to 120000"))
        } else if !(given.timeout_ms..=240_000).contains(&given.total_timeout_ms) {
            Some(("total_timeout_ms", "from timeout_ms to 240000"))
        } else if given.system_prompt_extra.chars().count() > 4000 {
            Some(("system_prompt_extra", "at most 4000 characters"))
        } else if api_key.is_none() && given.kind == ModelKind::Anthropic {
            Some(("api_key", "this kind of endpoint needs one"))
        } else if !api_key.as_ref().is_none_or(visible) {
            Some((
                "api_key",
                "it holds a blank, a line break or a character that no header may hold",
            ))
        } else {
            None
        };
        match problem {
            Some((field, problem)) => Err(ModelSettingsError { field, problem }),
            None => Ok(Self {
                given,
                base_url,
                api_key,
            }),
        }
    }

    /// The form of the endpoint.
    pub const fn kind(&self) -> ModelKind {
        self.given.kind
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.given.model
    }

    /// Appended to every system prompt.
    pub fn system_prompt_extra(&self) -> &str {
        self.given.system_prompt_extra.trim()
    }

    /// Limit of one call.
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.given.timeout_ms)
    }

    /// Limit of the whole draft.
    pub const fn total_timeout(&self) -> Duration {
        Duration::from_millis(self.given.total_timeout_ms)
    }

    pub(crate) const fn temperature(&self) -> Option<f32> {
        self.given.temperature
    }

    pub(crate) const fn max_output_tokens(&self) -> u32 {
        self.given.max_output_tokens
    }

    pub(crate) const fn json_mode(&self) -> bool {
        self.given.json_mode
    }

    pub(crate) const fn api_key(&self) -> Option<&SecretString> {
        self.api_key.as_ref()
    }

    /// Whether the endpoint is OpenAI's own, which wants the newer name of the token limit.
    pub(crate) fn is_openai_itself(&self) -> bool {
        self.base_url
            .host_str()
            .is_some_and(|host| host == "api.openai.com" || host.ends_with(".openai.azure.com"))
    }

    /// The address of an operation below the base.
    pub(crate) fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.base_url.as_str().trim_end_matches('/'))
    }
}

fn base_url(given: &GivenModelSettings) -> Result<Url, ModelSettingsError> {
    let wrong = |problem| ModelSettingsError {
        field: "base_url",
        problem,
    };
    let vendor = match given.kind {
        ModelKind::Openai => "https://api.openai.com/v1",
        ModelKind::Anthropic => "https://api.anthropic.com",
    };
    let text = given.base_url.as_deref().map_or(vendor, str::trim);
    let url = Url::parse(text).map_err(|_| wrong("write it as https://host/path"))?;
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
        return Err(wrong("only https and http can be called"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("give the key as api_key, not in the address"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it ends with the path, without ? and #"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn given(json: &str) -> GivenModelSettings {
        serde_json::from_str(json).expect("settings")
    }

    fn key() -> SecretString {
        SecretString::from("sk-secret")
    }

    #[rstest]
    #[case(r#"{"kind":"openai","model":""}"#, "model")]
    #[case(r#"{"kind":"openai","model":"m","temperature":2.5}"#, "temperature")]
    #[case(r#"{"kind":"openai","model":"m","max_output_tokens":1}"#, "max_output_tokens")]
    #[case(r#"{"kind":"openai","model":"m","timeout_ms":1}"#, "timeout_ms")]
    #[case(
        r#"{"kind":"openai","model":"m","total_timeout_ms":1000}"#,
        "total_timeout_ms"
    )]
    #[case(r#"{"kind":"openai","model":"m","base_url":"ftp://x"}"#, "base_url")]
    #[case(r#"{"kind":"openai","model":"m","base_url":"https://u:p@x"}"#, "base_url")]
    #[case(r#"{"kind":"openai","model":"m","base_url":"https://x/?a=1"}"#, "base_url")]
    #[case(r#"{"kind":"openai","model":"m","base_url":"api.openai.com"}"#, "base_url")]
    fn refuses(#[case] json: &str, #[case] field: &str) {
        let error = ModelSettings::new(given(json), Some(key())).expect_err("must be refused");
        assert_eq!(error.field, field);
    }

    #[test]
    fn a_key_is_needed_by_anthropic_and_is_a_header_value() {
        let anthropic = || given(r#"{"kind":"anthropic","model":"m"}"#);
        let refused =
            |key: Option<&str>| ModelSettings::new(anthropic(), key.map(SecretString::from)).is_err();
        assert!(refused(None) && refused(Some("")) && refused(Some("a\nb")));
        assert!(ModelSettings::new(given(r#"{"kind":"openai","model":"m"}"#), None).is_ok());
    }

    #[test]
    fn unknown_settings_are_refused_and_the_key_is_never_shown() {
        assert!(
            serde_json::from_str::<GivenModelSettings>(r#"{"kind":"openai","model":"m","temp":1}"#).is_err()
        );
        let settings =
            ModelSettings::new(given(r#"{"kind":"openai","model":"m"}"#), Some(key())).expect("fine");
        assert!(!format!("{settings:?}").contains("sk-secret"));
    }
}
