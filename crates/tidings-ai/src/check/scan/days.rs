//! Days, months and weekdays, in figures and in words.

use super::super::canvas::Canvas;
use super::super::lexicon::{MONTHS, ORDINALS, WEEKDAYS};
use super::super::mention::{Mention, NamedDate, Spot};
use super::Language;

pub(super) fn take(canvas: &mut Canvas, language: &Language) -> Vec<Spot> {
    let mut spots = Vec::new();
    let mut at = 0;
    while at < canvas.len() {
        if let Some((mention, start, end)) = read(canvas, at, language) {
            let excerpt = canvas.take(start, end);
            spots.push(Spot::new(mention, excerpt));
            at = end;
        } else if canvas.at(at).is_alphanumeric() {
            at = run_end(canvas, at);
        } else {
            at += 1;
        }
    }
    spots
}

/// The end of the digits or letters that begin here.
fn run_end(canvas: &Canvas, at: usize) -> usize {
    let digits = canvas.at(at).is_ascii_digit();
    let same = |at: &usize| {
        let c = canvas.at(*at);
        c.is_ascii_digit() == digits && c.is_alphanumeric()
    };
    (at..canvas.len())
        .take_while(same)
        .last()
        .map_or(at + 1, |last| last + 1)
}

fn read(canvas: &Canvas, at: usize, language: &Language) -> Option<(Mention, usize, usize)> {
    let day = |(day, start, end)| (Mention::Day(day), start, end);
    if canvas.at(at).is_ascii_digit() {
        if canvas.joined(at) {
            return None;
        }
        return in_figures(canvas, at, language)
            .or_else(|| in_signs(canvas, at))
            .map(day);
    }
    if !canvas.at(at).is_alphabetic() || canvas.before(at).is_alphabetic() {
        return None;
    }
    let end = run_end(canvas, at);
    let word = canvas.text(at, end);
    if let Some(weekday) = weekday(&word, language) {
        return Some((Mention::Weekday(weekday), at, end));
    }
    with_month(canvas, at, end, &word, language).map(day)
}

/// 1 to `most` digits.
fn number(canvas: &Canvas, at: usize, most: usize) -> Option<(i16, usize)> {
    let end = (at..canvas.len())
        .find(|at| !canvas.at(*at).is_ascii_digit())
        .unwrap_or(canvas.len());
    let value = canvas.text(at, end).parse().ok()?;
    (end > at && end - at <= most).then_some((value, end))
}

fn month_of(value: i16) -> Option<i8> {
    i8::try_from(value).ok().filter(|month| (1..=12).contains(month))
}

fn day_of(value: i16) -> Option<i8> {
    i8::try_from(value).ok().filter(|day| (1..=31).contains(day))
}

/// 2027-06-12, 12.06.2027, 6/12/27, 12.06., 6/12.
fn in_figures(canvas: &Canvas, at: usize, language: &Language) -> Option<(NamedDate, usize, usize)> {
    let (first, first_end) = number(canvas, at, 4)?;
    let sign = canvas.at(first_end);
    if !matches!(sign, '-' | '.' | '/') {
        return None;
    }
    let gap = usize::from(sign == '.' && canvas.at(first_end + 1) == ' ');
    let (second, second_end) = number(canvas, first_end + 1 + gap, 2)?;
    let third = (canvas.at(second_end) == sign)
        .then(|| {
            let gap = usize::from(sign == '.' && canvas.at(second_end + 1) == ' ');
            number(canvas, second_end + 1 + gap, 4)
        })
        .flatten()
        .filter(|(_, end)| !canvas.at(*end).is_alphanumeric() || canvas.at(*end) == 'T');
    if first_end - at == 4 {
        let (third, end) = third?;
        let day = NamedDate {
            year: Some(first),
            month: month_of(second)?,
            day: Some(day_of(third)?),
        };
        return Some((day, at, end));
    }
    let (day, month) = if language.month_first && sign != '.' {
        (second, first)
    } else {
        (first, second)
    };
    let (day, month) = (Some(day_of(day)?), month_of(month)?);
    match third {
        Some((year, end)) => {
            let year = if year < 100 { 2000 + year } else { year };
            Some((
                NamedDate {
                    year: Some(year),
                    month,
                    day,
                },
                at,
                end,
            ))
        }
        None if sign == '/' && !canvas.at(second_end).is_alphanumeric() => Some((
            NamedDate {
                year: None,
                month,
                day,
            },
            at,
            second_end,
        )),
        None if sign == '.' && language.dots_days() && canvas.at(second_end) == '.' => Some((
            NamedDate {
                year: None,
                month,
                day,
            },
            at,
            second_end + 1,
        )),
        None => None,
    }
}

