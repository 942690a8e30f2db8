//! The form of an `apply` file. Unknown fields are refused, so that a typing error is not a silent default.

use crate::failure::Failure;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::Path;
use tidings_core::decide::Policy;
use tidings_core::{Category, Channel, MessageType, ProviderKind};
use tidings_render::WhatsappBinding;

/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;

/// An installation as it should be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyFile {
    /// Its tenants. Tenants that are not named are left alone.
    #[serde(default)]
    pub tenants: Vec<TenantSection>,
}

/// A tenant as it should be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantSection {
    /// Short name: lower-case letters, digits and hyphens.
    pub slug: String,
    /// The company's name.
    pub name: String,
    /// What the tenant wants; what is left out is the product's default.
    #[serde(default)]
    pub policy: Option<Policy>,
    /// Branding, postal address, tracking switches.
    #[serde(default)]
    pub settings: Option<toml::Table>,
    /// Accounts at providers.
    #[serde(default)]
    pub connections: Vec<ConnectionSection>,
    /// Templates; published when their content differs from what is published.
    #[serde(default)]
    pub templates: Vec<TemplateSection>,
    /// Contacts, found again by their external id.
    #[serde(default)]
    pub contacts: Vec<ContactSection>,
    /// Its own operational database, which campaigns look at.
    #[serde(default)]
    pub source: Option<SourceSection>,
    /// The language model its campaigns may draft with.
    #[serde(default)]
    pub model: Option<ModelSection>,
    /// Who is told of its alerts, and from where on a figure is bad. Left out: as it is; given: all there is.
    #[serde(default)]
    pub alerts: Option<AlertSection>,
    /// Changes to built-in campaigns, and campaigns of its own. Left out: as they are; given: all there are.
    #[serde(default)]
    pub campaigns: Option<Vec<toml::Table>>,
}

/// A source as it should be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSection {
    /// `postgresql`, `mysql` (MariaDB too) or `sqlite`.
    pub kind: String,
    /// Where it is: a URL with account and password, or a file's path; or `{ env = "NAME" }`.
    pub url: Credential,
    /// Off: campaigns do not look at it.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// A statement may take so long.
    pub statement_timeout_ms: Option<u64>,
    /// Rows read at a time.
    pub page_rows: Option<u32>,
    /// `disable`, `prefer`, `require` or `verify_full`.
    pub tls: Option<String>,
    /// The certificates to trust, in PEM; else those of the system.
    pub tls_ca_pem: Option<String>,
    /// What times without a zone mean; the tenant's zone when left out.
    pub zone: Option<String>,
    /// Where tables without a schema are looked for.
    pub schema: Option<String>,
    /// What its tables and columns are called; see docs/sources.md.
    #[serde(default)]
    pub mapping: toml::Table,
}

/// A model as it should be.
#[derive(Debug, Deserialize)]
pub struct ModelSection {
    /// Its key, or `{ env = "NAME" }`; left out, the one that is stored, or for OpenAI itself `OPENAI_API_KEY`.
    pub api_key: Option<Credential>,
    /// Off: campaigns have the words of their templates.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// `kind`, `model`, `base_url` and its limits; see docs/ai.md. Unknown ones are refused where they are read.
    #[serde(flatten)]
    pub settings: toml::Table,
}

/// Alerts as they should be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertSection {
    /// PagerDuty hears of critical ones.
    pub pagerduty: Option<PagerdutySection>,
    /// A Slack channel hears of high and medium ones.
    pub slack: Option<SlackSection>,
    /// An operator reads of low ones once a day.
    pub digest: Option<DigestSection>,
    /// From where on a figure is bad; those left out are the product's.
    #[serde(default)]
    pub thresholds: tidings_core::alert::Thresholds,
}

/// An integration of PagerDuty, Events API v2.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PagerdutySection {
    /// The integration key, or `{ env = "NAME" }`.
    pub routing_key: Credential,
    /// Instead of PagerDuty's own address.
    pub base_url: Option<String>,
}

/// An incoming webhook of Slack.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlackSection {
    /// Its URL, or `{ env = "NAME" }`: who knows it may write to the channel.
    pub webhook_url: Credential,
}

