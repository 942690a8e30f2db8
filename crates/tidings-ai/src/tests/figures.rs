//! Figures, days, links and contacts against the facts.

use super::{codes, facts, figure, request};
use crate::facts::Fact;
use crate::request::BaseRole;
use jiff::civil::date;
use rstest::rstest;

#[rstest]
#[case("It is $129.50.")]
#[case("It is 129.50 USD.")]
#[case("It is USD 129.5.")]
#[case("It is US$129.50.")]
#[case("It is 129.50 dollars.")]
#[case("It is １２９.５０ dollars.")]
#[case("You get 10% off.")]
#[case("You get 10 % off.")]
#[case("You get ten percent off.")]
#[case("You get 10 percent off.")]
#[case("You save 10 on it.")]
#[case("It ends June 12.")]
#[case("It ends on Saturday, June 12, 2027.")]
#[case("It ends 12 June 2027.")]
#[case("It ends on the 12th of June.")]
#[case("It ends 6/12/2027.")]
#[case("It ends 2027-06-12.")]
#[case("It ends Jun 12.")]
#[case("It ends in June 2027.")]
#[case("The 2027 season is near.")]
#[case("It is 2 years old.")]
#[case("It is two years old.")]
#[case("Your Lawn King 350 is fine.")]
#[case("Call (555) 010-4477.")]
#[case("Call +1 555 010 4477.")]
#[case("Call 1-555-010-4477.")]
#[case("Call 555.010.4477.")]
#[case("Write to service@greenvalley.example.")]
#[case("See https://book.greenvalley.example/t/8231.")]
#[case("See book.greenvalley.example/t/8231!")]
#[case("See (greenvalley.example), our site.")]
#[case("See www.greenvalley.example.")]
#[case("See https://greenvalley.example")]
#[case("You may stop by, and we march on.")]
fn known_things_pass(#[case] body: &str) {
    assert_eq!(codes(body, &request()), [""; 0], "{body}");
}

#[rstest]
// Amounts.
#[case("It is $129.", "unknown_amount")]
#[case("It is $1,295.0.", "unknown_amount")]
#[case("It is 129.50 euros.", "unknown_amount")]
#[case("It is €129.50.", "unknown_amount")]
#[case("It is 129,50 €.", "unknown_amount")]
#[case("It is $2.", "unknown_amount")]
#[case("It is $ 350.", "unknown_amount")]
#[case("It is CA$129.50.", "unknown_amount")]
#[case("It is XY$129.50.", "unknown_amount")]
#[case("It is 20 US dollars.", "unknown_amount")]
#[case("It is twenty dollars.", "unknown_amount")]
#[case("It is two hundred bucks.", "unknown_amount")]
#[case("It is $2k.", "unknown_amount")]
#[case("It is 5 million dollars.", "unknown_amount")]
#[case("It is 99 cents.", "unknown_amount")]
#[case("It is ٢٠ $.", "unknown_amount")]
#[case("It is 20美元.", "unknown_amount")]
// Shares and discounts.
#[case("You get 15%.", "unknown_percentage")]
#[case("You get 2% off.", "unknown_percentage")]
#[case("You get 15 per cent.", "unknown_percentage")]
#[case("You get %15.", "unknown_percentage")]
#[case("You get fifty percent.", "unknown_percentage")]
#[case("You get twenty-five percent.", "unknown_percentage")]
#[case("You get ５０％.", "unknown_percentage")]
#[case("You get 2 off.", "unknown_percentage")]
#[case("You save 2 on it.", "unknown_percentage")]
#[case("You save up to 350.", "unknown_percentage")]
// Numbers.
#[case("It is 3 years old.", "unknown_number")]
#[case("It is three years old.", "unknown_number")]
#[case("We are here 24/7.", "unknown_number")]
#[case("Use 10W-30 oil.", "unknown_number")]
#[case("It is a King350.", "unknown_number")]
#[case("It takes ½ an hour.", "unknown_number")]
#[case("It takes ② visits.", "unknown_number")]
#[case("It weighs 129.5 kg.", "unknown_number")]
#[case("It has run 10 hours.", "unknown_number")]
#[case("Since 2019 we help.", "unknown_number")]
#[case("It lasts 2.000 hours.", "")]
#[case("It lasts 2,000 hours.", "unknown_number")]
// Days and times.
#[case("It ends June 13.", "unknown_date")]
#[case("It ends June 12, 2028.", "unknown_date")]
#[case("It ends 12/6/2027.", "unknown_date")]
#[case("It ends 2027-06-13.", "unknown_date")]
#[case("It ends in July.", "unknown_date")]
#[case("It ends in May.", "unknown_date")]
#[case("It ends May 12.", "unknown_date")]
#[case("It ends on Monday.", "unknown_date")]
#[case("It ends tomorrow.", "unknown_date")]
#[case("Come next week.", "unknown_date")]
#[case("It ends 2027年6月13日.", "unknown_date")]
#[case("Come at 2 pm.", "unknown_time")]
#[case("Come at 14:30.", "unknown_time")]
#[case("Come at 2:30 p.m. please.", "unknown_time")]
// Links and contacts.
#[case("See https://book.greenvalley.example/t/8232.", "unknown_link")]
#[case("See https://book.greenvalley.example.evil.example/t/8231.", "unknown_link")]
#[case("See http://book.greenvalley.example/t/8231.", "unknown_link")]
#[case("See evil.example.", "unknown_link")]
#[case("See EVIL.COM/path.", "unknown_link")]
#[case("See book.greenvalley.example.", "unknown_link")]
#[case("See www.evil.example.", "unknown_link")]
#[case("See evil。com now.", "unknown_link")]
#[case("See evil[.]com.", "unknown_link")]
#[case("See evil dot com.", "unknown_link")]
#[case("See 203.0.113.7/x.", "unknown_link")]
#[case("See bücher.example.", "unknown_link")]
#[case("See hxxp://evil.example.", "unknown_link")]
#[case("See other:evil.example,now.", "unknown_link")]
#[case("Write to sales@greenvalley.example.", "unknown_email")]
#[case("Follow @greenvalley.", "unknown_email")]
#[case("Write to mailto:x@evil.example.", "unknown_email")]
#[case("Call (555) 010-4478.", "unknown_phone")]
#[case("Call +44 20 7946 0018.", "unknown_phone")]
#[case("Call 010-4477.", "unknown_phone")]
#[case("Call tel:+15550104478.", "unknown_link")]
#[case("Text 40404.", "unknown_number")]
fn unknown_things_are_found(#[case] body: &str, #[case] code: &str) {
    assert_eq!(
        codes(body, &request()).first().copied().unwrap_or_default(),
        code,
        "{body}"
    );
}

