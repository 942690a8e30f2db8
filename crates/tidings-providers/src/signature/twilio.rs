//! `X-Twilio-Signature`, both schemes.
//!
//! The signed text is the URL exactly as Twilio called it, followed for form posts by every key and distinct
//! value, sorted by code point. Other bodies are bound by `bodySHA256` in the query. The older scheme is HMAC-SHA1
//! under the account's auth token; since 2026 `X-Twilio-Webhooks-Signature-Settings` may name a shared key and an
//! algorithm. There is no timestamp, hence no replay window.

use super::{base64, hmac_of, same};
use crate::contract::WebhookRefusal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{Algorithm, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256};
use std::collections::{BTreeMap, BTreeSet};
use url::form_urlencoded;

/// What arrived.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The public URL, byte for byte as Twilio called it.
    pub url: &'a str,
    /// `GET` or `POST`.
    pub method: &'a str,
    /// `Content-Type`, if there was one.
    pub content_type: Option<&'a str>,
    /// The raw body.
    pub body: &'a [u8],
    /// `X-Twilio-Signature`.
    pub signature: Option<&'a str>,
    /// `X-Twilio-Webhooks-Signature-Settings`.
    pub settings: Option<&'a str>,
}

/// The keys that may have signed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keys<'a> {
    /// Auth tokens: the present one, and during a rotation the one before it.
    pub auth_tokens: &'a [&'a str],
    /// Shared keys: id and secret.
    pub shared_keys: &'a [(&'a str, &'a str)],
}

/// The most form fields read; Twilio sends a few dozen.
const MOST_FIELDS: usize = 2_000;

/// Verifies.
pub fn verify(signed: &Signed<'_>, keys: &Keys<'_>) -> Result<(), WebhookRefusal> {
    let given = signed
        .signature
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .ok_or(WebhookRefusal::SignatureMissing)?;
    let given = base64(given).ok_or(WebhookRefusal::SignatureInvalid)?;
    let (algorithm, secrets) = key_for(signed.settings, keys)?;
    let fields = signed_fields(signed)?;
    let matched = url_forms(signed.url).iter().any(|url| {
        secrets.iter().filter(|secret| !secret.is_empty()).any(|secret| {
            let parts = [url.as_bytes(), fields.as_bytes()];
            same(hmac_of(algorithm, secret.as_bytes(), &parts).as_ref(), &given)
        })
    });
    if matched {
        Ok(())
    } else {
        Err(WebhookRefusal::SignatureInvalid)
    }
}

/// Reads the settings header. A named key is looked up and nothing else is tried in its place.
fn key_for<'a>(settings: Option<&str>, keys: &Keys<'a>) -> Result<(Algorithm, Vec<&'a str>), WebhookRefusal> {
    let mut key = None;
    let mut algorithm = HMAC_SHA1_FOR_LEGACY_USE_ONLY;
    for part in settings.unwrap_or_default().split(',').take(16) {
        match part
            .split_once('=')
            .map(|(name, value)| (name.trim(), value.trim()))
        {
            Some(("key", id)) if !id.is_empty() => key = Some(id),
            Some(("algorithm", name)) if !name.is_empty() => {
                algorithm = match name.to_ascii_uppercase().as_str() {
                    "HMAC_SHA1" => HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                    "HMAC_SHA256" => HMAC_SHA256,
                    _ => return Err(WebhookRefusal::SignatureInvalid),
                };
            }
            _ => {}
        }
    }
    let secrets = match key {
        None => keys.auth_tokens.to_vec(),
        Some(id) => keys
            .shared_keys
            .iter()
            .filter(|(known, _)| *known == id)
            .map(|(_, secret)| *secret)
            .collect(),
    };
    if secrets.is_empty() {
        return Err(match key {
            Some(_) => WebhookRefusal::SignatureInvalid,
            None => WebhookRefusal::NotConfigured("set auth_token".to_owned()),
        });
    }
    Ok((algorithm, secrets))
}

/// What follows the URL in the signed text: the form's fields, or nothing when `bodySHA256` binds the body.
fn signed_fields(signed: &Signed<'_>) -> Result<String, WebhookRefusal> {
    let kind = signed
        .content_type
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let is_form = kind.starts_with("application/x-www-form-urlencoded");
    let bound = body_hash(signed.url);
    if is_form || (signed.body.is_empty() && bound.is_none()) {
        // A POST of another type with no body and no hash was never made by Twilio.
        if !is_form && !kind.is_empty() && !signed.method.eq_ignore_ascii_case("GET") {
            return Err(WebhookRefusal::SignatureInvalid);
        }
        return Ok(sorted_fields(signed.body));
    }
    let hash = hex::encode(digest(&SHA256, signed.body));
    match bound {
        Some(given) if same(hash.as_bytes(), given.as_bytes()) => Ok(String::new()),
        _ => Err(WebhookRefusal::SignatureInvalid),
    }
}

