//! Channels and the providers that carry them.

use crate::word::word_enum;

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
    /// The setting that names the number a connection sends from, where that is one number.
    pub const fn number_setting(self) -> Option<&'static str> {
        match self {
            Self::Twilio => Some("from"),
            Self::WhatsappCloud => Some("phone_number_id"),
            Self::Smtp | Self::Sendgrid | Self::Ses | Self::Resend | Self::WhatsappWeb | Self::Sandbox => {
                None
            }
        }
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
