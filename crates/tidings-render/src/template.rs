//! A template: its source, and the form it is rendered from.

use crate::compose::{self, Composed};
use crate::engine::{self, HTML_SUFFIX};
use crate::segments::{self, Fault, RESERVED_NAMES};
use crate::whatsapp::WhatsappBinding;
use minijinja::Environment;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use tidings_core::{Channel, MessageType};

/// Largest source of one part, in bytes.
const MAX_SOURCE: usize = 256 * 1024;

/// Largest source of a subject line, in bytes.
const MAX_SUBJECT_SOURCE: usize = 2_000;

/// How the body of a template is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// HTML: a fragment that the layout is put around, or a whole document.
    Html,
    /// MJML, a whole document (`<mjml>`).
    Mjml,
    /// Plain text.
    Text,
}

/// A part of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The subject line.
    Subject,
    /// The body.
    Body,
    /// The text part of an e-mail.
    Text,
    /// The approved WhatsApp template.
    Whatsapp,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subject => "subject",
            Self::Body => "body",
            Self::Text => "text part",
            Self::Whatsapp => "whatsapp template",
        })
    }
}

/// A template as its author writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateSource {
    /// The message type it belongs to.
    pub message_type: MessageType,
    /// The channel it is for.
    pub channel: Channel,
    /// Language tag (`en`, `de-AT`): decides about numbers, dates and the direction of writing.
    pub locale: String,
    /// Subject line; e-mail needs one.
    pub subject: Option<String>,
    /// The body.
    pub body: String,
    /// How the body is written.
    pub format: Format,
    /// Text part of an e-mail; derived from the body where there is none.
    pub text_body: Option<String>,
}

impl TemplateSource {
    /// How errors name the template: `welcome/email/en`.
    pub fn label(&self) -> String {
        format!("{}/{}/{}", self.message_type, self.channel, self.locale)
    }
}

/// A template that cannot be used, with the place and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template {template}, {part}{}: {problem}", .line.map(|line| format!(" line {line}")).unwrap_or_default())]
pub struct TemplateError {
    /// Which template.
    pub template: String,
    /// Which part of it.
    pub part: Part,
    /// Line of that part, from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong and what to do about it.
    pub problem: String,
}

/// A template ready to be rendered any number of times, from any thread.
pub struct CompiledTemplate {
    pub(crate) label: String,
    pub(crate) message_type: MessageType,
    pub(crate) channel: Channel,
    pub(crate) locale: String,
    pub(crate) env: Environment<'static>,
    pub(crate) has_html: bool,
    pub(crate) whatsapp: Option<WhatsappBinding>,
    variables: BTreeSet<String>,
}

/// Names of the parts in a template's environment.
pub(crate) const SUBJECT_PART: &str = "subject";
pub(crate) const TEXT_PART: &str = "text";
pub(crate) const HTML_PART: &str = "body.html";

impl CompiledTemplate {
    /// How errors name the template: `welcome/email/en`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The message type.
    pub fn message_type(&self) -> &MessageType {
        &self.message_type
    }

    /// The channel it is for.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// The language tag.
    pub fn locale(&self) -> &str {
        &self.locale
    }

    /// Every variable of the context that any part uses, required or asked for. [`RESERVED_NAMES`] aside.
    pub fn variables(&self) -> &BTreeSet<String> {
        &self.variables
    }
}

impl fmt::Debug for CompiledTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledTemplate")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// Checks a template and brings it into the form it is rendered from.
///
/// This is the slow half (milliseconds): call it when a template is published or first used and keep the result.
pub fn compile(source: &TemplateSource) -> Result<CompiledTemplate, TemplateError> {
    let label = source.label();
    let fail = |part, fault: Fault| TemplateError {
        template: label.clone(),
        part,
        line: fault.line,
        problem: fault.problem,
    };
    let mut compiled = CompiledTemplate {
        label: label.clone(),
        message_type: source.message_type.clone(),
        channel: source.channel,
        locale: source.locale.clone(),
        env: engine::environment(),
        has_html: false,
        whatsapp: None,
        variables: BTreeSet::new(),
    };
    if source.channel == Channel::Email {
        compile_email(source, &mut compiled).map_err(|(part, fault)| fail(part, fault))?;
    } else {
        compile_short(source, &mut compiled).map_err(|(part, fault)| fail(part, fault))?;
    }
    Ok(compiled)
}

type PartFault = (Part, Fault);

fn compile_short(source: &TemplateSource, compiled: &mut CompiledTemplate) -> Result<(), PartFault> {
    if source.format != Format::Text {
        let problem = format!(
            "{} carries plain text only; set the format to text",
            source.channel
        );
        return Err((Part::Body, Fault::whole(problem)));
    }
    if source.subject.is_some() || source.text_body.is_some() {
        let problem = format!(
            "{} has neither subject nor text part; remove them",
            source.channel
        );
        return Err((Part::Subject, Fault::whole(problem)));
    }
    add_text(compiled, Part::Body, &source.body)
}

