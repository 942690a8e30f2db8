//! Rendering: a compiled template and the values of one message become content.

use crate::brand::Brand;
use crate::builtin;
use crate::engine;
use crate::filters;
use crate::links;
use crate::plain;
use crate::template::{CompiledTemplate, HTML_PART, SUBJECT_PART, TEXT_PART};
use crate::values::{self, Fields, Root, Unusable};
use crate::whatsapp;
use minijinja::{ErrorKind, Value};
use serde_json::json;
use std::sync::Arc;
use tidings_core::{Category, Channel};

/// Longest subject line, in characters. Readers show about 60; a line of mail ends at 998 bytes.
pub const MAX_SUBJECT_CHARS: usize = 250;
/// Longest short message, in characters: what Twilio takes.
pub const MAX_SHORT_CHARS: usize = 1600;

/// Everything one render needs besides the template.
#[derive(Clone, Copy)]
pub struct RenderContext<'a> {
    /// The message's own variables: a JSON object. Null counts as missing.
    pub variables: &'a serde_json::Value,
    /// Who sends.
    pub brand: &'a Brand,
    /// Marketing gets the unsubscribe link and the postal address, and is refused without them.
    pub category: Category,
    /// IANA name of the zone that instants are shown in, the contact's.
    pub zone: Option<&'a str>,
    /// The contact's one-click unsubscribe link.
    pub unsubscribe_url: Option<&'a str>,
    /// The contact's preference page.
    pub preference_url: Option<&'a str>,
    /// Turns a link of an HTML mail into the one that counts clicks; none leaves links alone.
    pub track_link: Option<&'a (dyn Fn(&str) -> String + Send + Sync)>,
    /// Address of the picture that counts opens; none adds no picture.
    pub open_pixel_url: Option<&'a str>,
}

impl<'a> RenderContext<'a> {
    /// A context with no zone, no links of the contact and no tracking.
    pub fn new(variables: &'a serde_json::Value, brand: &'a Brand, category: Category) -> Self {
        Self {
            variables,
            brand,
            category,
            zone: None,
            unsubscribe_url: None,
            preference_url: None,
            track_link: None,
            open_pixel_url: None,
        }
    }
}

/// What is sent. Holds personal data: wrap it before it goes anywhere near a log.
#[derive(Clone, PartialEq, Eq)]
pub enum Rendered {
    /// An e-mail.
    Email {
        /// One line.
        subject: String,
        /// HTML part; none for plain text templates.
        html: Option<String>,
        /// Text part.
        text: String,
    },
    /// An SMS or WhatsApp text.
    Text {
        /// The text.
        body: String,
    },
}

impl std::fmt::Debug for Rendered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Email { .. } => "Email([private])",
            Self::Text { .. } => "Text([private])",
        })
    }
}

