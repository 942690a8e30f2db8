//! HTML, MJML and whole documents: what comes out has the shape of what went in.

use crate::support::{brand, compiled, email, html_of, mail, refused, render};
use serde_json::json;
use tidings_core::Category;
use tidings_render::{Format, RenderContext, TemplateSource};

#[test]
fn statements_stay_where_they_stand() {
    let body = "<table><tbody>{% for r in rows %}<tr>{% if r.b %}<td>{{ r.a }}</td>{% else %}<td>-</td>{% endif %}</tr>\
                {% endfor %}</tbody></table>";
    let html = html_of(
        body,
        &json!({"rows": [{"a": 1, "b": true}, {"a": 2, "b": false}]}),
    );
    assert!(
        html.contains(">1</td></tr><tr><td>-</td></tr></tbody></table>"),
        "{html}"
    );
    assert!(!html.contains("<!--"), "{html}");
}

#[test]
fn the_authors_styles_are_inlined_and_media_queries_kept() {
    let body = "<style>.x { color: #123456 } @media (max-width: 400px) { .x { color: red } }</style><p class=\"x\">a</p>";
    let html = html_of(body, &json!({}));
    assert!(html.contains("color: #123456"), "{html}");
    assert!(html.contains("@media (max-width: 400px)"), "{html}");
    assert!(html.contains("@media (prefers-color-scheme: dark)"), "{html}");
}

#[test]
fn mjml_becomes_html_with_its_code_in_place() {
    let body = "<mjml><mj-head><mj-title>{{ mail.subject }}</mj-title></mj-head><mj-body>\
                {% for item in items %}<mj-section><mj-column><mj-text>{{ item.name }} &amp; more</mj-text>\
                <mj-button href=\"{{ item.url }}\" background-color=\"{{ brand.color }}\">Go</mj-button>\
                </mj-column></mj-section>{% endfor %}</mj-body></mjml>";
    let source = TemplateSource {
        format: Format::Mjml,
        ..email("S", body)
    };
    let variables = json!({"items": [
        {"name": "A<1>", "url": "https://example.com/a?x=1&y=2"}, {"name": "B", "url": "https://example.com/b"},
    ]});
    let (_, html, text) = mail(render(&source, &variables).unwrap());
    assert!(html.contains("A&lt;1&gt; &amp; more"), "{html}");
    assert!(
        html.contains("href=\"https://example.com/a?x=1&amp;y=2\""),
        "{html}"
    );
    assert!(html.contains("#0f766e"), "{html}");
    assert!(!html.contains("mj-") || !html.contains("<mj-"), "{html}");
    assert!(html.contains("12 Rue du Lac"), "the footer is there: {html}");
    assert!(
        text.contains("A<1> & more\n\nGo (https://example.com/a?x=1&y=2)\n\nB & more"),
        "{text}"
    );
    let bad = json!({"items": [{"name": "A", "url": "javascript:x"}]});
    assert!(render(&source, &bad).is_err());
    assert!(
        refused(&TemplateSource {
            body: "<mj-text>x</mj-text>".to_owned(),
            ..source.clone()
        })
        .problem
        .contains("MJML")
    );
    let include = "<mjml><mj-body><mj-include path=\"/etc/passwd\" /></mj-body></mjml>";
    assert!(
        refused(&TemplateSource {
            body: include.to_owned(),
            ..source
        })
        .problem
        .contains("not allowed")
    );
}

#[test]
fn whole_documents_keep_their_frame_and_get_the_footer() {
    let body =
        "<!DOCTYPE html><html><head><title>T</title></head><body><p>Hello {{ name }}</p></body></html>";
    let template = compiled(&email("S", body));
    let (variables, brand) = (json!({"name": "Zoë"}), brand());
    let mut context = RenderContext::new(&variables, &brand, Category::Marketing);
    context.unsubscribe_url = Some("https://t.example.com/u");
    let (_, html, text) = mail(template.render(&context).unwrap());
    assert_eq!(html.matches("<body").count(), 1, "{html}");
    assert!(
        html.contains("href=\"https://t.example.com/u\"") && html.contains("12 Rue du Lac"),
        "{html}"
    );
    assert!(text.starts_with("Hello Zoë\n"), "{text}");
}

#[test]
fn text_is_derived_from_html() {
    let body = "<div class=\"preheader\">hidden</div><h1>Title</h1><p>One <b>two</b>\n three&nbsp;&amp; four.</p>\
                <ul>{% for x in list %}<li>{{ x }}</li>{% endfor %}</ul>\
                <p><a href=\"https://example.com/{{ id }}\">Open</a> <a href=\"mailto:a@example.com\">a@example.com</a></p>\
                <div aria-hidden=\"true\">no</div><img src=\"https://example.com/i.png\" alt=\"A picture\">";
    let variables = json!({"list": ["<a>", "b"], "id": "x y"});
    let (_, _, text) = mail(render(&email("S", body), &variables).unwrap());
    assert!(
        text.starts_with(
            "Title\n\nOne two three\u{a0}& four.\n\n- <a>\n- b\n\nOpen (https://example.com/x%20y) a@example.com\n\nA picture"
        ),
        "{text}"
    );
    let own = TemplateSource {
        text_body: Some("Own {{ id }}".to_owned()),
        ..email("S", body)
    };
    let (_, _, text) = mail(render(&own, &variables).unwrap());
    assert!(text.starts_with("Own x y\n\n--\nPlaniva"), "{text}");
}

#[test]
fn references_do_not_become_code() {
    let html = "<p>&#123;&#123; name &#125;&#125; &#123;% if %&#125;</p>";
    let (_, html, text) = mail(render(&email("S", html), &json!({})).unwrap());
    assert!(html.contains(">&#123;&#123; name }} &#123;% if %}</p>"), "{html}");
    assert!(text.starts_with("{{ name }} {% if %}"), "{text}");
}

#[test]
fn plain_text_mail_has_no_html() {
    let source = TemplateSource {
        format: Format::Text,
        ..email("S {{ a }}", "Hello {{ a }}")
    };
    let rendered = render(&source, &json!({"a": "<x>"})).unwrap();
    let tidings_render::Rendered::Email { html, text, .. } = rendered else {
        panic!("not an e-mail")
    };
    assert!(html.is_none());
    assert!(text.starts_with("Hello <x>\n\n--\n"), "{text}");
}

#[test]
fn direction_and_language_follow_the_locale() {
    let source = TemplateSource {
        locale: "he".to_owned(),
        ..email("S", "<p>x</p>")
    };
    let (_, html, _) = mail(render(&source, &json!({})).unwrap());
    assert!(
        html.contains("lang=\"he\"") && html.contains("dir=\"rtl\""),
        "{html}"
    );
}
