use proptest::prelude::*;
use rstest::rstest;
use tidings_core::keyword::{Keyword, classify};

#[rstest]
#[case("STOP", Keyword::OptOut)]
#[case("stop", Keyword::OptOut)]
#[case(" Stop. \n", Keyword::OptOut)]
#[case("\"STOP\"", Keyword::OptOut)]
#[case("STOP!!! 😡", Keyword::OptOut)]
#[case("Stop stop STOP", Keyword::OptOut)]
#[case("STOP ALL", Keyword::OptOut)]
#[case("Opt-Out", Keyword::OptOut)]
#[case("opt out", Keyword::OptOut)]
#[case("UNSUBSCRIBE", Keyword::OptOut)]
#[case("Cancel", Keyword::OptOut)]
#[case("END", Keyword::OptOut)]
#[case("quit", Keyword::OptOut)]
#[case("Revoke", Keyword::OptOut)]
#[case("ＳＴＯＰ", Keyword::OptOut)]
#[case("\u{200b}stop\u{200b}", Keyword::OptOut)]
#[case("Start", Keyword::OptIn)]
#[case("YES", Keyword::OptIn)]
#[case("unstop", Keyword::OptIn)]
#[case("help?", Keyword::Help)]
#[case("INFO", Keyword::Help)]
#[case("please stop", Keyword::Review)]
#[case("Stop texting me", Keyword::Review)]
#[case("Don’t contact me again", Keyword::Review)]
#[case("take me off your list", Keyword::Review)]
#[case("s t o p", Keyword::Review)]
#[case("arrêt", Keyword::Review)]
#[case("yes please, tomorrow", Keyword::None)]
#[case("When does the sale end?", Keyword::None)]
#[case("I need to cancel my appointment", Keyword::None)]
#[case("I quit smoking", Keyword::None)]
#[case("unstoppable", Keyword::None)]
#[case("Can you help me with my tractor?", Keyword::None)]
#[case("", Keyword::None)]
#[case("👍", Keyword::None)]
fn texts(#[case] text: &str, #[case] wanted: Keyword) {
    assert_eq!(classify(text), wanted, "{text:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_classified(text in "\\PC{0,3000}") {
        classify(&text);
    }
}
