//! Holes, limits and faults: each refused, with words that help.

use crate::support::{brand, compiled, email, mail, refused, render, sms, text_of};
use serde_json::json;
use tidings_core::{Category, Channel};
use tidings_render::{
    Direct, Format, Part, RenderContext, RenderError, Rendered, TemplateSource, render_direct,
};

#[test]
fn every_missing_variable_is_named_at_once() {
    let source = email(
        "{{ first }}",
        "<p>{{ second }}</p>{% for v in vendors %}<p>{{ v.name }} {{ v.price|money }}</p>{% endfor %}{{ a.b }}",
    );
    let variables = json!({"vendors": [{"name": "x", "price": 1}, {"price": null}], "a": {}});
    let error = render(&source, &variables).unwrap_err();
    let RenderError::MissingVariables { names, template } = &error else {
        panic!("{error}")
    };
    assert_eq!(template, "note/email/en");
    assert_eq!(
        names,
        &["a.b", "first", "second", "vendors[1].name", "vendors[1].price"]
    );
    assert!(
        error.to_string().contains("add them to the message's context"),
        "{error}"
    );
}

#[test]
fn optional_variables_are_asked_for_and_defaults_are_written_out() {
    let source = sms("{% if a is defined %}{{ a }}{% else %}none{% endif %} {{ b|default('x') }}");
    assert_eq!(text_of(render(&source, &json!({})).unwrap()), "none x");
    assert_eq!(
        text_of(render(&source, &json!({"a": 1, "b": ""})).unwrap()),
        "1 x"
    );
    assert!(matches!(
        render(&sms("{% if a %}x{% endif %}y"), &json!({})),
        Err(RenderError::MissingVariables { names, .. }) if names == ["a"]
    ));
    let unused = render(&sms("{% if a is defined %}{{ a }}{% endif %}{{ b }}"), &json!({})).unwrap_err();
    assert!(matches!(unused, RenderError::MissingVariables { names, .. } if names == ["b"]));
}

#[test]
fn null_is_missing_and_lists_are_not_printed() {
    assert!(matches!(
        render(&sms("{{ a }}"), &json!({"a": null})),
        Err(RenderError::MissingVariables { .. })
    ));
    for value in [json!([1]), json!({"a": 1}), json!(true)] {
        let error = render(&sms("{{ a }}"), &json!({"a": value})).unwrap_err();
        assert!(matches!(&error, RenderError::Value { .. }), "{error}");
    }
}

#[test]
fn compiled_template_lists_its_variables() {
    let compiled = compiled(&email(
        "{{ a }} {{ brand.name }}",
        "<p>{% for x in list %}{{ x.y }}{{ loop.index }}{% endfor %}{{ mail.locale }}</p>",
    ));
    assert_eq!(compiled.variables().iter().collect::<Vec<_>>(), ["a", "list"]);
}

#[test]
fn faults_name_template_part_and_line() {
    let cases = [
        ("<p>\n{{ a", 2, "never closed"),
        ("<p>\n\n{% set a = 1 %}</p>", 3, "not allowed"),
        ("<p>{{\n\n a }}</p>\n<div>", 4, "never closed"),
        ("<p>x</div>", 1, "closes <p>"),
        ("a\n{{ a|nope }}", 2, "nope"),
        (
            "<table>\n{% for a in b %}<tr></tr>{% endfor %}</table>",
            2,
            "<tbody>",
        ),
        ("<table><tbody>\ntext</tbody></table>", 1, "<td>"),
        ("<p>\n<div></div></p>", 2, "cannot stand in <p>"),
        ("<script>x</script>", 1, "not allowed"),
        ("<a href=\"x\" onclick=\"y\">z</a>", 1, "onclick"),
        ("<p {{ a }}>x</p>", 1, "inside a tag"),
        ("{% if a %}\n<p>{% endif %}</p>", 2, "keep elements whole"),
        ("<p>{% if a %}</p>", 1, ""),
        ("\n<!-- {{ a }} --><p>x</p>", 2, "comment"),
        ("<div/>", 1, "does not close itself"),
        ("<a href={{ x }}>y</a>", 1, "quotes"),
    ];
    for (body, line, words) in cases {
        let error = refused(&email("S", body));
        assert_eq!(error.part, Part::Body, "{body}");
        assert!(error.problem.contains(words), "{body}: {error}");
        assert!(error.line.is_none_or(|found| found == line), "{body}: {error}");
        assert!(
            error.to_string().starts_with("template note/email/en, body"),
            "{error}"
        );
    }
    let error = refused(&TemplateSource {
        text_body: Some("x\n{{ y".to_owned()),
        ..email("S", "<p>x</p>")
    });
    assert_eq!((error.part, error.line), (Part::Text, Some(2)));
}

