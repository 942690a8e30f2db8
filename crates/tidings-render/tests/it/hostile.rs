//! Hostile values and hostile templates: no effect, no reach, bounded work.

use crate::support::{brand, email, html_of, mail, render, sms, text_of};
use proptest::prelude::*;
use serde_json::json;
use tidings_core::Category;
use tidings_render::{RenderContext, RenderError, builtins, compile, sample::sample};

/// Payloads of template injection for the usual engines.
const PAYLOADS: &[&str] = &[
    "{{ 7*7 }}",
    "{{7*'7'}}",
    "${7*7}",
    "<%= 7*7 %>",
    "#{7*7}",
    "*{7*7}",
    "{{ config }}",
    "{{ self }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ request.application.__globals__.__builtins__.__import__('os').popen('id').read() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ env(\"DB_ENCRYPTION_KEY\") }}",
    "{{ debug() }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% for i in range(1000000000) %}x{% endfor %}",
    "{%- set a = 1 -%}",
    "{# comment #}",
    "{{ brand }}{{ mail.unsubscribe_url }}",
    "{{{{ name }}}}",
    "{% raw %}{{ x }}{% endraw %}",
    "\u{E0F0}0\u{E0F1}",
    "\u{E0F0}1\u{E0F1}<!--\u{E0F0}2\u{E0F1}-->",
    "<!--body-->",
    "<!--preheader-->",
];

#[test]
fn payloads_in_values_are_text() {
    let source = email("x", "<p title=\"{{ name }}\">{{ name }}</p>");
    let bare = sms("[{{ name }}]");
    for payload in PAYLOADS {
        let variables = json!({"name": payload});
        let escaped = payload
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
            .replace('\'', "&#39;");
        let (_, html, text) = mail(render(&source, &variables).unwrap());
        assert!(
            html.contains(&format!("title=\"{escaped}\"")),
            "{payload}: {html}"
        );
        assert!(html.contains(&format!(">{escaped}</p>")), "{payload}");
        assert!(text.contains(payload), "{payload}: {text}");
        assert_eq!(
            text_of(render(&bare, &variables).unwrap()),
            format!("[{payload}]")
        );
    }
}

#[test]
fn payloads_in_every_variable_of_every_builtin_are_text() {
    let brand = brand();
    for template in builtins() {
        let mut variables = sample(template.message_type()).unwrap();
        let expected = replace_texts(&mut variables);
        let context = RenderContext::new(&variables, &brand, Category::Service);
        let rendered = template.compiled().render(&context);
        if expected == 0 {
            continue;
        }
        let (html, text) = match rendered.unwrap() {
            tidings_render::Rendered::Email { html, text, .. } => (html.unwrap_or_default(), text),
            tidings_render::Rendered::Text { body } => (String::new(), body),
        };
        assert!(
            !html.contains("<script") && !html.contains("49"),
            "{}",
            template.compiled().label()
        );
        assert!(!text.contains("49"), "{}: {text}", template.compiled().label());
    }
}

/// Replaces every text that is neither a link nor a date; tells how many.
fn replace_texts(value: &mut serde_json::Value) -> usize {
    match value {
        serde_json::Value::String(text) => {
            if text.starts_with("https://") || text.starts_with("20") || text.len() == 3 {
                return 0;
            }
            "{{7*7}}<script>".clone_into(text);
            1
        }
        serde_json::Value::Array(items) => items.iter_mut().map(replace_texts).sum(),
        serde_json::Value::Object(map) => map.values_mut().map(replace_texts).sum(),
        other => {
            *other = json!(1);
            0
        }
    }
}

#[test]
fn payloads_as_templates_reach_nothing() {
    for payload in PAYLOADS {
        let source = sms(payload);
        let Ok(compiled) = compile(&source) else { continue };
        let (variables, brand) = (json!({}), brand());
        match compiled.render(&RenderContext::new(&variables, &brand, Category::Service)) {
            Err(_) => {}
            Ok(rendered) => {
                let text = text_of(rendered);
                assert!(
                    !text.contains("49") && !text.contains("root:") && !text.contains("uid="),
                    "{payload}: {text}"
                );
            }
        }
    }
}

#[test]
fn bombs_are_bounded() {
    let long: Vec<u32> = (0..20_000).collect();
    let variables = json!({"list": long, "big": "x".repeat(300_000), "name": "x"});
    let bombs = [
        "{% for a in list %}{% for b in list %}{% for c in list %}x{% endfor %}{% endfor %}{% endfor %}"
            .to_owned(),
        "{% for a in list %}{{ big }}{% endfor %}".to_owned(),
        "{% for a in list %}{{ big|upper|length }}{% endfor %}".to_owned(),
        "{% for a in list %}{{ list|join|length }}{% endfor %}".to_owned(),
        "{% for a in list %}{% if big == big %}{% endif %}{% endfor %}x".to_owned(),
        "{% for a in list %}{{ big|paragraphs|length }}{% endfor %}".to_owned(),
        format!(
            "{}x{}",
            "{% for a in list %}".repeat(12),
            "{% endfor %}".repeat(12)
        ),
        "{{ big|join(big)|join(big) }}".to_owned(),
        format!("{{{{ name{} }}}}", "|urlencode".repeat(2_000)),
        format!("{{{{ {}name{} }}}}", "(".repeat(500), ")".repeat(500)),
        format!("{{% if a %}}{}x{{% endif %}}", "{% elif a %}".repeat(4_000)),
        format!("{{{{ {}1 }}}}", "-".repeat(2_000)),
        format!("{{{{ {}1 }}}}", "not ".repeat(2_000)),
    ];
    for bomb in &bombs {
        let outcome = compile(&sms(bomb)).ok().map(|compiled| {
            let brand = brand();
            compiled.render(&RenderContext::new(&variables, &brand, Category::Service))
        });
        // Comparing is cheap enough to end well.
        let ends = matches!(outcome, Some(Ok(_)));
        assert_eq!(ends, bomb.contains("=="), "{}", &bomb[..60.min(bomb.len())]);
    }
}

