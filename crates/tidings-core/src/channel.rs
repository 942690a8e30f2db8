//! Channels and the providers that carry them.

use crate::word::word_enum;
use serde_json::Value;

word_enum! {
    /// How a contact is reached.
    pub enum Channel {
        /// Electronic mail.
        Email = "email",
        /// Text message.
        Sms = "sms",
        /// WhatsApp Cloud API.
        Whatsapp = "whatsapp",
        /// WhatsApp driven through a browser session. Off unless enabled.
        WhatsappWeb = "whatsapp_web",
    }
}

word_enum! {
    /// A service that carries a channel.
    pub enum ProviderKind {
        /// Any SMTP server or relay (e-mail).
        Smtp = "smtp",
        /// SendGrid v3 (e-mail).
        Sendgrid = "sendgrid",
        /// Amazon SES v2 (e-mail).
        Ses = "ses",
        /// Resend (e-mail).
        Resend = "resend",
        /// Twilio Messages API (SMS).
        Twilio = "twilio",
        /// WhatsApp Cloud API.
        WhatsappCloud = "whatsapp_cloud",
        /// WhatsApp through a browser session.
        WhatsappWeb = "whatsapp_web",
        /// Captures everything, sends nothing. Carries every channel.
        Sandbox = "sandbox",
    }
}

impl Channel {
    /// The family of address the channel writes to.
    pub fn uses_phone(self) -> bool {
        !matches!(self, Self::Email)
    }
}

impl ProviderKind {
    /// Whether a connection with this configuration sends from whichever it likes of a messaging service's numbers.
    pub fn is_pooled(self, config: &Value) -> bool {
        self == Self::Twilio && config["messaging_service_sid"].is_string()
    }

    /// The number a connection with this configuration sends from, where that is one number; with the setting that names it.
    pub fn number(self, config: &Value) -> Option<(&'static str, &str)> {
        let setting = match self {
            Self::Twilio if self.is_pooled(config) => return None,
            Self::Twilio => "from",
            Self::WhatsappCloud => "phone_number_id",
            Self::Smtp | Self::Sendgrid | Self::Ses | Self::Resend | Self::WhatsappWeb | Self::Sandbox => {
                return None;
            }
        };
        Some((setting, config[setting].as_str()?))
    }

    /// Whether the provider can carry the channel.
    pub fn carries(self, channel: Channel) -> bool {
        match self {
            Self::Smtp | Self::Sendgrid | Self::Ses | Self::Resend => channel == Channel::Email,
            Self::Twilio => channel == Channel::Sms,
            Self::WhatsappCloud => channel == Channel::Whatsapp,
            Self::WhatsappWeb => channel == Channel::WhatsappWeb,
            Self::Sandbox => true,
        }
    }
}
