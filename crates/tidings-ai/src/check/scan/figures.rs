//! Figures: amounts of money, percentages, discounts and plain numbers, in the digits and separators of any language.

use super::super::canvas::Canvas;
use super::super::lexicon::{
    CURRENCY_SIGNS, currency_start, currency_word, is_currency_sign, is_discount_word, is_little,
    is_percent_word, is_saving_word, is_unit, scale,
};
use super::super::mention::{Mention, Spot};
use super::Language;
use crate::figure::Figure;

pub(super) fn take(canvas: &mut Canvas, language: &Language) -> Vec<Spot> {
    let mut spots = Vec::new();
    let mut at = 0;
    while at < canvas.len() {
        let c = canvas.at(at);
        if c.is_ascii_digit() {
            let (mention, start, end) = read(canvas, at, language);
            let beside = if matches!(mention, Mention::Number(_)) {
                beside(canvas, start, end)
            } else {
                Vec::new()
            };
            let excerpt = canvas.take(start, end);
            spots.push(Spot {
                mention,
                excerpt,
                beside,
            });
            at = end;
        } else if c.is_numeric() {
            // Fractions, superscripts, Roman and circled numerals: figures, but not ones that facts hold.
            let excerpt = canvas.take(at, at + 1);
            spots.push(Spot::new(Mention::Number(None), excerpt));
            at += 1;
        } else {
            at += 1;
        }
    }
    spots.extend(lone_signs(canvas));
    spots
}

/// Signs of money without digits beside them: the amount is hidden in words.
fn lone_signs(canvas: &mut Canvas) -> Vec<Spot> {
    let is_lone =
        |canvas: &Canvas, at: usize| is_currency_sign(canvas.at(at)) && !canvas.at(at).is_alphabetic();
    let places: Vec<usize> = (0..canvas.len()).filter(|at| is_lone(canvas, *at)).collect();
    let spots = places
        .into_iter()
        .map(|at| Spot::new(Mention::Money(None, &[]), canvas.take(at, at + 1)));
    spots.collect()
}

/// What a plain number counts or belongs to.
fn beside(canvas: &Canvas, start: usize, end: usize) -> Vec<String> {
    let words = [canvas.word_before(start), canvas.word_after(end)]
        .into_iter()
        .flatten();
    let words = words.map(|(start, end)| canvas.text(start, end).to_lowercase());
    words.filter(|word| !is_little(word)).collect()
}

fn read(canvas: &Canvas, at: usize, language: &Language) -> (Mention, usize, usize) {
    let end = digits_end(canvas, at);
    let mut figure = value(&canvas.text(at, end), language.decimal);
    if let Some((start, codes)) = touching_code(canvas, at) {
        return (Mention::Money(figure, codes), start, end);
    }
    if is_latin(canvas.before(at)) || (canvas.before(at) == '-' && at >= 2 && is_latin(canvas.before(at - 1)))
    {
        return code(canvas, at, end);
    }
    let mut end = end;
    if let Some((word_end, suffix)) = suffix(canvas, end) {
        match Suffix::of(&suffix) {
            Suffix::Scale(zeros) => {
                figure = figure.map(|figure| figure.scaled(zeros));
                end = word_end;
            }
            Suffix::Currency(codes) => return (Mention::Money(figure, codes), at, word_end),
            Suffix::Count => return (Mention::Number(figure), at, word_end),
            Suffix::Unknown => return code(canvas, at, end),
        }
    } else if let Some((start, after)) = canvas.word_after(end)
        && let Some(zeros) = scale(&canvas.text(start, after)).filter(|_| after - start > 1)
    {
        figure = figure.map(|figure| figure.scaled(zeros));
        end = after;
    }
    // Ten thousands and hundreds by a sign: no fact holds figures that way.
    if matches!(canvas.at(end), '万' | '億' | '亿' | '千' | '百' | '만' | '억') {
        (figure, end) = (None, end + 1);
    }
    if let Some(after) = percent_after(canvas, end) {
        return (Mention::Percent(figure), at, after);
    }
    let (start, money) = money_before(canvas, at);
    if let Some(codes) = money {
        let end = money_after(canvas, end).map_or(end, |(_, after)| after);
        return (Mention::Money(figure, codes), start, end);
    }
    if let Some((codes, after)) = money_after(canvas, end) {
        return (Mention::Money(figure, codes), at, after);
    }
    if canvas.before(at) == '%' {
        return (Mention::Percent(figure), at - 1, end);
    }
    if is_discount(canvas, at, end) {
        return (Mention::Discount(figure), at, end);
    }
    (Mention::Number(figure), at, end)
}