/// A message that cannot be rendered. Names variables and templates, never their values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// Values the template needs are not in the context.
    #[error("template {template} needs {}; add {} to the message's context", quoted(.names), them(.names))]
    MissingVariables {
        /// Which template.
        template: String,
        /// All that are missing, as paths (`vendors[0].name`), sorted.
        names: Vec<String>,
    },
    /// The context is not a JSON object, too large or too deep.
    #[error("template {template}: {problem}")]
    Context {
        /// Which template.
        template: String,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// Marketing mail without what the law asks for.
    #[error("template {template}: marketing mail needs {missing}; {remedy}")]
    NotLawful {
        /// Which template.
        template: String,
        /// What is missing.
        missing: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The subject line would be unsafe, empty or too long.
    #[error("template {template}, subject: {problem}")]
    Subject {
        /// Which template.
        template: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A value does not fit where the template puts it.
    #[error("template {template}, {part}: {problem}")]
    Value {
        /// Which template.
        template: String,
        /// The part (`subject`, `body`, `text`).
        part: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The template works or writes more than one message may.
    #[error("template {template}, {part}: {problem}")]
    TooLarge {
        /// Which template.
        template: String,
        /// The part.
        part: &'static str,
        /// Which limit, and what to do.
        problem: String,
    },
}

fn quoted(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("\"{name}\""))
        .collect::<Vec<_>>()
        .join(", ")
}

fn them(names: &[String]) -> &'static str {
    if names.len() == 1 { "it" } else { "them" }
}

impl CompiledTemplate {
    /// Fills in the values of one message.
    pub fn render(&self, context: &RenderContext<'_>) -> Result<Rendered, RenderError> {
        self.check_lawful(context)?;
        let root = self.root(context)?;
        if self.channel != Channel::Email {
            let body = self.part(TEXT_PART, &root, context)?;
            return self.short(&body);
        }
        let subject = self.subject(&root, context)?;
        let root = Root {
            mail: self.mail(context, Some(&subject)),
            ..root
        };
        let text = plain::tidy(&self.part(TEXT_PART, &root, context)?);
        let html = if self.has_html {
            let html = self.part(HTML_PART, &root, context)?;
            Some(links::instrument(html, context))
        } else {
            None
        };
        Ok(Rendered::Email { subject, html, text })
    }

    /// What the parts read their values from.
    pub(crate) fn root(&self, context: &RenderContext<'_>) -> Result<Root, RenderError> {
        let fields = values::fields(context.variables).map_err(|unusable| self.unusable(unusable))?;
        Ok(Root {
            fields: Arc::new(fields),
            brand: context.brand.to_value(),
            mail: self.mail(context, None),
        })
    }

    fn check_lawful(&self, context: &RenderContext<'_>) -> Result<(), RenderError> {
        let fail = |missing, remedy| {
            Err(RenderError::NotLawful {
                template: self.label.clone(),
                missing,
                remedy,
            })
        };
        if context.category != Category::Marketing || self.channel != Channel::Email {
            return Ok(());
        }
        if context.unsubscribe_url.is_none() {
            return fail(
                "an unsubscribe link",
                "this is a fault of the sending path, report it",
            );
        }
        if !context.brand.has_postal_address() {
            return fail(
                "the sender's postal address",
                "set brand.postal_address of the tenant",
            );
        }
        Ok(())
    }

    fn unusable(&self, unusable: Unusable) -> RenderError {
        let problem = match unusable {
            Unusable::NotAnObject => {
                "the context is a JSON object of variables; send one, {} if there are none"
            }
            Unusable::TooLarge => "the context holds more than 512 kB of text; link large content instead",
            Unusable::TooDeep => "the context nests deeper than 16 levels; flatten it",
        };
        RenderError::Context {
            template: self.label.clone(),
            problem,
        }
    }

    /// What templates read as `mail`.
    fn mail(&self, context: &RenderContext<'_>, subject: Option<&str>) -> Value {
        let mut mail = Fields::default();
        mail.set("category", context.category.as_str());
        mail.set("marketing", context.category == Category::Marketing);
        mail.set("locale", self.locale.as_str());
        mail.set("direction", crate::locale::direction(&self.locale));
        let optional = [
            ("zone", context.zone),
            ("unsubscribe_url", context.unsubscribe_url),
            ("preference_url", context.preference_url),
            ("subject", subject),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                mail.set(name, value);
            }
        }
        Value::from_object(mail)
    }

    fn subject(&self, root: &Root, context: &RenderContext<'_>) -> Result<String, RenderError> {
        let subject = self.part(SUBJECT_PART, root, context)?;
        let fail = |problem: &str| {
            Err(RenderError::Subject {
                template: self.label.clone(),
                problem: problem.to_owned(),
            })
        };
        let subject = subject.trim();
        if subject
            .chars()
            .any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
        {
            return fail(
                "a value brings a line break or control character into it; remove it from the context",
            );
        }
        if subject.is_empty() {
            return fail("is empty with these values; give the variables it prints a text");
        }
        if subject.chars().count() > MAX_SUBJECT_CHARS {
            return fail(
                "is longer than 250 characters; shorten it or the values it prints (truncate filter)",
            );
        }
        Ok(subject.to_owned())
    }

    fn short(&self, body: &str) -> Result<Rendered, RenderError> {
        let body = plain::tidy(body);
        let problem = if body.is_empty() {
            "is empty with these values; give the variables it prints a text".to_owned()
        } else if body.chars().count() > MAX_SHORT_CHARS {
            format!("is longer than {MAX_SHORT_CHARS} characters; shorten it or the values it prints")
        } else {
            return Ok(Rendered::Text { body });
        };
        Err(RenderError::TooLarge {
            template: self.label.clone(),
            part: "body",
            problem,
        })
    }

    fn part(
        &self,
        part: &'static str,
        root: &Root,
        context: &RenderContext<'_>,
    ) -> Result<String, RenderError> {
        engine::render_part(&self.env, part, root.to_value())
            .map_err(|error| self.failure(&error, part, context))
    }

    pub(crate) fn failure(
        &self,
        error: &minijinja::Error,
        part: &'static str,
        context: &RenderContext<'_>,
    ) -> RenderError {
        let template = self.label.clone();
        match error.kind() {
            ErrorKind::OutOfFuel => {
                let problem = "works more than one message may; loop over fewer items".to_owned();
                RenderError::TooLarge {
                    template,
                    part: spoken(part),
                    problem,
                }
            }
            ErrorKind::WriteFailure => {
                let problem = "is larger than 512 kB with these values; send less, link the rest".to_owned();
                RenderError::TooLarge {
                    template,
                    part: spoken(part),
                    problem,
                }
            }
            _ => {
                let names = self.missing(context);
                if !names.is_empty() {
                    return RenderError::MissingVariables { template, names };
                }
                let problem = match error.detail() {
                    Some(detail) => detail.to_owned(),
                    None => format!("{}; check the values against the template", error.kind()),
                };
                RenderError::Value {
                    template,
                    part: spoken(part),
                    problem,
                }
            }
        }
    }

    /// Renders every part once more over values that note which holes are used.
    fn missing(&self, context: &RenderContext<'_>) -> Vec<String> {
        let Ok((fields, holes)) = values::watched(context.variables) else {
            return Vec::new();
        };
        let mail = self.mail(context, Some("subject"));
        let root = Root {
            fields: Arc::new(fields),
            brand: context.brand.to_value(),
            mail,
        };
        let mut env = self.env.clone();
        filters::install_watching(&mut env);
        let values = whatsapp::part_names(self.whatsapp.as_ref());
        let parts = [SUBJECT_PART, TEXT_PART, HTML_PART].into_iter();
        for part in parts.chain(values.iter().map(String::as_str)) {
            // Errors of this pass are those already known; the holes are what it is for.
            drop(engine::render_part(&env, part, root.to_value()));
        }
        holes.names()
    }
}

fn spoken(part: &str) -> &'static str {
    match part {
        SUBJECT_PART => "subject",
        HTML_PART => "body",
        _ => "text",
    }
}

/// A text another program wrote, sent as it is: nothing in it is read as template or HTML.
#[derive(Clone, Copy)]
pub struct Direct<'a> {
    /// Subject of an e-mail; the sender's name stands in where there is none.
    pub subject: Option<&'a str>,
    /// Plain text; empty lines separate paragraphs.
    pub body: &'a str,
}

/// Renders a direct text for a channel; `context.variables` is not used.
pub fn render_direct(
    direct: &Direct<'_>,
    channel: Channel,
    context: &RenderContext<'_>,
) -> Result<Rendered, RenderError> {
    let variables = match direct.subject {
        Some(subject) => json!({"title": subject, "body": direct.body}),
        None => json!({"body": direct.body}),
    };
    let context = RenderContext {
        variables: &variables,
        ..*context
    };
    builtin::direct(channel).compiled().render(&context)
}
