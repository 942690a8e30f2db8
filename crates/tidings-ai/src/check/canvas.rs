//! A text from which understood places are taken out one after the other.

/// Stands where something was taken out: no letter, no digit, no blank.
pub(super) const TAKEN: char = '\0';

/// The text as written, and in plain form, character by character.
#[derive(Clone)]
pub(super) struct Canvas {
    shown: Vec<char>,
    pub plain: Vec<char>,
}

impl Canvas {
    pub fn new(text: &str) -> Self {
        let shown: Vec<char> = text.chars().map(|c| if c == TAKEN { ' ' } else { c }).collect();
        let mut plain: Vec<char> = shown.iter().copied().map(plain_form).collect();
        // Dots of other scripts join the labels of a domain.
        for at in 1..plain.len().saturating_sub(1) {
            let between = plain[at - 1].is_ascii_alphanumeric() && plain[at + 1].is_ascii_alphanumeric();
            if between && matches!(plain[at], '\u{3002}' | '\u{ff61}') {
                plain[at] = '.';
            }
        }
        Self { shown, plain }
    }

    pub fn len(&self) -> usize {
        self.plain.len()
    }

    /// The plain character, or a line end outside the text.
    pub fn at(&self, index: usize) -> char {
        self.plain.get(index).copied().unwrap_or('\n')
    }

    /// The character before the index, or a line end at the beginning.
    pub fn before(&self, index: usize) -> char {
        index.checked_sub(1).map_or('\n', |index| self.at(index))
    }

    /// Whether what stands before the index belongs to the same word. Scripts without blanks have no such borders.
    pub fn joined(&self, index: usize) -> bool {
        let before = self.before(index);
        before.is_alphanumeric() && before < '\u{3000}'
    }

    /// A stretch in plain form.
    pub fn text(&self, start: usize, end: usize) -> String {
        self.plain[start.min(end)..end.min(self.len())].iter().collect()
    }

    /// Takes a stretch out; returns it as written.
    pub fn take(&mut self, start: usize, end: usize) -> String {
        let end = end.min(self.len());
        self.plain[start..end].fill(TAKEN);
        self.shown[start..end].iter().collect()
    }

    /// The word that begins at or after the index on the same line, over blanks: start and end.
    pub fn word_after(&self, index: usize) -> Option<(usize, usize)> {
        let mut start = index;
        while matches!(self.at(start), ' ' | '-') && start < self.len() && start < index + 2 {
            start += 1;
        }
        let end = (start..self.len())
            .find(|at| !self.at(*at).is_alphabetic())
            .unwrap_or(self.len());
        (end > start).then_some((start, end))
    }

    /// The word that ends at or before the index on the same line, over one blank, full stop or hyphen.
    pub fn word_before(&self, index: usize) -> Option<(usize, usize)> {
        let mut end = index;
        while end > 0 && matches!(self.before(end), ' ' | '.' | '-') && end + 2 > index {
            end -= 1;
        }
        let start = (0..end)
            .rev()
            .take_while(|at| self.at(*at).is_alphabetic())
            .last()?;
        Some((start, end))
    }
}

const ZEROES: [char; 16] = [
    '\u{660}', '\u{6f0}', '\u{7c0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}', '\u{b66}', '\u{be6}',
    '\u{c66}', '\u{ce6}', '\u{d66}', '\u{e50}', '\u{ed0}', '\u{f20}', '\u{1040}',
];

/// Digits of any script, full-width signs, blanks, dashes and apostrophes in their plain form.
fn plain_form(c: char) -> char {
    if c.is_ascii() {
        return c;
    }
    let code = u32::from(c);
    let digit = ZEROES
        .iter()
        .find_map(|zero| code.checked_sub(u32::from(*zero)).filter(|digit| *digit < 10));
    if let Some(digit) = digit.and_then(|digit| char::from_digit(digit, 10)) {
        return digit;
    }
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(code - 0xfee0).unwrap_or(c),
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '\u{2018}' | '\u{2019}' | '\u{2bc}' | '\u{b4}' => '\'',
        '\u{66a}' | '\u{fe6a}' => '%',
        '\u{2024}' | '\u{fe52}' => '.',
        '\u{ffe1}' => '\u{a3}',
        '\u{ffe5}' => '\u{a5}',
        '\u{ffe6}' => '\u{20a9}',
        _ => c,
    }
}
