//! AWS Signature Version 4, in the `Authorization` header.
//!
//! Written here, on the digests that are linked anyway: a hundred lines against the published vectors, where the
//! vendor's crate brings a dozen of its own and still leaves the request to be built.

use super::hmac_of;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::HMAC_SHA256;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use url::Url;

/// What signs.
#[derive(Clone, Copy)]
pub struct Key<'k> {
    /// `AKIA...` or `ASIA...`.
    pub access_key_id: &'k str,
    /// The secret.
    pub secret_access_key: &'k str,
    /// `eu-west-1`.
    pub region: &'k str,
    /// `ses`.
    pub service: &'k str,
}

/// What is signed. The URL's path and query must be in the form in which they are sent.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// `GET`.
    pub method: &'r str,
    /// Where to.
    pub url: &'r Url,
    /// Headers besides `host` and `x-amz-date`, names in lower case.
    pub headers: &'r [(&'r str, &'r str)],
    /// The body.
    pub body: &'r [u8],
}

/// `20150830T123600Z`, for `x-amz-date`.
pub fn amz_date(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The value of `authorization`; `x-amz-date` must be sent as [`amz_date`] writes it.
pub fn authorization(request: &Request<'_>, key: &Key<'_>, at: Timestamp) -> String {
    let date = amz_date(at);
    let day = &date[..8];
    let scope = format!("{day}/{}/{}/aws4_request", key.region, key.service);
    let (canonical, names) = canonical(request, &date);
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        hex::encode(digest(&SHA256, canonical.as_bytes()))
    );
    let first = format!("AWS4{}", key.secret_access_key);
    let mut derived = hmac_of(HMAC_SHA256, first.as_bytes(), &[day.as_bytes()]);
    for part in [key.region, key.service, "aws4_request"] {
        derived = hmac_of(HMAC_SHA256, derived.as_ref(), &[part.as_bytes()]);
    }
    let signature = hmac_of(HMAC_SHA256, derived.as_ref(), &[to_sign.as_bytes()]);
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
        key.access_key_id,
        hex::encode(signature)
    )
}

/// The canonical request, and the names of the headers in it.
fn canonical(request: &Request<'_>, date: &str) -> (String, String) {
    let host = match (request.url.host_str().unwrap_or_default(), request.url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    let mut headers: Vec<(&str, String)> = request
        .headers
        .iter()
        .map(|(name, value)| (*name, value.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect();
    headers.push(("host", host));
    headers.push(("x-amz-date", date.to_owned()));
    headers.sort();
    let mut query: Vec<&str> = request
        .url
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .collect();
    query.sort_unstable();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let mut text = format!(
        "{}\n{}\n{}\n",
        request.method,
        request.url.path(),
        query.join("&")
    );
    for (name, value) in &headers {
        text.extend([*name, ":", value, "\n"]);
    }
    text.extend(["\n", &names, "\n", &hex::encode(digest(&SHA256, request.body))]);
    (text, names)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rstest::rstest;

    /// Signatures of the `aws-sig-v4-test-suite`, and of the example in the IAM documentation.
    #[rstest]
    #[case("GET", "https://example.amazonaws.com/", "service", &[], "",
        "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")]
    #[case("POST", "https://example.amazonaws.com/", "service", &[], "",
        "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b")]
    #[case("GET", "https://example.amazonaws.com/?Param2=value2&Param1=value1", "service", &[], "",
        "host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500")]
    #[case("POST", "https://example.amazonaws.com/", "service",
        &[("content-type", "application/x-www-form-urlencoded")], "Param1=value1",
        "content-type;host;x-amz-date", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a")]
    #[case("GET", "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", "iam",
        &[("content-type", "application/x-www-form-urlencoded; charset=utf-8")], "",
        "content-type;host;x-amz-date", "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")]
    fn published_signatures(
        #[case] method: &str,
        #[case] url: &str,
        #[case] service: &str,
        #[case] headers: &[(&str, &str)],
        #[case] body: &str,
        #[case] names: &str,
        #[case] signature: &str,
    ) {
        let request = Request {
            method,
            url: &Url::parse(url).unwrap(),
            headers,
            body: body.as_bytes(),
        };
        let key = Key {
            access_key_id: "AKIDEXAMPLE",
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            region: "us-east-1",
            service,
        };
        let at = "2015-08-30T12:36:00Z".parse().unwrap();
        assert_eq!(
            authorization(&request, &key, at),
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/{service}/aws4_request, \
                 SignedHeaders={names}, Signature={signature}"
            )
        );
    }
}
