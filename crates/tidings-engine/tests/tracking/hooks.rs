//! Providers as they look from outside: stand-ins that accept, and webhooks signed as the real ones sign them.

use crate::world::World;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use tidings_core::{Channel, ConnectionId, MessageId, ProviderKind};
use tidings_engine::WebhookError;
use tidings_engine::providers::signature::{meta, standard, twilio};
use tidings_engine::providers::{WebhookRequest, WebhookResponse};
use tidings_engine::store::connections::{self, ConnectionSettings};

/// SubjectPublicKeyInfo of an uncompressed P-256 key, up to the point (RFC 5480).
const P256_SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
pub const ACCOUNT: &str = "ACbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
pub const OUR_NUMBER: &str = "+15005550006";
const TOKEN: &str = "an auth token";
const TOKEN_OF_APP: &str = "an-app-secret";
const SANDBOX_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub type Answer = Result<WebhookResponse, WebhookError>;

/// A SendGrid connection with the key that signs its webhooks.
pub struct SendGrid {
    pub connection: ConnectionId,
    key: EcdsaKeyPair,
}

/// A Twilio connection.
pub struct Twilio {
    pub connection: ConnectionId,
}

/// A WhatsApp connection; what it was asked to send is kept.
pub struct Whatsapp {
    pub connection: ConnectionId,
    asked: Asked,
}

/// Bodies a stand-in was sent.
type Asked = Arc<Mutex<Vec<String>>>;

/// A sandbox connection whose webhooks are signed.
pub struct Sandbox {
    pub connection: ConnectionId,
}

