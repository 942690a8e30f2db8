//! Magic recipients: addresses that bring a fault or a report about along, as the vendors' own test addresses do.
//!
//! | what happens | e-mail local part | last seven digits of a number |
//! |---|---|---|
//! | see [`MAGIC`] | may go on after a `+` | |
//!
//! The first eleven are those of Tidings' sandbox.

use super::Fault;
use crate::webhook::Event;

/// What a recipient brings about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Magic {
    /// A fault of the call.
    Fault(Fault),
    /// Taken; this is reported afterwards, in place of the account's script.
    Report(Event),
}

/// Local parts, and last digits, in the order of the table in `docs/stand-ins.md`.
const MAGIC: &[(&str, &str)] = &[
    ("timeout-after-accept", "5550101"),
    ("timeout-before-accept", "5550102"),
    ("rate-limited", "5550103"),
    ("server-error", "5550104"),
    ("rejected", "5550105"),
    ("bounce-later", "5550106"),
    ("auth-failure", "5550107"),
    ("slow", "5550108"),
    ("opted-out", "5550109"),
    ("invalid-input", "5550110"),
    ("complain-later", "5550111"),
    ("half-close", "5550112"),
    ("reset", "5550113"),
    ("garbage", "5550114"),
    ("nonsense", "5550115"),
    ("truncated", "5550116"),
    ("drip", "5550117"),
    ("huge", "5550118"),
    ("html-error", "5550119"),
    ("error-in-success", "5550120"),
    ("redirect", "5550121"),
    ("soft-bounce-later", "5550122"),
    ("block-later", "5550123"),
    ("unsubscribe-later", "5550124"),
    ("stop-later", "5550125"),
    ("fail-later", "5550126"),
];

/// The vendors' own test addresses (Amazon SES, Resend).
const VENDORS_OWN: &[(&str, &str, Event)] = &[
    ("success", "simulator.amazonses.com", Event::Delivered),
    ("bounce", "simulator.amazonses.com", Event::BouncedHard),
    ("complaint", "simulator.amazonses.com", Event::Complained),
    ("suppressionlist", "simulator.amazonses.com", Event::BouncedHard),
    ("ooto", "simulator.amazonses.com", Event::BouncedSoft),
    ("delivered", "resend.dev", Event::Delivered),
    ("bounced", "resend.dev", Event::BouncedHard),
    ("complained", "resend.dev", Event::Complained),
];

/// What a recipient brings about, if anything.
pub(crate) fn magic(recipient: &str) -> Option<Magic> {
    if let Some((local, domain)) = recipient.rsplit_once('@') {
        let local = local.split('+').next().unwrap_or_default().to_ascii_lowercase();
        let own = VENDORS_OWN
            .iter()
            .find(|(name, at, _)| *name == local && domain.eq_ignore_ascii_case(at));
        if let Some((_, _, event)) = own {
            return Some(Magic::Report(*event));
        }
        let (name, _) = MAGIC.iter().find(|(name, _)| *name == local)?;
        return named(name);
    }
    let digits: String = recipient.chars().filter(char::is_ascii_digit).collect();
    let (name, _) = MAGIC
        .iter()
        .find(|(_, last)| digits.len() > last.len() && digits.ends_with(last))?;
    named(name)
}

fn named(name: &str) -> Option<Magic> {
    let fault = match name {
        "timeout-after-accept" => Fault::TimeoutAfterAccept,
        "timeout-before-accept" => Fault::TimeoutBeforeAccept,
        "rate-limited" => Fault::RateLimited {
            retry_after_s: Some(1),
            bare: false,
        },
        "server-error" => Fault::ServerError,
        "rejected" => Fault::NoRecipient,
        "auth-failure" => Fault::AuthFailure,
        "slow" => Fault::Latency {
            min_ms: 2_000,
            max_ms: 2_000,
        },
        "opted-out" => Fault::OptedOut,
        "invalid-input" => Fault::InvalidInput,
        "half-close" => Fault::HalfClose,
        "reset" => Fault::Reset,
        "garbage" => Fault::Garbage,
        "nonsense" => Fault::Nonsense,
        "truncated" => Fault::TruncatedChunk,
        "drip" => Fault::Drip,
        "huge" => Fault::Huge,
        "html-error" => Fault::HtmlError,
        "error-in-success" => Fault::ErrorInSuccess,
        "redirect" => Fault::Redirect {
            location: super::internal(),
        },
        _ => return later(name).map(Magic::Report),
    };
    Some(Magic::Fault(fault))
}

fn later(name: &str) -> Option<Event> {
    Some(match name {
        "bounce-later" => Event::BouncedHard,
        "soft-bounce-later" => Event::BouncedSoft,
        "block-later" => Event::BouncedBlock,
        "complain-later" => Event::Complained,
        "unsubscribe-later" => Event::Unsubscribed,
        "stop-later" => Event::Stop,
        "fail-later" => Event::Failed,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_number_means_the_same() {
        for (name, digits) in MAGIC {
            let by_name = magic(&format!("{name}+7@example.com"));
            assert!(by_name.is_some(), "{name}");
            assert_eq!(by_name, magic(&format!("+1415{digits}")), "{name}");
        }
    }

    #[test]
    fn others_mean_nothing() {
        for recipient in [
            "bob@example.com",
            "resetter@example.com",
            "+14155550199",
            "5550101",
            "",
        ] {
            assert_eq!(magic(recipient), None, "{recipient}");
        }
        assert_eq!(
            magic("bounce+1@simulator.amazonses.com"),
            Some(Magic::Report(Event::BouncedHard))
        );
    }
}
