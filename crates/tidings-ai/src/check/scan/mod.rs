//! Finds what a text mentions: links and contacts, then times and days, then telephone numbers, then figures. Each takes
//! out what it understood, so a digit is read once. Texts of the facts are read by the same functions.

mod days;
mod figures;
mod links;
mod number_words;
mod phones;
mod times;

use super::canvas::Canvas;
pub(super) use links::normal as normal_link;

use super::mention::Spot;

/// What was found, and what is left of the text.
pub(super) struct Scanned {
    pub spots: Vec<Spot>,
    pub rest: Canvas,
}

/// Everything the text mentions.
pub(super) fn scan(text: &str, locale: &str) -> Scanned {
    let mut canvas = Canvas::new(text);
    let language = Language::of(locale);
    let mut spots = links::take(&mut canvas);
    spots.extend(times::take(&mut canvas));
    spots.extend(days::take(&mut canvas, &language));
    spots.extend(phones::take(&mut canvas));
    spots.extend(figures::take(&mut canvas, &language));
    spots.extend(number_words::take(&mut canvas, &language));
    Scanned { spots, rest: canvas }
}

/// How a language writes figures and days.
pub(super) struct Language {
    /// In lower case: `de`.
    pub tag: String,
    /// Between whole and fraction.
    pub decimal: char,
    /// 6/12 is the twelfth of June.
    pub month_first: bool,
}

impl Language {
    fn of(locale: &str) -> Self {
        let locale = locale.replace('_', "-").to_ascii_lowercase();
        let mut parts = locale.split('-');
        let tag = parts.next().unwrap_or_default().to_owned();
        let region = parts.find(|part| part.len() == 2).unwrap_or_default().to_owned();
        let point = matches!(
            tag.as_str(),
            "en" | "zh"
                | "ja"
                | "ko"
                | "th"
                | "he"
                | "hi"
                | "mr"
                | "bn"
                | "ta"
                | "te"
                | "ur"
                | "ms"
                | "fil"
                | "sw"
                | "cy"
                | "ga"
                | "mt"
        );
        let point_region = (tag == "es"
            && matches!(
                region.as_str(),
                "mx" | "us" | "gt" | "pr" | "do" | "pa" | "sv" | "hn" | "ni" | "pe"
            ))
            || matches!(region.as_str(), "ch" | "li");
        Self {
            month_first: tag == "en" && matches!(region.as_str(), "" | "us" | "ph"),
            decimal: if point || point_region { '.' } else { ',' },
            tag,
        }
    }

    /// 12.06. is a day.
    pub fn dots_days(&self) -> bool {
        matches!(
            self.tag.as_str(),
            "de" | "cs"
                | "sk"
                | "pl"
                | "nb"
                | "nn"
                | "no"
                | "da"
                | "fi"
                | "ru"
                | "uk"
                | "bg"
                | "hu"
                | "tr"
                | "ro"
                | "hr"
                | "sl"
                | "et"
                | "lv"
        )
    }
}
