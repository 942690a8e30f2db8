//! What a draft may mention: the facts, the sender, and the template where it counts as known.

use super::lexicon;
use super::mention::{Mention, NamedDate, Spot};
use super::scan::{normal_link, scan};
use crate::facts::Fact;
use crate::figure::Figure;
use crate::request::{BaseRole, DraftRequest};
use jiff::civil::Date;
use std::collections::HashSet;

/// Digits that tell a telephone number from another without its country and area.
const FEWEST_LOCAL_DIGITS: usize = 9;

#[derive(Default)]
pub(super) struct Known {
    links: HashSet<String>,
    /// Links without scheme that may be written so.
    bare: HashSet<String>,
    emails: HashSet<String>,
    phones: HashSet<String>,
    money: Vec<(Figure, String)>,
    percents: HashSet<Figure>,
    numbers: HashSet<Figure>,
    days: Vec<Date>,
    /// What texts mention.
    spoken: Vec<Spot>,
    /// Words of facts and sender, in lower case.
    words: HashSet<String>,
    /// Words of people's names among them.
    people: HashSet<String>,
    /// Words of the sender's name.
    brand: HashSet<String>,
    /// Words that prompt and template write small: ordinary ones.
    ordinary: HashSet<String>,
    /// Whole texts, smoothed.
    texts: Vec<String>,
}

impl Known {
    pub fn of(request: &DraftRequest<'_>) -> Self {
        let mut known = Self::default();
        for (_, fact) in request.facts.iter() {
            known.learn_fact(fact, &request.locale);
        }
        let brand = &request.brand;
        known.brand.extend(pieces(&brand.name));
        known.learn_words(&brand.name);
        known.learn_text(&brand.name, &request.locale);
        if let Some(address) = &brand.postal_address {
            known.learn_words(address);
            known.learn_text(address, &request.locale);
        }
        if let Some(site) = &brand.website_url {
            known.learn_site(site);
        }
        for contact in [&brand.support_email, &brand.support_phone].into_iter().flatten() {
            known.learn_contact(contact);
        }
        let base = &request.base;
        for text in [base.subject.as_deref().unwrap_or_default(), &base.text] {
            match base.role {
                BaseRole::Wording => known.learn_ordinary(text),
                BaseRole::Source => known.learn_source(text, &request.locale),
            }
        }
        known.learn_ordinary(&request.system_prompt);
        known
    }

    fn learn_fact(&mut self, fact: &Fact, locale: &str) {
        match fact {
            Fact::Text(text) => {
                self.learn_words(text);
                self.learn_text(text, locale);
            }
            Fact::Name(name) => {
                self.learn_words(name);
                self.people.extend(pieces(name));
            }
            Fact::Number(figure) => {
                self.numbers.insert(figure.clone());
            }
            Fact::Percent(figure) => {
                self.percents.insert(figure.clone());
            }
            Fact::Money { amount, currency } => self.money.push((amount.clone(), currency.clone())),
            Fact::Date(day) => self.days.push(*day),
            Fact::Link(link) => {
                self.bare.insert(bare(link));
                self.links.insert(normal_link(link));
            }
            Fact::Contact(contact) => self.learn_contact(contact),
        }
    }

    fn learn_words(&mut self, text: &str) {
        self.words.extend(pieces(text));
        self.texts.push(smooth(text));
    }

    /// Figures and days of a text, but neither its links nor its contacts: strangers may have written it.
    fn learn_text(&mut self, text: &str, locale: &str) {
        let spots = scan(text, locale).spots.into_iter();
        self.spoken.extend(spots.filter(|spot| {
            !matches!(
                spot.mention,
                Mention::Link(_) | Mention::Email(_) | Mention::Phone(_)
            )
        }));
    }

    fn learn_site(&mut self, site: &str) {
        self.links.insert(normal_link(site));
        let bare = bare(site);
        let other = match bare.strip_prefix("www.") {
            Some(rest) => rest.to_owned(),
            None => format!("www.{bare}"),
        };
        self.bare.extend([bare, other]);
    }

    fn learn_contact(&mut self, contact: &str) {
        if contact.contains('@') {
            self.emails.insert(contact.trim().to_lowercase());
        } else {
            self.phones.insert(
                contact
                    .chars()
                    .filter_map(|c| c.to_digit(10))
                    .map(|d| d.to_string())
                    .collect(),
            );
        }
    }

