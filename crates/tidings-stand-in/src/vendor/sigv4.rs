//! Checks AWS Signature Version 4: always that it is there and well formed; where the account's secret is known, that it
//! is right and fresh.

use super::Vendor;
use crate::chance::sha256;
use crate::http::Request;
use crate::world::World;
use aws_lc_rs::{constant_time, hmac};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use secrecy::ExposeSecret;

/// How far the request's time may be off.
const TOLERANCE_S: i64 = 15 * 60;
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The kind of the error and its message.
type Refusal = (&'static str, String);

struct Authorization<'r> {
    key_id: &'r str,
    /// `date/region/ses/aws4_request`.
    scope: String,
    signed_headers: Vec<&'r str>,
    signature: &'r str,
}

/// The account: the id of the access key.
pub(super) fn check(request: &Request, world: &World) -> Result<String, Refusal> {
    let header = request.header("authorization").ok_or((
        "MissingAuthenticationTokenException",
        "Missing Authentication Token".to_owned(),
    ))?;
    let incomplete = |what: &str| {
        (
            "IncompleteSignatureException",
            format!("Authorization header requires {what}"),
        )
    };
    let authorization = read(header).map_err(incomplete)?;
    let stamp = request
        .header("x-amz-date")
        .ok_or_else(|| incomplete("the header X-Amz-Date"))?;
    let at = time_of(stamp).ok_or_else(|| incomplete("a date of the form 20260102T030405Z"))?;
    if !authorization.scope.starts_with(&stamp[..8]) {
        return Err((
            "SignatureDoesNotMatchException",
            "Date in Credential scope does not match X-Amz-Date".to_owned(),
        ));
    }
    for needed in ["host", "x-amz-date"] {
        if !authorization.signed_headers.contains(&needed) {
            return Err(incomplete("host and x-amz-date to be signed"));
        }
    }
    let account = world.account(Vendor::Ses, authorization.key_id);
    let Some(secret) = account
        .as_ref()
        .and_then(|account| account.secrets.secret_access_key.as_ref())
    else {
        return Ok(authorization.key_id.to_owned());
    };
    if world.now().as_second().abs_diff(at.as_second()) > TOLERANCE_S.unsigned_abs() {
        return Err((
            "SignatureDoesNotMatchException",
            "Signature expired or not yet current".to_owned(),
        ));
    }
    let right = signature(request, &authorization, stamp, secret.expose_secret());
    match constant_time::verify_slices_are_equal(right.as_bytes(), authorization.signature.as_bytes()) {
        Ok(()) => Ok(authorization.key_id.to_owned()),
        Err(_) => Err((
            "SignatureDoesNotMatchException",
            "The request signature we calculated does not match the signature you provided.".to_owned(),
        )),
    }
}

fn read(header: &str) -> Result<Authorization<'_>, &'static str> {
    let rest = header.strip_prefix(ALGORITHM).ok_or("AWS4-HMAC-SHA256")?;
    let field = |name: &str| {
        rest.split(',')
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
    };
    let credential = field("Credential").ok_or("'Credential' parameter")?;
    let parts: Vec<&str> = credential.split('/').collect();
    let [key_id, date, _region, "ses", "aws4_request"] = parts[..] else {
        return Err("a Credential of key/date/region/ses/aws4_request");
    };
    if key_id.is_empty() || date.len() != 8 || !date.bytes().all(|b| b.is_ascii_digit()) {
        return Err("a Credential with a key and a date");
    }
    let signature = field("Signature").ok_or("'Signature' parameter")?;
    if signature.len() != 64 || !signature.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("a Signature of 64 hexadecimal digits");
    }
    let signed = field("SignedHeaders").ok_or("'SignedHeaders' parameter")?;
    Ok(Authorization {
        key_id,
        scope: parts[1..].join("/"),
        signed_headers: signed.split(';').collect(),
        signature,
    })
}

fn time_of(stamp: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime("%Y%m%dT%H%M%SZ", stamp).ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// The signature that the request should have.
fn signature(request: &Request, authorization: &Authorization<'_>, stamp: &str, secret: &str) -> String {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let mut parameters: Vec<String> = query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            if part.contains('=') {
                part.to_owned()
            } else {
                format!("{part}=")
            }
        })
        .collect();
    parameters.sort();
    let mut canonical = format!("{}\n{path}\n{}\n", request.method, parameters.join("&"));
    for name in &authorization.signed_headers {
        let value = request.header(name).unwrap_or_default();
        let words: Vec<&str> = value.split_whitespace().collect();
        canonical.extend([name, ":", &words.join(" "), "\n"]);
    }
    canonical.extend([
        "\n",
        &authorization.signed_headers.join(";"),
        "\n",
        &sha256(&request.body),
    ]);
    let text = format!(
        "{ALGORITHM}\n{stamp}\n{}\n{}",
        authorization.scope,
        sha256(canonical.as_bytes())
    );
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in authorization.scope.split('/') {
        key = mac(&key, part.as_bytes());
    }
    hex::encode(mac(&key, text.as_bytes()))
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text)
        .as_ref()
        .to_vec()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use bytes::Bytes;

    /// "get-vanilla" of AWS's own test suite, whose service is called `service`.
    #[test]
    fn signs_as_the_published_example() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let request = Request {
            method: "GET".to_owned(),
            target: "/".to_owned(),
            path: vec![String::new()],
            query: String::new(),
            headers: vec![
                header("host", "example.amazonaws.com"),
                header("x-amz-date", "20150830T123600Z"),
            ],
            body: Bytes::new(),
            keep_alive: true,
        };
        let authorization = Authorization {
            key_id: "AKIDEXAMPLE",
            scope: "20150830/us-east-1/service/aws4_request".to_owned(),
            signed_headers: vec!["host", "x-amz-date"],
            signature: "",
        };
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        assert_eq!(
            signature(&request, &authorization, "20150830T123600Z", secret),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
    }

    #[test]
    fn malformed_headers_say_what_is_missing() {
        let signature = "0".repeat(64);
        let good = format!(
            "AWS4-HMAC-SHA256 Credential=AKID/20261125/us-east-1/ses/aws4_request, SignedHeaders=host;x-amz-date, Signature={signature}"
        );
        assert_eq!(read(&good).unwrap().key_id, "AKID");
        for (from, to) in [
            ("AWS4-HMAC-SHA256", "Bearer"),
            ("/ses/", "/s3/"),
            ("SignedHeaders", "Headers"),
            ("Signature=0", "Signature=g"),
            ("AKID/", "/"),
        ] {
            assert!(read(&good.replace(from, to)).is_err(), "{from}");
        }
        assert!(time_of("20261125T223000Z").is_some());
        assert!(time_of("2026-11-25").is_none());
    }
}