fn compile_email(source: &TemplateSource, compiled: &mut CompiledTemplate) -> Result<(), PartFault> {
    let subject = source.subject.as_deref().map(str::trim).unwrap_or_default();
    if subject.is_empty() {
        return Err((
            Part::Subject,
            Fault::whole("an e-mail needs a subject; write one"),
        ));
    }
    if subject.len() > MAX_SUBJECT_SOURCE {
        let problem = format!("is longer than {MAX_SUBJECT_SOURCE} bytes; shorten it");
        return Err((Part::Subject, Fault::whole(problem)));
    }
    if subject.contains(['\r', '\n']) {
        return Err((
            Part::Subject,
            Fault::whole("has more than one line; write it on one"),
        ));
    }
    add(compiled, Part::Subject, SUBJECT_PART, subject, subject)?;
    if source.format == Format::Text {
        if source.text_body.is_some() {
            return Err((
                Part::Text,
                Fault::whole("the body is text already; remove one of them"),
            ));
        }
        check_size(Part::Body, &source.body)?;
        let text = format!("{}{}", source.body.trim_end(), compose::TEXT_FOOTER);
        return add(compiled, Part::Body, TEXT_PART, &source.body, &text);
    }
    check_size(Part::Body, &source.body)?;
    parse(&source.body, Part::Body)?;
    let composed: Composed = compose::compose(source).map_err(|fault| (Part::Body, fault))?;
    collect_variables(compiled, &source.body);
    add_restored(compiled, Part::Body, HTML_PART, composed.html)?;
    compiled.has_html = true;
    match source.text_body.as_deref() {
        Some(text) => {
            check_size(Part::Text, text)?;
            let whole = format!("{}{}", text.trim_end(), compose::TEXT_FOOTER);
            add(compiled, Part::Text, TEXT_PART, text, &whole)
        }
        None => add_restored(compiled, Part::Body, TEXT_PART, composed.text),
    }
}

fn check_size(part: Part, text: &str) -> Result<(), PartFault> {
    if text.len() > MAX_SOURCE {
        let problem = format!(
            "is larger than {} kB; shorten it, link images instead",
            MAX_SOURCE / 1024
        );
        return Err((part, Fault::whole(problem)));
    }
    if text.trim().is_empty() {
        return Err((part, Fault::whole("is empty; write one")));
    }
    Ok(())
}

fn add_text(compiled: &mut CompiledTemplate, part: Part, text: &str) -> Result<(), PartFault> {
    check_size(part, text)?;
    add(compiled, part, TEXT_PART, text, text)
}

/// Adds a text part: `source` is what the author wrote, `whole` what is rendered.
fn add(
    compiled: &mut CompiledTemplate,
    part: Part,
    name: &'static str,
    source: &str,
    whole: &str,
) -> Result<(), PartFault> {
    parse(source, part)?;
    collect_variables(compiled, source);
    let split = segments::split(whole).map_err(|fault| (part, fault))?;
    let restored = split.restore(&split.text, |_, segment| segment.source());
    add_restored(compiled, part, name, restored)
}

/// Adds a text part of its own name; the error is a line and what is wrong there.
pub(crate) fn add_named(
    compiled: &mut CompiledTemplate,
    part: Part,
    name: String,
    source: &str,
) -> Result<(), (Option<usize>, String)> {
    let told = |(_, fault): PartFault| (fault.line, fault.problem);
    check_size(part, source).map_err(told)?;
    parse(source, part).map_err(told)?;
    collect_variables(compiled, source);
    let split = segments::split(source).map_err(|fault| (fault.line, fault.problem))?;
    let restored = split.restore(&split.text, |_, segment| segment.source());
    let added = compiled.env.add_template_owned(name, restored);
    added.map_err(|error| (None, format!("cannot be parsed: {}", explain(&error))))
}

fn add_restored(
    compiled: &mut CompiledTemplate,
    part: Part,
    name: &'static str,
    source: String,
) -> Result<(), PartFault> {
    compiled.env.add_template_owned(name, source).map_err(|error| {
        (
            part,
            Fault::whole(format!("cannot be parsed: {}", explain(&error))),
        )
    })
}

/// Parses what the author wrote, so that errors carry the author's lines.
fn parse(source: &str, part: Part) -> Result<(), PartFault> {
    segments::split(source).map_err(|fault| (part, fault))?;
    let env = engine::environment();
    let parsed = env.template_from_named_str(
        if part == Part::Body {
            HTML_SUFFIX
        } else {
            TEXT_PART
        },
        source,
    );
    match parsed {
        Ok(_) => Ok(()),
        Err(error) => Err((
            part,
            Fault {
                line: error.line(),
                problem: explain(&error),
            },
        )),
    }
}

fn explain(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

fn collect_variables(compiled: &mut CompiledTemplate, source: &str) {
    let env = engine::environment();
    if let Ok(template) = env.template_from_str(source) {
        let used = template.undeclared_variables(false);
        compiled.variables.extend(
            used.into_iter()
                .filter(|name| !RESERVED_NAMES.contains(&name.as_str())),
        );
    }
}
