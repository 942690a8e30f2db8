//! Figures in words, where they count something that must be known: money, shares, spans of time.

use super::super::canvas::Canvas;
use super::super::lexicon::{NUMBER_WORDS, currency_word, is_discount_word, is_saving_word, is_span};
use super::super::mention::{Mention, Spot};
use super::Language;
use super::figures::percent_after;
use crate::figure::Figure;

/// The last number in words that may stand for "some".
const LARGEST_SMALL: u64 = 12;

pub(super) fn take(canvas: &mut Canvas, language: &Language) -> Vec<Spot> {
    let mut spots = han(canvas);
    let mut at = 0;
    while at < canvas.len() {
        if !canvas.at(at).is_alphabetic() || canvas.before(at).is_alphabetic() {
            at += 1;
            continue;
        }
        let Some((value, end)) = number(canvas, at, language) else {
            at += 1;
            continue;
        };
        at = match counted(canvas, at, end, Figure::from(value), value) {
            Some((mention, after)) => {
                let excerpt = canvas.take(at, after);
                spots.push(Spot::new(mention, excerpt));
                after
            }
            None => end,
        };
    }
    spots
}

/// Words in a row that are numbers, as one: "twenty-five", "two hundred".
fn number(canvas: &Canvas, start: usize, language: &Language) -> Option<(u64, usize)> {
    let mut end = start;
    let mut total: Option<u64> = None;
    let mut next = Some((start, word_end(canvas, start)));
    while let Some((from, to)) = next {
        let Some(value) = value(&canvas.text(from, to).to_lowercase(), language) else {
            break;
        };
        total = Some(match total {
            None => value,
            Some(sum) if value >= 100 => sum.saturating_mul(value),
            Some(sum) => sum.saturating_add(value),
        });
        end = to;
        next = canvas.word_after(to).filter(|(from, _)| *from > to);
    }
    total.map(|total| (total, end))
}

fn word_end(canvas: &Canvas, start: usize) -> usize {
    (start..canvas.len())
        .find(|at| !canvas.at(*at).is_alphabetic())
        .unwrap_or(canvas.len())
}

fn value(word: &str, language: &Language) -> Option<u64> {
    let own = NUMBER_WORDS.iter().find(|(tag, _)| *tag == language.tag);
    let (_, words) = own.or_else(|| NUMBER_WORDS.first())?;
    words
        .iter()
        .find(|(name, _)| *name == word)
        .map(|(_, value)| *value)
}

/// What the figure counts. Small ones that count nothing of weight are let go: "two of us".
fn counted(
    canvas: &Canvas,
    start: usize,
    end: usize,
    figure: Figure,
    value: u64,
) -> Option<(Mention, usize)> {
    if let Some(after) = percent_after(canvas, end) {
        return Some((Mention::Percent(Some(figure)), after));
    }
    let before = canvas
        .word_before(start)
        .map(|(start, end)| canvas.text(start, end).to_lowercase());
    if before.is_some_and(|word| is_saving_word(&word)) {
        return Some((Mention::Discount(Some(figure)), end));
    }
    let next = canvas
        .word_after(end)
        .map(|(start, after)| (canvas.text(start, after).to_lowercase(), after));
    if let Some((word, after)) = next {
        if is_discount_word(&word) {
            return Some((Mention::Discount(Some(figure)), after));
        }
        if let Some(codes) = currency_word(&word).filter(|_| word.chars().count() > 2) {
            return Some((Mention::Money(Some(figure), codes), after));
        }
        if is_span(&word) {
            return Some((Mention::Number(Some(figure)), after));
        }
    }
    (value > LARGEST_SMALL).then_some((Mention::Number(Some(figure)), end))
}

/// Chinese numerals before a sign of money or of tenths: no fact holds figures that way, so they are never known.
fn han(canvas: &mut Canvas) -> Vec<Spot> {
    let mut spots = Vec::new();
    let is_numeral = |c: char| "一二三四五六七八九十百千万億两半零".contains(c);
    let mut at = 0;
    while at < canvas.len() {
        let numerals = (at..canvas.len())
            .take_while(|at| is_numeral(canvas.at(*at)))
            .count();
        let end = at + numerals;
        let mention = match canvas.at(end) {
            _ if numerals == 0 => None,
            '元' | '円' | '块' | '圆' => Some(Mention::Money(None, &[])),
            '折' | '割' | '％' | '%' | '成' => Some(Mention::Percent(None)),
            _ => None,
        };
        if let Some(mention) = mention {
            let excerpt = canvas.take(at, end + 1);
            spots.push(Spot::new(mention, excerpt));
        }
        at = end + 1;
    }
    spots
}
