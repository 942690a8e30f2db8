//! Every provider passes the compliance suite.

use super::provider;
use crate::compliance::{Arranged, Situation, Subject, run_compliance};
use crate::contract::{Content, Submission};
use crate::samples;
use crate::stand_in::closed_port;
use crate::stand_in::http::{Behaviour, HttpStandIn, Reply};
use crate::stand_in::smtp::{AfterDot, Script, SmtpStandIn};
use serde_json::{Value, json};
use tidings_core::redact::Private;
use tidings_core::{ErrorCategory, ProviderKind};

const SID: &str = "SM0123456789abcdef0123456789abcdef";

/// An HTTP provider: recorded shapes, and how to build it for a base URL.
struct HttpSubject {
    kind: ProviderKind,
    submission: Submission,
    settings: fn(&str) -> Value,
    credentials: Value,
    success: Reply,
    rejection: fn(ErrorCategory) -> Option<Reply>,
    injections: Vec<Submission>,
    secret: &'static str,
}

impl Subject for HttpSubject {
    fn arrange(&self, situation: Situation) -> Option<Arranged> {
        let nonsense = Reply {
            body: "<html>}{\u{0}".to_owned(),
            ..self.success.clone()
        };
        let behaviour = match situation {
            Situation::Accepts => Behaviour::Answer(self.success.clone()),
            Situation::Rejects(category) => Behaviour::Answer((self.rejection)(category)?),
            Situation::SilentAfterWrite => Behaviour::Silence,
            Situation::ClosesAfterWrite => Behaviour::Close,
            Situation::Garbage => Behaviour::Garbage,
            Situation::SuccessWithNonsense => Behaviour::Answer(nonsense),
            Situation::HugeAnswer => Behaviour::Huge(self.success.clone()),
            Situation::DrippingAnswer => Behaviour::Drip(self.success.clone()),
            Situation::CutAnswer => Behaviour::CutShort(self.success.clone()),
            Situation::NotListening => {
                let url = format!("http://127.0.0.1:{}", closed_port());
                let provider = provider(self.kind, (self.settings)(&url), &self.credentials);
                return Some(Arranged {
                    provider,
                    stand_in: Box::new(()),
                });
            }
        };
        let stand_in = HttpStandIn::start(behaviour);
        let provider = provider(self.kind, (self.settings)(&stand_in.url()), &self.credentials);
        Some(Arranged {
            provider,
            stand_in: Box::new(stand_in),
        })
    }

    fn submission(&self) -> Submission {
        self.submission.clone()
    }

    fn injections(&self) -> Vec<Submission> {
        self.injections.clone()
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.secret.to_owned()]
    }
}

/// A message for every header slot, with a line break in it.
fn injections() -> Vec<Submission> {
    let bad = "x\r\nBcc: mallory@example.com";
    let mut all = Vec::new();
    let mut named = samples::email("bob@example.com");
    named.to_name = Some(Private::new(bad.to_owned()));
    all.push(named);
    for slot in 0..8 {
        let mut submission = samples::email("bob@example.com");
        let Content::Email(mut email) = submission.content.into_exposed() else {
            unreachable!()
        };
        let mut file = crate::contract::Attachment {
            filename: "a.txt".to_owned(),
            content_type: "text/plain".to_owned(),
            content_base64: "YQ==".to_owned(),
            content_id: None,
        };
        match slot {
            0 => email.subject = bad.to_owned(),
            1 => email.message_id_header = format!("{bad}@brand.test"),
            2 => email.reply_to = Some(bad.to_owned()),
            3 => email.unsubscribe_url = Some("https://brand.test/u\r\nX: y".to_owned()),
            4 => email.in_reply_to = Some(bad.to_owned()),
            5 => file.filename = bad.to_owned(),
            6 => file.content_type = "text/plain\r\nX: y".to_owned(),
            _ => file.content_id = Some(bad.to_owned()),
        }
        email.attachments.push(file);
        submission.content = Private::new(Content::Email(email));
        all.push(submission);
    }
    let mut urls = samples::email("bob@example.com");
    let Content::Email(mut email) = urls.content.into_exposed() else {
        unreachable!()
    };
    email.unsubscribe_url = Some("https://a.test/1>, <https://b.test/2".to_owned());
    urls.content = Private::new(Content::Email(email));
    all.push(urls);
    all
}

