//! Click and open tracking.

use crate::support::{brand, compiled, email, mail};
use serde_json::json;
use std::sync::Mutex;
use tidings_core::Category;
use tidings_render::RenderContext;

#[test]
fn links_to_follow_are_rewritten_and_the_others_left_alone() {
    let body = "<p><a class=\"button\" href=\"https://example.com/a?x=1&amp;y=2\">A</a>\
                <a href=\"{{ url }}\">B</a><a href=\"mailto:a@example.com\">C</a><a href=\"tel:+33\">D</a>\
                <a data-track=\"off\" href=\"https://example.com/quiet\">E</a>\
                <a href=\"{{ mail.preference_url }}\">F</a><a href=\"#top\">G</a> {{ name }}</p>";
    let template = compiled(&email("S", body));
    let brand = tidings_render::Brand {
        website_url: None,
        ..brand()
    };
    let variables =
        json!({"url": "https://example.com/b?q='\"<", "name": "<a href=\"https://evil.example.com\">"});
    let seen = Mutex::new(Vec::new());
    let track = |url: &str| {
        seen.lock().unwrap().push(url.to_owned());
        format!("https://t.example.com/c/{}&\"", seen.lock().unwrap().len())
    };
    let mut context = RenderContext::new(&variables, &brand, Category::Marketing);
    context.unsubscribe_url = Some("https://t.example.com/u/1");
    context.preference_url = Some("https://t.example.com/p/1");
    context.track_link = Some(&track);
    context.open_pixel_url = Some("https://t.example.com/o/1?a&b");
    let (_, html, text) = mail(template.render(&context).unwrap());
    assert_eq!(
        *seen.lock().unwrap(),
        ["https://example.com/a?x=1&y=2", "https://example.com/b?q='\"<"]
    );
    for part in [
        "href=\"https://t.example.com/c/1&amp;&quot;\"",
        "href=\"https://t.example.com/c/2&amp;&quot;\"",
        "href=\"mailto:a@example.com\"",
        "href=\"tel:+33\"",
        "href=\"https://example.com/quiet\"",
        "href=\"https://t.example.com/p/1\"",
        "href=\"https://t.example.com/u/1\"",
        "href=\"#top\"",
        "<img src=\"https://t.example.com/o/1?a&amp;b\" width=\"1\" height=\"1\" alt=\"\"",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    assert!(html.find("/o/1").unwrap() < html.find("</body>").unwrap());
    assert!(
        text.contains("https://example.com/a?x=1&y=2"),
        "the text part keeps its links: {text}"
    );
    assert!(!text.contains("/c/"), "{text}");
}