fn sorted_fields(body: &[u8]) -> String {
    let mut fields: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (key, value) in form_urlencoded::parse(body).take(MOST_FIELDS) {
        fields
            .entry(key.into_owned())
            .or_default()
            .insert(value.into_owned());
    }
    let mut text = String::new();
    for (key, values) in &fields {
        for value in values {
            text.push_str(key);
            text.push_str(value);
        }
    }
    text
}

fn body_hash(url: &str) -> Option<String> {
    let query = url.split('#').next()?.split_once('?')?.1;
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == "bodySHA256")
        .map(|(_, value)| value.into_owned())
}

/// The URL without a port and with one (the given, else the scheme's): Twilio signs either. Cut as text, so that
/// no other byte changes; the fragment is never signed.
fn url_forms(url: &str) -> Vec<String> {
    let url = url.split('#').next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else {
        return vec![url.to_owned()];
    };
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_end);
    let host_start = authority.rfind('@').map_or(0, |at| at + 1);
    let (user, host_port) = authority.split_at(host_start);
    let port_start = match host_port.rfind(']') {
        Some(bracket) => host_port[bracket..].find(':').map(|at| bracket + at),
        None => host_port.find(':'),
    };
    let default = if scheme.eq_ignore_ascii_case("https") {
        ":443"
    } else {
        ":80"
    };
    let (host, port) = match port_start {
        Some(at) => host_port.split_at(at),
        None => (host_port, default),
    };
    vec![
        format!("{scheme}://{user}{host}{tail}"),
        format!("{scheme}://{user}{host}{port}{tail}"),
    ]
}

/// Signs as Twilio does with the auth token: for stand-ins and tests.
pub fn sign(url: &str, form: &[u8], auth_token: &str) -> String {
    use base64::Engine as _;
    let fields = sorted_fields(form);
    let tag = hmac_of(
        HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        auth_token.as_bytes(),
        &[url.as_bytes(), fields.as_bytes()],
    );
    base64::engine::general_purpose::STANDARD.encode(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://engine.test/webhooks/twilio/1";
    const FORM: &[u8] = b"To=%2B15005550006&Body=hi";

    fn check(signature: &str, settings: Option<&str>, keys: &Keys<'_>) -> Result<(), WebhookRefusal> {
        let signed = Signed {
            url: URL,
            method: "POST",
            content_type: Some("application/x-www-form-urlencoded; charset=UTF-8"),
            body: FORM,
            signature: Some(signature),
            settings,
        };
        verify(&signed, keys)
    }

    #[test]
    fn two_tokens_verify_while_they_rotate() {
        let keys = Keys {
            auth_tokens: &["new", "old"],
            shared_keys: &[],
        };
        assert_eq!(check(&sign(URL, FORM, "new"), None, &keys), Ok(()));
        assert_eq!(check(&sign(URL, FORM, "old"), None, &keys), Ok(()));
        assert_eq!(
            check(&sign(URL, FORM, "older"), None, &keys),
            Err(WebhookRefusal::SignatureInvalid)
        );
    }

    #[test]
    fn a_named_key_has_no_substitute() {
        let keys = Keys {
            auth_tokens: &["token"],
            shared_keys: &[("key_1", "shared")],
        };
        let by_token = sign(URL, FORM, "token");
        let by_key = sign(URL, FORM, "shared");
        assert_eq!(
            check(&by_key, Some("key=key_1,algorithm=HMAC_SHA1"), &keys),
            Ok(())
        );
        for settings in [
            "key=key_2,algorithm=HMAC_SHA1",
            "key=key_1,algorithm=HMAC_SHA1",
            "algorithm=MD5",
        ] {
            assert_eq!(
                check(&by_token, Some(settings), &keys),
                Err(WebhookRefusal::SignatureInvalid)
            );
        }
        assert_eq!(check(&by_token, Some(""), &keys), Ok(()));
    }

    #[test]
    fn an_empty_token_signs_nothing() {
        let keys = Keys {
            auth_tokens: &[""],
            shared_keys: &[],
        };
        assert_eq!(
            check(&sign(URL, FORM, ""), None, &keys),
            Err(WebhookRefusal::SignatureInvalid)
        );
    }

    #[test]
    fn ports_come_and_go() {
        assert_eq!(
            url_forms("https://u:p@h/x?a=b:1#c"),
            ["https://u:p@h/x?a=b:1", "https://u:p@h:443/x?a=b:1"]
        );
        assert_eq!(url_forms("http://h:8080/x"), ["http://h/x", "http://h:8080/x"]);
        assert_eq!(
            url_forms("https://[::1]/x"),
            ["https://[::1]/x", "https://[::1]:443/x"]
        );
        assert_eq!(
            url_forms("https://[::1]:1/x"),
            ["https://[::1]/x", "https://[::1]:1/x"]
        );
    }
}
