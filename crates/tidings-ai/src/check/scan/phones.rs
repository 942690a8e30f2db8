//! Telephone numbers: seven or more digits with blanks, dashes, dots, slashes and parentheses between.

use super::super::canvas::Canvas;
use super::super::lexicon::{currency_word, is_currency_sign};
use super::super::mention::{Mention, Spot};

const FEWEST_DIGITS: usize = 7;

pub(super) fn take(canvas: &mut Canvas) -> Vec<Spot> {
    let mut spots = Vec::new();
    let mut at = 0;
    while at < canvas.len() {
        if !begins(canvas, at) {
            at += 1;
            continue;
        }
        let end = end(canvas, at);
        let written = canvas.text(at, end);
        let digits: String = written.chars().filter(char::is_ascii_digit).collect();
        if digits.len() >= FEWEST_DIGITS && !is_figure(canvas, at, end, &written) {
            let excerpt = canvas.take(at, end);
            spots.push(Spot::new(Mention::Phone(digits), excerpt));
        }
        at = end;
    }
    spots
}

fn begins(canvas: &Canvas, at: usize) -> bool {
    let first = canvas.at(at);
    let before = canvas.before(at);
    let opens =
        matches!(first, '+' | '(') && (canvas.at(at + 1).is_ascii_digit() || canvas.at(at + 1) == '+');
    (first.is_ascii_digit() || opens) && !canvas.joined(at) && before != '+'
}

/// Digits with at most two signs between two of them.
fn end(canvas: &Canvas, start: usize) -> usize {
    let (mut at, mut end, mut signs) = (start, start + 1, 0);
    while at < canvas.len() {
        match canvas.at(at) {
            c if c.is_ascii_digit() => {
                signs = 0;
                end = at + 1;
            }
            '+' if at == start || canvas.before(at) == '(' => {}
            ' ' | '-' | '.' | '/' | '(' | ')' if signs < 2 => signs += 1,
            _ => break,
        }
        at += 1;
    }
    end
}

/// Money, a fraction, or a short number in groups: 1 250 000, 1.250.000, 12345.50.
fn is_figure(canvas: &Canvas, start: usize, end: usize, written: &str) -> bool {
    let plain = written
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b' '));
    let grouped = ['.', ' '].into_iter().any(|sign| is_grouped(written, sign));
    let digits = written.bytes().filter(u8::is_ascii_digit).count();
    let short = grouped && digits < 9 && !written.starts_with('0');
    let fraction = written
        .split_once('.')
        .is_some_and(|(whole, rest)| (1..=2).contains(&rest.len()) && !whole.contains(['.', ' ']));
    plain && (short || fraction || is_beside_money(canvas, start, end))
}

/// A sign or word of a currency stands directly before or after.
fn is_beside_money(canvas: &Canvas, start: usize, end: usize) -> bool {
    let before = start - usize::from(start > 0 && canvas.before(start) == ' ');
    let after = end + usize::from(canvas.at(end) == ' ');
    let is_money = |word: Option<(usize, usize)>| {
        word.is_some_and(|(start, end)| currency_word(&canvas.text(start, end)).is_some())
    };
    is_currency_sign(canvas.before(before))
        || is_currency_sign(canvas.at(after))
        || is_money(canvas.word_before(start))
        || is_money(canvas.word_after(end))
}

fn is_grouped(written: &str, sign: char) -> bool {
    let mut groups = written.split(sign);
    let first = groups.next().unwrap_or_default();
    let digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    (1..=3).contains(&first.len())
        && digits(first)
        && written.contains(sign)
        && groups.all(|group| group.len() == 3 && digits(group))
}