/// Year, month and day with a sign after each, as Chinese, Japanese and Korean write them.
fn in_signs(canvas: &Canvas, at: usize) -> Option<(NamedDate, usize, usize)> {
    let is_year = |c| matches!(c, '\u{5e74}' | '\u{b144}');
    let is_month = |c| matches!(c, '\u{6708}' | '\u{c6d4}');
    let is_day = |c| matches!(c, '\u{65e5}' | '\u{53f7}' | '\u{c77c}');
    let (mut value, mut end) = number(canvas, at, 4)?;
    let mut year = None;
    if is_year(canvas.at(end)) {
        year = Some(value);
        let gap = usize::from(canvas.at(end + 1) == ' ');
        (value, end) = number(canvas, end + 1 + gap, 2)?;
    }
    if !is_month(canvas.at(end)) {
        return None;
    }
    let month = month_of(value)?;
    let gap = usize::from(canvas.at(end + 1) == ' ');
    match number(canvas, end + 1 + gap, 2).filter(|(_, after)| is_day(canvas.at(*after))) {
        Some((day, after)) => Some((
            NamedDate {
                year,
                month,
                day: Some(day_of(day)?),
            },
            at,
            after + 1,
        )),
        None => Some((
            NamedDate {
                year,
                month,
                day: None,
            },
            at,
            end + 1,
        )),
    }
}

fn weekday(word: &str, language: &Language) -> Option<i8> {
    let lower = word.to_lowercase();
    let mut lists = WEEKDAYS
        .iter()
        .filter(|(tag, _)| *tag == language.tag || *tag == "en");
    lists
        .find_map(|(_, names)| names.iter().position(|name| *name == lower))
        .and_then(|position| i8::try_from(position).ok())
}

/// A month's word with the day before or after it and the year.
fn with_month(
    canvas: &Canvas,
    start: usize,
    end: usize,
    word: &str,
    language: &Language,
) -> Option<(NamedDate, usize, usize)> {
    let (month, certain) = month(word, language)?;
    let before = day_before(canvas, start);
    let mut last = if canvas.at(end) == '.' && !certain {
        end + 1
    } else {
        end
    };
    let mut day = before.map(|(day, _)| day);
    if day.is_none()
        && let Some((value, after)) = number(canvas, last + usize::from(canvas.at(last) == ' '), 2)
        && let Some(value) = day_of(value)
        && !matches!(canvas.at(after), ':' | '%')
    {
        day = Some(value);
        last = after_ordinal(canvas, after);
    }
    if day.is_none()
        && let Some((value, after)) = ordinal_after(canvas, last)
    {
        day = Some(value);
        last = after;
    }
    let year = year_after(canvas, last);
    let alone = day.is_none() && year.is_none();
    if alone && !certain && !follows_preposition(canvas, start, word) {
        return None;
    }
    let (year, last) = year.map_or((None, last), |(year, after)| (Some(year), after));
    let first = before.map_or(start, |(_, first)| first);
    Some((NamedDate { year, month, day }, first, last))
}

/// The month, and whether the word means nothing else.
fn month(word: &str, language: &Language) -> Option<(i8, bool)> {
    let lower = word.to_lowercase();
    let lists = MONTHS
        .iter()
        .filter(|(tag, _)| *tag == language.tag || *tag == "en");
    for (_, names) in lists {
        for (index, name) in names.iter().enumerate() {
            let month = i8::try_from(index + 1).ok()?;
            if *name == lower {
                return Some((month, !matches!(lower.as_str(), "may" | "march" | "mars")));
            }
            let short = lower.chars().count() >= 3 && lower.chars().count() <= 4 && name.starts_with(&lower);
            // A verb or an article may begin like a month; only a capital or a day makes it one.
            if short || (lower == "sept" && index == 8) {
                return Some((month, false));
            }
        }
    }
    None
}

