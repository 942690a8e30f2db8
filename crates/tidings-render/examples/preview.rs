//! Writes every built-in template, rendered with its sample and with the least it takes, into a folder to look at.
//!
//! `cargo run -p tidings-render --example preview -- FOLDER`

use std::path::PathBuf;
use tidings_render::message_types::LIFECYCLE;
use tidings_render::sample::{least, sample};
use tidings_render::{Brand, Color, RenderContext, Rendered, builtins};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("give the folder to write to")?);
    std::fs::create_dir_all(&folder)?;
    let planner = Brand {
        name: "Planiva".to_owned(),
        website_url: Some("https://planiva.example.com".to_owned()),
        support_email: Some("hello@planiva.example.com".to_owned()),
        support_phone: Some("+33 4 50 00 00 00".to_owned()),
        postal_address: Some("12 Rue du Lac, 74000 Annecy, France".to_owned()),
        ..Brand::default()
    };
    let dealership = Brand {
        name: "Hillcrest Outdoor".to_owned(),
        color: Color::new(0xb4, 0x53, 0x09),
        website_url: Some("https://hillcrest.example.com".to_owned()),
        support_email: Some("service@hillcrest.example.com".to_owned()),
        support_phone: Some("(555) 010-4477".to_owned()),
        postal_address: Some("210 Mill Road, Springfield, IL 62701".to_owned()),
        ..Brand::default()
    };
    for template in builtins() {
        for (context, suffix) in [
            (sample(template.message_type()), ""),
            (least(template.message_type()), "-least"),
        ] {
            let name = format!("{}-{}{suffix}", template.message_type(), template.channel());
            let variables = context.ok_or("a built-in type has no sample")?;
            let of_lifecycle = LIFECYCLE.contains(template.info());
            let brand = if of_lifecycle { &dealership } else { &planner };
            let mut context = RenderContext::new(&variables, brand, template.info().category);
            context.zone = Some(if of_lifecycle {
                "America/Chicago"
            } else {
                "Europe/Paris"
            });
            context.unsubscribe_url = Some("https://planiva.example.com/unsubscribe/x");
            context.preference_url = Some("https://planiva.example.com/preferences/x");
            match template.compiled().render(&context)? {
                Rendered::Email { subject, html, text } => {
                    let text = format!("Subject: {subject}\n\n{text}\n");
                    std::fs::write(folder.join(format!("{name}.txt")), text)?;
                    std::fs::write(folder.join(format!("{name}.html")), html.unwrap_or_default())?;
                }
                Rendered::Text { body } => std::fs::write(folder.join(format!("{name}.txt")), body)?,
            }
        }
    }
    Ok(())
}