/// A currency written onto its figure: "USD129", "Rs500".
fn touching_code(canvas: &Canvas, at: usize) -> Option<(usize, &'static [&'static str])> {
    if !is_latin(canvas.before(at)) {
        return None;
    }
    let (start, end) = canvas.word_before(at)?;
    let codes = currency_word(&canvas.text(start, end))?;
    (!canvas.joined(start)).then_some((start, codes))
}

fn is_latin(c: char) -> bool {
    c.is_alphabetic() && c < '\u{3000}'
}

/// Digits with separators between: one sign between digits, a blank only before groups of three.
fn digits_end(canvas: &Canvas, start: usize) -> usize {
    let mut at = start;
    loop {
        let c = canvas.at(at);
        let three =
            (1..=3).all(|step| canvas.at(at + step).is_ascii_digit()) && !canvas.at(at + 4).is_ascii_digit();
        let separates = match c {
            '.' | ',' | '\u{66b}' | '\u{66c}' => canvas.at(at + 1).is_ascii_digit(),
            ' ' | '\'' => three && at - start <= 3 * 8,
            _ => false,
        };
        if !c.is_ascii_digit() && !separates {
            return at;
        }
        at += 1;
    }
}

/// The value of a written figure; nothing where the separators make no sense.
fn value(written: &str, decimal: char) -> Option<Figure> {
    let signs: Vec<char> = written.chars().filter(|c| !c.is_ascii_digit()).collect();
    let points: Vec<char> = signs.iter().copied().filter(|c| matches!(c, '.' | ',')).collect();
    let fraction_sign = if signs.contains(&'\u{66b}') {
        Some('\u{66b}')
    } else {
        let last = points.last().copied();
        match last {
            Some(last) if points.iter().any(|sign| *sign != last) => Some(last),
            Some(last) if points.len() == 1 => {
                is_fraction(written, last, decimal, signs.len()).then_some(last)
            }
            _ => None,
        }
    };
    let (whole, fraction) = match fraction_sign {
        Some(sign) => written.split_once(sign)?,
        None => (written, ""),
    };
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || !is_well_grouped(whole) {
        return None;
    }
    let whole: String = whole.chars().filter(char::is_ascii_digit).collect();
    (whole.len() + fraction.len() <= 24).then(|| Figure::of_parts(&whole, fraction))
}

/// Whether the only point or comma begins a fraction: by what follows it, else by the language.
fn is_fraction(written: &str, sign: char, decimal: char, signs: usize) -> bool {
    let (whole, rest) = written.split_once(sign).unwrap_or((written, ""));
    rest.len() != 3 || whole.len() > 3 || whole.starts_with('0') || signs > 1 || sign == decimal
}

/// 1,250,000 and 12,50,000.
fn is_well_grouped(whole: &str) -> bool {
    let groups: Vec<&str> = whole.split(|c: char| !c.is_ascii_digit()).collect();
    match groups.as_slice() {
        [_] => true,
        [first, middle @ .., last] => {
            let threes = middle.iter().all(|group| group.len() == 3);
            let twos = middle.iter().all(|group| group.len() == 2);
            (1..=3).contains(&first.len()) && last.len() == 3 && (threes || twos)
        }
        [] => false,
    }
}

/// Letters that touch the digits: "3rd", "20ft", "5k".
fn suffix(canvas: &Canvas, end: usize) -> Option<(usize, String)> {
    let touches = |at: &usize| is_latin(canvas.at(*at)) && !is_currency_sign(canvas.at(*at));
    let after = (end..canvas.len()).take_while(touches).last()? + 1;
    Some((after, canvas.text(end, after)))
}

enum Suffix {
    Scale(usize),
    Currency(&'static [&'static str]),
    Count,
    Unknown,
}

impl Suffix {
    fn of(letters: &str) -> Self {
        if let Some(zeros) = scale(letters) {
            Self::Scale(zeros)
        } else if let Some(codes) = currency_word(letters) {
            Self::Currency(codes)
        } else if is_unit(letters) {
            Self::Count
        } else {
            Self::Unknown
        }
    }
}

