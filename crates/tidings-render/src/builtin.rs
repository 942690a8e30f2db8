//! The built-in templates: compiled once, on first use, from the texts in `/templates`.

use crate::message_types::{MessageTypeInfo, message_type};
use crate::template::{CompiledTemplate, Format, TemplateSource, compile};
use std::sync::OnceLock;
use tidings_core::{Channel, MessageType};

/// A template that comes with the product, in English.
pub struct BuiltinTemplate {
    message_type: &'static str,
    channel: Channel,
    subject: Option<&'static str>,
    body: &'static str,
    compiled: OnceLock<CompiledTemplate>,
}

impl BuiltinTemplate {
    const fn new(message_type: &'static str, channel: Channel, body: &'static str) -> Self {
        Self {
            message_type,
            channel,
            subject: None,
            body,
            compiled: OnceLock::new(),
        }
    }

    const fn email(message_type: &'static str, subject: &'static str, body: &'static str) -> Self {
        Self {
            message_type,
            channel: Channel::Email,
            subject: Some(subject),
            body,
            compiled: OnceLock::new(),
        }
    }

    /// The message type's word.
    pub fn message_type(&self) -> &'static str {
        self.message_type
    }

    /// The channel.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// What the message type is for and needs.
    pub fn info(&self) -> &'static MessageTypeInfo {
        message_type(self.message_type)
            .expect("every built-in template has a documented type; a test proves it")
    }

    /// The source, to start one's own from.
    pub fn source(&self) -> TemplateSource {
        TemplateSource {
            message_type: MessageType::parse(self.message_type)
                .expect("the words of built-in types are well formed; a test proves it"),
            channel: self.channel,
            locale: "en".to_owned(),
            subject: self.subject.map(str::to_owned),
            body: self.body.to_owned(),
            format: if self.channel == Channel::Email {
                Format::Html
            } else {
                Format::Text
            },
            text_body: None,
        }
    }

    /// The template, compiled at the first call.
    pub fn compiled(&self) -> &CompiledTemplate {
        self.compiled.get_or_init(|| match compile(&self.source()) {
            Ok(compiled) => compiled,
            Err(error) => panic!("a built-in template does not compile; a test proves they do: {error}"),
        })
    }
}

macro_rules! texts {
    ($name:literal) => {
        [
            BuiltinTemplate::new(
                $name,
                Channel::Sms,
                include_str!(concat!("../../../templates/", $name, "/sms.txt")),
            ),
            BuiltinTemplate::new(
                $name,
                Channel::Whatsapp,
                include_str!(concat!("../../../templates/", $name, "/whatsapp.txt")),
            ),
            BuiltinTemplate::new(
                $name,
                Channel::WhatsappWeb,
                include_str!(concat!("../../../templates/", $name, "/whatsapp.txt")),
            ),
        ]
    };
}

macro_rules! with_email {
    ($name:literal, $subject:expr) => {{
        let [sms, whatsapp, web] = texts!($name);
        let body = include_str!(concat!("../../../templates/", $name, "/email.html"));
        [BuiltinTemplate::email($name, $subject, body), sms, whatsapp, web]
    }};
}

/// Every built-in template.
pub fn builtins() -> &'static [BuiltinTemplate] {
    static ALL: OnceLock<Vec<BuiltinTemplate>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = Vec::with_capacity(104);
        add_workflow(&mut all);
        add_lifecycle(&mut all);
        all
    })
}

fn add_workflow(all: &mut Vec<BuiltinTemplate>) {
    all.extend(with_email!(
        "welcome",
        "Welcome, {{ client_name }}: your {{ event_type }} plan has begun"
    ));
    all.extend(with_email!(
        "budget_summary",
        "{{ budget_allocations|length }} {{ budget_allocations|plural(\"way\", \"ways\") }} to divide your \
         {{ event_type }} budget"
    ));
    all.extend(with_email!(
        "vendor_options",
        "{{ vendor_combinations|length }} vendor {{ vendor_combinations|plural(\"team\", \"teams\") }} for your \
         {{ event_type }}, ready to choose"
    ));
    all.extend(with_email!(
        "selection_confirmation",
        "Confirmed: your {{ event_type }} team"
    ));
    all.extend(with_email!(
        "blueprint_delivery",
        "Your {{ event_type }} blueprint is ready"
    ));
    all.extend(with_email!(
        "error_notification",
        "Something went wrong with your plan, and we are on it"
    ));
    all.extend(with_email!(
        "reminder",
        "Reminder: please {{ pending_action|truncate(120) }}"
    ));
    all.extend(with_email!(
        "batch",
        "{{ items|length }} {{ items|plural(\"update\", \"updates\") }} from {{ brand.name }}"
    ));
    all.extend(with_email!("direct", "{{ title|default(brand.name) }}"));
    all.extend(texts!("sms_opt_out"));
    all.extend(texts!("sms_opt_in"));
    all.extend(texts!("sms_help"));
}