/// "in May", "this March".
fn follows_preposition(canvas: &Canvas, start: usize, word: &str) -> bool {
    let full = matches!(word, "May" | "March");
    full && canvas.word_before(start).is_some_and(|(from, to)| {
        matches!(
            canvas.text(from, to).to_lowercase().as_str(),
            "in" | "of"
                | "since"
                | "until"
                | "till"
                | "by"
                | "this"
                | "next"
                | "last"
                | "early"
                | "late"
                | "mid"
                | "every"
                | "each"
                | "from"
                | "to"
                | "through"
                | "before"
                | "after"
                | "on"
                | "for"
                | "and"
                | "during"
        )
    })
}

/// 12 June, 12th of June, 12. Juni, 12 de junio: the day and where it begins.
fn day_before(canvas: &Canvas, start: usize) -> Option<(i8, usize)> {
    let mut at = start;
    let skip_blanks = |at: &mut usize| {
        while *at > 0 && canvas.before(*at) == ' ' {
            *at -= 1;
        }
    };
    skip_blanks(&mut at);
    if at == start {
        return None;
    }
    for joining in ["of", "de"] {
        if at >= 3 && canvas.text(at - 2, at).to_lowercase() == joining && canvas.before(at - 2) == ' ' {
            at -= 2;
            skip_blanks(&mut at);
            break;
        }
    }
    let ordinal = at >= 3 && is_ordinal(&canvas.text(at - 2, at));
    if ordinal {
        at -= 2;
    } else if matches!(canvas.before(at), '.' | '\u{ba}' | '\u{aa}') {
        at -= 1;
    }
    let first = (0..at)
        .rev()
        .take_while(|at| canvas.at(*at).is_ascii_digit())
        .last()?;
    let value = canvas.text(first, at).parse().ok().and_then(day_of)?;
    let loose = !canvas.before(first).is_alphanumeric()
        && !matches!(canvas.before(first), '.' | ',' | ':' | '-' | '/');
    (at - first <= 2 && loose).then_some((value, first))
}

/// "June twelfth", "June twenty-first".
fn ordinal_after(canvas: &Canvas, at: usize) -> Option<(i8, usize)> {
    let word = |at: usize| {
        let (start, end) = canvas.word_after(at)?;
        Some((canvas.text(start, end).to_lowercase(), end))
    };
    let value = |word: &str| {
        ORDINALS
            .iter()
            .find(|(name, _)| *name == word)
            .map(|(_, value)| *value)
    };
    let (first, end) = word(at)?;
    let tens = match first.as_str() {
        "twenty" => 20,
        "thirty" => 30,
        first => return value(first).map(|day| (day, end)),
    };
    let (second, end) = word(end)?;
    value(&second)
        .filter(|day| *day < 10)
        .map(|day| (tens + day, end))
}

fn is_ordinal(letters: &str) -> bool {
    matches!(letters.to_lowercase().as_str(), "st" | "nd" | "rd" | "th" | "er")
}

fn after_ordinal(canvas: &Canvas, at: usize) -> usize {
    let ends = !canvas.at(at + 2).is_alphanumeric();
    if ends && is_ordinal(&canvas.text(at, at + 2)) {
        at + 2
    } else {
        at
    }
}

/// ", 2027", " de 2027".
fn year_after(canvas: &Canvas, at: usize) -> Option<(i16, usize)> {
    let mut from = at;
    for joining in [",", ".", " de", " del", " of"] {
        let end = from + joining.chars().count();
        if canvas.text(from, end) == joining && canvas.at(end) == ' ' {
            from = end;
            break;
        }
    }
    let (year, end) = number(canvas, from + usize::from(canvas.at(from) == ' '), 4)?;
    ((1900..=2200).contains(&year) && !canvas.at(end).is_alphanumeric()).then_some((year, end))
}
