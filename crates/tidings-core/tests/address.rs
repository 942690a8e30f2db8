//! Addresses that must be taken, and those that must not.
#![expect(clippy::unwrap_used, reason = "tests")]

use rstest::rstest;
use tidings_core::{Address, Channel, EmailAddress, PhoneNumber};

#[rstest]
#[case("a@b.co", "a@b.co")]
#[case("  First.Last+tag@Example.COM ", "First.Last+tag@example.com")]
#[case("o'brien@example.ie", "o'brien@example.ie")]
#[case("x!#$%&*/=?^_`{|}~-y@example.org", "x!#$%&*/=?^_`{|}~-y@example.org")]
#[case("1@2.example", "1@2.example")]
#[case("ü@exämple.de", "ü@exämple.de")]
#[case("a@xn--exmple-cua.de", "a@xn--exmple-cua.de")]
#[case("a@sub.sub2.example.museum", "a@sub.sub2.example.museum")]
#[case("mailto:a@example.com", "a@example.com")]
fn good_mail(#[case] text: &str, #[case] wanted: &str) {
    assert_eq!(EmailAddress::parse(text).unwrap().as_str(), wanted);
}

#[rstest]
#[case("")]
#[case("a")]
#[case("@example.com")]
#[case("a@")]
#[case("a@b")]
#[case("a@b@c.com")]
#[case("a b@example.com")]
#[case("a@exam ple.com")]
#[case(".a@example.com")]
#[case("a.@example.com")]
#[case("a..b@example.com")]
#[case("a@-example.com")]
#[case("a@example-.com")]
#[case("a@example..com")]
#[case("a@.example.com")]
#[case("a@example.com.")]
#[case("a@exa_mple.com")]
#[case("a@192.168.0.1")]
#[case("a@example.123")]
#[case("a,b@example.com")]
#[case("a;b@example.com")]
#[case("<a@example.com>")]
#[case("Name <a@example.com>")]
#[case("a\"b@example.com")]
#[case("a(b)@example.com")]
#[case("a\\b@example.com")]
#[case("a@example.com\r\nBcc: x@example.com")]
#[case("a\u{0}@example.com")]
#[case("a\u{200b}@example.com")]
#[case("a@exam\u{202e}ple.com")]
fn bad_mail(#[case] text: &str) {
    assert!(EmailAddress::parse(text).is_err(), "{text:?}");
}

#[test]
fn mail_lengths() {
    let local = |n: usize| "a".repeat(n);
    assert!(EmailAddress::parse(&format!("{}@example.com", local(64))).is_ok());
    assert!(EmailAddress::parse(&format!("{}@example.com", local(65))).is_err());
    let label = "b".repeat(63);
    assert!(EmailAddress::parse(&format!("a@{label}.com")).is_ok());
    assert!(EmailAddress::parse(&format!("a@b{label}.com")).is_err());
    let long = format!("{}@{label}.{label}.{label}.com", local(64));
    assert!(long.len() > 254 && EmailAddress::parse(&long).is_err());
}

// One test for all: reading the numbering plans takes longer than the cases.
#[test]
fn phones() {
    let cases = [
        ("tel:+1-415-555-2671", None, Some("+14155552671")),
        ("+1 (415) 555-2671", None, Some("+14155552671")),
        ("\u{202a}+14155552671\u{202c}", None, Some("+14155552671")),
        ("+44 (0)20 7946 0958", None, Some("+442079460958")),
        ("06 12 34 56 78", Some("FR"), Some("+33612345678")),
        ("＋１４１５５５５２６７１", None, Some("+14155552671")),
        ("0041 44 668 18 00", Some("DE"), Some("+41446681800")),
        ("02 1234 5678", Some("IT"), Some("+390212345678")),
        ("+14155552671;ext=5", None, Some("+14155552671")),
        ("+14155552671 ext. 5", None, Some("+14155552671")),
        ("+14155552671x5", None, Some("+14155552671")),
        ("+١٤١٥٥٥٥٢٦٧١", None, Some("+14155552671")),
        ("415-555-2671", None, None),
        ("+1415555267", None, None),
        ("+999123456789", None, None),
        ("call me", None, None),
        ("", Some("US"), None),
        ("+", None, None),
        ("4155552671", Some("ZZ"), None),
        ("+1415555267112345678901234567890", None, None),
    ];
    for (text, region, wanted) in cases {
        let got = PhoneNumber::parse(text, region).ok();
        assert_eq!(got.as_ref().map(PhoneNumber::as_str), wanted, "{text:?}");
    }
}

#[test]
fn addresses_never_show_themselves() {
    for (channel, text) in [
        (Channel::Email, "jane@example.com"),
        (Channel::Sms, "+14155552671"),
    ] {
        let address = Address::parse(channel, text, None).unwrap();
        let shown = format!("{address:?} {}", address.masked());
        assert!(!shown.contains("jane") && !shown.contains("415555"), "{shown}");
        let json = serde_json::to_string(&address).unwrap();
        assert_eq!(serde_json::from_str::<Address>(&json).unwrap(), address);
    }
    let error = EmailAddress::parse("jane doe@example.com")
        .unwrap_err()
        .to_string();
    assert!(!error.contains("jane"), "{error}");
}