    fn learn_ordinary(&mut self, text: &str) {
        let small = text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| word.starts_with(char::is_lowercase));
        self.ordinary.extend(small.map(str::to_lowercase));
    }

    /// All of it may be said again.
    fn learn_source(&mut self, text: &str, locale: &str) {
        self.learn_words(text);
        self.spoken.extend(scan(text, locale).spots);
    }

    pub fn permits(&self, spot: &Spot) -> bool {
        let told = || self.spoken.iter().any(|known| is_same(known, spot));
        (!has_no_figure(&spot.mention) && told()) || self.holds(&spot.mention, &spot.excerpt)
    }

    fn holds(&self, mention: &Mention, excerpt: &str) -> bool {
        match mention {
            Mention::Link(link) if link.contains("://") => self.links.contains(link),
            Mention::Link(link) => self.bare.contains(link),
            Mention::Email(address) => self.emails.contains(address),
            Mention::Phone(digits) => {
                self.has_phone(digits) || (is_serial(excerpt) && self.has_code(excerpt))
            }
            // A reader may be called April or June.
            Mention::Day(day) => self.has_day(*day) || self.is_of_a_person(excerpt),
            Mention::Weekday(weekday) => self
                .days
                .iter()
                .any(|day| day.weekday().to_monday_zero_offset() == *weekday),
            Mention::Time(..) => false,
            Mention::Money(Some(figure), codes) => self.has_money(figure, codes),
            Mention::Percent(Some(figure)) => self.percents.contains(figure),
            Mention::Discount(Some(figure)) => self.has_discount(figure),
            Mention::Number(Some(figure)) => self.has_number(figure),
            Mention::Money(None, _) | Mention::Percent(None) | Mention::Discount(None) => self.says(excerpt),
            Mention::Number(None) => self.has_code(excerpt),
        }
    }

    /// As given, or in the national form without the country.
    fn has_phone(&self, digits: &str) -> bool {
        let national = digits.trim_start_matches('0');
        self.phones.iter().any(|phone| {
            let given = phone.trim_start_matches('0');
            given == national || (national.len() >= FEWEST_LOCAL_DIGITS && given.ends_with(national))
        })
    }

    fn has_day(&self, named: NamedDate) -> bool {
        let fits = |year: i16, month: i8, day: Option<i8>| {
            named.month == month
                && named.day.is_none_or(|named| day == Some(named))
                && named.year.is_none_or(|named| year == named)
        };
        let told = self.spoken.iter().any(|spot| match &spot.mention {
            Mention::Day(known) => fits(known.year.unwrap_or(i16::MIN), known.month, known.day),
            _ => false,
        });
        told || self
            .days
            .iter()
            .any(|day| fits(day.year(), day.month(), Some(day.day())))
    }

    fn has_money(&self, figure: &Figure, codes: &[&str]) -> bool {
        let told = self.spoken.iter().any(|spot| match &spot.mention {
            Mention::Money(Some(known), known_codes) => {
                known == figure && codes.iter().any(|code| known_codes.contains(code))
            }
            _ => false,
        });
        told || self
            .money
            .iter()
            .any(|(amount, code)| amount == figure && codes.contains(&code.as_str()))
    }

    fn has_discount(&self, figure: &Figure) -> bool {
        let told = self.spoken.iter().any(|spot| {
            matches!(&spot.mention, Mention::Percent(Some(known)) | Mention::Money(Some(known), _) if known == figure)
        });
        told || self.percents.contains(figure) || self.money.iter().any(|(amount, _)| amount == figure)
    }

    fn has_number(&self, figure: &Figure) -> bool {
        let is_year = |year: i16| u64::try_from(year).is_ok_and(|year| Figure::from(year) == *figure);
        let told = self.spoken.iter().any(|spot| match &spot.mention {
            Mention::Day(NamedDate { year: Some(year), .. }) => is_year(*year),
            _ => false,
        });
        told || self.numbers.contains(figure) || self.days.iter().any(|day| is_year(day.year()))
    }

    /// A code is known where every piece of it is, in this order.
    fn has_code(&self, code: &str) -> bool {
        pieces(code).all(|piece| self.words.contains(&piece)) && self.says(code)
    }

    /// A word of facts or sender.
    pub fn has_word(&self, word: &str) -> bool {
        self.words.contains(&word.to_lowercase())
    }

    /// A word of somebody's name.
    pub fn is_of_a_person(&self, word: &str) -> bool {
        self.people.contains(&word.to_lowercase())
    }

    /// An ordinary word, by the prompt or the template.
    pub fn is_ordinary(&self, word: &str) -> bool {
        self.ordinary.contains(&word.to_lowercase())
    }

    /// Whether facts or sender say it.
    pub fn says(&self, phrase: &str) -> bool {
        let phrase = smooth(phrase);
        self.texts
            .iter()
            .any(|text| lexicon::holds_phrase(text, phrase.trim()))
    }

    /// Whether the text, smoothed, says it, and neither facts nor sender do.
    pub fn says_only_here(&self, smoothed: &str, phrase: &str) -> bool {
        lexicon::holds_phrase(smoothed, phrase) && !self.says(phrase)
    }

    /// A word of the sender's name.
    pub fn is_brand(&self, word: &str) -> bool {
        self.brand.contains(word)
    }

    /// Whether the run of letters ends with a known word, in scripts without blanks.
    pub fn ends_with_word(&self, run: &str) -> bool {
        let run = run.to_lowercase();
        self.words.iter().any(|word| run.ends_with(word.as_str()))
    }
}

/// The same mention; a number must also count or belong to the same: 350 of a model is not 350 hours.
fn is_same(known: &Spot, spot: &Spot) -> bool {
    let beside = || known.beside.is_empty() || known.beside.iter().any(|word| spot.beside.contains(word));
    known.mention == spot.mention && (!matches!(spot.mention, Mention::Number(_)) || beside())
}

/// A run of digits too short for a telephone number with its area: a number of an order or a machine.
fn is_serial(written: &str) -> bool {
    written.len() < 10 && written.bytes().all(|byte| byte.is_ascii_digit())
}

const fn has_no_figure(mention: &Mention) -> bool {
    matches!(
        mention,
        Mention::Money(None, _) | Mention::Percent(None) | Mention::Discount(None) | Mention::Number(None)
    )
}

fn bare(link: &str) -> String {
    let link = normal_link(link);
    match link.split_once("://") {
        Some((_, bare)) => bare.to_owned(),
        None => link,
    }
}

/// Words and numbers in lower case.
fn pieces(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|piece| !piece.is_empty())
        .map(str::to_lowercase)
}

/// In lower case, with single blanks and plain apostrophes and dashes.
pub(super) fn smooth(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let plain = |c: char| match c {
        '\u{2018}' | '\u{2019}' | '\u{2bc}' => '\'',
        '\u{2010}'..='\u{2015}' => '-',
        c => c,
    };
    words.join(" ").to_lowercase().chars().map(plain).collect()
}