/// A connection with these settings.
pub async fn connect(
    world: &mut World,
    name: &str,
    provider: ProviderKind,
    channel: Channel,
    config: Value,
    credentials: Value,
) -> ConnectionId {
    let settings = ConnectionSettings {
        name: name.to_owned(),
        channel,
        provider,
        config,
        credentials: Some(SecretString::from(credentials.to_string())),
        priority: 0,
        weight: 1,
        enabled: true,
        call_limit_ms: None,
        rate_limit: None,
    };
    let mut tx = world
        .engine
        .store()
        .worker_tenant(world.tenant)
        .tx()
        .await
        .unwrap();
    let now = world.now();
    let made = connections::create(&mut tx, &settings, &mut world.dice, now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    made.id
}

impl SendGrid {
    pub async fn connect(world: &mut World) -> Self {
        Self::connect_as(world, "mail").await
    }

    pub async fn connect_as(world: &mut World, name: &str) -> Self {
        Self::connect_at(world, name, &stand_in()).await
    }

    /// At a stand-in of one's own.
    pub async fn connect_at(world: &mut World, name: &str, url: &str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let public = [P256_SPKI_PREFIX.as_slice(), key.public_key().as_ref()].concat();
        let config = json!({
            "from_email": "news@acme.example",
            "base_url": url,
            "webhook_public_key": STANDARD.encode(public),
            "inbound_domains": ["in.acme.example"],
        });
        let credentials = json!({"api_key": "SG.test"});
        let connection = connect(
            world,
            name,
            ProviderKind::Sendgrid,
            Channel::Email,
            config,
            credentials,
        )
        .await;
        Self { connection, key }
    }

    /// A signed webhook of these events.
    pub fn request(&self, events: &Value) -> WebhookRequest {
        self.signed("application/json", events.to_string().into_bytes())
    }

    /// A signed webhook of a mail for `sales@in.acme.example`, as it came.
    pub fn mail(&self, from: &str, raw: &str) -> WebhookRequest {
        let envelope = json!({"to": ["sales@in.acme.example"], "from": from}).to_string();
        let raw = raw.replace('\n', "\r\n");
        let field = |name: &str, value: &str| {
            format!("--xYz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body = format!(
            "{}{}--xYz--\r\n",
            field("envelope", &envelope),
            field("email", &raw)
        );
        self.signed("multipart/form-data; boundary=xYz", body.into_bytes())
    }

    pub async fn receive(&self, world: &World, from: &str, raw: &str) -> Answer {
        deliver(world, "sendgrid", self.connection, &self.mail(from, raw)).await
    }

    fn signed(&self, content_type: &str, body: Vec<u8>) -> WebhookRequest {
        let timestamp = "1781622000";
        let signed = [timestamp.as_bytes(), &body].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).unwrap();
        WebhookRequest {
            method: "POST".to_owned(),
            url: format!("https://tidings.example/webhooks/sendgrid/{}", self.connection),
            headers: vec![
                ("content-type".to_owned(), content_type.to_owned()),
                (
                    "x-twilio-email-event-webhook-signature".to_owned(),
                    STANDARD.encode(signature),
                ),
                (
                    "x-twilio-email-event-webhook-timestamp".to_owned(),
                    timestamp.to_owned(),
                ),
            ],
            body: body.into(),
        }
    }

    pub async fn send(&self, world: &World, events: Value) -> Answer {
        deliver(world, "sendgrid", self.connection, &self.request(&events)).await
    }
}

impl Twilio {
    pub async fn connect(world: &mut World) -> Self {
        Self::connect_at(world, &stand_in()).await
    }

    /// At a stand-in of one's own.
    pub async fn connect_at(world: &mut World, url: &str) -> Self {
        let config = json!({"account_sid": ACCOUNT, "from": OUR_NUMBER, "base_url": url});
        let credentials = json!({"auth_token": TOKEN});
        let connection = connect(
            world,
            "texts",
            ProviderKind::Twilio,
            Channel::Sms,
            config,
            credentials,
        )
        .await;
        Self { connection }
    }

    /// A signed webhook with these fields; `query` begins with `?` or is empty.
    pub fn request(&self, query: &str, fields: &[(&str, &str)]) -> WebhookRequest {
        let url = format!(
            "https://tidings.example/webhooks/twilio/{}{query}",
            self.connection
        );
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("AccountSid", ACCOUNT)
            .extend_pairs(fields)
            .finish();
        let signature = twilio::sign(&url, body.as_bytes(), TOKEN);
        WebhookRequest {
            method: "POST".to_owned(),
            url,
            headers: vec![
                (
                    "content-type".to_owned(),
                    "application/x-www-form-urlencoded".to_owned(),
                ),
                ("x-twilio-signature".to_owned(), signature),
            ],
            body: body.into(),
        }
    }

    pub async fn send(&self, world: &World, query: &str, fields: &[(&str, &str)]) -> Answer {
        deliver(world, "twilio", self.connection, &self.request(query, fields)).await
    }

    /// A text from a contact; `number` tells messages apart.
    pub async fn text(&self, world: &World, number: u32, from: &str, body: &str) -> Answer {
        let sid = format!("SM{number:032x}");
        self.send(
            world,
            "",
            &[
                ("MessageSid", &sid),
                ("From", from),
                ("To", OUR_NUMBER),
                ("Body", body),
            ],
        )
        .await
    }
}

impl Whatsapp {
    pub async fn connect(world: &mut World) -> Self {
        let (url, asked) = recording();
        let config = json!({"phone_number_id": "106", "business_account_id": "102", "base_url": url});
        let credentials = json!({"token": "EAA", "app_secret": TOKEN_OF_APP, "verify_token": "friend"});
        let kind = ProviderKind::WhatsappCloud;
        let connection = connect(world, "chats", kind, Channel::Whatsapp, config, credentials).await;
        Self { connection, asked }
    }

    /// What was asked, oldest first.
    pub fn asked(&self) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .map(|body| serde_json::from_str(body).unwrap())
            .collect()
    }

    /// A signed webhook of one change of this number.
    pub async fn change(&self, world: &World, field: &str, parts: Value) -> Answer {
        let mut value = parts;
        value["metadata"] = json!({"phone_number_id": "106"});
        let body = json!({"object": "whatsapp_business_account", "entry": [
            {"id": "102", "time": world.now().as_second(), "changes": [{"field": field, "value": value}]}]})
        .to_string();
        let request = WebhookRequest {
            method: "POST".to_owned(),
            url: format!(
                "https://tidings.example/webhooks/whatsapp_cloud/{}",
                self.connection
            ),
            headers: vec![(
                "x-hub-signature-256".to_owned(),
                meta::sign(body.as_bytes(), TOKEN_OF_APP),
            )],
            body: body.into_bytes().into(),
        };
        deliver(world, "whatsapp_cloud", self.connection, &request).await
    }

    /// A message of some sender, written at the world's instant.
    pub async fn write(&self, world: &World, sender: Value, text: &str) -> Answer {
        let mut message = sender;
        message["timestamp"] = json!(world.now().as_second().to_string());
        message["type"] = json!("text");
        message["text"] = json!({"body": text});
        self.change(world, "messages", json!({"messages": [message]}))
            .await
    }
}

impl Sandbox {
    pub async fn connect(world: &mut World, channel: Channel) -> Self {
        let credentials = json!({"webhook_secret": SANDBOX_SECRET});
        let connection = connect(
            world,
            channel.as_str(),
            ProviderKind::Sandbox,
            channel,
            json!({}),
            credentials,
        )
        .await;
        Self { connection }
    }

