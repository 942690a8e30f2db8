use proptest::prelude::*;
use rstest::rstest;
use tidings_core::sms::{Encoding, segment, smart_encode};

#[rstest]
#[case("", 0, 0)]
#[case(&"a".repeat(160), 160, 1)]
#[case(&"a".repeat(161), 161, 2)]
#[case(&"a".repeat(306), 306, 2)]
#[case(&"a".repeat(307), 307, 3)]
#[case(&"€".repeat(80), 160, 1)]
// 76 escape pairs and one septet of room left over in each segment.
#[case(&"€".repeat(81), 162, 2)]
#[case(&"€".repeat(153), 306, 3)]
// The pair at the border moves to the next segment as a whole.
#[case(&format!("{}€{}", "a".repeat(152), "a".repeat(152)), 306, 3)]
#[case(&format!("{}€{}", "a".repeat(151), "a".repeat(153)), 306, 2)]
fn gsm_segments(#[case] text: &str, #[case] units: usize, #[case] segments: usize) {
    let got = segment(text);
    assert_eq!(
        (got.encoding, got.units, got.segments),
        (Encoding::Gsm7, units, segments)
    );
}

#[rstest]
#[case(&"я".repeat(71), 71, 2)]
#[case(&"я".repeat(134), 134, 2)]
#[case(&"я".repeat(135), 135, 3)]
#[case(&"👍".repeat(35), 70, 1)]
#[case(&"👍".repeat(36), 72, 2)]
// A surrogate pair does not fit into the one unit left.
#[case(&"👍".repeat(67), 134, 3)]
#[case("ç", 1, 1)]
#[case("`", 1, 1)]
#[case("á", 1, 1)]
fn unicode_segments(#[case] text: &str, #[case] units: usize, #[case] segments: usize) {
    let got = segment(text);
    assert_eq!(
        (got.encoding, got.units, got.segments),
        (Encoding::Ucs2, units, segments)
    );
}

#[test]
fn the_alphabet_has_127_basic_and_10_extended_characters() {
    let cost = |c: char| Some(segment(&c.to_string())).filter(|got| got.encoding == Encoding::Gsm7);
    let units: Vec<usize> = ('\0'..='\u{ffff}')
        .filter_map(cost)
        .map(|got| got.units)
        .collect();
    assert_eq!(units.iter().filter(|units| **units == 1).count(), 127);
    assert_eq!(units.iter().filter(|units| **units == 2).count(), 10);
}

proptest! {
    #[test]
    fn segments_are_bounded_by_the_units(text in "\\PC{0,400}") {
        let got = segment(&text);
        let each = if got.encoding == Encoding::Gsm7 { 153 } else { 67 };
        prop_assert!(got.segments >= got.units.div_ceil(each).min(1));
        prop_assert!(got.segments <= got.units.div_ceil(each - 1));
    }

    #[test]
    fn smart_text_is_settled(text in "\\PC{0,100}") {
        let smart = smart_encode(&text);
        prop_assert_eq!(smart_encode(&smart), smart);
    }
}
