//! Every built-in template with its sample, compared with what was looked at and found good.
//!
//! After a wanted change: `INSTA_UPDATE=always cargo nextest run -p tidings-render`, then look at the difference and,
//! for HTML, at the mail itself (`cargo run -p tidings-render --example preview -- FOLDER`).

use crate::support::{brand, dealership};
use tidings_core::sms::{Encoding, segment};
use tidings_core::{Category, Channel, MessageType};
use tidings_render::message_types::{LIFECYCLE, MESSAGE_TYPES};
use tidings_render::sample::{least, sample};
use tidings_render::{RenderContext, Rendered, builtin, builtins};

#[test]
fn every_builtin_renders_as_recorded() {
    let (planner, dealership) = (brand(), dealership());
    for template in builtins() {
        let variables = sample(template.message_type()).unwrap();
        let (brand, zone) = if LIFECYCLE.contains(template.info()) {
            (&dealership, "America/Chicago")
        } else {
            (&planner, "Europe/Paris")
        };
        let mut context = RenderContext::new(&variables, brand, template.info().category);
        context.zone = Some(zone);
        context.unsubscribe_url = Some("https://planiva.example.com/unsubscribe/x");
        context.preference_url = Some("https://planiva.example.com/preferences/x");
        let name = format!("{}-{}", template.message_type(), template.channel());
        match template.compiled().render(&context).unwrap() {
            Rendered::Email { subject, html, text } => {
                insta::assert_snapshot!(format!("{name}-text"), format!("Subject: {subject}\n\n{text}"));
                insta::assert_snapshot!(format!("{name}-html"), html.unwrap());
            }
            Rendered::Text { body } => insta::assert_snapshot!(name, body),
        }
    }
}

/// The least a request may bring still makes a whole message.
#[test]
fn every_builtin_renders_with_required_variables_only() {
    let brand = tidings_render::Brand::default();
    for template in builtins() {
        let variables = least(template.message_type()).unwrap();
        let context = RenderContext::new(&variables, &brand, Category::Transactional);
        let rendered = template.compiled().render(&context);
        assert!(
            rendered.is_ok(),
            "{}: {:?}",
            template.compiled().label(),
            rendered.err().map(|e| e.to_string())
        );
    }
}

#[test]
fn types_variables_and_templates_agree() {
    for info in MESSAGE_TYPES {
        assert!(MessageType::parse(info.name).is_ok(), "{}", info.name);
        let sample = sample(info.name).unwrap();
        for variable in info.variables.iter().filter(|variable| variable.required) {
            assert!(
                sample.get(variable.name).is_some(),
                "{}: sample lacks {}",
                info.name,
                variable.name
            );
        }
    }
    for template in builtins() {
        let compiled = template.compiled();
        let unknown = template.info().undocumented(compiled.variables());
        assert!(unknown.is_empty(), "{} uses {unknown:?}", compiled.label());
    }
    for channel in Channel::ALL {
        assert!(builtin("direct", *channel).is_some());
        for name in [
            "welcome",
            "budget_summary",
            "vendor_options",
            "selection_confirmation",
            "blueprint_delivery",
            "error_notification",
            "reminder",
            "batch",
        ] {
            assert!(builtin(name, *channel).is_some(), "{name} for {channel}");
        }
    }
}

/// Except the batch and direct texts, whose length is their content's, one SMS is enough and none leaves the 7-bit
/// alphabet.
#[test]
fn short_forms_fit_one_sms() {
    let (planner, dealership) = (brand(), dealership());
    for template in builtins()
        .iter()
        .filter(|template| template.channel() == Channel::Sms)
    {
        if matches!(template.message_type(), "batch" | "direct") {
            continue;
        }
        let variables = sample(template.message_type()).unwrap();
        for brand in [&planner, &dealership] {
            let context = RenderContext::new(&variables, brand, template.info().category);
            let Rendered::Text { body } = template.compiled().render(&context).unwrap() else {
                panic!("not a text")
            };
            let cost = segment(&body);
            assert!(
                cost.encoding == Encoding::Gsm7 && cost.segments == 1,
                "{}: {cost:?} {body}",
                template.message_type()
            );
        }
    }
}

#[test]
fn budget_strategies_and_objects_of_amounts_are_read_too() {
    let brand = brand();
    let variables = serde_json::json!({
        "client_name": "A",
        "event_type": "gala",
        "budget_strategies": [{"name": "One", "allocations": {"venue": {"amount": 10}, "food": 30}}],
    });
    let template = builtin("budget_summary", Channel::Email).unwrap().compiled();
    let rendered = template
        .render(&RenderContext::new(&variables, &brand, Category::Service))
        .unwrap();
    let Rendered::Email { text, .. } = rendered else {
        panic!("not an e-mail")
    };
    assert!(text.contains("Food 75%  30\nVenue 25%  10"), "{text}");
}
