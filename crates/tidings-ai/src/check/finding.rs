//! What a check can find, in stable words.

use std::fmt;
use tidings_core::word_enum;

word_enum! {
    /// What a draft is checked for.
    pub enum Check {
        /// Words, characters and segments.
        Length = "length",
        /// Links, e-mail addresses and telephone numbers.
        Links = "links",
        /// Amounts, percentages and numbers.
        Figures = "figures",
        /// Days and times.
        Dates = "dates",
        /// Names of people and things.
        Names = "names",
        /// Who is greeted.
        Greeting = "greeting",
        /// Placeholders, template syntax, HTML, Markdown.
        Artefacts = "artefacts",
        /// Characters that show nothing or turn the line.
        Characters = "characters",
        /// Script and language.
        Language = "language",
        /// Claims, pressure, shouting.
        Tone = "tone",
        /// The model speaking of itself or of its task.
        SelfMention = "self_mention",
    }
}

word_enum! {
    /// Where in the draft.
    pub enum Part {
        /// The subject.
        Subject = "subject",
        /// The text.
        Body = "body",
    }
}

macro_rules! finding_codes {
    ($($variant:ident = $word:literal, $check:ident, $sentence:literal;)+) => {
        word_enum! {
            /// What was found, as a stable word.
            pub enum FindingCode {
                $(#[doc = $sentence] $variant = $word),+
            }
        }

        impl FindingCode {
            /// The check it belongs to.
            pub const fn check(self) -> Check {
                match self { $(Self::$variant => Check::$check),+ }
            }

            /// What it means, without anything of the draft.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence),+ }
            }
        }
    };
}

finding_codes! {
    Empty = "empty", Length, "There is no text.";
    TooShort = "too_short", Length, "The text has fewer words than asked for.";
    TooLong = "too_long", Length, "The text is longer than asked for.";
    TooManySegments = "too_many_segments", Length, "The text message needs more segments than allowed; write less, without emoji and accents it does not need.";
    SubjectMissing = "subject_missing", Length, "The e-mail has no subject.";
    SubjectTooLong = "subject_too_long", Length, "The subject is longer than asked for, or has more than one line.";
    UnknownLink = "unknown_link", Links, "A link or domain is not in the data.";
    UnknownEmail = "unknown_email", Links, "An e-mail address or account name is not in the data.";
    UnknownPhone = "unknown_phone", Links, "A telephone number is not in the data.";
    UnknownAmount = "unknown_amount", Figures, "An amount of money is not in the data.";
    UnknownPercentage = "unknown_percentage", Figures, "A percentage or discount is not in the data.";
    UnknownNumber = "unknown_number", Figures, "A number is not in the data.";
    UnknownDate = "unknown_date", Dates, "A date, weekday or month is not in the data.";
    UnknownTime = "unknown_time", Dates, "A time of day is not in the data.";
    UnknownName = "unknown_name", Names, "A name of a person, company or product is not in the data, or common words are capitalised like one.";
    WrongGreeting = "wrong_greeting", Greeting, "The greeting names somebody other than the reader.";
    GenericGreeting = "generic_greeting", Greeting, "The greeting is impersonal although the reader's name is known.";
    Placeholder = "placeholder", Artefacts, "There is a placeholder in place of a value.";
    TemplateSyntax = "template_syntax", Artefacts, "There is template syntax.";
    Html = "html", Artefacts, "There is HTML.";
    Markdown = "markdown", Artefacts, "There is Markdown.";
    ControlCharacter = "control_character", Characters, "There is a control character, or one without meaning.";
    BidiCharacter = "bidi_character", Characters, "There is a character that changes the direction of writing.";
    InvisibleCharacter = "invisible_character", Characters, "There is an invisible character.";
    MixedScript = "mixed_script", Characters, "A word mixes letters of several alphabets.";
    WrongScript = "wrong_script", Language, "The text is not in the script of the language asked for.";
    WrongLanguage = "wrong_language", Language, "The text is not in the language asked for.";
    BannedPhrase = "banned_phrase", Tone, "There is a claim or pressure that the data does not support.";
    Shouting = "shouting", Tone, "There are too many capitals or exclamation marks.";
    MentionsAi = "mentions_ai", SelfMention, "The text speaks of being written by a machine.";
    MentionsPrompt = "mentions_prompt", SelfMention, "The text speaks of its task, its rules or the data.";
}

/// One fault of a draft.
#[derive(Clone, PartialEq, Eq)]
pub struct Finding {
    /// What, as a stable word.
    pub code: FindingCode,
    /// Where.
    pub part: Part,
    /// The place in the draft, at most 80 characters; it may hold personal data.
    excerpt: String,
}

impl Finding {
    /// What was found, without anything of the draft: for logs and metrics.
    pub const fn sentence(&self) -> &'static str {
        self.code.sentence()
    }

    /// What was found, with the place: for the model, and for people who may read the message.
    pub fn told(&self) -> String {
        if self.excerpt.is_empty() {
            return format!("{} ({})", self.sentence(), self.part);
        }
        format!("{} ({}: {:?})", self.sentence(), self.part, self.excerpt)
    }
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Finding({} in {})", self.code, self.part)
    }
}

/// More would not help anybody.
const MOST: usize = 24;
/// Characters of an excerpt.
const LONGEST_EXCERPT: usize = 80;

/// Findings under way: each once, and not without end.
#[derive(Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub fn add(&mut self, code: FindingCode, part: Part, excerpt: &str) {
        let finding = Finding {
            code,
            part,
            excerpt: excerpt.chars().take(LONGEST_EXCERPT).collect(),
        };
        if self.0.len() < MOST && !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    pub fn into_vec(self) -> Vec<Finding> {
        self.0
    }
}