fn problems(kind: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{kind}:\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn sendgrid() {
    let subject = HttpSubject {
        kind: ProviderKind::Sendgrid,
        submission: samples::email("bob@example.com"),
        settings: |url| json!({ "from_email": "shop@brand.test", "base_url": url }),
        credentials: json!({ "api_key": "SG.s3cret" }),
        success: Reply {
            status: 202,
            headers: vec![("X-Message-Id", "14c5d75ce93".to_owned())],
            body: String::new(),
        },
        rejection: |category| {
            let error = |status, field: &str| {
                Reply::json(
                    status,
                    &format!(r#"{{"errors":[{{"message":"no","field":{field},"help":null}}]}}"#),
                )
            };
            Some(match category {
                ErrorCategory::Transient => error(503, "null"),
                ErrorCategory::Permanent => error(400, "\"personalizations.0.to.0.email\""),
                ErrorCategory::RateLimit => error(429, "null").with("X-RateLimit-Reset", "1795000100"),
                ErrorCategory::AuthFailure => error(401, "null"),
                ErrorCategory::InvalidInput => error(400, "\"subject\""),
            })
        },
        injections: injections(),
        secret: "s3cret",
    };
    problems("sendgrid", &run_compliance(&subject).await);
}

#[tokio::test]
async fn resend() {
    let subject = HttpSubject {
        kind: ProviderKind::Resend,
        submission: samples::email("bob@example.com"),
        settings: |url| json!({ "from_email": "shop@brand.test", "base_url": url }),
        credentials: json!({
            "api_key": "re_s3cret", "webhook_secret": "whsec_czNjcmV0czNjcmV0czNjcmV0czNjcmV0"
        }),
        success: Reply::json(200, r#"{"id":"56761188-7520-42d8-8898-ff6fc54ce618"}"#),
        rejection: |category| {
            let error = |status, name: &str| {
                Reply::json(
                    status,
                    &format!(r#"{{"statusCode":{status},"name":"{name}","message":"no bob@example.com"}}"#),
                )
            };
            match category {
                ErrorCategory::Transient => Some(error(503, "service_unavailable")),
                // Resend tells of bad recipients later, by event.
                ErrorCategory::Permanent => None,
                ErrorCategory::RateLimit => Some(error(429, "rate_limit_exceeded").with("retry-after", "1")),
                ErrorCategory::AuthFailure => Some(error(403, "invalid_api_key")),
                ErrorCategory::InvalidInput => Some(error(422, "validation_error")),
            }
        },
        injections: injections(),
        secret: "s3cret",
    };
    problems("resend", &run_compliance(&subject).await);
}

#[tokio::test]
async fn ses() {
    let subject = HttpSubject {
        kind: ProviderKind::Ses,
        submission: samples::email("bob@example.com"),
        settings: |url| json!({ "from_email": "shop@brand.test", "region": "eu-west-1", "base_url": url }),
        credentials: json!({
            "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "s3cret/s3cret",
            "session_token": "s3cret-token"
        }),
        success: Reply::json(200, r#"{"MessageId":"0102018f-aaaa-000000"}"#),
        rejection: |category| {
            let error = |status, kind: &str, message: &str| {
                Reply::json(status, &format!(r#"{{"message":"{message} bob@example.com"}}"#)).with(
                    "x-amzn-ErrorType",
                    &format!("{kind}:http://internal.amazon.com/coral/"),
                )
            };
            Some(match category {
                ErrorCategory::Transient => error(503, "ServiceUnavailable", "later"),
                ErrorCategory::Permanent => error(400, "MessageRejected", "virus"),
                ErrorCategory::RateLimit => error(429, "TooManyRequestsException", "rate exceeded"),
                ErrorCategory::AuthFailure => error(403, "AccessDeniedException", "no"),
                ErrorCategory::InvalidInput => error(400, "BadRequestException", "no"),
            })
        },
        injections: injections(),
        secret: "s3cret",
    };
    problems("ses", &run_compliance(&subject).await);
}

#[tokio::test]
async fn twilio() {
    let subject = HttpSubject {
        kind: ProviderKind::Twilio,
        submission: samples::text("+14155552671"),
        settings: |url| {
            json!({
                "account_sid": "ACbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "from": "+15005550006", "base_url": url
            })
        },
        credentials: json!({ "auth_token": "s3cret" }),
        success: Reply::json(
            201,
            &format!(r#"{{"sid":"{SID}","status":"queued","error_code":null}}"#),
        ),
        rejection: |category| {
            let error = |status, code| {
                Reply::json(
                    status,
                    &format!(r#"{{"code":{code},"message":"no +14155552671","status":{status}}}"#),
                )
            };
            Some(match category {
                ErrorCategory::Transient => error(503, 20503),
                ErrorCategory::Permanent => error(400, 21610),
                ErrorCategory::RateLimit => error(429, 20429).with("Retry-After", "2"),
                ErrorCategory::AuthFailure => error(401, 20003),
                ErrorCategory::InvalidInput => error(400, 21211),
            })
        },
        injections: vec![samples::email("bob@example.com")],
        secret: "s3cret",
    };
    problems("twilio", &run_compliance(&subject).await);
}

#[tokio::test]
async fn whatsapp_cloud() {
    let text = Content::Text {
        body: "Ready.".to_owned(),
    };
    let subject = HttpSubject {
        kind: ProviderKind::WhatsappCloud,
        submission: samples::whatsapp("+14155552671", text),
        settings: |url| json!({ "phone_number_id": "106540352242922", "base_url": url }),
        credentials: json!({ "token": "EAAs3cret", "app_secret": "as3cret" }),
        success: Reply::json(
            200,
            r#"{"messaging_product":"whatsapp","contacts":[{"input":"+14155552671"}],
                "messages":[{"id":"wamid.HBgL","message_status":"held_for_quality_assessment"}]}"#,
        ),
        rejection: |category| {
            let error = |status, code| {
                let message = format!("(#{code}) no +14155552671");
                Reply::json(
                    status,
                    &json!({ "error": { "message": message, "type": "OAuthException", "code": code } })
                        .to_string(),
                )
            };
            Some(match category {
                ErrorCategory::Transient => error(500, 131_000),
                ErrorCategory::Permanent => error(400, 131_026),
                ErrorCategory::RateLimit => error(429, 130_429),
                ErrorCategory::AuthFailure => error(401, 190),
                ErrorCategory::InvalidInput => error(400, 132_000),
            })
        },
        injections: vec![samples::email("bob@example.com")],
        secret: "s3cret",
    };
    problems("whatsapp_cloud", &run_compliance(&subject).await);
}

#[tokio::test]
async fn whatsapp_web() {
    let report = json!({ "reference": "0197", "standing": "sent", "id": "3EB0A1" });
    let subject = HttpSubject {
        kind: ProviderKind::WhatsappWeb,
        submission: samples::whatsapp_web("+14155552671"),
        settings: |url| json!({ "base_url": url }),
        credentials: json!({ "token": "s3cret-s3cret-s3cret" }),
        success: Reply::json(200, &report.to_string()),
        rejection: |category| {
            let no = |status, code: &str| {
                let detail = "+14155552671 cannot be written to";
                Reply::json(status, &json!({ "code": code, "detail": detail }).to_string())
            };
            Some(match category {
                ErrorCategory::Transient => no(503, "not_ready"),
                ErrorCategory::Permanent => no(422, "not_on_whatsapp"),
                ErrorCategory::RateLimit => no(429, "too_soon").with("Retry-After", "31"),
                ErrorCategory::AuthFailure => no(403, "not_paired"),
                ErrorCategory::InvalidInput => no(422, "text"),
            })
        },
        injections: vec![samples::email("bob@example.com")],
        secret: "s3cret",
    };
    problems("whatsapp_web", &run_compliance(&subject).await);
}

#[tokio::test]
async fn sandbox_with_a_stand_in() {
    let subject = HttpSubject {
        kind: ProviderKind::Sandbox,
        submission: samples::email("bob@example.com"),
        settings: |url| json!({ "base_url": url }),
        credentials: json!({ "webhook_secret": "whsec_czNjcmV0czNjcmV0czNjcmV0czNjcmV0" }),
        success: Reply::json(200, r#"{"id":"s-1","duplicate":false}"#),
        rejection: |category| {
            Some(Reply::json(
                match category {
                    ErrorCategory::Transient => 500,
                    ErrorCategory::Permanent => 410,
                    ErrorCategory::RateLimit => 429,
                    ErrorCategory::AuthFailure => 403,
                    ErrorCategory::InvalidInput => 422,
                },
                r#"{"code":"x","detail":"no"}"#,
            ))
        },
        injections: vec![samples::email("invalid-input@example.com")],
        secret: "czNjcmV0czNj",
    };
    problems("sandbox", &run_compliance(&subject).await);
}

struct SmtpSubject;

fn smtp_settings(port: u16) -> Value {
    json!({ "host": "127.0.0.1", "port": port, "tls": "none", "from_email": "shop@brand.test", "timeout_s": 1 })
}

impl Subject for SmtpSubject {
    fn arrange(&self, situation: Situation) -> Option<Arranged> {
        let usual = Script::default();
        let script = match situation {
            Situation::Accepts => usual,
            Situation::Rejects(ErrorCategory::Transient) => Script {
                rcpt: "450 4.2.0 busy",
                ..usual
            },
            Situation::Rejects(ErrorCategory::Permanent) => Script {
                rcpt: "550-5.1.1 no\r\n550 5.1.1 such user",
                ..usual
            },
            Situation::Rejects(ErrorCategory::RateLimit) => Script {
                mail: "454 Throttling failure: rate",
                ..usual
            },
            Situation::Rejects(ErrorCategory::AuthFailure) => Script {
                greeting: "554 go away",
                ..usual
            },
            Situation::Rejects(ErrorCategory::InvalidInput) => Script {
                after_dot: AfterDot::Say("552 5.3.4 too large"),
                ..usual
            },
            Situation::SilentAfterWrite => Script {
                after_dot: AfterDot::Silence,
                ..usual
            },
            Situation::ClosesAfterWrite => Script {
                after_dot: AfterDot::Close,
                ..usual
            },
            Situation::Garbage => Script {
                after_dot: AfterDot::Say("\u{0}\u{1}what"),
                ..usual
            },
            Situation::SuccessWithNonsense => Script {
                after_dot: AfterDot::Say("250 \u{0}\u{1}{}<>"),
                ..usual
            },
            Situation::NotListening => {
                let provider = provider(ProviderKind::Smtp, smtp_settings(closed_port()), &json!({}));
                return Some(Arranged {
                    provider,
                    stand_in: Box::new(()),
                });
            }
            // A reply of SMTP is a line; its parts are covered by the stages in `smtp.rs`.
            Situation::HugeAnswer | Situation::DrippingAnswer | Situation::CutAnswer => return None,
        };
        let stand_in = SmtpStandIn::start(script);
        let provider = provider(ProviderKind::Smtp, smtp_settings(stand_in.port()), &json!({}));
        Some(Arranged {
            provider,
            stand_in: Box::new(stand_in),
        })
    }

    fn submission(&self) -> Submission {
        samples::email("bob@example.com")
    }

    fn injections(&self) -> Vec<Submission> {
        injections()
    }

    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }
}

#[tokio::test]
async fn smtp() {
    problems("smtp", &run_compliance(&SmtpSubject).await);
}