/// Each season its own line; the subject of the seasonal reminder.
const SEASON_SUBJECT: &str = "{% if season|lower == \"spring\" %}Spring is close: is your equipment ready?\
    {% elif season|lower == \"fall\" or season|lower == \"autumn\" %}Before winter: put your equipment away well\
    {% else %}Is your equipment ready for {{ season|truncate(40) }}?{% endif %}";

/// The heading of each tip, as in its e-mail.
const TIP_SUBJECT: &str = "Owner's tip {{ part }}: {% if tip_title is defined %}{{ tip_title }}\
    {% elif part|number == \"1\" %}Two minutes before you start\
    {% elif part|number == \"2\" %}Fresh fuel, rested battery\
    {% elif part|number == \"3\" %}Let it breathe\
    {% elif part|number == \"4\" %}Sharp, tight and greased\
    {% elif part|number == \"5\" %}Listen for what is new\
    {% elif part|number == \"6\" %}Before it stands for months\
    {% elif part is defined %}{{ tip_title }}{% endif %}";

fn add_lifecycle(all: &mut Vec<BuiltinTemplate>) {
    all.extend(with_email!(
        "seven_day_checkin",
        "How is your {{ equipment|truncate(60) }} after the first week?"
    ));
    all.extend(with_email!(
        "post_service_survey",
        "How did we do{% if equipment is defined %} with your {{ equipment|truncate(60) }}{% endif %}?"
    ));
    all.extend(with_email!(
        "annual_tuneup",
        "Time for the yearly tune-up of your {{ equipment|truncate(60) }}"
    ));
    all.extend(with_email!(
        "anniversary_offer",
        "{{ years }} {{ years|plural(\"year\", \"years\") }} with your {{ equipment|truncate(60) }}: \
         thank you"
    ));
    all.extend(with_email!(
        "service_reminder",
        "It has been a while: a service for your {{ equipment|default(\"equipment\")|truncate(60) }}"
    ));
    all.extend(with_email!(
        "appointment_confirmation",
        "Your appointment: {{ starts_at|datetime }}"
    ));
    all.extend(with_email!(
        "invoice_reminder",
        "Reminder: invoice {{ invoice_number }} is still open"
    ));
    all.extend(with_email!("seasonal_reminder", SEASON_SUBJECT));
    all.extend(with_email!(
        "winback_missed_you",
        "We have missed you, {{ customer_name|truncate(60) }}"
    ));
    all.extend(with_email!(
        "warranty_expiration",
        "The warranty on your {{ equipment|truncate(60) }} ends {{ warranty_end_on|date(\"medium\") }}"
    ));
    all.extend(with_email!(
        "trade_in_alert",
        "Repair, keep or trade your {{ equipment|truncate(60) }}?"
    ));
    all.extend(with_email!(
        "first_service_alert",
        "Time for the first service of your {{ equipment|truncate(60) }}"
    ));
    all.extend(with_email!(
        "usage_service_alert",
        "{{ mark_hours|number }} hours: your {{ equipment|truncate(60) }} is due for a service"
    ));
    all.extend(with_email!("educational_content", TIP_SUBJECT));
}

/// The built-in template of a message type and channel.
pub fn builtin(message_type: &str, channel: Channel) -> Option<&'static BuiltinTemplate> {
    builtins()
        .iter()
        .find(|template| template.message_type == message_type && template.channel == channel)
}

/// The template of direct texts.
pub(crate) fn direct(channel: Channel) -> &'static BuiltinTemplate {
    builtin("direct", channel).expect("direct texts have a template for every channel; a test proves it")
}

/// What an inbound keyword is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// STOP was understood.
    OptOut,
    /// START was understood.
    OptIn,
    /// HELP was asked.
    Help,
}

/// The template that answers a keyword on a phone channel; none for e-mail.
pub fn keyword_confirmation(
    confirmation: Confirmation,
    channel: Channel,
) -> Option<&'static BuiltinTemplate> {
    let name = match confirmation {
        Confirmation::OptOut => "sms_opt_out",
        Confirmation::OptIn => "sms_opt_in",
        Confirmation::Help => "sms_help",
    };
    builtin(name, channel)
}