/// A model number or the like ("X350", "10W-30"): all of it, to be found in the facts as it stands.
fn code(canvas: &Canvas, start: usize, end: usize) -> (Mention, usize, usize) {
    let belongs = |at: usize, next: usize| {
        let c = canvas.at(at);
        is_latin(c)
            || c.is_ascii_digit()
            || (c == '-' && (is_latin(canvas.at(next)) || canvas.at(next).is_ascii_digit()))
    };
    let mut start = start;
    while start > 0 && belongs(start - 1, start) {
        start -= 1;
    }
    let mut end = end;
    while end < canvas.len() && belongs(end, end + 1) {
        end += 1;
    }
    (Mention::Number(None), start, end)
}

/// A sign or code in front of the digits: where it begins, and the codes it may mean.
fn money_before(canvas: &Canvas, at: usize) -> (usize, Option<&'static [&'static str]>) {
    let gap = usize::from(canvas.before(at) == ' ' && at > 0);
    let before = at - gap;
    let sign = canvas.before(before);
    if is_currency_sign(sign) {
        let letters = (0..before - 1)
            .rev()
            .take_while(|at| canvas.at(*at).is_ascii_uppercase())
            .count();
        let start = before - 1 - letters;
        let prefixed = canvas.text(start, before);
        let known = CURRENCY_SIGNS.iter().find(|(written, _)| *written == prefixed);
        return (start, Some(known.map_or(&[], |(_, codes)| *codes)));
    }
    match canvas.word_before(at) {
        Some((start, end)) => {
            let word = canvas.text(start, end);
            // Before a figure only codes and abbreviations stand: "EUR 20", "Rs. 500", "kr 20".
            let short = word.chars().count() <= 3;
            (start, currency_word(&word).filter(|_| short))
        }
        None => (at, None),
    }
}

fn money_after(canvas: &Canvas, end: usize) -> Option<(&'static [&'static str], usize)> {
    let gap = usize::from(canvas.at(end) == ' ');
    let sign = canvas.at(end + gap);
    if is_currency_sign(sign) {
        let codes = CURRENCY_SIGNS
            .iter()
            .find(|(written, _)| written.chars().eq([sign]));
        return Some((codes.map_or(&[], |(_, codes)| *codes), end + gap + 1));
    }
    let (start, after) = canvas.word_after(end)?;
    let word = canvas.text(start, after);
    if let Some((codes, length)) = currency_start(&word) {
        return Some((codes, start + length));
    }
    let first = currency_word(&word);
    // "20 US dollars", "20 Canadian dollars".
    let second = || {
        let (start, after) = canvas.word_after(after)?;
        let word = canvas.text(start, after);
        let codes = currency_word(&word).filter(|_| word.chars().count() > 3)?;
        Some((codes, after))
    };
    first.map(|codes| (codes, after)).or_else(second)
}

pub(super) fn percent_after(canvas: &Canvas, end: usize) -> Option<usize> {
    let gap = usize::from(canvas.at(end) == ' ');
    if matches!(canvas.at(end + gap), '%' | '\u{2030}') {
        return Some(end + gap + 1);
    }
    // Tenths of a price in Chinese and Japanese.
    if matches!(canvas.at(end), '\u{6298}' | '\u{5272}' | '\u{6210}') {
        return Some(end + 1);
    }
    let (start, after) = canvas.word_after(end)?;
    let word = canvas.text(start, after).to_lowercase();
    if is_percent_word(&word) {
        return Some(after);
    }
    let (start, after) = canvas
        .word_after(after)
        .filter(|_| matches!(word.as_str(), "per" | "pour" | "por" | "pro"))?;
    matches!(
        canvas.text(start, after).to_lowercase().as_str(),
        "cent" | "cento" | "ciento"
    )
    .then_some(after)
}

/// "20 off", "20 Rabatt", "save up to 20", "a discount of 20".
fn is_discount(canvas: &Canvas, at: usize, end: usize) -> bool {
    let word = |range: Option<(usize, usize)>| {
        range.map_or_else(String::new, |(start, end)| canvas.text(start, end).to_lowercase())
    };
    let before = canvas.word_before(at);
    let earlier = before.and_then(|(start, _)| canvas.word_before(start));
    let first = earlier.and_then(|(start, _)| canvas.word_before(start));
    is_discount_word(&word(canvas.word_after(end)))
        || [before, earlier, first]
            .into_iter()
            .any(|range| is_saving_word(&word(range)))
}