/// The daily digest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigestSection {
    /// An operator's e-mail address, or `{ env = "NAME" }`.
    pub to: Credential,
    /// The hour of the day, UTC.
    #[serde(default = "seven")]
    pub hour_utc: u8,
}

/// A connection as it should be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSection {
    /// Its name, unique within the tenant.
    pub name: String,
    /// The provider.
    pub provider: ProviderKind,
    /// The channel.
    pub channel: Channel,
    /// Off keeps it but sends nothing over it.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Lower is tried first.
    #[serde(default)]
    pub priority: i32,
    /// Share among connections of the same priority.
    #[serde(default = "one")]
    pub weight: i32,
    /// `{ limit, per_ms }`; the provider's default when left out.
    pub rate_limit: Option<tidings_store::connections::RateLimit>,
    /// How long one call may take, in milliseconds; as long as the process allows when left out.
    pub call_limit_ms: Option<u32>,
    /// Sender identity, base URL, options.
    #[serde(default)]
    pub settings: toml::Table,
    /// Secrets: a value, or `{ env = "NAME" }` to read it from the environment.
    #[serde(default)]
    pub credentials: std::collections::BTreeMap<String, Credential>,
}

/// A secret in the file, or the name of the environment variable that holds it.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Credential {
    /// In the file.
    Value(String),
    /// In the environment.
    Environment {
        /// The variable's name.
        env: String,
    },
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value([private])"),
            Self::Environment { env } => f.debug_struct("Environment").field("env", env).finish(),
        }
    }
}

/// A template as it should be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateSection {
    /// The message type.
    pub message_type: MessageType,
    /// The channel.
    pub channel: Channel,
    /// Language, such as `en` or `pt-BR`.
    #[serde(default = "english")]
    pub locale: String,
    /// Subject line (e-mail).
    pub subject: Option<String>,
    /// The body; or `body_file`.
    pub body: Option<String>,
    /// A file with the body, beside the `apply` file.
    pub body_file: Option<String>,
    /// `html`, `mjml` or `text`; by the channel when left out.
    pub format: Option<String>,
    /// Text part (e-mail); derived from the HTML when left out.
    pub text_body: Option<String>,
    /// The template approved at Meta that goes instead of the body outside the 24 h service window (WhatsApp).
    pub whatsapp: Option<WhatsappBinding>,
}

/// A contact as it should be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContactSection {
    /// The tenant's own id of the contact.
    pub external_id: String,
    /// Name.
    pub name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Phone number.
    pub phone: Option<String>,
    /// IANA zone.
    pub zone: Option<String>,
    /// Language.
    pub locale: Option<String>,
    /// ISO 3166 alpha-2 country.
    pub country: Option<String>,
    /// Preferred channels, best first.
    #[serde(default)]
    pub preferred_channels: Vec<Channel>,
    /// Purposes the contact has agreed to, with the consent's source.
    #[serde(default)]
    pub consents: Vec<ConsentSection>,
}

/// A consent on record.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsentSection {
    /// For what.
    pub purpose: Category,
    /// For which channel; every channel when left out.
    pub channel: Option<Channel>,
    /// Where it was given (`signup form`).
    pub source: String,
    /// In which words.
    pub wording: Option<String>,
}

fn yes() -> bool {
    true
}

fn one() -> i32 {
    1
}

fn seven() -> u8 {
    7
}

fn english() -> String {
    "en".to_owned()
}

impl ApplyFile {
    /// Reads and checks a file; an error says the line, or which section names something twice.
    pub fn read(path: &Path) -> Result<Self> {
        let size = std::fs::metadata(path)
            .with_context(|| format!("{} cannot be read", path.display()))?
            .len();
        if size > MAX_FILE_BYTES {
            bail!(
                "{} has {size} bytes; an apply file may have {MAX_FILE_BYTES}",
                path.display()
            );
        }
        let text =
            std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let mut file =
            Self::parse(&text).with_context(|| format!("{} is not a right apply file", path.display()))?;
        file.load_bodies(path.parent().unwrap_or(Path::new(".")))?;
        Ok(file)
    }

