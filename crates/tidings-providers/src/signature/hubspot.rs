//! HubSpot's three webhook signatures.

use super::{TOLERANCE_S, base64, hmac_of, same};
use crate::contract::WebhookRefusal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::HMAC_SHA256;
use jiff::Timestamp;

/// Which scheme; the caller knows it from the header it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `X-HubSpot-Signature`, `X-HubSpot-Signature-Version: v1`.
    V1,
    /// `X-HubSpot-Signature`, `X-HubSpot-Signature-Version: v2`.
    V2,
    /// `X-HubSpot-Signature-v3` with `X-HubSpot-Request-Timestamp`.
    V3,
}

/// What arrived.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The scheme.
    pub version: Version,
    /// HTTP method.
    pub method: &'a str,
    /// The URL as called.
    pub url: &'a str,
    /// The raw body.
    pub body: &'a [u8],
    /// The signature.
    pub signature: Option<&'a str>,
    /// Milliseconds since 1970, for `v3`.
    pub timestamp: Option<&'a str>,
}

/// Verifies under the app's client secret.
pub fn verify(signed: &Signed<'_>, client_secret: &str, now: Timestamp) -> Result<(), WebhookRefusal> {
    if client_secret.is_empty() {
        return Err(WebhookRefusal::NotConfigured("set client_secret".to_owned()));
    }
    let given = signed
        .signature
        .filter(|s| !s.is_empty())
        .ok_or(WebhookRefusal::SignatureMissing)?;
    let (method, url) = (signed.method.as_bytes(), signed.url.as_bytes());
    let matched = match signed.version {
        Version::V1 => hex_matches(&[client_secret.as_bytes(), signed.body], given),
        Version::V2 => hex_matches(&[client_secret.as_bytes(), method, url, signed.body], given),
        Version::V3 => {
            let timestamp = signed
                .timestamp
                .filter(|t| !t.is_empty())
                .ok_or(WebhookRefusal::SignatureMissing)?;
            let given = base64(given).ok_or(WebhookRefusal::SignatureInvalid)?;
            fresh_ms(timestamp, now)?;
            // HubSpot signs the URL with some escapes decoded; both forms are bound by the key.
            [signed.url.to_owned(), decoded(signed.url)].iter().any(|url| {
                let parts = [method, url.as_bytes(), signed.body, timestamp.as_bytes()];
                same(
                    hmac_of(HMAC_SHA256, client_secret.as_bytes(), &parts).as_ref(),
                    &given,
                )
            })
        }
    };
    if matched {
        Ok(())
    } else {
        Err(WebhookRefusal::SignatureInvalid)
    }
}

fn hex_matches(parts: &[&[u8]], given: &str) -> bool {
    same(
        hex::encode(digest(&SHA256, &parts.concat())).as_bytes(),
        given.as_bytes(),
    )
}

fn fresh_ms(timestamp: &str, now: Timestamp) -> Result<(), WebhookRefusal> {
    let at: i64 = timestamp.parse().map_err(|_| WebhookRefusal::SignatureInvalid)?;
    if now.as_millisecond().abs_diff(at) > TOLERANCE_S.unsigned_abs() * 1_000 {
        return Err(WebhookRefusal::Stale);
    }
    Ok(())
}

/// The escapes HubSpot's documentation tells receivers to decode.
fn decoded(url: &str) -> String {
    const ESCAPES: &[(&str, &str)] = &[
        ("%3A", ":"),
        ("%2F", "/"),
        ("%3F", "?"),
        ("%40", "@"),
        ("%21", "!"),
        ("%24", "$"),
        ("%27", "'"),
        ("%28", "("),
        ("%29", ")"),
        ("%2A", "*"),
        ("%2C", ","),
        ("%3B", ";"),
    ];
    ESCAPES.iter().fold(url.to_owned(), |url, (escape, plain)| {
        url.replace(escape, plain)
            .replace(&escape.to_ascii_lowercase(), plain)
    })
}
