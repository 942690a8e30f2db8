//! The vendors' own documents as judges of requests and answers (see `documents/README.md`).
#![expect(
    clippy::unwrap_used,
    reason = "a document that is not as it was cut ends the test"
)]

mod model;
mod operation;
mod schema;

pub use model::Model;
pub use operation::Operation;

use serde_json::{Value, json};

/// A request as it stood on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// `POST /path HTTP/1.1`.
    pub line: &'r str,
    /// Headers, names in lower case.
    pub headers: &'r [(String, String)],
    /// Body.
    pub body: &'r str,
}

impl<'r> Request<'r> {
    fn header(&self, name: &str) -> Option<&'r str> {
        value_of(self.headers, name)
    }

    /// Method, path and query; none where the first line is none of a request.
    fn parts(&self) -> Option<(&'r str, &'r str, Option<&'r str>)> {
        let words: Vec<&str> = self.line.split(' ').collect();
        let [method, target, _] = words[..] else {
            return None;
        };
        Some(match target.split_once('?') {
            Some((path, query)) => (method, path, Some(query)),
            None => (method, target, None),
        })
    }
}

/// An answer as it stood on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: &'a [(String, String)],
    /// Body.
    pub body: &'a str,
}

impl<'a> Answer<'a> {
    fn header(&self, name: &str) -> Option<&'a str> {
        value_of(self.headers, name)
    }
}

fn value_of<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    let found = headers.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}

/// SendGrid's sending of a mail. Of an error, `help` is null or a link where the document has an object; that `field` may be null it says by a
/// word of OpenAPI 3.0, of which it is not.
pub fn sendgrid() -> Operation {
    let mut document: Value =
        serde_json::from_str(include_str!("../../documents/sendgrid_mail_send.json")).unwrap();
    let error = &mut document["components"]["schemas"]["ErrorResponse"]["properties"]["errors"]["items"];
    for name in ["field", "help"] {
        error["properties"][name] = json!({ "type": ["string", "null"] });
    }
    Operation::of(document)
}

/// Resend's sending of a mail.
pub fn resend() -> Operation {
    Operation::read(include_str!("../../documents/resend_email.json"))
}

/// Twilio's sending of a text.
pub fn twilio() -> Operation {
    Operation::read(include_str!("../../documents/twilio_message.json"))
}

/// Amazon's SES: sending, the account, the list of suppressed addresses.
pub fn ses() -> Model {
    Model::read(include_str!("../../documents/ses_v2.json"))
}

/// WhatsApp's sending of a message. Meta's document is at odds with itself and with Meta's pages in four places, which are put right here.
pub fn whatsapp() -> Operation {
    let mut document: Value =
        serde_json::from_str(include_str!("../../documents/whatsapp_message.json")).unwrap();
    let text = json!({ "type": "string" });
    let schemas = &mut document["components"]["schemas"];
    // Listed for calls alone; of messages it is what status webhooks give back, as Meta's page about them says.
    schemas["BaseMessageProperties"]["properties"]["biz_opaque_callback_data"] =
        json!({ "type": "string", "maxLength": 512 });
    // The document's examples of documents and videos have them.
    for form in schemas["MediaObject"]["oneOf"].as_array_mut().unwrap() {
        form["properties"]["caption"] = text.clone();
        form["properties"]["filename"] = text.clone();
    }
    let component = &mut schemas["TemplateComponent"]["properties"];
    // The pattern knows no 0, with which the document's examples begin.
    component["index"] = json!({ "type": "string", "pattern": "^[0-9]$" });
    // Meta's page about sending templates has it for the button that copies a code.
    let kinds = component["sub_type"]["enum"].as_array_mut().unwrap();
    kinds.push(json!("copy_code"));
    Operation::of(document)
}