#[rstest]
#[case("de", "Es kostet 1.250,50 €.", "")]
#[case("de", "Es kostet 1.250,5 Euro.", "")]
#[case("de", "Es kostet EUR 1250,50.", "")]
#[case("de", "Es kostet 1\u{a0}250,50\u{a0}€.", "")]
#[case("de", "Es kostet 1.250 €.", "unknown_amount")]
#[case("de", "Es kostet 1,250 €.", "unknown_amount")]
#[case("de", "Es endet am 12.06.2027.", "")]
#[case("de", "Es endet am 12.6.", "")]
#[case("de", "Es endet am 12. Juni.", "")]
#[case("de", "Es endet am 13. Juni.", "unknown_date")]
#[case("de", "Es endet am 13.06.2027.", "unknown_date")]
#[case("de", "Sie sparen zwanzig Prozent.", "unknown_percentage")]
#[case("de", "Kommen Sie um 14 Uhr.", "unknown_time")]
#[case("fr", "Cela vous coûte 1 250,50 €.", "")]
#[case("fr", "Cela vous coûte 1\u{202f}250,50 €.", "")]
#[case("fr", "Cela finit le 12 juin 2027.", "")]
#[case("fr", "Vous avez 15 pour cent.", "unknown_percentage")]
#[case("es", "Termina el 12 de junio de 2027.", "")]
#[case("es", "Termina el 13 de junio de 2027.", "unknown_date")]
#[case("en-GB", "It ends 12/06/2027.", "")]
#[case("en-GB", "It is €1,250.50.", "")]
#[case("en-IN", "It is €1,250.50.", "")]
#[case("de-CH", "Es kostet 1'250.50 Euro.", "")]
#[case("ja", "期限は2027年6月12日です。", "")]
#[case("ja", "期限は2027年6月13日です。", "unknown_date")]
#[case("ja", "料金は五千円です。", "unknown_amount")]
#[case("zh", "现在八折。", "unknown_percentage")]
#[case("ar", "السعر ٢٠ €", "unknown_amount")]
#[case("ar", "السعر ١٢٥٠٫٥٠ €", "")]
fn languages_write_figures_their_way(#[case] locale: &str, #[case] body: &str, #[case] code: &str) {
    let mut request = request();
    request.locale = locale.to_owned();
    request.addressee = None;
    request.channel = tidings_core::Channel::Whatsapp;
    request.facts = facts([
        (
            "price",
            Fact::Money {
                amount: figure("1250.50"),
                currency: "EUR".into(),
            },
        ),
        ("until", Fact::Date(date(2027, 6, 12))),
    ]);
    let expect: Vec<&str> = Some(code).filter(|code| !code.is_empty()).into_iter().collect();
    assert_eq!(codes(body, &request), expect, "{body}");
}

#[test]
fn texts_of_the_facts_count_for_figures_but_not_for_links() {
    let mut request = request();
    let note = "20% off until July 4, 8 am to 5 pm, see https://evil.example or call 555-867-5309-11, ask bob@evil.example";
    request.facts = facts([
        ("customer_name", Fact::Name("Anna Smith".into())),
        ("offer", Fact::Text(note.into())),
    ]);
    let found = |body: &str| codes(body, &request);
    assert_eq!(found("You get 20% off until July 4, from 8 am."), [""; 0]);
    assert_eq!(found("See https://evil.example."), ["unknown_link"]);
    assert_eq!(found("Call 555-867-5309-11."), ["unknown_phone"]);
    assert_eq!(found("Write to bob@evil.example."), ["unknown_email"]);
}

#[test]
fn the_template_counts_only_where_it_is_a_source() {
    let mut request = request();
    let body = "Reply within 14 days for 20% off at https://other.example/x.";
    assert_eq!(
        codes(body, &request),
        ["unknown_link", "unknown_number", "unknown_percentage"]
    );
    request.base.role = BaseRole::Source;
    assert_eq!(codes(body, &request), [""; 0]);
}