    /// A signed webhook; `id` tells webhooks apart.
    pub async fn send(&self, world: &World, id: &str, body: Value) -> Answer {
        let body = body.to_string();
        let signature = standard::sign(id, world.now(), body.as_bytes(), SANDBOX_SECRET).unwrap();
        let request = WebhookRequest {
            method: "POST".to_owned(),
            url: format!("https://tidings.example/webhooks/sandbox/{}", self.connection),
            headers: vec![
                ("webhook-id".to_owned(), id.to_owned()),
                (
                    "webhook-timestamp".to_owned(),
                    world.now().as_second().to_string(),
                ),
                ("webhook-signature".to_owned(), signature),
            ],
            body: body.into_bytes().into(),
        };
        deliver(world, "sandbox", self.connection, &request).await
    }

    /// A text from a contact.
    pub async fn text(&self, world: &World, id: &str, channel: Channel, from: &str, text: &str) -> Answer {
        let message = json!({
            "dedupe_key": id, "channel": channel, "from": from, "to": null, "name": null, "subject": null, "text": text,
            "provider_message_id": null, "occurred_at": null, "media": [], "handled_keyword": null, "in_reply_to": null,
            "automatic": false,
        });
        self.send(world, id, json!({"inbound": [message]})).await
    }
}

/// Hands a request in as the API does.
pub async fn deliver(
    world: &World,
    provider: &str,
    connection: ConnectionId,
    request: &WebhookRequest,
) -> Answer {
    let receiver = world
        .engine
        .webhook_receiver(provider, &connection.to_string())
        .await?;
    world.engine.webhook(&receiver, request).await
}

/// A server that accepts whatever SendGrid and Twilio are asked.
fn stand_in() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            if answer(stream.unwrap(), number).is_err() {
                return;
            }
        }
    });
    url
}

/// A server that accepts whatever it is asked, and keeps the bodies.
fn recording() -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let kept = Arc::clone(&asked);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            match answer(stream.unwrap(), number) {
                Ok(body) => kept.lock().unwrap().push(body),
                Err(_) => return,
            }
        }
    });
    (url, asked)
}

fn answer(mut stream: TcpStream, number: usize) -> std::io::Result<String> {
    let mut read = Vec::new();
    let mut buffer = [0u8; 4096];
    while !is_whole(&read) {
        match stream.read(&mut buffer)? {
            0 => break,
            count => read.extend_from_slice(&buffer[..count]),
        }
    }
    let body = format!(
        "{{\"sid\":\"SM{:032x}\",\"status\":\"queued\",\"messages\":[{{\"id\":\"wamid.OUT{number}\"}}]}}",
        0xabc_0000 + number
    );
    let status = if read.starts_with(b"POST /v3/mail/send") {
        "202 Accepted"
    } else {
        "201 Created"
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nX-Message-Id: mail-{number}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )?;
    let asked = String::from_utf8_lossy(&read);
    let body = asked.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    Ok(body.unwrap_or_default())
}

fn is_whole(read: &[u8]) -> bool {
    let text = String::from_utf8_lossy(read);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    body.len() >= length.unwrap_or(0)
}

/// The reference of a message's newest dispatch.
pub async fn reference(world: &World, message: MessageId) -> String {
    let query = format!(
        "SELECT reference FROM deliveries WHERE message_id = '{message}' ORDER BY position DESC LIMIT 1"
    );
    world.database.texts(&query).await.remove(0)
}

/// Everything that tracking writes, as one text: equal before and after what must change nothing.
pub async fn picture(world: &World) -> Vec<String> {
    let mut rows = Vec::new();
    for query in [
        "SELECT concat(id, status, status_provenance, sent_at, delivered_at, opened_at, clicked_at, failed_at) FROM messages ORDER BY id",
        "SELECT concat(id, state, provider_message_id) FROM deliveries ORDER BY id",
        "SELECT concat(id, kind, dedupe_key) FROM delivery_events ORDER BY id",
        "SELECT concat(id, reason, channel, lifted_at) FROM suppressions ORDER BY id",
        "SELECT concat(id, stopped, opted_out, paused_until) FROM contacts ORDER BY id",
        "SELECT concat(id, purpose, channel, granted) FROM consents ORDER BY id",
        "SELECT concat(id, keyword) FROM inbound_messages ORDER BY id",
        "SELECT concat(id, kind) FROM event_log ORDER BY id",
    ] {
        rows.extend(world.database.texts(query).await);
    }
    rows
}

pub async fn suppressions(world: &World) -> Vec<String> {
    let query = "SELECT concat(channel, ' ', reason) FROM suppressions WHERE lifted_at IS NULL ORDER BY 1";
    world.database.texts(query).await
}

pub async fn events(world: &World, kind: &str) -> usize {
    world
        .database
        .texts(&format!("SELECT id FROM event_log WHERE kind = '{kind}'"))
        .await
        .len()
}