#[test]
fn parts_belong_to_their_channel() {
    assert_eq!(refused(&email(" ", "<p>x</p>")).part, Part::Subject);
    assert_eq!(refused(&email("a\nb", "<p>x</p>")).part, Part::Subject);
    assert_eq!(
        refused(&email(&"x".repeat(3_000), "<p>x</p>")).part,
        Part::Subject
    );
    assert_eq!(refused(&email("S", " ")).part, Part::Body);
    assert_eq!(
        refused(&TemplateSource {
            subject: Some("S".to_owned()),
            ..sms("x")
        })
        .part,
        Part::Subject
    );
    assert_eq!(
        refused(&TemplateSource {
            format: Format::Html,
            ..sms("x")
        })
        .part,
        Part::Body
    );
    assert!(
        refused(&email("S", &"x".repeat(300_000)))
            .problem
            .contains("256 kB")
    );
}

#[test]
fn a_subject_takes_no_header() {
    let source = email("Hello {{ name }}", "<p>x</p>");
    for name in [
        "a\r\nBcc: x@example.com",
        "a\nb",
        "a\rb",
        "a\0b",
        "a\u{2028}b",
        "a\u{85}b",
    ] {
        let error = render(&source, &json!({"name": name})).unwrap_err();
        assert!(matches!(error, RenderError::Subject { .. }), "{name:?}: {error}");
        assert!(!error.to_string().contains("Bcc"), "{error}");
    }
    assert!(matches!(
        render(&email("{{ name }}", "<p>x</p>"), &json!({"name": "  "})),
        Err(RenderError::Subject { .. })
    ));
    assert!(matches!(
        render(&source, &json!({"name": "x".repeat(300)})),
        Err(RenderError::Subject { .. })
    ));
    let (subject, _, _) = mail(render(&source, &json!({"name": "Zoë & <b>"})).unwrap());
    assert_eq!(subject, "Hello Zoë & <b>");
}

#[test]
fn short_messages_have_a_length() {
    assert!(render(&sms("{{ a }}"), &json!({"a": "é".repeat(1600)})).is_ok());
    assert!(matches!(
        render(&sms("{{ a }}"), &json!({"a": "x".repeat(1601)})),
        Err(RenderError::TooLarge { .. })
    ));
    assert!(matches!(
        render(&sms("{{ a }}"), &json!({"a": " "})),
        Err(RenderError::TooLarge { .. })
    ));
}

#[test]
fn marketing_mail_carries_what_the_law_asks_for() {
    let template = compiled(&email("S", "<p>x</p>"));
    let (variables, brand) = (json!({}), brand());
    let mut context = RenderContext::new(&variables, &brand, Category::Marketing);
    assert!(matches!(
        template.render(&context),
        Err(RenderError::NotLawful { .. })
    ));
    context.unsubscribe_url = Some("https://t.example.com/u/1?a=b&c=d");
    let (_, html, text) = mail(template.render(&context).unwrap());
    for part in [&html, &text] {
        assert!(part.contains("12 Rue du Lac"), "{part}");
        assert!(part.contains("Unsubscribe"), "{part}");
    }
    assert!(html.contains("https://t.example.com/u/1?a=b&amp;c=d"), "{html}");
    assert!(text.contains("https://t.example.com/u/1?a=b&c=d"), "{text}");
    let homeless = tidings_render::Brand {
        postal_address: Some(" ".to_owned()),
        ..brand.clone()
    };
    assert!(matches!(
        template.render(&RenderContext {
            brand: &homeless,
            ..context
        }),
        Err(RenderError::NotLawful { .. })
    ));
}