#[test]
fn ten_megabytes_are_refused() {
    let variables = json!({"a": "x".repeat(10 * 1024 * 1024)});
    assert!(matches!(
        render(&sms("{{ a }}"), &variables),
        Err(RenderError::Context { .. })
    ));
    assert!(compile(&sms(&"{{ a }}".repeat(1_500_000))).is_err());
    assert!(compile(&email("S", &"<b>".repeat(80_000))).is_err());
    assert!(compile(&email("S", &"{% if a %}".repeat(20_000))).is_err());
    assert!(compile(&email("S", &"&".repeat(250_000))).is_ok());
}

#[test]
fn links_take_no_foreign_scheme() {
    let source = email(
        "S",
        "<p><a href=\"{{ url }}\">x</a><img src=\"{{ picture }}\" alt=\"\"></p>",
    );
    let good = "https://example.com/a?b=c&d=e#f";
    for url in [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "\tjavascript:alert(1)",
        "java\nscript:alert(1)",
        "\u{1}javascript:alert(1)",
        "data:text/html;base64,PHNjcmlwdD4=",
        "vbscript:x",
        "file:///etc/passwd",
        "//evil.example.com",
        "/relative",
        "https:\\\\evil.example.com",
        "https:///x",
        "",
        "about:blank",
        "https",
    ] {
        let error = render(&source, &json!({"url": url, "picture": good})).unwrap_err();
        assert!(matches!(error, RenderError::Value { .. }), "{url}: {error}");
        assert!(
            render(&source, &json!({"url": good, "picture": url})).is_err(),
            "{url}"
        );
        let literal = format!("<a href=\"{}\">x</a>", url.replace('\n', "&#10;"));
        assert!(compile(&email("S", &literal)).is_err(), "{literal}");
        let encoded = literal.replace("javascript", "&#106;avascript");
        assert!(compile(&email("S", &encoded)).is_err(), "{encoded}");
    }
    assert!(
        render(
            &source,
            &json!({"url": "mailto:a@example.com", "picture": "mailto:a@example.com"})
        )
        .is_err()
    );
    for url in [
        good,
        "http://localhost:3000/x",
        "mailto:a@example.com?subject=x",
        "tel:+33450000000",
        "HTTPS://EXAMPLE.COM",
    ] {
        assert!(
            render(&source, &json!({"url": url, "picture": good})).is_ok(),
            "{url}"
        );
    }
}

#[test]
fn values_cannot_leave_their_place() {
    let variables = json!({"v": "a\"b'c<d>&/../?x=1#", "c": "#ff0000", "evil": "red;background:url(https://e.example.com)"});
    let html = html_of("<p><a href=\"https://example.com/{{ v }}\">x</a></p>", &variables);
    assert!(
        html.contains("https://example.com/a%22b%27c%3Cd%3E%26%2F..%2F%3Fx%3D1%23\""),
        "{html}"
    );
    assert!(html_of("<p style=\"color: {{ c }}\">x</p>", &variables).contains("color: #ff0000"));
    let error = render(&email("S", "<p style=\"color: {{ evil }}\">x</p>"), &variables).unwrap_err();
    assert!(matches!(error, RenderError::Value { .. }), "{error}");
    assert!(compile(&email("S", "<p style=\"{{ evil }}\">x</p>")).is_err());
    assert!(
        render(
            &email("S", "<style>p{color:{{ evil }}}</style><p>x</p>"),
            &variables
        )
        .is_err()
    );
    let chosen = "<a href=\"{% if v %}{{ v }}{% else %}{{ c }}{% endif %}\">x</a>";
    assert!(render(&email("S", chosen), &variables).is_err());
    assert!(compile(&email("S", "<p style=\"width: expression(alert(1))\">x</p>")).is_err());
    assert!(compile(&email("S", "<a href=\"javascript:{{ v }}\">x</a>")).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a value holds, the HTML has the same tags.
    #[test]
    fn no_value_changes_the_markup(name in ".{0,80}") {
        let source = email("x", "<p title=\"{{ name }}\">{{ name }}</p>");
        let variables = json!({"name": name});
        let (_, html, _) = mail(render(&source, &variables).unwrap());
        let (_, plain, _) = mail(render(&source, &json!({"name": "x"})).unwrap());
        prop_assert_eq!(html.matches('<').count(), plain.matches('<').count());
        prop_assert_eq!(html.matches('"').count(), plain.matches('"').count());
    }

    /// Whatever a template holds, compiling and rendering answer.
    #[test]
    fn no_template_panics(body in "([<>/\"'=a-z {}%#&;-]|\\{\\{|\\}\\}|<p|</p>|<a href=\"|\\{% if a %\\}){0,40}") {
        let brand = brand();
        let variables = json!({"a": "x"});
        for source in [email("S", &body), sms(&body)] {
            if let Ok(compiled) = compile(&source) {
                let _ = compiled.render(&RenderContext::new(&variables, &brand, Category::Service));
            }
        }
    }
}
