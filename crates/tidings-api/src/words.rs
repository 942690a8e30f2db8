//! The words of the vocabulary as OpenAPI schemas: one list, in core; here only how they are described.

use tidings_core::alert::{AlertRule, Notifier, Severity, Told};
use tidings_core::analytics::DeliveriesBy;
use tidings_core::decide::facts::SuppressionReason;
use tidings_core::decide::verdict::{Rule, RuleVerdict};
use tidings_core::event::{BounceClass, DeliveryEventKind};
use tidings_core::job::{JobKind, JobStatus};
use tidings_core::{Category, ErrorCategory, MessageStatus, ProviderKind, Urgency};
use tidings_engine::render::{ButtonWord, HeaderKind};
use tidings_engine::store::alerts::AlertState;
use tidings_engine::store::alerts::notifications::NotificationState;
use tidings_engine::store::templates::{BodyFormat, TemplateState};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $word:ty, $about:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}

        impl utoipa::PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(SchemaType::Type(Type::String))
                    .description(Some($about))
                    .enum_values(Some(<$word>::ALL.iter().map(|word| word.as_str())))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).trim_end_matches("Word").into()
            }
        }
    )+};
}

words! {
    /// Schema of [`tidings_core::Channel`].
    ChannelWord = tidings_core::Channel, "How a contact is reached";
    /// Schema of [`ProviderKind`].
    ProviderWord = ProviderKind, "A service that carries a channel; `sandbox` captures everything and sends nothing";
    /// Schema of [`Urgency`].
    UrgencyWord = Urgency, "How soon: critical now, even in quiet hours; high within the hour, not in quiet hours; normal in business hours; low batched";
    /// Schema of [`Category`].
    CategoryWord = Category, "What the message is in law; decides about consent, caps, opt-outs and footers";
    /// Schema of [`MessageStatus`].
    MessageStatusWord = MessageStatus, "What is known of a message; moves forward only";
    /// Schema of [`AlertRule`].
    AlertRuleWord = AlertRule, "What is watched; see docs/alerts.md";
    /// Schema of [`Severity`].
    SeverityWord = Severity, "How loudly an alert speaks";
    /// Schema of [`AlertState`].
    AlertStateWord = AlertState, "Whether an alert holds";
    /// Schema of [`Notifier`].
    NotifierWord = Notifier, "Who passes an alert on";
    /// Schema of [`Told`].
    ToldWord = Told, "What a notifier has been told of an alert";
    /// Schema of [`NotificationState`].
    NotificationStateWord = NotificationState, "Where telling stands: waiting, settled, or failed (given up)";
    /// Schema of [`DeliveriesBy`].
    DeliveriesByWord = DeliveriesBy, "What figures of deliveries are told apart by";
    /// Schema of [`JobKind`].
    JobKindWord = JobKind, "What a job does";
    /// Schema of [`JobStatus`].
    JobStatusWord = JobStatus, "Where a job stands";
    /// Schema of [`ErrorCategory`].
    ErrorCategoryWord = ErrorCategory, "Why a call failed; decides what happens next";
    /// Schema of [`SuppressionReason`].
    SuppressionReasonWord = SuppressionReason, "Why an address must not be written to";
    /// Schema of [`Rule`].
    RuleWord = Rule, "A rule of the decision";
    /// Schema of [`RuleVerdict`].
    RuleVerdictWord = RuleVerdict, "What a rule said";
    /// Schema of [`DeliveryEventKind`].
    DeliveryEventWord = DeliveryEventKind, "What was reported about a delivery";
    /// Schema of [`TemplateState`].
    TemplateStateWord = TemplateState, "Whether a version is used";
    /// Schema of [`BodyFormat`].
    BodyFormatWord = BodyFormat, "What a body is written in; `html` and `mjml` for e-mail, `text` for any channel";
    /// Schema of [`HeaderKind`].
    HeaderKindWord = HeaderKind, "What fills the header of a WhatsApp template";
    /// Schema of [`ButtonWord`].
    ButtonKindWord = ButtonWord, "What a button of a WhatsApp template does";
    /// Schema of [`BounceClass`].
    BounceClassWord = BounceClass, "What a bounce says about the address";
}