#[test]
fn direct_texts_are_sent_as_they_are() {
    let (variables, brand) = (json!({}), brand());
    let context = RenderContext::new(&variables, &brand, Category::Service);
    let body = "Hi {{ name }} <b>\r\n{% if x %}\n\nEnd & done";
    for channel in Channel::ALL {
        let rendered = render_direct(&Direct { subject: None, body }, *channel, &context).unwrap();
        match rendered {
            Rendered::Email { subject, html, text } => {
                assert_eq!(subject, "Planiva");
                assert!(
                    html.unwrap()
                        .contains("<p style=\"margin: 0 0 16px;\">Hi {{ name }} &lt;b&gt;<br>{% if x %}</p>")
                );
                assert!(
                    text.starts_with("Hi {{ name }} <b>\n{% if x %}\n\nEnd & done\n"),
                    "{text}"
                );
            }
            Rendered::Text { body } => assert_eq!(body, "Hi {{ name }} <b>\n{% if x %}\n\nEnd & done"),
        }
    }
}

#[test]
fn context_is_a_bounded_object() {
    let source = sms("x {{ a }}");
    for variables in [
        json!([]),
        json!("x"),
        json!(null),
        json!({"a": "x".repeat(600_000)}),
    ] {
        assert!(matches!(
            render(&source, &variables),
            Err(RenderError::Context { .. })
        ));
    }
    let mut deep = json!("x");
    for _ in 0..40 {
        deep = json!([deep]);
    }
    assert!(matches!(
        render(&source, &json!({"a": deep})),
        Err(RenderError::Context { .. })
    ));
}

#[test]
fn values_are_written_as_the_locale_writes_them() {
    let write = |locale: &str, body: &str| {
        let source = TemplateSource {
            locale: locale.to_owned(),
            ..sms(body)
        };
        let variables = json!({
            "n": 1_234_567.5, "w": 1000, "d": "2027-06-12", "t": "2027-06-12T16:05:00Z", "words": "spring 2027",
            "list": ["a", "b", "c"], "one": [1],
        });
        text_of(render(&source, &variables).unwrap())
    };
    assert_eq!(
        write("en", "{{ n|money('USD') }} {{ w|money('usd') }} {{ w|money }}"),
        "$1,234,567.50 $1,000 1,000"
    );
    assert_eq!(
        write("en", "{{ n|money('INR') }} {{ n|money('CHF') }}"),
        "₹12,34,567.50 CHF\u{a0}1,234,567.50"
    );
    assert_eq!(write("de", "{{ n|money('EUR') }}"), "1.234.567,50\u{a0}€");
    assert_eq!(
        write("fr-FR", "{{ w|money('JPY') }} {{ n|number(1) }}"),
        "1\u{202f}000\u{a0}¥ 1\u{202f}234\u{202f}567,5"
    );
    assert_eq!(
        write("en-US", "{{ d|date }}; {{ d|date('short') }}"),
        "Saturday, June 12, 2027; June 12"
    );
    assert_eq!(write("en-GB", "{{ d|date('medium') }}"), "12 June 2027");
    assert_eq!(write("de-AT", "{{ d|date }}"), "Samstag, 12. Juni 2027");
    assert_eq!(write("es", "{{ d|date }}"), "sábado, 12 de junio de 2027");
    assert_eq!(
        write("en", "{{ t|time('America/New_York') }} {{ t|datetime }}"),
        "12:05 pm Saturday, June 12, 2027, 4:05 pm"
    );
    assert_eq!(write("de", "{{ t|time('Asia/Kolkata') }}"), "21:35");
    assert_eq!(
        write("en", "{{ words|date }} {{ list|listing }} {{ list|join('-') }}"),
        "spring 2027 a, b and c a-b-c"
    );
    assert_eq!(
        write(
            "en",
            "{{ one|plural('day', 'days') }} {{ list|plural('day', 'days') }}"
        ),
        "day days"
    );
    assert_eq!(
        write("en", "{{ words|truncate(9) }} {{ words|title }}"),
        "spring... Spring 2027"
    );
    for wrong in [
        "{{ '2027-13-40'|date }}",
        "{{ d|money }}",
        "{{ t|time('Mars/Base') }}",
        "{{ d|time }}",
    ] {
        let error = render(
            &sms(wrong),
            &json!({"d": "2027-06-12", "t": "2027-06-12T16:05:00Z"}),
        )
        .unwrap_err();
        assert!(matches!(error, RenderError::Value { .. }), "{wrong}: {error}");
    }
}
