//! The messages of the lifecycle campaigns: whole with whatever their campaigns know, and never with a hole.

use crate::support::{dealership, mail, text_of};
use serde_json::{Value, json};
use std::fmt::Write;
use tidings_core::sms::{Encoding, segment};
use tidings_core::{Category, Channel};
use tidings_render::message_types::{LIFECYCLE, MessageTypeInfo};
use tidings_render::sample::{least, sample};
use tidings_render::{Brand, RenderContext, RenderError, Rendered, builtin};

const UNSUBSCRIBE: &str = "https://t.example.com/u/1";

fn render_as(
    name: &str,
    channel: Channel,
    variables: &Value,
    brand: &Brand,
    category: Category,
) -> Result<Rendered, RenderError> {
    let mut context = RenderContext::new(variables, brand, category);
    context.zone = Some("America/Chicago");
    context.unsubscribe_url = Some(UNSUBSCRIBE);
    builtin(name, channel).unwrap().compiled().render(&context)
}

fn render(info: &MessageTypeInfo, channel: Channel, variables: &Value) -> Result<Rendered, RenderError> {
    render_as(info.name, channel, variables, &dealership(), info.category)
}

fn sms(name: &str, variables: &Value) -> String {
    let info = LIFECYCLE.iter().find(|info| info.name == name).unwrap();
    text_of(render(info, Channel::Sms, variables).unwrap())
}

fn with(mut variables: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else {
        panic!("changes are an object")
    };
    variables.as_object_mut().unwrap().extend(changes);
    variables
}

fn without(mut variables: Value, name: &str) -> Value {
    variables.as_object_mut().unwrap().remove(name);
    variables
}

/// Everything a type's documented variables can hold, the built-in variants aside.
fn everything(info: &MessageTypeInfo) -> Value {
    let full = sample(info.name).unwrap();
    if info.name == "educational_content" {
        return with(
            full,
            json!({"tip_title": "Check the shear pins", "tip_body": "One line.\nAnother.\n\nA second paragraph."}),
        );
    }
    full
}

/// The contexts a campaign may bring: all, the least, every one optional variable more or fewer, every variant.
fn contexts(info: &MessageTypeInfo) -> Vec<Value> {
    let (full, bare) = (everything(info), least(info.name).unwrap());
    let mut contexts = vec![full.clone(), bare.clone(), sample(info.name).unwrap()];
    for variable in info.variables.iter().filter(|variable| !variable.required) {
        contexts.push(without(full.clone(), variable.name));
        contexts.push(with(
            bare.clone(),
            json!({variable.name: full[variable.name].clone()}),
        ));
    }
    match info.name {
        "seasonal_reminder" => {
            for season in ["spring", "Spring", "fall", "autumn", "winter"] {
                contexts.push(with(full.clone(), json!({"season": season})));
                contexts.push(with(bare.clone(), json!({"season": season})));
            }
            contexts.push(with(full.clone(), json!({"equipment_list": []})));
            contexts.push(with(full, json!({"equipment_list": ["Honda outboard"]})));
        }
        "educational_content" => {
            for part in 1..=6 {
                contexts.push(with(bare.clone(), json!({"part": part})));
                contexts.push(with(bare.clone(), json!({"part": part.to_string()})));
            }
            contexts.push(with(full, json!({"part": 7})));
        }
        _ => {}
    }
    contexts
}

/// What a reader sees of HTML: text, with a sign where each tag stood.
fn visible(html: &str) -> String {
    let body = html.split_once("<body").unwrap().1;
    let mut out = String::new();
    for piece in body.split('<').skip(1) {
        let text = piece.split_once('>').unwrap().1;
        write!(out, "|{text}").unwrap();
    }
    out
}

fn assert_clean(label: &str, text: &str) {
    for flaw in [
        "None",
        "undefined",
        "null",
        "{{",
        "{%",
        " ,",
        " .",
        " ?",
        "..",
        ",,",
        "()",
        ": |",
        " \n",
    ] {
        assert!(!text.contains(flaw), "{label}: {flaw:?} in {text}");
    }
}