    /// Parses the text and checks that nothing is named twice.
    pub fn parse(text: &str) -> Result<Self> {
        let file: Self = toml::from_str(text).map_err(|error| Failure::Refused(said(text, &error)))?;
        once("tenant", file.tenants.iter().map(|tenant| tenant.slug.clone()))?;
        for tenant in &file.tenants {
            let slug = &tenant.slug;
            once(
                &format!("connection of {slug}"),
                tenant.connections.iter().map(|c| c.name.clone()),
            )?;
            once(
                &format!("contact of {slug}"),
                tenant.contacts.iter().map(|c| c.external_id.clone()),
            )?;
            let templates = tenant.templates.iter();
            once(
                &format!("template of {slug}"),
                templates.map(|t| format!("{} {} {}", t.message_type, t.channel, t.locale)),
            )?;
        }
        Ok(file)
    }

    fn load_bodies(&mut self, folder: &Path) -> Result<()> {
        for template in self.tenants.iter_mut().flat_map(|tenant| &mut tenant.templates) {
            match (&template.body, &template.body_file) {
                (Some(_), None) => {}
                (None, Some(name)) => {
                    let path = folder.join(name);
                    let body = std::fs::read_to_string(&path)
                        .with_context(|| format!("the body_file {} cannot be read", path.display()))?;
                    template.body = Some(body);
                }
                _ => bail!(Failure::Refused(format!(
                    "template {} {}: give either body or body_file",
                    template.message_type, template.channel
                ))),
            }
        }
        Ok(())
    }
}

/// Where the file is wrong and why, without the line itself and without what stands there instead of something else:
/// both may be a password.
fn said(text: &str, error: &toml::de::Error) -> String {
    let place = error.span().map(|span| {
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("line {line}, column {column}: ")
    });
    let message = error.message();
    let message = match message.split_once("invalid type: string \"") {
        Some((_, rest)) => match rest.rsplit_once("\", ") {
            Some((_, expected)) => format!("invalid type: a string, {expected}"),
            None => "invalid type: a string".to_owned(),
        },
        None => message.to_owned(),
    };
    format!("{}{message}", place.unwrap_or_default())
}

fn once(what: &str, names: impl Iterator<Item = String>) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name.clone()) {
            bail!(Failure::Refused(format!("{what} \"{name}\" is named twice")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_cannot_be_read_is_not_repeated() {
        let cases = [
            ("[[tenants]]\nslug = 's3cret-9\n", "line 2, column"),
            (
                "[[tenants]]\nslug = \"a\"\nname = \"A\"\n[[tenants.connections]]\nname = \"m\"\nprovider = \"smtp\"\nchannel = \"email\"\ncredentials = \"s3cret-9\"\n",
                "line 8, column 15: invalid type: a string, expected a map",
            ),
        ];
        for (text, says) in cases {
            let error = ApplyFile::parse(text).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("s3cret-9"), "{error}");
        }
    }

    #[test]
    fn a_small_file_is_read() {
        let file = ApplyFile::parse(
            r#"
            [[tenants]]
            slug = "shop"
            name = "Shop"
            [tenants.policy]
            zone = "Europe/Berlin"
            [[tenants.connections]]
            name = "sandbox"
            provider = "sandbox"
            channel = "email"
            [[tenants.contacts]]
            external_id = "1"
            email = "kim@example.com"
            consents = [{ purpose = "marketing", source = "signup form" }]
            "#,
        )
        .unwrap();
        assert_eq!(file.tenants[0].policy.as_ref().unwrap().zone, "Europe/Berlin");
        assert!(file.tenants[0].connections[0].enabled);
    }

    #[test]
    fn wrong_files_say_what_and_where() {
        for (text, part) in [
            ("[[tenants]]\nslug = \"a\"\nname = \"A\"\ncolour = 1\n", "colour"),
            ("[[tenants]]\nslug = \"a\"\n", "name"),
            ("[[tenants]\n", "line 1"),
            (
                "[[tenants]]\nslug = \"a\"\nname = \"A\"\n[[tenants]]\nslug = \"a\"\nname = \"B\"\n",
                "named twice",
            ),
            (
                "[[tenants]]\nslug=\"a\"\nname=\"A\"\n[[tenants.connections]]\nname=\"x\"\nprovider=\"pigeon\"\nchannel=\"email\"\n",
                "pigeon",
            ),
        ] {
            let error = format!("{:#}", ApplyFile::parse(text).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }
}
