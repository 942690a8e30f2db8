//! What the tests share: a brand, sources and short ways to render them.

use serde_json::Value;
use tidings_core::{Category, Channel, MessageType};
use tidings_render::{
    Brand, CompiledTemplate, Format, RenderContext, RenderError, Rendered, TemplateError, TemplateSource,
    compile,
};

pub fn brand() -> Brand {
    Brand {
        name: "Planiva".to_owned(),
        website_url: Some("https://planiva.example.com".to_owned()),
        support_email: Some("hello@planiva.example.com".to_owned()),
        support_phone: Some("+33 4 50 00 00 00".to_owned()),
        postal_address: Some("12 Rue du Lac, 74000 Annecy, France".to_owned()),
        ..Brand::default()
    }
}

/// Who writes the lifecycle messages.
pub fn dealership() -> Brand {
    Brand {
        name: "Hillcrest Outdoor".to_owned(),
        website_url: Some("https://hillcrest.example.com".to_owned()),
        support_email: Some("service@hillcrest.example.com".to_owned()),
        support_phone: Some("(555) 010-4477".to_owned()),
        postal_address: Some("210 Mill Road, Springfield, IL 62701".to_owned()),
        ..Brand::default()
    }
}

pub fn email(subject: &str, body: &str) -> TemplateSource {
    TemplateSource {
        message_type: MessageType::parse("note").unwrap(),
        channel: Channel::Email,
        locale: "en".to_owned(),
        subject: Some(subject.to_owned()),
        body: body.to_owned(),
        format: Format::Html,
        text_body: None,
    }
}

pub fn sms(body: &str) -> TemplateSource {
    TemplateSource {
        channel: Channel::Sms,
        subject: None,
        format: Format::Text,
        ..email("", body)
    }
}

pub fn compiled(source: &TemplateSource) -> CompiledTemplate {
    match compile(source) {
        Ok(compiled) => compiled,
        Err(error) => panic!("{error}"),
    }
}

pub fn refused(source: &TemplateSource) -> TemplateError {
    match compile(source) {
        Ok(_) => panic!("compiled, but should not: {}", source.body),
        Err(error) => error,
    }
}

pub fn render(source: &TemplateSource, variables: &Value) -> Result<Rendered, RenderError> {
    let brand = brand();
    compiled(source).render(&RenderContext::new(variables, &brand, Category::Service))
}

/// Subject, HTML and text of a rendered e-mail.
pub fn mail(rendered: Rendered) -> (String, String, String) {
    match rendered {
        Rendered::Email { subject, html, text } => (subject, html.unwrap_or_default(), text),
        Rendered::Text { .. } => panic!("not an e-mail"),
    }
}

pub fn html_of(body: &str, variables: &Value) -> String {
    mail(render(&email("S", body), variables).unwrap()).1
}

pub fn text_of(rendered: Rendered) -> String {
    match rendered {
        Rendered::Email { text, .. } => text,
        Rendered::Text { body } => body,
    }
}
