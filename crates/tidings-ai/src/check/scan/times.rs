//! Times of day: 14:30, 2 pm, 2:30 p.m., 14 Uhr, 14.30 Uhr, 14h30.

use super::super::canvas::Canvas;
use super::super::mention::{Mention, Spot};

pub(super) fn take(canvas: &mut Canvas) -> Vec<Spot> {
    let mut spots = Vec::new();
    let mut at = 0;
    while at < canvas.len() {
        let digits = digits(canvas, at);
        if digits == 0 || canvas.joined(at) || matches!(canvas.before(at), '.' | ',' | ':') {
            at += digits.max(1);
            continue;
        }
        match read(canvas, at, digits) {
            Some((hour, minute, end)) => {
                let excerpt = canvas.take(at, end);
                spots.push(Spot::new(Mention::Time(hour, minute), excerpt));
                at = end;
            }
            None => at += digits,
        }
    }
    spots
}

fn digits(canvas: &Canvas, at: usize) -> usize {
    (at..canvas.len())
        .take_while(|at| canvas.at(*at).is_ascii_digit())
        .count()
}

fn read(canvas: &Canvas, at: usize, length: usize) -> Option<(u8, u8, usize)> {
    let number = |start, end| canvas.text(start, end).parse::<u8>().ok();
    let hour = number(at, at + length).filter(|hour| length <= 2 && *hour <= 24)?;
    let mut end = at + length;
    let separator = canvas.at(end);
    let mut minute = None;
    if matches!(separator, ':' | '.' | 'h') && digits(canvas, end + 1) == 2 {
        minute = number(end + 1, end + 3).filter(|minute| *minute < 60);
    }
    let mut is_time = minute.is_some() && separator != '.';
    if minute.is_some() {
        end += 3;
    }
    if let Some((half, after)) = half_of_day(canvas, end) {
        let hour = match (half, hour) {
            (_, 0 | 13..) => return None,
            (Half::Morning, 12) => 0,
            (Half::Morning, hour) | (Half::Afternoon, hour @ 12) => hour,
            (Half::Afternoon, hour) => hour + 12,
        };
        return Some((hour, minute.unwrap_or(0), after));
    }
    if let Some((start, after)) = canvas.word_after(end)
        && matches!(
            canvas.text(start, after).to_lowercase().as_str(),
            "uhr" | "o'clock" | "heures" | "klokken"
        )
    {
        is_time = true;
        end = after;
    } else if minute.is_none() && separator == 'h' && !canvas.at(end + 1).is_alphanumeric() {
        // "14h" is an hour of the day in some languages and a span in others; either must be known.
        return None;
    }
    (is_time && !canvas.at(end).is_alphanumeric()).then_some((hour % 24, minute.unwrap_or(0), end))
}

#[derive(Clone, Copy)]
enum Half {
    Morning,
    Afternoon,
}

/// `am`, ` p.m.`: which, and where it ends.
fn half_of_day(canvas: &Canvas, at: usize) -> Option<(Half, usize)> {
    let start = if canvas.at(at) == ' ' { at + 1 } else { at };
    let half = match canvas.at(start) {
        'a' | 'A' => Half::Morning,
        'p' | 'P' => Half::Afternoon,
        _ => return None,
    };
    let dotted = canvas.at(start + 1) == '.';
    let letter = start + 1 + usize::from(dotted);
    let end = letter + 1;
    let is_half = matches!(canvas.at(letter), 'm' | 'M') && !canvas.at(end).is_alphanumeric();
    is_half.then_some((half, end + usize::from(dotted && canvas.at(end) == '.')))
}
