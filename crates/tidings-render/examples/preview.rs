//! Writes every built-in template, rendered with its sample, into a folder to look at.
//!
//! `cargo run -p tidings-render --example preview -- FOLDER`

use std::path::PathBuf;
use tidings_core::Category;
use tidings_render::{Brand, RenderContext, Rendered, builtins, sample::sample};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("give the folder to write to")?);
    std::fs::create_dir_all(&folder)?;
    let brand = Brand {
        name: "Planiva".to_owned(),
        website_url: Some("https://planiva.example.com".to_owned()),
        support_email: Some("hello@planiva.example.com".to_owned()),
        support_phone: Some("+33 4 50 00 00 00".to_owned()),
        postal_address: Some("12 Rue du Lac, 74000 Annecy, France".to_owned()),
        ..Brand::default()
    };
    for template in builtins() {
        let name = format!("{}-{}", template.message_type(), template.channel());
        let Some(variables) = sample(template.message_type()) else {
            continue;
        };
        let mut context = RenderContext::new(&variables, &brand, Category::Service);
        context.zone = Some("Europe/Paris");
        context.preference_url = Some("https://planiva.example.com/preferences/x");
        match template.compiled().render(&context)? {
            Rendered::Email { subject, html, text } => {
                std::fs::write(
                    folder.join(format!("{name}.txt")),
                    format!("Subject: {subject}\n\n{text}\n"),
                )?;
                std::fs::write(folder.join(format!("{name}.html")), html.unwrap_or_default())?;
            }
            Rendered::Text { body } => std::fs::write(folder.join(format!("{name}.txt")), body)?,
        }
    }
    Ok(())
}