fn assert_no_empty_paragraph(label: &str, html: &str) {
    for before in html.split("</p>") {
        let before = before.trim_end();
        let opened = before.rfind('<').map_or("", |at| &before[at..]);
        let empty = before.ends_with('>') && (opened.starts_with("<p ") || opened.starts_with("<p>"));
        assert!(!empty, "{label}: an empty paragraph in {html}");
    }
}

#[test]
fn every_type_is_written_for_every_channel() {
    assert_eq!(LIFECYCLE.len(), 14);
    for info in LIFECYCLE {
        for channel in Channel::ALL {
            assert!(builtin(info.name, *channel).is_some(), "{} {channel}", info.name);
        }
        let documented = |name: &String| info.variables.iter().any(|variable| variable.name == name);
        let everything = everything(info);
        assert!(
            everything.as_object().unwrap().keys().all(documented),
            "{}",
            info.name
        );
        for variable in info.variables {
            assert!(
                everything.get(variable.name).is_some(),
                "{} {}",
                info.name,
                variable.name
            );
        }
    }
}

#[test]
fn nothing_a_campaign_brings_or_leaves_out_makes_a_hole() {
    let bare_brand = Brand::default();
    for info in LIFECYCLE {
        for (index, variables) in contexts(info).iter().enumerate() {
            for channel in Channel::ALL {
                let label = format!("{} {channel} {index}", info.name);
                let rendered = match render(info, *channel, variables) {
                    Ok(rendered) => rendered,
                    Err(error) => panic!("{label}: {error}"),
                };
                // A sender without phone, address and site writes whole sentences too.
                let lone = render_as(info.name, *channel, variables, &bare_brand, Category::Service);
                for rendered in [rendered, lone.unwrap()] {
                    let Rendered::Email { subject, html, text } = rendered else {
                        let body = text_of(rendered);
                        assert_clean(&label, &body);
                        assert!(
                            !body.contains("  ") && !body.contains("\n\n\n"),
                            "{label}: {body:?}"
                        );
                        continue;
                    };
                    let html = html.unwrap();
                    let seen = visible(&html);
                    assert_clean(&label, &subject);
                    assert_clean(&label, &seen);
                    assert_no_empty_paragraph(&label, &html);
                    assert!(!subject.contains("  ") && !seen.contains("  "), "{label}: {seen}");
                    // Cells of a row stand two spaces apart in the text part; nothing else does.
                    for line in text.lines() {
                        let gaps = line.trim_start().matches("  ").count();
                        assert!(gaps <= 1 && !line.contains("   "), "{label}: {line:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_missing_required_variable_is_named_on_every_channel() {
    for info in LIFECYCLE {
        for variable in info.variables.iter().filter(|variable| variable.required) {
            let variables = without(sample(info.name).unwrap(), variable.name);
            for channel in Channel::ALL {
                let error = render(info, *channel, &variables).unwrap_err();
                let RenderError::MissingVariables { names, .. } = &error else {
                    panic!("{} {channel}: {error}", info.name)
                };
                assert_eq!(names, &[variable.name], "{} {channel}", info.name);
            }
        }
    }
}

#[test]
fn html_in_values_is_text() {
    let hostile = "<b onclick=\"x\">Dana & 'Co'</b>";
    for info in LIFECYCLE {
        let variables = with(everything(info), json!({"customer_name": hostile}));
        let (_, html, text) = mail(render(info, Channel::Email, &variables).unwrap());
        assert!(!html.contains("<b onclick"), "{}: {html}", info.name);
        assert!(
            html.contains("&lt;b onclick=&quot;x&quot;&gt;Dana &amp; &#39;Co&#39;&lt;/b&gt;"),
            "{}: {html}",
            info.name
        );
        assert!(text.contains(hostile), "{}: {text}", info.name);
    }
}

/// Every variant of the sample, and the same with names and addresses as long as they usually get.
#[test]
fn an_sms_is_one_segment_of_the_seven_bit_alphabet() {
    for info in LIFECYCLE {
        let mut long =
            json!({"customer_name": "Bartholomew Anders", "equipment": "Harley-Davidson Road Glide"});
        for link in ["link", "booking_url", "survey_url", "payment_url"] {
            if info.variables.iter().any(|variable| variable.name == link) {
                long[link] = json!("https://www.example.com/b/7K2M");
            }
        }
        let mut all = contexts(info);
        all.extend(
            contexts(info)
                .into_iter()
                .map(|context| with(context, long.clone())),
        );
        for variables in all {
            let body = sms(info.name, &variables);
            let cost = segment(&body);
            assert!(
                cost.encoding == Encoding::Gsm7 && cost.segments == 1,
                "{}: {cost:?} {body}",
                info.name
            );
        }
    }
}

#[test]
fn marketing_shows_the_way_out_and_service_does_not_pretend_to_be_it() {
    for info in LIFECYCLE {
        let variables = sample(info.name).unwrap();
        let marketing = info.category == Category::Marketing;
        let (_, html, text) = mail(render(info, Channel::Email, &variables).unwrap());
        assert_eq!(html.contains(UNSUBSCRIBE), marketing, "{}", info.name);
        assert_eq!(text.contains(UNSUBSCRIBE), marketing, "{}", info.name);
        assert!(html.contains("210 Mill Road, Springfield"), "{}", info.name);
        for channel in [Channel::Sms, Channel::Whatsapp, Channel::WhatsappWeb] {
            let body = text_of(render(info, channel, &variables).unwrap());
            assert_eq!(
                body.contains("Reply STOP to end"),
                marketing,
                "{}: {body}",
                info.name
            );
        }
        if marketing {
            let error = render_as(
                info.name,
                Channel::Email,
                &variables,
                &Brand::default(),
                info.category,
            );
            assert!(
                matches!(error, Err(RenderError::NotLawful { .. })),
                "{}",
                info.name
            );
        }
    }
}

#[test]
fn an_appointment_is_told_in_the_readers_zone() {
    let (variables, brand) = (sample("appointment_confirmation").unwrap(), dealership());
    let told = |zone, channel| {
        let mut context = RenderContext::new(&variables, &brand, Category::Transactional);
        context.zone = zone;
        text_of(
            builtin("appointment_confirmation", channel)
                .unwrap()
                .compiled()
                .render(&context)
                .unwrap(),
        )
    };
    assert!(told(Some("America/Chicago"), Channel::Sms).contains("May 20 at 9:30 am"));
    assert!(told(Some("Australia/Sydney"), Channel::Sms).contains("May 21 at 12:30 am"));
    assert!(told(Some("Australia/Sydney"), Channel::Whatsapp).contains("Friday, May 21, 2027, 12:30 am"));
    assert!(told(Some("America/Chicago"), Channel::Email).contains("Time  9:30 am"));
    assert!(told(None, Channel::Sms).contains("2:30 pm"));
    // A day alone is no appointment.
    let day = with(variables.clone(), json!({"starts_at": "2027-05-20"}));
    let error = render_as(
        "appointment_confirmation",
        Channel::Sms,
        &day,
        &brand,
        Category::Transactional,
    );
    assert!(error.unwrap_err().to_string().contains("takes an instant"));
}

#[test]
fn each_season_has_its_own_words() {
    let told = |season: &str| {
        let info = LIFECYCLE
            .iter()
            .find(|info| info.name == "seasonal_reminder")
            .unwrap();
        let variables = with(sample("seasonal_reminder").unwrap(), json!({"season": season}));
        mail(render(info, Channel::Email, &variables).unwrap())
    };
    let (subject, _, text) = told("spring");
    assert!(
        subject.starts_with("Spring") && text.contains("After a winter at rest"),
        "{text}"
    );
    assert!(
        text.contains("Husqvarna Z254 mower, Stihl FS 91 trimmer and Kubota BX23 tractor are ready"),
        "{text}"
    );
    let (subject, _, text) = told("fall");
    assert!(
        subject.starts_with("Before winter") && text.contains("Before it stands still"),
        "{text}"
    );
    assert_eq!(told("autumn").2, text);
    let (subject, _, text) = told("summer");
    assert!(
        subject.ends_with("ready for summer?") && text.starts_with("Ready for summer"),
        "{text}"
    );
}

#[test]
fn tips_are_six_and_a_tenants_own_replace_them() {
    let info = LIFECYCLE
        .iter()
        .find(|info| info.name == "educational_content")
        .unwrap();
    let least = least(info.name).unwrap();
    let mut subjects = std::collections::BTreeSet::new();
    for part in 1..=6 {
        let variables = with(least.clone(), json!({"part": part}));
        let (subject, _, text) = mail(render(info, Channel::Email, &variables).unwrap());
        let heading = subject.split_once(": ").unwrap().1.to_owned();
        assert!(text.contains(&format!("\n{heading}\n")), "{text}");
        subjects.insert(heading);
    }
    assert_eq!(subjects.len(), 6);
    for channel in Channel::ALL {
        let error = render(info, *channel, &with(least.clone(), json!({"part": 7}))).unwrap_err();
        assert!(error.to_string().contains("\"tip_body\""), "{channel}: {error}");
    }
    let own = json!({"tip_title": "Trim tabs", "tip_body": "Check <them>.\n\nThen go."});
    let (subject, html, _) = mail(render(info, Channel::Email, &with(least, own)).unwrap());
    assert_eq!(subject, "Owner's tip 2: Trim tabs");
    assert!(
        html.contains("Check &lt;them&gt;.</p>") && html.contains("Then go.</p>"),
        "{html}"
    );
    assert!(!html.contains("Fuel ages"), "{html}");
}

#[test]
fn replies_stand_in_for_missing_links() {
    for (name, words) in [
        ("post_service_survey", "A short reply helps us"),
        ("annual_tuneup", "Reply to book"),
        ("warranty_expiration", "Reply"),
        ("invoice_reminder", "Paid already? Thank you!"),
    ] {
        let body = sms(name, &least(name).unwrap());
        assert!(body.contains(words) && !body.contains("http"), "{body}");
    }
    let info = LIFECYCLE
        .iter()
        .find(|info| info.name == "trade_in_alert")
        .unwrap();
    let (_, _, text) = mail(render(info, Channel::Email, &least(info.name).unwrap()).unwrap());
    assert!(
        text.contains("Reply to this message or call (555) 010-4477."),
        "{text}"
    );
}

fn repository_file(path: &str) -> String {
    let file = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn names(info: &MessageTypeInfo, required: bool) -> String {
    info.variables
        .iter()
        .filter(|variable| variable.required == required)
        .map(|variable| format!("`{}`", variable.name))
        .collect::<Vec<_>>()
        .join(", ")
}

#[test]
fn the_documentation_lists_exactly_these_types() {
    let page = repository_file("docs/lifecycle-messages.md");
    let rows: Vec<String> = LIFECYCLE
        .iter()
        .map(|info| {
            format!(
                "| `{}` | {} | {}, {} | {} | {} |",
                info.name,
                info.purpose,
                info.category.as_str(),
                info.urgency.as_str(),
                names(info, true),
                names(info, false)
            )
        })
        .collect();
    let documented: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(documented, rows);
}

/// A model is told of every fact its type has and of no other, and how long its text may be.
#[test]
fn prompts_name_the_facts_of_their_type() {
    for info in LIFECYCLE {
        // Appointments and invoices say what is so, in words nobody varies.
        if info.category == Category::Transactional {
            continue;
        }
        let prompt = repository_file(&format!("templates/prompts/{}.md", info.name));
        for section in [
            "Purpose",
            "Tone",
            "Facts that may be used",
            "What must not be said",
            "Length",
        ] {
            assert!(
                prompt.contains(&format!("\n## {section}\n")),
                "{}: {section}",
                info.name
            );
        }
        for limit in [
            "60 to 140 words",
            "at most 160 characters",
            "No invented facts",
            "No prices",
            "No promises",
            "No links",
        ] {
            assert!(prompt.contains(limit), "{}: {limit}", info.name);
        }
        for variable in info.variables {
            assert!(
                prompt.contains(&format!("- `{}`: ", variable.name)),
                "{}: {}",
                info.name,
                variable.name
            );
        }
        for name in prompt.split('`').skip(1).step_by(2) {
            let known = name == "brand.name" || info.variables.iter().any(|variable| variable.name == name);
            assert!(known, "{}: {name}", info.name);
        }
        assert_eq!(
            prompt.contains("Reply STOP to end"),
            info.category == Category::Marketing,
            "{}",
            info.name
        );
    }
}
