//! SMS encoding and segments by 3GPP TS 23.038 and 23.040.
//!
//! One character outside the GSM 7-bit alphabet turns the whole message into UCS-2. A single message holds 160 septets
//! or 70 UTF-16 units; in a longer one each segment loses room to the concatenation header and holds 153 or 67. An
//! escape pair and a surrogate pair are never torn apart.

use crate::word::word_enum;

word_enum! {
    /// How a text is encoded on the air.
    pub enum Encoding {
        /// GSM 7-bit default alphabet with its extension table.
        Gsm7 = "GSM-7",
        /// UTF-16, two octets a unit.
        Ucs2 = "UCS-2",
    }
}

/// What a text costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// How it is encoded.
    pub encoding: Encoding,
    /// Septets (extension characters are two) or UTF-16 units.
    pub units: usize,
    /// Messages billed; 0 for no text.
    pub segments: usize,
}

/// The basic alphabet without letters and digits of ASCII (which are all in it).
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà";
/// Characters behind an escape: two septets.
const EXTENDED: &str = "\u{c}^{}\\[~]|€";

/// Room in a message that stands alone, and in each segment of a longer one.
const fn room(encoding: Encoding) -> (usize, usize) {
    match encoding {
        Encoding::Gsm7 => (160, 153),
        Encoding::Ucs2 => (70, 67),
    }
}

/// Encodes and counts.
pub fn segment(text: &str) -> Segmentation {
    let encoding = if text.chars().all(|c| septets(c).is_some()) {
        Encoding::Gsm7
    } else {
        Encoding::Ucs2
    };
    let width = |c: char| match encoding {
        Encoding::Gsm7 => septets(c).unwrap_or(1),
        Encoding::Ucs2 => c.len_utf16(),
    };
    let units = text.chars().map(width).sum();
    let (alone, each) = room(encoding);
    let segments = if units == 0 {
        0
    } else if units <= alone {
        1
    } else {
        fill(text.chars().map(width), each)
    };
    Segmentation {
        encoding,
        units,
        segments,
    }
}

/// Segments filled in order; a character that does not fit whole starts the next.
fn fill(widths: impl Iterator<Item = usize>, each: usize) -> usize {
    let (segments, _) = widths.fold((1, 0), |(segments, used), width| {
        if used + width > each {
            (segments + 1, width)
        } else {
            (segments, used + width)
        }
    });
    segments
}

/// Septets of the character in GSM-7; none where it is not in the alphabet.
fn septets(c: char) -> Option<usize> {
    if c.is_ascii_alphanumeric() || BASIC.contains(c) {
        Some(1)
    } else if EXTENDED.contains(c) {
        Some(2)
    } else {
        None
    }
}

/// Puts typographic characters into plain ones, so that a text does not become UCS-2 for a curly quote: quotes, dashes,
/// ellipsis, bullets, blanks of every width, tabs; invisible characters go. Letters and emoji stay as they are.
pub fn smart_encode(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match plain_form(c) {
            Some(form) => plain.push_str(form),
            None => plain.push(c),
        }
    }
    plain
}

const fn plain_form(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' | '\u{2032}' | '\u{2035}' | '\u{02bc}'
        | '\u{00b4}' | '`' => "'",
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' | '\u{2033}' | '\u{2036}' | '\u{00ab}'
        | '\u{00bb}' => "\"",
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{2022}' | '\u{2023}' | '\u{2043}' | '\u{00b7}' => "-",
        '\u{2026}' => "...",
        '\u{2039}' => "<",
        '\u{203a}' => ">",
        '\u{2044}' | '\u{2215}' => "/",
        '\u{00a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => " ",
        '\t' => "       ",
        '\u{2028}' | '\u{2029}' => "\n",
        // Soft hyphen, zero-width blanks, word joiner, byte order mark. The zero-width joiner (200D) holds emoji together.
        '\u{00ad}' | '\u{200b}' | '\u{200c}' | '\u{2060}' | '\u{feff}' => "",
        _ => return None,
    })
}
