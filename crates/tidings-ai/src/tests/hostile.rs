//! Whatever a model writes: the checks end, stay bounded, and let no made-up figure or link through.

use super::{BODY, SUBJECT, codes, request};
use crate::{DraftText, FindingCode, check};
use proptest::prelude::*;

fn body_with(addition: &str) -> String {
    BODY.replace("Book a visit", &format!("{addition} Book a visit"))
}

proptest! {
    #[test]
    fn any_text_is_judged(subject in "\\PC{0,80}", body in "(?s).{0,400}") {
        let text = DraftText { subject: Some(subject), body };
        prop_assert!(check(&text, &request()).len() <= 24);
    }

    #[test]
    fn text_in_the_signs_the_checks_look_at_is_judged(body in "[0-9.,:/ @$%€apmhJuneMay\\-+()\n'月日年円十]{0,120}") {
        let text = DraftText { subject: Some(SUBJECT.to_owned()), body };
        prop_assert!(check(&text, &request()).len() <= 24);
    }

    #[test]
    fn a_made_up_amount_is_found(whole in 1_u32..100_000, cents in 0_u32..100, form in 0_usize..8) {
        prop_assume!((whole, cents) != (129, 50));
        let amount = match form {
            0 => format!("${whole}.{cents:02}"),
            1 => format!("{whole}.{cents:02} dollars"),
            2 => format!("USD {whole}.{cents:02}"),
            3 => format!("$ {whole},{cents:02}"),
            4 => format!("{whole}.{cents:02}$"),
            5 => format!("US${whole}.{cents:02}"),
            6 => format!("{whole}.{cents:02} USD"),
            _ => format!("€{whole}.{cents:02}"),
        };
        // 129,50 in English is the amount of the fact in another notation.
        let found = codes(&body_with(&format!("It is {amount}.")), &request());
        prop_assert!(found.contains(&"unknown_amount"), "{} {:?}", amount, found);
    }

    #[test]
    fn a_made_up_percentage_is_found(share in 0_u32..1000, form in 0_usize..5) {
        prop_assume!(share != 10);
        let share = match form {
            0 => format!("{share}%"),
            1 => format!("{share} %"),
            2 => format!("{share} percent"),
            3 => format!("{share}\u{a0}per cent"),
            _ => format!("{share}.5 ％"),
        };
        let found = codes(&body_with(&format!("You get {share} of it.")), &request());
        prop_assert!(found.contains(&"unknown_percentage"), "{} {:?}", share, found);
    }

    #[test]
    fn a_made_up_link_is_found(host in "[a-z]{1,12}", top in "(com|net|org|io|example|de|shop|xyz)", path in "(/[a-z0-9]{0,6})?", form in 0_usize..5) {
        let link = match form {
            0 => format!("https://{host}.{top}{path}"),
            1 => format!("{host}.{top}{path}"),
            2 => format!("www.{host}.{top}{path}"),
            3 => format!("(HTTP://{host}.{top}{path})"),
            _ => format!("https://greenvalley.example.{host}.{top}{path}"),
        };
        let found = codes(&body_with(&format!("See {link} for it.")), &request());
        prop_assert!(found.contains(&"unknown_link"), "{} {:?}", link, found);
    }

    #[test]
    fn a_made_up_day_is_found(month in 1_i8..=12, day in 1_i8..=28, form in 0_usize..5) {
        prop_assume!((month, day) != (6, 12));
        let names = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
        let name = names[usize::try_from(month - 1).expect("a month")];
        let written = match form {
            0 => format!("{name} {day}"),
            1 => format!("{day} {name} 2027"),
            2 => format!("{name} {day}, 2027"),
            3 => format!("{month}/{day}/2027"),
            _ => format!("2027-{month:02}-{day:02}"),
        };
        let found = codes(&body_with(&format!("Come on {written}.")), &request());
        prop_assert!(found.contains(&"unknown_date"), "{} {:?}", written, found);
    }

    #[test]
    fn a_made_up_telephone_number_is_found(a in 200_u32..999, b in 200_u32..999, c in 1000_u32..9999, form in 0_usize..5) {
        let number = match form {
            0 => format!("({a}) {b}-{c}"),
            1 => format!("+1 {a} {b} {c}"),
            2 => format!("{a}.{b}.{c}"),
            3 => format!("{a}-{b}-{c}"),
            _ => format!("1{a}{b}{c}"),
        };
        let found = codes(&body_with(&format!("Call {number} for it.")), &request());
        prop_assert!(found.contains(&"unknown_phone"), "{} {:?}", number, found);
    }
}

#[test]
fn one_finding_is_told_once_and_not_without_end() {
    let many: Vec<String> = (1000..1100)
        .map(|number| format!("It has {number} parts."))
        .collect();
    let text = |body: &str| DraftText {
        subject: Some(SUBJECT.to_owned()),
        body: body.to_owned(),
    };
    let numbers = |body: &str| {
        let findings = check(&text(body), &request());
        findings
            .iter()
            .filter(|finding| finding.code == FindingCode::UnknownNumber)
            .count()
    };
    assert!((20..=24).contains(&numbers(&many.join(" "))));
    assert_eq!(numbers("It has 1000 parts. It has 1000 parts."), 1);
}

#[test]
fn the_longest_texts_are_judged_too() {
    let patterns = [
        "a ", "A. ", "1 ", "1", "1.", "$", "a.", "@", "{", "[", "<", "12 June ", "\n\nA", "twenty ", "May ",
        "'a", "(5", "\u{300}", "free ", "://", "二", "様", "2 pm ", "\u{feff}", "X1-",
    ];
    for pattern in patterns {
        let text = DraftText {
            subject: Some(pattern.repeat(4000 / pattern.len())),
            body: format!("Hi Anna,\n\n{}", pattern.repeat(28_000 / pattern.len())),
        };
        let found = check(&text, &request());
        assert!((1..=24).contains(&found.len()), "{pattern:?}");
    }
}
