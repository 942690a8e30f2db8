//! Signing as the vendors do, written apart from the verifiers that it is to prove.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use std::collections::{BTreeMap, BTreeSet};
use tidings_providers::signature::standard;
use url::form_urlencoded;

/// How a request is signed.
#[derive(Clone)]
pub(crate) enum Signer {
    /// Not at all: the key is not set.
    Unsigned,
    /// ECDSA over timestamp and body.
    Sendgrid(SecretString),
    /// HMAC over URL and fields, by the auth token.
    TwilioToken(SecretString),
    /// The same by a shared key, which the request names.
    TwilioShared(String, SecretString),
    /// Standard Webhooks with this id; Svix's header names where so.
    Standard {
        id: String,
        secret: SecretString,
        svix: bool,
    },
    /// HMAC over the body.
    Meta(SecretString),
    /// The body holds the signature; these headers tell what it is.
    Sns { topic: String, message_id: String },
}

type Headers = Vec<(&'static str, String)>;

impl Signer {
    /// The headers of a try. Keys that cannot be read sign nothing, and the receiver will say so.
    pub(crate) fn headers(&self, url: &str, body: &[u8], now: Timestamp) -> Headers {
        match self {
            Self::Unsigned => Vec::new(),
            Self::Sendgrid(key) => sendgrid(key.expose_secret(), body, now).unwrap_or_default(),
            Self::TwilioToken(token) => {
                let tag = twilio(
                    hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                    url,
                    body,
                    token.expose_secret(),
                );
                vec![("x-twilio-signature", tag)]
            }
            Self::TwilioShared(id, key) => vec![
                (
                    "x-twilio-signature",
                    twilio(hmac::HMAC_SHA256, url, body, key.expose_secret()),
                ),
                (
                    "x-twilio-webhooks-signature-settings",
                    format!("key={id},algorithm=HMAC_SHA256"),
                ),
            ],
            Self::Standard { id, secret, svix } => standard(id, secret.expose_secret(), *svix, body, now),
            Self::Meta(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
                let tag = hex::encode(hmac::sign(&key, body));
                vec![("x-hub-signature-256", format!("sha256={tag}"))]
            }
            Self::Sns { topic, message_id } => vec![
                ("x-amz-sns-message-type", "Notification".to_owned()),
                ("x-amz-sns-message-id", message_id.clone()),
                ("x-amz-sns-topic-arn", topic.clone()),
            ],
        }
    }
}

/// A P-256 key for SendGrid's events: the private key as PKCS#8, and the public one as SendGrid's console shows it.
/// With a key given, that one is used.
pub(crate) fn make_signing_key(given: Option<&str>) -> Result<(SecretString, String), String> {
    let unusable = || "signing_key is not a P-256 private key (PKCS#8, base64 or PEM)".to_owned();
    let private = match given {
        Some(text) => der(text).ok_or_else(unusable)?,
        None => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
            .map_err(|_| "no key could be made".to_owned())?
            .as_ref()
            .to_vec(),
    };
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &private).map_err(|_| unusable())?;
    let public = pair.public_key().as_der().map_err(|_| unusable())?;
    Ok((
        SecretString::from(STANDARD.encode(private)),
        STANDARD.encode(public.as_ref()),
    ))
}

/// Base64, with or without PEM's lines.
fn der(text: &str) -> Option<Vec<u8>> {
    let bare: String = text
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .map(str::trim)
        .collect();
    STANDARD.decode(bare).ok()
}

fn sendgrid(key: &str, body: &[u8], now: Timestamp) -> Option<Headers> {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der(key)?).ok()?;
    let timestamp = now.as_second().to_string();
    let message = [timestamp.as_bytes(), body].concat();
    let signature = pair.sign(&SystemRandom::new(), &message).ok()?;
    Some(vec![
        (
            "x-twilio-email-event-webhook-signature",
            STANDARD.encode(signature.as_ref()),
        ),
        ("x-twilio-email-event-webhook-timestamp", timestamp),
    ])
}

fn twilio(algorithm: hmac::Algorithm, url: &str, form: &[u8], secret: &str) -> String {
    let mut fields: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(form) {
        fields
            .entry(name.into_owned())
            .or_default()
            .insert(value.into_owned());
    }
    let mut text = url.split('#').next().unwrap_or_default().to_owned();
    for (name, values) in &fields {
        for value in values {
            text.extend([name.as_str(), value.as_str()]);
        }
    }
    let key = hmac::Key::new(algorithm, secret.as_bytes());
    STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}

fn standard(id: &str, secret: &str, svix: bool, body: &[u8], now: Timestamp) -> Headers {
    let names = if svix {
        ["svix-id", "svix-timestamp", "svix-signature"]
    } else {
        ["webhook-id", "webhook-timestamp", "webhook-signature"]
    };
    let Ok(signature) = standard::sign(id, now, body, secret) else {
        return Vec::new();
    };
    names
        .into_iter()
        .zip([id.to_owned(), now.as_second().to_string(), signature])
        .collect()
}

/// Base64 of an RSA signature over SHA-256, as SNS's signature version 2.
pub(super) fn rsa(key: &str, text: &str) -> Option<String> {
    let pair = RsaKeyPair::from_pkcs8(&der(key)?).ok()?;
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        text.as_bytes(),
        &mut signature,
    )
    .ok()?;
    Some(STANDARD.encode(signature))
}
