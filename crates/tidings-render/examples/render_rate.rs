//! Prints how many built-in e-mails per second one core renders, with links tracked.
//!
//! `cargo run --release -p tidings-render --example render_rate [seconds]`

use std::time::{Duration, Instant};
use tidings_core::{Category, Channel};
use tidings_render::{Brand, RenderContext, builtins, sample::sample};

/// Renders looked at between two looks at the clock.
const ROUND: u32 = 50;

fn main() {
    let seconds = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(2_u64);
    let brand = Brand {
        name: "Planiva".to_owned(),
        ..Brand::default()
    };
    let track = |url: &str| format!("https://t.example.com/c/{}", url.len());
    for template in builtins()
        .iter()
        .filter(|template| template.channel() != Channel::WhatsappWeb)
    {
        let Some(variables) = sample(template.message_type()) else {
            continue;
        };
        let mut context = RenderContext::new(&variables, &brand, Category::Service);
        context.track_link = Some(&track);
        context.open_pixel_url = Some("https://t.example.com/o/x.gif");
        let compiled = template.compiled();
        let (begin, mut count) = (Instant::now(), 0_u32);
        while begin.elapsed() < Duration::from_secs(seconds) {
            for _ in 0..ROUND {
                if let Err(error) = compiled.render(&context) {
                    println!("{error}");
                    return;
                }
            }
            count += ROUND;
        }
        let rate = f64::from(count) / begin.elapsed().as_secs_f64();
        println!("{:<40} {rate:>10.0} renders/s", compiled.label());
    }
}
